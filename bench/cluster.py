"""Clusters as Python sees them: one that simulates pods, and one with a real kubelet."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench import build
from bench.controlplane import ControlPlane
from bench.paths import SOURCE, State
from bench.pki import write_kubeconfig
from selfheal.errors import NoData

Say = Callable[[str], None]


def _silent(_: str) -> None:
    """For callers that want no progress."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        plane: Its control plane.
    """

    plane: ControlPlane

    @classmethod
    def of(cls, folder: Path, tiers: str) -> Cluster:
        """The cluster of a state folder.

        Args:
            folder: Its state.
            tiers: What to start where there is none, ``api|node``.

        Raises:
            NoData: When there is none.
        """
        state = State(folder.absolute())
        if not state.settings.exists():
            raise NoData(f"no cluster in {state.root}: python -m bench up --tier {tiers}")
        return Cluster(ControlPlane.load_or_create(state, json.loads(state.settings.read_text())["tier"]))

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.plane.state.kubeconfig

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl as administrator."""
        return self.plane.kubectl(*words, stdin=stdin)

    def apply(self, *documents: object) -> None:
        """Server-side apply of objects given as dictionaries."""
        everything = {"apiVersion": "v1", "kind": "List", "items": documents}
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(everything))

    def service_account_kubeconfig(self, namespace: str, name: str, duration: str = "4h") -> Path:
        """A kubeconfig with a token of a ServiceAccount, so that nothing needs to run as administrator."""
        token = self.kubectl("create", "token", name, "-n", namespace, f"--duration={duration}").strip()
        path = self.plane.state.folder("accounts") / f"{namespace}-{name}.kubeconfig"
        return write_kubeconfig(path, self.plane.addresses.server, self.plane.state.pki / "ca.crt", {"token": token})

    def stop(self) -> list[str]:
        """End it; its state folder stays."""
        return self.plane.stop()


class ApiCluster(Cluster):
    """Tier ``api``: no root, no kubelet; kwok plays the node and its pods."""

    @classmethod
    def start(cls, folder: Path, say: Say = _silent) -> ApiCluster:
        """Start one in a folder, or find it running there.

        Raises:
            selfheal.errors.SelfhealError: With what is missing and what to do.
        """
        build.build("api", say)
        plane = ControlPlane.load_or_create(State(folder), "api")
        plane.start()
        cluster = cls(plane)
        cluster.apply(_kwok_node("kwok-0"), _kwok_node("kwok-1"))
        plane.processes.start(
            "kwok",
            [
                build.binary("kwok"),
                f"--kubeconfig={plane.state.kubeconfig}",
                f"--config={SOURCE / 'kwok.yaml'}",
                "--manage-all-nodes=true",
                "--node-lease-duration-seconds=40",  # heartbeats: else nodes, and pods with them, turn NotReady
                f"--server-address=127.0.0.1:{plane.addresses.simulator}",
            ],
        )
        return cluster

    def __enter__(self) -> ApiCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.plane.state.root, ignore_errors=True)


def _kwok_node(name: str) -> dict[str, object]:
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "1000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"type": "kwok", "kubernetes.io/hostname": name}},
        "status": {"allocatable": capacity, "capacity": capacity},
    }
