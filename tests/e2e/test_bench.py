"""The bench is a real Kubernetes: what the product's promises rest on is seen here first."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bench.client import Client
from bench.images import FAULTY
from bench.machine import claim
from bench.monitoring import PROMETHEUS
from bench.node import NodeCluster
from bench.paths import State
from bench.product import Product
from selfheal.catalogue import CORE_NAMES
from selfheal.errors import WrongUse
from selfheal.prometheus import PrometheusClient

pytestmark = pytest.mark.node


def until(ready: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.5)
    return found


def pod(name: str, *command: str, memory: str = "48Mi") -> dict[str, Any]:
    resources = {"requests": {"memory": memory}, "limits": {"memory": memory}}
    container = {"name": "app", "image": FAULTY, "command": list(command), "resources": resources}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "e2e"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }


def state(client: Client, name: str) -> dict[str, Any]:
    statuses = client.get(f"/api/v1/namespaces/e2e/pods/{name}").get("status", {}).get("containerStatuses") or [{}]
    return dict(statuses[0])


def test_a_pod_finds_a_service_by_its_name_and_reaches_it_through_its_cluster_address(
    shop: Product, client: Client
) -> None:
    address = client.get("/api/v1/namespaces/shop/services/orders")["spec"]["clusterIP"]
    looked_up = shop.cluster.kubectl(
        "exec", "-n", "shop", "deploy/cart", "--", "nslookup", "-type=a", "orders.shop.svc.cluster.local"
    )
    assert address in looked_up
    # The cart answers 200 only when it reached http://orders:8080 itself.
    pods = client.items("/api/v1/namespaces/shop/pods", labelSelector="app.kubernetes.io/name=cart")
    cart = pods[0]["metadata"]["name"]
    path = f"/api/v1/namespaces/shop/pods/{cart}:8080/proxy/"
    # kube-proxy writes its rules some seconds after the pod behind a Service is ready, as on every cluster.
    until(lambda: shop.cluster.plane.kubectl_ok("get", "--raw", path), 20)
    asked = shop.cluster.kubectl("get", "--raw", path)
    assert asked.strip() == "cart"


def test_starting_it_twice_leaves_every_process_as_it_is(node: NodeCluster) -> None:
    before = node.plane.processes.running()
    NodeCluster.start(node.plane.state.root, lambda _: None)
    assert node.plane.processes.running() == before


def test_a_second_bench_is_refused_with_the_place_of_the_first(node: NodeCluster, tmp_path: Any) -> None:
    with pytest.raises(WrongUse, match=str(node.plane.state.root)):
        claim(State(tmp_path / "other"))


def test_all_sixteen_core_queries_return_data(shop: Product) -> None:
    def lacking() -> set[str]:
        found = PrometheusClient(PROMETHEUS).probe(CORE_NAMES)
        return {result.query.name for result in found if not result.series}

    assert shop.cluster.kubectl("get", "deployment", "-n", "shop")
    until(lambda: not lacking(), 120)


def test_the_kubelets_metrics_name_containers(shop: Product) -> None:
    query = 'container_memory_working_set_bytes{namespace="shop",container="app"}'

    def series() -> list[Any]:
        answer = httpx.get(f"{PROMETHEUS}/api/v1/query", params={"query": query}).raise_for_status()
        return list(answer.json()["data"]["result"])

    assert shop.cluster.plane.processes.pid("prometheus")
    assert len(until(series, 60)) >= 6


def test_a_container_over_its_limit_is_killed_for_it(node: NodeCluster, namespace: str, client: Client) -> None:
    assert namespace
    node.apply(pod("hungry", "mem", "16", "16"))

    def killed() -> bool:
        ended = state(client, "hungry").get("lastState", {}).get("terminated") or {}
        return (ended.get("reason"), ended.get("exitCode")) == ("OOMKilled", 137)

    until(killed)


def test_a_container_that_ends_at_once_comes_into_a_crash_loop(
    node: NodeCluster, namespace: str, client: Client
) -> None:
    assert namespace
    node.apply(pod("crashing", "sh", "-c", "exit 1"))
    until(lambda: (state(client, "crashing").get("state", {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff")


def test_a_running_container_is_resized_in_place(node: NodeCluster, namespace: str, client: Client) -> None:
    assert namespace
    node.apply(pod("growing", "sh", "-c", "mem 24; sleep 600"))
    until(lambda: state(client, "growing").get("state", {}).get("running"))
    more = {"requests": {"memory": "96Mi"}, "limits": {"memory": "96Mi"}}
    patch = json.dumps({"spec": {"containers": [{"name": "app", "resources": more}]}})
    node.kubectl("patch", "pod", "growing", "-n", namespace, "--subresource", "resize", "-p", patch)
    until(lambda: state(client, "growing").get("resources", {}).get("limits", {}).get("memory") == "96Mi")
    assert state(client, "growing")["restartCount"] == 0
    # More than the old limit: the kernel's own limits were raised, not only what the API says about them.
    held = node.kubectl("exec", "-n", namespace, "growing", "--", "sh", "-c", "timeout 2 mem 60; true")
    assert "holding 60 MiB" in held
