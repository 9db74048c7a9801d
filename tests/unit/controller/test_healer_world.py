"""What watches tell, and what is made of it."""

from __future__ import annotations

from typing import Any

import pytest

from controller.cluster import Key
from controller.observe import World
from selfheal.policy import API_VERSION, OPT_IN_LABEL
from selfheal.remediation import PolicyRef
from tests.unit.controller import objects, pods
from tests.unit.controller.objects import NOW

CART = Key(objects.NAMESPACE, "Deployment", "cart")


def policy(name: str = "healing", namespace: str = objects.NAMESPACE, **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "generation": 1}
    spec = {"anomalyType": "CrashLoopBackOff", "action": "rollback"} | spec
    return {"apiVersion": API_VERSION, "kind": "SelfHealingPolicy", "metadata": meta, "spec": spec}


def remediation(version: int = 1, *, complete: bool = False, name: str = "rem-1") -> dict[str, Any]:
    condition = {"type": "Complete", "status": "True", "reason": "Done", "lastTransitionTime": "2026-11-24T03:00:00Z"}
    return {
        "metadata": {"name": name, "namespace": objects.NAMESPACE, "uid": name, "resourceVersion": str(version)},
        "spec": {
            "policyRef": {"name": "healing", "namespace": objects.NAMESPACE, "uid": "uid-healing"},
            "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart", "uid": "u"},
            "anomaly": {"type": "CrashLoopBackOff", "detectedTime": "2026-11-24T03:00:00Z"},
            "verdict": {"confidence": 0.95, "source": "Symptom"},
        },
        "status": {"conditions": [condition]} if complete else {},
    }


def approval(uid: str, decision: str, name: str = "rem-1") -> dict[str, Any]:
    spec = {"remediationName": name, "decision": decision, "approver": "on-call"}
    return {"metadata": {"name": uid, "namespace": objects.NAMESPACE, "uid": uid}, "spec": spec}


@pytest.fixture
def world() -> World:
    """An opted-in namespace with one Deployment."""
    found = World("selfheal-system", lambda: NOW)
    found.put("Namespace", objects.namespace())
    found.observe("Deployment", objects.deployment(), sick=False)
    return found


def a_pod(**more: Any) -> dict[str, Any]:
    owner = objects.deployment()
    return pods.pod(objects.replica_set(owner), **more)


def test_a_pod_belongs_to_the_deployment_above_its_replica_set(world: World) -> None:
    assert world.owner("Pod", a_pod()) == CART


def test_a_pod_of_a_stateful_set_belongs_to_it(world: World) -> None:
    pod = pods.pod(objects.stateful_set())
    assert world.owner("Pod", pod) == Key(objects.NAMESPACE, "StatefulSet", "store")


def test_a_job_of_a_cron_job_and_its_pods_belong_to_the_cron_job(world: World) -> None:
    reference = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "c", "controller": True}
    job = objects.job("nightly-1", ownerReferences=[reference])
    assert world.observe("Job", job, sick=True) == Key(objects.NAMESPACE, "CronJob", "nightly")
    assert world.owner("Pod", pods.pod(job)) == Key(objects.NAMESPACE, "CronJob", "nightly")


def test_a_pod_that_nobody_controls_belongs_to_nobody(world: World) -> None:
    pod = a_pod()
    del pod["metadata"]["ownerReferences"]
    assert world.owner("Pod", pod) is None


def test_a_pod_of_a_foreign_controller_belongs_to_nobody(world: World) -> None:
    pod = a_pod()
    pod["metadata"]["ownerReferences"][0]["kind"] = "Rollout"
    assert world.owner("Pod", pod) is None


def test_a_workload_deserves_a_look_when_it_gets_sick_and_when_it_recovers(world: World) -> None:
    assert world.observe("Pod", a_pod(), sick=True) == CART
    assert world.suspects() == [CART]
    assert world.observe("Pod", a_pod(), sick=False) == CART
    assert world.observe("Pod", a_pod(), sick=False) is None
    assert world.suspects() == []


def test_a_deleted_pod_is_sick_no_more(world: World) -> None:
    world.observe("Pod", a_pod(), sick=True)
    world.observe("Pod", a_pod(), sick=True, gone=True)
    assert world.suspects() == []


def test_suspects_outside_of_opted_in_namespaces_do_not_count(world: World) -> None:
    world.put("Namespace", objects.namespace(opted_in=False))
    world.observe("Pod", a_pod(), sick=True)
    assert world.suspects() == []


def test_a_policy_without_faults_is_used(world: World) -> None:
    world.put("SelfHealingPolicy", policy())
    assert [one.name for one in world.policies_for(objects.NAMESPACE)] == ["healing"]
    assert world.targets() == {CART}


@pytest.mark.parametrize("spec", [{"enabled": False}, {"action": "pray"}, {"targetNamespace": "elsewhere"}])
def test_a_policy_that_is_disabled_wrong_or_reaches_too_far_is_not(world: World, spec: dict[str, Any]) -> None:
    world.put("SelfHealingPolicy", policy(**spec))
    assert world.policies_for(objects.NAMESPACE) == ()
    assert world.policies_for("elsewhere") == ()
    assert world.policy_of(PolicyRef(name="healing", uid="uid-healing")) is None
    assert world.targets() == set()


def test_a_policy_in_our_own_namespace_may_target_another_one(world: World) -> None:
    world.put("SelfHealingPolicy", policy(namespace="selfheal-system", targetNamespace=objects.NAMESPACE))
    assert world.targets() == {CART}


def test_a_policy_of_the_same_name_that_was_made_anew_is_another_one(world: World) -> None:
    world.put("SelfHealingPolicy", policy())
    assert world.policy_of(PolicyRef(name="healing", uid="older")) is None
    assert world.policy_of(PolicyRef(name="healing", uid="uid-healing")) is not None


def test_the_selector_chooses_targets_by_their_labels(world: World) -> None:
    world.put("SelfHealingPolicy", policy(selector={"matchLabels": {"app": "other"}}))
    assert world.targets() == set()


def test_a_late_watch_event_does_not_bring_back_an_older_status(world: World) -> None:
    world.put("Remediation", remediation(9, complete=True))
    world.put("Remediation", remediation(8))
    assert world.open_for(CART) is None
    assert [one.name for one in world.closed_for(CART)] == ["rem-1"]


def test_an_open_remediation_is_found_by_its_workload(world: World) -> None:
    world.put("Remediation", remediation())
    found = world.open_for(CART)
    assert found is not None
    assert found.name == "rem-1"
    assert world.open_for(Key(objects.NAMESPACE, "Deployment", "till")) is None


def test_a_configuration_that_cannot_be_understood_suspends_everything(world: World) -> None:
    world.put("HealingConfig", {"metadata": {"name": "cluster"}, "spec": {"suspendet": True}})
    assert world.config.suspended


def test_without_the_configuration_the_defaults_hold_again(world: World) -> None:
    resource = {"metadata": {"name": "cluster"}, "spec": {"suspended": True}}
    world.put("HealingConfig", resource)
    assert world.config.suspended
    world.drop("HealingConfig", resource)
    assert not world.config.suspended


def test_the_share_of_unhealthy_targets_counts_only_targets(world: World) -> None:
    world.observe("Deployment", objects.deployment("till"), sick=False)
    world.observe("StatefulSet", objects.stateful_set(), sick=False)
    world.observe("Deployment", objects.deployment(labels={"app": "cart"}), sick=False)
    world.put("SelfHealingPolicy", policy(selector={"matchLabels": {"app": "cart"}}))
    world.diagnose(CART, sick=True)
    world.diagnose(Key(objects.NAMESPACE, "Deployment", "unknown"), sick=True)
    count, percent = world.unhealthy()
    assert count == 1
    assert percent == 100 / len(world.targets())
    world.diagnose(CART, sick=False)
    assert world.unhealthy() == (0, 0.0)


def test_a_namespace_opts_in_by_its_label_alone(world: World) -> None:
    assert world.opted_in(objects.NAMESPACE)
    world.put("Namespace", {"metadata": {"name": objects.NAMESPACE, "labels": {OPT_IN_LABEL: "yes"}}})
    assert not world.opted_in(objects.NAMESPACE)
    assert not world.opted_in("unknown")
