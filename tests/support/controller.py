"""The controller as a process of its own, as its own ServiceAccount, and what an independent reader sees of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.audit import is_written
from bench.cluster import ApiCluster

SIZE = {"limits": {"memory": "64Mi", "cpu": "100m"}, "requests": {"memory": "32Mi", "cpu": "50m"}}
ROOT = Path(__file__).parents[2]


class Controller:
    """One process.

    Args:
        kubeconfig: Its credentials.
        log: Receives its stdout and stderr.
        env: Settings on top of those that make a test quick.
        module: What ``python -m`` runs.
        python: The interpreter, and with it the packages.
    """

    def __init__(
        self,
        kubeconfig: Path,
        log: Path,
        env: Mapping[str, str] | None = None,
        module: str = "controller",
        python: str = sys.executable,
    ) -> None:
        self._command = [python, "-m", module]
        self._env = os.environ | {
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "KUBECONFIG": str(kubeconfig),
            "SELFHEAL_TICK_SECONDS": "2",
            "SELFHEAL_METRICS_PORT": "0",
            "SELFHEAL_LIVENESS_PORT": "0",
            "SELFHEAL_LEASE_SECONDS": "4",
            "SELFHEAL_RENEW_DEADLINE_SECONDS": "3",
            "SELFHEAL_LEASE_RETRY_SECONDS": "0.5",
            **(env or {}),
        }
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it says so."""
        said = self._started()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, env=self._env, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while self._started() == said:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the controller did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.1)

    def _started(self) -> int:
        return sum(line.get("message") == "started" for line in self.lines()) if self.log.exists() else 0

    def lines(self) -> list[dict[str, Any]]:
        """Its log."""
        found = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [json.loads(line) for line in found if line.endswith("}")]

    @property
    def pid(self) -> int:
        """Of its process; 0 before it was started."""
        return 0 if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """``kill -9``."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self._process is None:
            return 0
        self._process.terminate()
        return self._process.wait(30)


@contextmanager
def running(
    kubeconfig: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    module: str = "controller",
    python: str = sys.executable,
) -> Iterator[Controller]:
    """A controller for the length of a block."""
    controller = Controller(kubeconfig, log, env, module, python)
    controller.start()
    try:
        yield controller
    finally:
        if controller.running:
            controller.stop()


@dataclass(frozen=True)
class Shop:
    """A namespace with workloads, and what is read of it by kubectl as administrator.

    Attributes:
        cluster: Where.
        namespace: Its name.
    """

    cluster: ApiCluster
    namespace: str

    def get(self, kind: str, name: str = "") -> Any:
        """An object, or the items of a kind."""
        words = ["get", kind, *([name] if name else []), "-n", self.namespace, "-o", "json"]
        found = json.loads(self.cluster.kubectl(*words))
        return found if name else found["items"]

    def opt_in(self) -> None:
        """What an administrator does to have a namespace healed."""
        self.cluster.kubectl("label", "namespace", self.namespace, "aiops.example.com/self-healing=enabled")
        words = ["create", "rolebinding", "selfheal-healer", "--clusterrole=selfheal-healer", "-n", self.namespace]
        self.cluster.kubectl(*words, "--serviceaccount=selfheal-system:selfheal-controller")

    def policy(self, name: str = "healing", **spec: Any) -> None:
        """A policy whose verification is quick."""
        defaults = {
            "anomalyType": "CrashLoopBackOff",
            "action": "rollback",
            "verification": {"stabilizationPeriod": "2s", "timeout": "60s"},
        }
        meta = {"name": name, "namespace": self.namespace}
        self.cluster.apply(
            {
                "apiVersion": "aiops.example.com/v1alpha1",
                "kind": "SelfHealingPolicy",
                "metadata": meta,
                "spec": defaults | spec,
            }
        )

    def deploy(self, name: str = "cart", fault: str = "", **annotations: str) -> None:
        """Roll out a Deployment; with a fault its pods fail as bench/kwok.yaml says."""
        labels = {"app": name}
        marks = {"bench.selfheal/fault": fault} if fault else {}
        image = f"registry.example/shop:{'v2' if fault else 'v1'}"
        meta = {"name": name, "namespace": self.namespace, "labels": labels, "annotations": annotations}
        container = {"name": "app", "image": image, "resources": SIZE}
        self.cluster.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": meta,
                "spec": {
                    "replicas": 2,
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels, "annotations": marks},
                        "spec": {"containers": [container]},
                    },
                },
            }
        )

    def healthy(self, name: str = "cart") -> bool:
        """Whether the newest revision has all replicas available."""
        found = self.get("deployment", name)
        status = found.get("status", {})
        new = status.get("observedGeneration") == found["metadata"]["generation"]
        counts = [status.get(name) for name in ("replicas", "updatedReplicas", "availableReplicas")]
        return bool(new) and counts == [2, 2, 2]

    def image(self, name: str = "cart") -> str:
        """Of the first container in the template."""
        return str(self.get("deployment", name)["spec"]["template"]["spec"]["containers"][0]["image"])

    def remediations(self) -> list[Any]:
        """All of the namespace, the oldest first."""
        return sorted(self.get("remediations"), key=lambda one: one["metadata"]["creationTimestamp"])

    def outcomes(self) -> list[str]:
        """Of those that ended."""
        found = (one.get("status", {}).get("outcome") for one in self.remediations())
        return [outcome for outcome in found if outcome]

    def writes(self, resource: str = "deployments") -> list[Any]:
        """What the controller wrote to workloads of this namespace, by the API server's own audit log."""
        log = self.cluster.plane.state.logs / "audit.log"
        return [one for line in log.read_text().splitlines() if self._is_write(one := json.loads(line), resource)]

    def _is_write(self, entry: Any, resource: str) -> bool:
        about = entry.get("objectRef", {})
        return (
            is_written(entry)
            and about.get("namespace") == self.namespace
            and about.get("resource") == resource
            and about.get("subresource") != "status"
        )
