"""Where a scenario plays: one namespace of one cluster, and a controller with its own rights and no others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.client import Client, Resource
from bench.cluster import Cluster
from bench.product import ROOT, base_env
from bench.scenarios.objects import opt_in, path, thing
from selfheal.errors import SelfhealError

SYSTEM, ACCOUNT = "selfheal-system", "selfheal-controller"
SETTINGS = {"SELFHEAL_TICK_SECONDS": "10", "SELFHEAL_METRICS_PORT": "0", "SELFHEAL_LIVENESS_PORT": "0"}
"""Everything else has its default: Lease, resync and recheck are those of production."""
_KINDS = "remediations,selfhealingpolicies,remediationapprovals,healingconfigs"
ROOMY = {"budget": {"maxPerHour": 1000, "maxPerNamespacePerHour": 100}, "storm": {"cooldown": "1s"}}
"""A suite breaks more in an hour than any cluster; one scenario has the usual budget back."""


@dataclass
class Stage:
    """A namespace to break.

    Attributes:
        cluster: Where.
        client: As administrator.
        namespace: Its name.
        borrowed: Whether it was there before, with workloads of its own (the demo's shop), and stays.
        memory: What the steps of a scenario have to tell each other.
    """

    cluster: Cluster
    client: Client
    namespace: str
    borrowed: bool = False
    memory: dict[str, Any] = field(default_factory=dict)

    def apply(self, *documents: Resource, namespace: str = "") -> None:
        """``kubectl apply`` as people do it."""
        where = namespace or self.namespace
        everything = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.cluster.kubectl("apply", "-n", where, "-f", "-", stdin=json.dumps(everything))

    def get(self, kind: str, name: str, namespace: str | None = None) -> Resource:
        """An object; empty when there is none."""
        return self.client.get(path(kind, self.namespace if namespace is None else namespace, name))

    def items(self, kind: str, **query: str) -> list[Resource]:
        """The objects of a kind in the namespace."""
        return self.client.items(path(kind, self.namespace), **query)

    def patch(self, kind: str, name: str, body: Resource) -> None:
        """A strategic merge patch of an object in the namespace."""
        self.client.merge(path(kind, self.namespace, name), body, strategic=True)

    def change(self, name: str = "cart", kind: str = "Deployment", **container: Any) -> None:
        """Roll out another container ``app``; a value of None takes a field away."""
        pod = {"containers": [{"name": "app", **container}]}
        self.patch(kind, name, {"spec": {"template": {"spec": pod}}})

    def fail(self, fault: str, name: str = "cart") -> None:
        """Roll out a template whose pods kwok lets fail."""
        meta = {"annotations": {"bench.selfheal/fault": fault}}
        pod = {"containers": [{"name": "app", "image": "registry.example/shop:v2"}]}
        self.patch("Deployment", name, {"spec": {"template": {"metadata": meta, "spec": pod}}})

    def pods(self, name: str = "cart") -> list[Resource]:
        """Pods of a workload that are not on their way out."""
        label = "app.kubernetes.io/name" if self.borrowed else "app"
        found = self.items("Pod", labelSelector=f"{label}={name}")
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def remediations(self) -> list[Resource]:
        """All of the namespace that were not there before."""
        known = self.memory.get("known", set())
        return [one for one in self.items("Remediation") if one["metadata"]["uid"] not in known]

    # The stage itself.

    def open(self, config: Mapping[str, Any]) -> None:
        """Make the namespace, opt it in, and set the cluster-wide settings."""
        # The API server answers 429 for a moment after it took a kind.
        self.wait(lambda: self.cluster.plane.kubectl_ok("get", _KINDS, "-A"), "the custom resources to be served", 30)
        self.cluster.apply(*opt_in(self.namespace)[self.borrowed :])
        self.memory["known"] = {one["metadata"]["uid"] for one in self.items("Remediation")}
        self.cluster.apply(thing("HealingConfig", "cluster", spec=dict(config) or ROOMY))
        self.wait(lambda: bool(self.get("ServiceAccount", "default")), "the namespace's ServiceAccount", 30)

    def close(self) -> None:
        """Delete the namespace without waiting, or only the policies in a borrowed one."""
        if self.borrowed:
            for one in self.items("SelfHealingPolicy"):
                if one["metadata"]["name"].startswith("scenario-"):
                    self.client.delete(path("SelfHealingPolicy", self.namespace, one["metadata"]["name"]))
            return
        self.cluster.plane.kubectl_ok("delete", "namespace", self.namespace, "--wait=false")

    def wait(self, holds: Any, what: str, seconds: float = 90) -> None:
        """Wait for the cluster to get there.

        Raises:
            SelfhealError: With what was waited for.
        """
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise SelfhealError(f"{what}: not within {seconds:.0f} s in namespace {self.namespace}")
            time.sleep(0.3)

    # The controller.

    def start_controller(self, env: Mapping[str, str] | None = None) -> None:
        """Start it as its ServiceAccount, or find it running; return when it leads.

        A Lease that another controller left behind is waited out here, not within the time that a scenario measures.
        """
        plane = self.cluster.plane
        if plane.processes.pid("controller") is not None:
            return
        account = self.cluster.service_account_kubeconfig(SYSTEM, ACCOUNT, duration="24h")
        started, led = self.said("started"), self.said("leading")
        settings = base_env() | SETTINGS | {"KUBECONFIG": str(account)} | dict(env or {})
        plane.processes.start("controller", [sys.executable, "-m", "controller"], settings)
        plane.processes.wait("controller", lambda: self.said("started") > started, seconds=90)
        plane.processes.wait("controller", lambda: self.said("leading") > led, seconds=60)

    def said(self, message: str) -> int:
        """How often the controller's log has a message."""
        log = self.cluster.plane.state.logs / "controller.log"
        return log.read_text(errors="replace").count(f'"message": "{message}"') if log.exists() else 0

    def stop_controller(self) -> None:
        """End it kindly."""
        self.cluster.plane.processes.stop("controller", seconds=30)

    def kill_controller(self) -> None:
        """``kill -9``."""
        processes = self.cluster.plane.processes
        pid = processes.pid("controller")
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def install(cluster: Cluster) -> None:
    """CRDs, rights and admission policies, as manifests/ has them."""
    crds = str(ROOT / "manifests" / "crds")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", crds)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "manifests"))
