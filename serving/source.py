"""Where the model comes from: a folder, or the registry."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from selfheal.errors import NoData

if TYPE_CHECKING:
    from selfheal.ensemble import Ensemble


class Source(Protocol):
    """A place that holds one model, which may change."""

    def version(self) -> str:
        """What is there now; cheap to ask.

        Raises:
            NoData: When nothing is there yet.
            Unavailable: When the place does not answer.
        """

    def load(self) -> Ensemble:
        """Load it.

        Raises:
            NoData: When nothing is there yet.
            BadModel: When it is damaged.
        """


class FolderSource:
    """A model in a folder, as ``Ensemble.save`` wrote it or as the registry stores it; KServe mounts it at /mnt/models.

    Args:
        folder: May be a link that is pointed elsewhere to change the model.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def version(self) -> str:
        """A digest of the files' names, sizes and times."""
        root = self._root()
        digest = hashlib.sha256(str(root).encode())
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            about = path.stat()
            digest.update(f"{path.relative_to(root)} {about.st_size} {about.st_mtime_ns} {about.st_ino}\n".encode())
        return digest.hexdigest()

    def load(self) -> Ensemble:
        """Load it from where the link points now."""
        from selfheal.ensemble import Ensemble

        root = self._root()
        if (root / "MLmodel").is_file():
            from selfheal.mlmodel import model_folder

            root = model_folder(root)
        return Ensemble.load(root)

    def _root(self) -> Path:
        root = self._folder.resolve()
        if not root.is_dir() or not any(root.iterdir()):
            raise NoData(
                f"no model in {self._folder}: train one (selfheal train) and mount it there, or give --model-uri "
                "models:/selfheal-ensemble@champion and --tracking-uri"
            )
        return root


class RegistrySource:
    """A registered model, by alias or by version.

    Args:
        uri: ``models:/selfheal-ensemble@champion`` or ``models:/selfheal-ensemble/7``.
        tracking_uri: Of the MLflow that has it.
    """

    def __init__(self, uri: str, tracking_uri: str) -> None:
        from selfheal.registry import Registry  # mlflow takes seconds to import: only where it is used

        self._uri = uri
        self._registry = Registry(tracking_uri)

    def __str__(self) -> str:
        return f"{self._uri} in {self._registry.tracking_uri}"

    def version(self) -> str:
        """The version that the alias names now."""
        return self._registry.resolve(self._uri)

    def load(self) -> Ensemble:
        """Download and load it."""
        return self._registry.load_ensemble(self._uri)
