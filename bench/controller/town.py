"""A town of simulated workloads: namespaces that are opted in, policies, and a real Prometheus with their metrics."""

from __future__ import annotations

import math
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.client import Client, Resource, answers
from bench.cluster import ApiCluster, Say
from bench.paths import SOURCE
from selfheal.errors import Unavailable
from selfheal.window import MetricWindow, grid

STEP = 60.0
METRICS = ("pod_memory_usage", "alt_memory_usage", "container_restart_count")
PER_NAMESPACE = 20
_PAST, _FUTURE = 65, 45  # minutes of samples around now: windows of an hour, for as long as the bench runs
_SOURCES = {
    "container_memory_working_set_bytes": ("gauge", 1e8, 0.02),
    "container_memory_rss": ("gauge", 8e7, 0.02),
    "kube_pod_container_status_restarts_total": ("counter", 0.0, 0.0),
}
_PATIENCE = 300.0


@dataclass(frozen=True)
class Town:
    """Workloads on a cluster whose pods kwok plays.

    Attributes:
        cluster: Where they live.
        client: Reads and breaks them as administrator.
    """

    cluster: ApiCluster
    client: Client

    def install(self) -> None:
        """CRDs, rights and admission policies, as manifests/ has them."""
        crds = str(SOURCE.parent / "manifests" / "crds")
        self.cluster.kubectl("apply", "--server-side", "-f", crds)
        self.cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", crds)
        self.cluster.kubectl("apply", "--server-side", "-k", str(SOURCE.parent / "manifests"))

    def grow(self, workloads: int, policies: int) -> None:
        """Add namespaces until there are so many workloads and policies; all pods ready at the end."""
        namespaces = [f"town-{number:03d}" for number in range(math.ceil(workloads / PER_NAMESPACE))]
        each = max(1, round(policies / len(namespaces)))
        for number, namespace in enumerate(namespaces):
            names = range(number * PER_NAMESPACE, min((number + 1) * PER_NAMESPACE, workloads))
            objects: list[Resource] = [_namespace(namespace), _opt_in(namespace)]
            objects += [deployment(namespace, f"w{one:04d}") for one in names]
            self.cluster.apply(*objects)
            self.cluster.apply(*(_policy(namespace, one) for one in range(each)))
        deadline = time.monotonic() + _PATIENCE
        while len(self.pods()) < workloads:
            if time.monotonic() > deadline:
                raise Unavailable(f"{workloads} pods are not ready within {_PATIENCE:.0f} s")
            time.sleep(1)

    def allow(self, heals: int) -> None:
        """A budget for so many heals, whose default would hold them back, as it should."""
        budget = {"maxConcurrent": 50, "maxPerHour": heals, "maxPerNamespacePerHour": heals}
        kind = {"apiVersion": "aiops.example.com/v1alpha1", "kind": "HealingConfig", "metadata": {"name": "cluster"}}
        self.cluster.apply(kind | {"spec": {"budget": budget}})

    def pods(self) -> list[Resource]:
        """Those that are ready and whose workload is in town."""
        found = self.client.items("/api/v1/pods")
        ready = [pod for pod in found if pod["metadata"]["namespace"].startswith("town-") and _is_ready(pod)]
        return sorted(ready, key=lambda pod: str(pod["metadata"]["name"]))


def deployment(namespace: str, name: str, fault: str = "") -> Resource:
    """One replica; with a fault its pods fail as bench/kwok.yaml says."""
    labels, marks = {"app": name}, {"bench.selfheal/fault": fault} if fault else {}
    size = {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"cpu": "100m", "memory": "256Mi"}}
    container = {"name": "app", "image": f"registry.example/town:{'v2' if fault else 'v1'}", "resources": size}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "annotations": marks}, "spec": {"containers": [container]}},
        },
    }


def _namespace(name: str) -> Resource:
    labels = {"aiops.example.com/self-healing": "enabled"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _opt_in(namespace: str) -> Resource:
    rbac = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "selfheal-healer", "namespace": namespace},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "selfheal-healer"},
        "subjects": [{"kind": "ServiceAccount", "name": "selfheal-controller", "namespace": "selfheal-system"}],
    }


def _policy(namespace: str, number: int) -> Resource:
    kinds = (
        {"anomalyType": "CrashLoopBackOff", "action": "rollback"},
        {"anomalyType": "MemoryLeak", "action": "restart"},
    )
    return {
        "apiVersion": "aiops.example.com/v1alpha1",
        "kind": "SelfHealingPolicy",
        "metadata": {"name": f"policy-{number}", "namespace": namespace},
        "spec": kinds[number % 2] | {"verification": {"stabilizationPeriod": "5s", "timeout": "60s"}},
    }


def _is_ready(pod: Resource) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def owner(pod: Resource) -> str:
    """``namespace/Deployment/name`` of a pod in town."""
    return f"{pod['metadata']['namespace']}/Deployment/{pod['metadata']['labels']['app']}"


def history(pod: Resource, minutes: int, seed: int) -> MetricWindow:
    """What a model learns of a workload: noise around a level."""
    random, base = np.random.default_rng(seed), np.array([1e8, 8e7, 0.0])
    values = base * (1 + 0.02 * random.standard_normal((minutes, len(METRICS))))
    end = np.datetime64(int(time.time() // STEP * STEP), "s")
    return MetricWindow(owner(pod), grid(end, minutes, STEP), values, METRICS, STEP)


def openmetrics(pods: Sequence[Resource]) -> str:
    """What cAdvisor and kube-state-metrics would have said of the pods, an hour back and some time ahead."""
    moments = (np.arange(-_PAST, _FUTURE) * STEP + time.time() // STEP * STEP).astype(int)
    parts = [_family(name, *shape, pods, moments) for name, shape in _SOURCES.items()]
    parts.append(_owners("kube_pod_owner", pods, moments))
    parts.append(_owners("kube_replicaset_owner", pods, moments))
    return "".join(parts) + "# EOF\n"


def _family(name: str, kind: str, level: float, noise: float, pods: Sequence[Resource], moments: Any) -> str:
    random = np.random.default_rng(len(name))
    lines = [f"# TYPE {name.removesuffix('_total') if kind == 'counter' else name} {kind}"]
    for pod in pods:
        labels = f'namespace="{pod["metadata"]["namespace"]}",pod="{pod["metadata"]["name"]}",container="app"'
        values = level * (1 + noise * random.standard_normal(len(moments)))
        lines += [f"{name}{{{labels}}} {value:.0f} {at}" for value, at in zip(values, moments, strict=True)]
    return "\n".join(lines) + "\n"


def _owners(name: str, pods: Sequence[Resource], moments: Any) -> str:
    lines = [f"# TYPE {name} gauge"]
    for pod in pods:
        meta = pod["metadata"]
        (above,) = (one["name"] for one in meta["ownerReferences"])
        who = f'pod="{meta["name"]}",owner_kind="ReplicaSet",owner_name="{above}"'
        if name == "kube_replicaset_owner":
            who = f'replicaset="{above}",owner_kind="Deployment",owner_name="{meta["labels"]["app"]}"'
        lines += [f'{name}{{namespace="{meta["namespace"]}",{who}}} 1 {at}' for at in moments]
    return "\n".join(lines) + "\n"


def prometheus(cluster: ApiCluster, pods: Sequence[Resource], say: Say) -> str:
    """Start a real Prometheus that holds the pods' metrics, beside the cluster; its URL.

    Raises:
        Unavailable: Where Prometheus is not installed.
    """
    if shutil.which("promtool") is None:
        raise Unavailable("prometheus and promtool are missing: apt-get install prometheus")
    folder = cluster.plane.state.folder("prometheus")
    text, config = folder / "town.om", folder / "prometheus.yml"
    say(f"an hour of metrics of {len(pods)} pods for Prometheus")
    text.write_text(openmetrics(pods))
    config.write_text("scrape_configs: []\n")
    cluster.plane.processes.stop("prometheus")
    shutil.rmtree(folder / "data", ignore_errors=True)
    make = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data")]
    subprocess.run(make, check=True, capture_output=True)
    text.unlink()
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += ["--storage.tsdb.retention.time=100y", f"--web.listen-address={address}"]
    cluster.plane.processes.start("prometheus", command)
    cluster.plane.processes.wait("prometheus", lambda: answers(f"http://{address}/-/ready"))
    return f"http://{address}"


def free_port() -> int:
    """A TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
