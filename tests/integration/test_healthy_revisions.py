"""What is healthy is noted while it is: another replica rolls back to such a revision, and restores its replicas."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.audit import USER
from bench.cluster import ApiCluster
from bench.controlplane import KubectlFailed
from selfheal.policy import SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from tests.integration.conftest import wait_until
from tests.support.controller import SIZE, Shop, running

pytestmark = pytest.mark.api

NOTES = "selfheal-healthy-revisions"
KINDS = ("Deployment", "StatefulSet")


def roll_out(shop: Shop, kind: str, version: str, replicas: int = 2, fault: str = "") -> None:
    """A version of the cart; with a fault its pods fail."""
    labels = {"app": "cart"}
    marks = {"bench.selfheal/fault": fault} if fault else {}
    app = {"name": "app", "image": f"registry.example/shop:{version}", "resources": SIZE}
    spec: dict[str, Any] = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels, "annotations": marks}, "spec": {"containers": [app]}},
    }
    if kind == "StatefulSet":
        spec["serviceName"] = "cart"
    meta = {"name": "cart", "namespace": shop.namespace, "labels": labels}
    shop.cluster.apply({"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec})


def status(shop: Shop, kind: str) -> Any:
    """Of the cart, once its controller has seen the newest spec."""
    found = shop.get(kind.lower(), "cart")
    seen = found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
    return found["status"] if seen else {}


def is_ready(shop: Shop, kind: str) -> bool:
    """Whether both pods are there and ready."""
    found = status(shop, kind)
    return [found.get(name) for name in ("replicas", "updatedReplicas", "readyReplicas")] == [2, 2, 2]


def let_time_pass(shop: Shop) -> None:
    """The pods are ready for three minutes."""
    past = (datetime.now(UTC) - timedelta(minutes=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": past}
    body = json.dumps({"status": {"conditions": [ready]}})
    for pod in shop.get("pods"):
        words = ["patch", "pod", pod["metadata"]["name"], "-n", shop.namespace, "--subresource=status"]
        shop.cluster.kubectl(*words, "--type=strategic", "-p", body)


def noted(cluster: ApiCluster, key: str) -> dict[str, Any]:
    """What is noted of a workload."""
    found = json.loads(cluster.kubectl("get", "configmap", NOTES, "-n", SYSTEM_NAMESPACE, "-o", "json"))
    return json.loads(found.get("data", {}).get(key, "{}")) or {}


def image(shop: Shop, kind: str) -> str:
    """In the template."""
    return str(shop.get(kind.lower(), "cart")["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_rollback_goes_to_the_revision_that_was_noted_by_a_replica_that_is_dead_since(
    api_cluster: ApiCluster, namespace: str, tmp_path: Path, kind: str
) -> None:
    shop = Shop(api_cluster, namespace)
    roll_out(shop, kind, "v1")
    wait_until(lambda: is_ready(shop, kind), "a healthy cart")
    shop.opt_in()
    shop.policy()
    account = api_cluster.service_account_kubeconfig(SYSTEM_NAMESPACE, SERVICE_ACCOUNT)
    with running(account, tmp_path / "first.log") as first:
        let_time_pass(shop)
        wait_until(lambda: bool(noted(api_cluster, f"{namespace}.{kind}.cart")), "a note")
        first.kill()
    roll_out(shop, kind, "v1", replicas=0)
    wait_until(lambda: not status(shop, kind).get("replicas", 0) and bool(status(shop, kind)), "no pods")
    for version in ("v2", "v3"):  # neither ever had a pod: nothing speaks against them, nothing for them
        roll_out(shop, kind, version, replicas=0)
        wait_until(lambda: bool(status(shop, kind)), f"revision {version}")
    roll_out(shop, kind, "v4", fault="crashloop")
    with running(account, tmp_path / "second.log"):
        wait_until(lambda: bool(shop.outcomes()), "the end")
    record = shop.remediations()[0]["status"]
    assert (record["outcome"], image(shop, kind)) == ("Successful", "registry.example/shop:v1")
    assert "noted as healthy while it ran" in record["attempts"][0]["change"]["note"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_workload_gets_its_replicas_back_from_a_replica_that_never_saw_it_with_any(
    api_cluster: ApiCluster, namespace: str, tmp_path: Path, kind: str
) -> None:
    shop = Shop(api_cluster, namespace)
    roll_out(shop, kind, "v1")
    wait_until(lambda: is_ready(shop, kind), "a healthy cart")
    shop.opt_in()
    shop.policy(anomalyType="MetricAnomaly", action="scale")
    account = api_cluster.service_account_kubeconfig(SYSTEM_NAMESPACE, SERVICE_ACCOUNT)
    key = f"{namespace}.{kind}.cart"
    with running(account, tmp_path / "first.log") as first:
        let_time_pass(shop)
        wait_until(lambda: noted(api_cluster, key).get("replicas") == 2, "a note")
        first.kill()
    api_cluster.kubectl("scale", f"{kind.lower()}/cart", "--replicas=0", "-n", namespace)
    wait_until(lambda: bool(status(shop, kind)) and not status(shop, kind).get("replicas", 0), "no pods")
    with running(account, tmp_path / "second.log"):
        wait_until(lambda: bool(shop.outcomes()), "the end")
    (record,) = shop.remediations()
    assert (record["status"]["outcome"], is_ready(shop, kind)) == ("Successful", True)
    source = "a note from when it was healthy says 2"
    assert f"{source} replicas" in record["spec"]["anomaly"]["message"]
    assert source in record["status"]["attempts"][0]["change"]["note"]
    assert noted(api_cluster, key)["replicas"] == 2


def may(cluster: ApiCluster, verb: str, what: str, namespace: str = SYSTEM_NAMESPACE) -> bool:
    """Whether the controller's account has a right."""
    try:
        return "yes" in cluster.kubectl("auth", "can-i", verb, what, "-n", namespace, f"--as={USER}")
    except KubectlFailed:
        return False


def test_the_notes_are_the_only_config_map_that_the_controller_may_touch(
    api_cluster: ApiCluster, namespace: str
) -> None:
    assert may(api_cluster, "get", f"configmaps/{NOTES}")
    assert may(api_cluster, "patch", f"configmaps/{NOTES}")
    for verb in ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"):
        assert not may(api_cluster, verb, "configmaps"), verb
        assert not may(api_cluster, verb, "configmaps/other"), verb
        assert not may(api_cluster, verb, f"configmaps/{NOTES}", namespace), verb
    for verb in ("update", "delete"):
        assert not may(api_cluster, verb, f"configmaps/{NOTES}"), verb
