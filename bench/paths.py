"""Where the bench keeps things: builds in the user's cache, a cluster's state in one folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent
DEFAULT_STATE = Path(".bench")
CONTEXT = "selfheal-bench"


def cache() -> Path:
    """The folder of builds that all clones share."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "selfheal"
    base.mkdir(parents=True, exist_ok=True)
    return base


@dataclass(frozen=True)
class State:
    """One cluster's folder.

    Attributes:
        root: Everything of this cluster; deleting it after ``down`` loses nothing but the cluster.
    """

    root: Path

    def folder(self, name: str) -> Path:
        """A subfolder, made on demand."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.folder("logs")

    @property
    def pki(self) -> Path:
        """Certificates, keys and the kubeconfigs of the control plane's own components."""
        return self.folder("pki")

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, context ``selfheal-bench``."""
        return self.root / "kubeconfig"

    @property
    def settings(self) -> Path:
        """What the running cluster was started with (JSON)."""
        return self.root / "cluster.json"
