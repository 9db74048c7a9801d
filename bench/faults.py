"""The three faults of the demo: each breaks the shop as people do, and none of them touches selfheal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.client import ApiError, Client

DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
PODS = "/api/v1/namespaces/shop/pods"
_BOX = 'namespace="shop",container="app"'


@dataclass(frozen=True)
class Fault:
    """One way to break one Deployment.

    Attributes:
        name: Short, for files and tables.
        title: For people.
        story: What happens in the real world.
        deployment: Which one, in namespace shop.
        anomaly: The type that selfheal should find.
        action: What its policy does about it.
        metric: PromQL whose curve the report shows.
        unit: Of the metric.
        limit: PromQL of a line not to be crossed; empty without one.
        inject: Breaks it.
        patience: Seconds until a heal that is not there counts as failed.
    """

    name: str
    title: str
    story: str
    deployment: str
    anomaly: str
    action: str
    metric: str
    unit: str
    limit: str
    inject: Callable[[Client], None]
    patience: float = 240.0


def _patch(client: Client, deployment: str, container: dict[str, Any]) -> None:
    template = {"spec": {"template": {"spec": {"containers": [{"name": "app", **container}]}}}}
    client.merge(f"{DEPLOYMENTS}/{deployment}", template, strategic=True)


def _bad_rollout(client: Client) -> None:
    command = ["/bin/sh", "-c", "echo cannot read the configuration; exit 1"]
    _patch(client, "catalogue", {"command": command})


def _low_limit(client: Client) -> None:
    # Its cache needs 64 MiB and takes some seconds to fill: ready first, out of memory then, as in life.
    memory = {"requests": {"memory": "48Mi"}, "limits": {"memory": "48Mi"}}
    _patch(client, "cart", {"resources": memory, "env": [{"name": "WARM_SECONDS", "value": "16"}]})


def _leak(client: Client) -> None:
    pods = client.items(PODS, labelSelector="app.kubernetes.io/name=orders", fieldSelector="status.phase=Running")
    for pod in pods:
        path = f"{PODS}/{pod['metadata']['name']}:8080/proxy/leak"
        answer = client.post(path, mib_per_minute="60")
        if answer.is_error:
            raise ApiError(f"the shop does not leak on command: {answer.status_code} {answer.text[:200]}")


def _memory(deployment: str) -> str:
    # cAdvisor's last sample of a pod that is gone stays for five minutes; kube-state-metrics knows who still runs.
    running = 'and on (namespace, pod) (kube_pod_status_phase{phase="Running"} == 1)'
    return f'max(container_memory_working_set_bytes{{{_BOX},pod=~"{deployment}-.*"}} {running}) / 1048576'


def _limit(deployment: str) -> str:
    pods = f'{_BOX},resource="memory",pod=~"{deployment}-.*",synthetic=""'
    return f"max(kube_pod_container_resource_limits{{{pods}}}) / 1048576"


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="bad-rollout",
        title="A rollout that crash-loops",
        story="Somebody ships a command that ends at once. The new pod restarts for ever, the rollout hangs.",
        deployment="catalogue",
        anomaly="CrashLoopBackOff",
        action="rollback",
        metric='count(kube_pod_status_ready{namespace="shop",pod=~"catalogue-.*",condition="true"} == 0) or vector(0)',
        unit="pods that are not ready",
        limit="",
        inject=_bad_rollout,
    ),
    Fault(
        name="low-limit",
        title="A memory limit that is too low",
        story="A rollout cuts the limit to 48 MiB. The pod gets ready, fills its cache, and the kernel kills it.",
        deployment="cart",
        anomaly="OOMKilled",
        action="adjust-resources",
        metric=_memory("cart"),
        unit="MiB of memory",
        limit=_limit("cart"),
        inject=_low_limit,
    ),
    Fault(
        name="leak",
        title="A leak that only metrics show",
        story="A pod begins to lose 60 MiB a minute. Kubernetes sees nothing wrong until the kernel would kill it.",
        deployment="orders",
        anomaly="MemoryLeak",
        action="restart",
        metric=_memory("orders"),
        unit="MiB of memory",
        limit=_limit("orders"),
        inject=_leak,
        patience=420.0,
    ),
)
