"""A repository, the Application that syncs it, and what an independent reader sees of both."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bench.argocd import NAMESPACE
from bench.cluster import ApiCluster
from tests.support.controller import SIZE

FAULT = "bench.selfheal/fault"
LEAVE = {"group": "apps", "kind": "Deployment", "managedFieldsManagers": ["selfheal-controller"]}


def manifest(image: str = "v1", fault: str = "none", *, limit: str = "64Mi", **env: str) -> dict[str, Any]:
    """A Deployment whose pods fail as ``fault`` says; every version of it has the same fields."""
    labels = {"app": "cart"}
    size = SIZE | {"limits": SIZE["limits"] | {"memory": limit}}
    container: dict[str, Any] = {"name": "app", "image": f"registry.example/shop:{image}", "resources": size}
    if env:
        container["env"] = [{"name": name, "value": value} for name, value in env.items()]
    template = {"metadata": {"labels": labels, "annotations": {FAULT: fault}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "cart", "labels": labels},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }


class Repository:
    """A bare repository with one branch, and a working copy.

    Args:
        folder: Where both are.
    """

    def __init__(self, folder: Path) -> None:
        self.bare, self._copy = folder / "repo.git", folder / "copy"
        self._git("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare), where=folder)
        self._git("clone", "--quiet", str(self.bare), str(self._copy), where=folder)
        self._git("checkout", "--quiet", "-B", "main")

    @property
    def url(self) -> str:
        """As an Application names it."""
        return f"file://{self.bare}"

    def commit(self, *documents: dict[str, Any], file: str = "cart.yaml") -> str:
        """Write a file, commit and push it; returns the revision."""
        (self._copy / file).write_text(yaml.safe_dump_all(documents))
        return self._push(file)

    def add(self, folder: Path) -> str:
        """Commit and push a folder with everything in it, under its own name; returns the revision."""
        shutil.copytree(folder, self._copy / folder.name)
        return self._push(folder.name)

    def read(self, file: str) -> list[dict[str, Any]]:
        """The documents of a file."""
        return list(yaml.safe_load_all((self._copy / file).read_text()))

    def _push(self, what: str) -> str:
        self._git("add", what)
        self._git("-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "-m", "change")
        self._git("push", "--quiet", "origin", "main")
        return self._git("rev-parse", "HEAD")

    def _git(self, *words: str, where: Path | None = None) -> str:
        done = subprocess.run(["git", *words], cwd=where or self._copy, capture_output=True, text=True, check=True)
        return done.stdout.strip()


class Application:
    """An Application of the test's namespace that is synced by itself and heals itself.

    Args:
        cluster: Where.
        namespace: What it syncs to; it is called the same.
        repository: What it syncs.
        ignores: ``spec.ignoreDifferences``.
        options: Its sync options.
    """

    def __init__(
        self,
        cluster: ApiCluster,
        namespace: str,
        repository: Repository,
        ignores: list[dict[str, Any]] | None = None,
        options: list[str] | None = None,
    ) -> None:
        self._cluster, self.name = cluster, namespace
        spec = {
            "project": "default",
            "source": {"repoURL": repository.url, "path": ".", "targetRevision": "main"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
            "syncPolicy": {"automated": {"selfHeal": True, "prune": True}, "syncOptions": options or []},
            "ignoreDifferences": ignores or [],
        }
        meta = {"name": self.name, "namespace": NAMESPACE}
        cluster.apply({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": meta, "spec": spec})

    def get(self) -> Any:
        """As the API server has it."""
        return json.loads(self._cluster.kubectl("get", "application", self.name, "-n", NAMESPACE, "-o", "json"))

    def patch(self, **spec: Any) -> None:
        """Change its spec, as people do."""
        body = json.dumps({"spec": spec})
        self._cluster.kubectl("patch", "application", self.name, "-n", NAMESPACE, "--type=merge", "-p", body)

    def refresh(self) -> None:
        """Have Argo CD look at the repository now."""
        note = "argocd.argoproj.io/refresh=normal"
        self._cluster.kubectl("annotate", "application", self.name, "-n", NAMESPACE, note, "--overwrite")

    @property
    def revision(self) -> str:
        """What Argo CD compares with."""
        return str(self.get().get("status", {}).get("sync", {}).get("revision", ""))

    @property
    def sync(self) -> str:
        """``Synced`` or ``OutOfSync``."""
        return str(self.get().get("status", {}).get("sync", {}).get("status", ""))

    def has(self, name: str) -> bool:
        """Whether its status lists an object of this name."""
        return any(one["name"] == name for one in self.get().get("status", {}).get("resources") or [])

    def health(self) -> dict[str, str]:
        """Health of each object that its status lists, by kind."""
        listed = self.get().get("status", {}).get("resources") or []
        return {one["kind"]: one.get("health", {}).get("status", "") for one in listed}

    @property
    def automated(self) -> Any:
        """``spec.syncPolicy.automated``; None where it is off."""
        return self.get()["spec"].get("syncPolicy", {}).get("automated")

    def delete(self) -> None:
        """Without what it has made."""
        self._cluster.kubectl("delete", "application", self.name, "-n", NAMESPACE, "--wait=false")


def stays(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether something holds at every look for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not holds():
            return False
        time.sleep(0.3)
    return True
