"""The adapter to the API server, against a real one: preconditions, dry runs, subresources, records, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.cluster import ApiCluster
from controller.cluster import Cluster, Key
from selfheal.errors import Conflict, Forbidden, Refused, Unavailable
from selfheal.policy import FIELD_MANAGER, REMEDIATION_ANNOTATION, AnomalyType
from selfheal.remediation import (
    AnomalyRecord,
    Operation,
    PolicyRef,
    RemediationSpec,
    RemediationStatus,
    Source,
    TargetRef,
    VerdictRecord,
)
from tests.integration.conftest import wait_until
from tests.support.controller import SIZE, Shop

pytestmark = pytest.mark.api

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
IMAGE = "/spec/template/spec/containers/0/image"
MARK = "/metadata/annotations/" + REMEDIATION_ANNOTATION.replace("/", "~1")


@pytest.fixture
def adapter(api_cluster: ApiCluster) -> Cluster:
    """As the controller's ServiceAccount."""
    return Cluster.connect(api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller"))


@pytest.fixture
def shop(api_cluster: ApiCluster, namespace: str) -> Shop:
    found = Shop(api_cluster, namespace)
    found.opt_in()
    found.deploy("cart", team="a")
    wait_until(lambda: found.healthy("cart"), "a healthy cart")
    return found


@pytest.fixture
def operation(shop: Shop) -> Callable[..., Operation]:
    """A change of the image, with its mark."""

    def make(image: str = "registry.example/shop:v0", **changes: Any) -> Operation:
        meta = shop.get("deployment", "cart")["metadata"]
        patch: tuple[dict[str, Any], ...] = (
            {"op": "replace", "path": IMAGE, "value": image},
            {"op": "add", "path": MARK, "value": "rem-1/1"},
        )
        given: dict[str, Any] = {"uid": meta["uid"], "patch": patch} | changes
        return Operation(
            verb="Patch", api_version="apps/v1", kind="Deployment", namespace=shop.namespace, name="cart", **given
        )

    return make


def test_a_workload_comes_with_its_pods_revisions_namespace_and_nodes(adapter: Cluster, shop: Shop) -> None:
    found = adapter.read.workload(Key(shop.namespace, "Deployment", "cart"))
    assert found is not None
    assert found.ref.workload == f"{shop.namespace}/Deployment/cart"
    assert len(found.pods) == 2
    assert len(found.revisions) == 1
    assert found.namespace["metadata"]["labels"]["aiops.example.com/self-healing"] == "enabled"
    assert {node["metadata"]["name"] for node in found.nodes} <= {"kwok-0", "kwok-1"}
    assert found.pods[0]["kind"] == "Pod"


def test_revisions_are_the_newest_first(adapter: Cluster, shop: Shop) -> None:
    shop.deploy("cart", fault="crashloop")
    key = Key(shop.namespace, "Deployment", "cart")

    def count() -> int:
        found = adapter.read.workload(key)
        return len(found.revisions) if found else 0

    wait_until(lambda: count() == 2, "a second ReplicaSet")
    found = adapter.read.workload(key)
    assert found is not None
    images = [one["spec"]["template"]["spec"]["containers"][0]["image"] for one in found.revisions]
    assert images == ["registry.example/shop:v2", "registry.example/shop:v1"]


def test_guards_that_point_at_a_workload_come_along_and_others_do_not(adapter: Cluster, shop: Shop) -> None:
    def budget(name: str, app: str) -> dict[str, Any]:
        spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": app}}}
        return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": at(name), "spec": spec}

    def autoscaler(name: str, target: str) -> dict[str, Any]:
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
        spec = {"scaleTargetRef": reference, "maxReplicas": 3}
        return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": at(name), "spec": spec}

    def at(name: str) -> dict[str, str]:
        return {"name": name, "namespace": shop.namespace}

    documents = [budget("ours", "cart"), budget("theirs", "till"), autoscaler("ours", "cart"), autoscaler("x", "till")]
    shop.cluster.apply(*documents)
    found = adapter.read.workload(Key(shop.namespace, "Deployment", "cart"))
    assert found is not None
    assert [one["metadata"]["name"] for one in found.disruption_budgets] == ["ours"]
    assert [one["metadata"]["name"] for one in found.autoscalers] == ["ours"]


def test_a_workload_that_does_not_exist_is_none(adapter: Cluster, shop: Shop) -> None:
    assert adapter.read.workload(Key(shop.namespace, "Deployment", "nobody")) is None


def test_an_operation_is_written_once_under_our_field_manager(
    adapter: Cluster, shop: Shop, operation: Callable[..., Operation]
) -> None:
    change = operation()
    assert adapter.write.apply([change]) == 1
    assert adapter.write.apply([change]) == 0
    found = shop.cluster.kubectl(
        "get", "deployment", "cart", "-n", shop.namespace, "-o", "json", "--show-managed-fields"
    )
    assert shop.image() == "registry.example/shop:v0"
    assert f'"manager": "{FIELD_MANAGER}"' in found
    assert len(shop.writes()) == 1


def test_a_dry_run_changes_nothing(adapter: Cluster, shop: Shop, operation: Callable[..., Operation]) -> None:
    assert "accepted" in adapter.write.dry_run([operation()])
    assert shop.image() == "registry.example/shop:v1"
    assert shop.writes() == []


def test_another_object_of_the_same_name_is_not_touched(
    adapter: Cluster, shop: Shop, operation: Callable[..., Operation]
) -> None:
    with pytest.raises(Conflict, match="changed since the plan"):
        adapter.write.apply([operation(uid="00000000-0000-0000-0000-000000000000")])
    assert shop.image() == "registry.example/shop:v1"


def test_an_object_that_was_changed_since_the_plan_is_not_touched(
    adapter: Cluster, shop: Shop, operation: Callable[..., Operation]
) -> None:
    version = shop.get("deployment", "cart")["metadata"]["resourceVersion"]
    shop.cluster.kubectl("annotate", "deployment", "cart", "-n", shop.namespace, "somebody=else")
    with pytest.raises(Conflict):
        adapter.write.apply([operation(resource_version=version)])
    assert shop.image() == "registry.example/shop:v1"


def test_a_test_that_does_not_hold_is_a_conflict_and_nonsense_is_refused(
    adapter: Cluster, operation: Callable[..., Operation]
) -> None:
    stale = ({"op": "test", "path": IMAGE, "value": "other"}, {"op": "replace", "path": IMAGE, "value": "new"})
    with pytest.raises(Conflict):
        adapter.write.apply([operation(patch=stale)])
    wrong = ({"op": "replace", "path": "/spec/replicas", "value": -1},)
    with pytest.raises(Refused, match="replicas"):
        adapter.write.dry_run([operation(patch=wrong)])


def test_where_nobody_opted_in_our_rights_do_not_reach(
    adapter: Cluster, shop: Shop, operation: Callable[..., Operation]
) -> None:
    change = operation()
    shop.cluster.kubectl("delete", "rolebinding", "selfheal-healer", "-n", shop.namespace)
    wait_until(lambda: forbidden(adapter, change), "the authorizer to notice")
    assert shop.image() == "registry.example/shop:v1"


def forbidden(adapter: Cluster, change: Operation) -> bool:
    try:
        adapter.write.dry_run([change])
    except Forbidden as error:
        return "selfheal enable" in str(error)
    return False


def pod_operation(shop: Shop, verb: Any, patch: tuple[dict[str, Any], ...] = ()) -> Operation:
    meta = shop.get("pods")[0]["metadata"]
    return Operation(
        verb=verb,
        api_version="v1",
        kind="Pod",
        namespace=shop.namespace,
        name=meta["name"],
        uid=meta["uid"],
        patch=patch,
    )


def test_a_pod_is_evicted_once_and_only_the_one_that_was_meant(adapter: Cluster, shop: Shop) -> None:
    evict = pod_operation(shop, "Evict")
    with pytest.raises(Conflict):
        adapter.write.dry_run([evict.model_copy(update={"uid": "00000000-0000-0000-0000-000000000000"})])
    adapter.write.dry_run([evict])
    assert adapter.write.apply([evict]) == 1
    assert adapter.write.apply([evict]) == 0
    assert [entry["objectRef"]["subresource"] for entry in shop.writes("pods")] == ["eviction"]


def test_a_disruption_budget_holds_an_eviction_back(adapter: Cluster, shop: Shop) -> None:
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "cart"}}}
    meta = {"name": "cart", "namespace": shop.namespace}
    shop.cluster.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec})
    status = ("get", "pdb", "cart", "-n", shop.namespace, "-o", "jsonpath={.status.currentHealthy}")
    wait_until(lambda: shop.cluster.kubectl(*status) == "2", "the budget to count its pods")
    with pytest.raises(Refused) as caught:
        adapter.write.apply([pod_operation(shop, "Evict")])
    assert caught.value.reason == "DisruptionBudget"


def report_size(shop: Shop, pod: str) -> None:
    """What a kubelet does, and a simulated node does not: only such pods can be resized."""
    patch = json.dumps([{"op": "add", "path": "/status/containerStatuses/0/resources", "value": SIZE}])
    shop.cluster.kubectl("patch", "pod", pod, "-n", shop.namespace, "--subresource=status", "--type=json", "-p", patch)


def test_a_pod_is_resized_through_its_subresource(adapter: Cluster, shop: Shop) -> None:
    path = "/spec/containers/0/resources/limits/memory"
    resize = pod_operation(shop, "Resize", ({"op": "replace", "path": path, "value": "1024Mi"},))
    report_size(shop, resize.name)
    assert adapter.write.apply([resize]) == 1
    limits = shop.get("pod", resize.name)["spec"]["containers"][0]["resources"]["limits"]
    assert limits["memory"] in ("1Gi", "1024Mi")
    assert adapter.write.apply([resize]) == 0


def test_replicas_are_changed_through_the_scale_subresource(adapter: Cluster, shop: Shop) -> None:
    patch = ({"op": "replace", "path": "/spec/replicas", "value": 3},)
    uid = shop.get("deployment", "cart")["metadata"]["uid"]
    scale = Operation(
        verb="Scale",
        api_version="apps/v1",
        kind="Deployment",
        namespace=shop.namespace,
        name="cart",
        uid=uid,
        patch=patch,
    )
    assert adapter.write.apply([scale]) == 1
    assert shop.get("deployment", "cart")["spec"]["replicas"] == 3
    assert adapter.write.is_done(scale)


def incident(shop: Shop) -> RemediationSpec:
    target = shop.get("deployment", "cart")["metadata"]
    return RemediationSpec(
        policy_ref=PolicyRef(name="healing", namespace=shop.namespace, uid="p-1"),
        target=TargetRef(
            api_version="apps/v1", kind="Deployment", namespace=shop.namespace, name="cart", uid=target["uid"]
        ),
        anomaly=AnomalyRecord(type=AnomalyType.CRASH_LOOP_BACK_OFF, detected_time=NOW, message='said "hello"\n'),
        verdict=VerdictRecord(confidence=0.95, source=Source.SYMPTOM),
    )


def test_a_remediation_is_created_once_by_its_name(adapter: Cluster, shop: Shop) -> None:
    spec = incident(shop)
    assert adapter.records.create(shop.namespace, "rem-0123456789abcdef0123", spec, {}) is True
    assert adapter.records.create(shop.namespace, "rem-0123456789abcdef0123", spec, {}) is False
    stored = adapter.records.remediation(shop.namespace, "rem-0123456789abcdef0123")
    assert stored is not None
    assert stored.spec.anomaly == spec.anomaly


def test_of_two_writers_of_a_status_the_second_must_read_again(adapter: Cluster, shop: Shop) -> None:
    adapter.records.create(shop.namespace, "rem-0123456789abcdef0123", incident(shop), {})
    stored = adapter.records.remediation(shop.namespace, "rem-0123456789abcdef0123")
    assert stored is not None
    first = adapter.records.write_status(stored, RemediationStatus(message="first"))
    with pytest.raises(Conflict):
        adapter.records.write_status(stored, RemediationStatus(message="second"))
    second = adapter.records.write_status(first, RemediationStatus(reason="Stable"))
    assert second.status == RemediationStatus(reason="Stable")


def test_events_stand_on_the_object_they_are_about(adapter: Cluster, shop: Shop) -> None:
    meta = shop.get("deployment", "cart")["metadata"]
    about = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": shop.namespace, "name": "cart"}
    adapter.records.event(about | {"uid": meta["uid"]}, "Cooldown", "x" * 2000, action="Refuse", kind="Warning")
    found = [one for one in shop.get("events") if one["reason"] == "Cooldown"]
    assert [one["involvedObject"]["name"] for one in found] == ["cart"]
    assert len(found[0]["message"]) <= 1024


def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path, api_cluster: ApiCluster) -> None:
    config = api_cluster.kubeconfig.read_text().replace(str(api_cluster.plane.addresses.api), "1")
    file = tmp_path / "kubeconfig"
    file.write_text(config)
    with pytest.raises(Unavailable):
        Cluster.connect(file, timeout=1).read.workload(Key("a", "Deployment", "b"))
