"""Folders of numbers and JSON with a digest for every file: how models are stored (docs/adr/0004-models-as-data.md)."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from selfheal.errors import BadModel

MANIFEST = "manifest.json"
FORMAT = 1
"""Grows when older readers could no longer understand what is written."""

_SAFE = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*(\.npz|/manifest\.json)")


class Manifest(BaseModel):
    """What every stored folder says about itself.

    Attributes:
        format: See FORMAT.
        kind: What is stored.
        files: SHA-256 by path inside the folder, the manifest itself aside.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    kind: str
    files: dict[str, str] = {}


M = TypeVar("M", bound=Manifest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Add the digests of all files in a folder and write ``manifest.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        path.relative_to(folder).as_posix(): _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }
    text = manifest.model_copy(update={"files": files}).model_dump_json(indent=1)
    (folder / MANIFEST).write_text(text + "\n")


def read_manifest(folder: Path, kind: type[M], what: str) -> M:
    """Read ``manifest.json`` and hold every file against its digest.

    Args:
        folder: Written by :func:`write_manifest`.
        kind: Type of the manifest.
        what: Value that its ``kind`` must have.

    Raises:
        BadModel: When anything is missing, altered, or of another format.
    """
    try:
        manifest = kind.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise BadModel(f"{folder} holds no model ({error.strerror}: {MANIFEST}): train or fetch it again") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise BadModel(f"{folder / MANIFEST} is damaged ({place}: {first['msg']}): train or fetch it again") from None
    if (manifest.format, manifest.kind) != (FORMAT, what):
        raise BadModel(
            f"{folder} holds {manifest.kind} of format {manifest.format}, this version reads {what} of format "
            f"{FORMAT}: train it again"
        )
    for name, digest in manifest.files.items():
        if not _SAFE.fullmatch(name) or not (folder / name).is_file():
            raise BadModel(f"{folder} lacks {name!r}, which its manifest names: train or fetch the model again")
        if _digest(folder / name) != digest:
            raise BadModel(f"{folder / name} is not the file its manifest describes: train or fetch the model again")
    return manifest


def _digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
