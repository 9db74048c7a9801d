"""What was missed while a watch was broken off, and what a replica knows that has just begun to lead."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from controller.cluster import Key
from controller.cluster.paths import own
from controller.model import Resource
from controller.symptoms import is_failing, might_be_sick
from selfheal.policy import API_VERSION
from selfheal.remediation import Outcome
from tests.unit.controller import objects, pods
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import NAMESPACE, NOW, ago
from tests.unit.controller.records import bad_rollout, healthy, policy, remediation

SICK = bad_rollout()
CART = Key(NAMESPACE, "Deployment", "cart")


def ticks(stage: Stage, count: int = 5) -> None:
    for _ in range(count):
        stage.healer.tick()


def approval() -> Resource:
    spec = {"remediationName": "rem-1", "decision": "Approve", "approver": "ada"}
    return {"metadata": {"name": "yes", "namespace": NAMESPACE, "uid": "yes"}, "spec": spec}


def test_what_was_deleted_unseen_is_forgotten_after_a_few_ticks() -> None:
    stage = Stage(healthy())
    stage.put_policy(policy())
    stage.suspend()
    stage.put_remediation(remediation(SICK.ref, policy()))
    answer = stage.api.store(own("RemediationApproval", NAMESPACE, "yes"), approval())
    stage.world.put("RemediationApproval", answer)
    stage.api.objects = {path: one for path, one in stage.api.objects.items() if API_VERSION not in path}
    ticks(stage)
    assert stage.world.policies() == []
    assert stage.world.remediations() == ()
    assert not stage.world.config.suspended
    assert stage.world.answers(remediation(SICK.ref, policy())) == ()


def test_a_namespace_that_was_opted_out_unseen_is_left_alone_after_a_few_ticks() -> None:
    stage = Stage(healthy())
    stage.api.store(f"/api/v1/namespaces/{NAMESPACE}", objects.namespace(opted_in=False))
    ticks(stage)
    assert not stage.world.opted_in(NAMESPACE)


def test_what_a_watch_told_while_a_list_was_under_way_is_kept() -> None:
    stage = Stage()
    before = stage.world.names("SelfHealingPolicy")
    stage.put_policy(policy("new"))
    stage.world.replace("SelfHealingPolicy", before, [])
    assert [one.policy.name for one in stage.world.policies() if one.policy] == ["new"]


def test_what_was_deleted_while_a_list_was_under_way_does_not_come_back() -> None:
    stage = Stage()
    resource = stage.store_policy(policy())
    stage.world.put("SelfHealingPolicy", resource)
    before = stage.world.names("SelfHealingPolicy")
    stage.world.drop("SelfHealingPolicy", resource)
    stage.world.replace("SelfHealingPolicy", before, [resource])
    assert stage.world.policies() == []


def test_an_older_list_does_not_undo_a_newer_edit() -> None:
    stage = Stage()
    old = stage.store_policy(policy())
    stage.put_policy(policy(enabled=False))
    stage.world.replace("SelfHealingPolicy", stage.world.names("SelfHealingPolicy"), [old])
    assert stage.world.policies_for(NAMESPACE) == ()


def test_a_tick_does_not_look_at_incidents_that_are_over() -> None:
    stage = Stage(healthy())
    stage.put_policy(policy())
    for number in range(30):
        done = remediation(SICK.ref, policy(), name=f"rem-{number}", outcome=Outcome.SUCCESSFUL)
        stage.put_remediation(done)
    stage.healer.tick()
    assert CART not in stage.woken
    stage.put_remediation(remediation(SICK.ref, policy(), name="failed", outcome=Outcome.FAILED))
    stage.healer.tick()
    assert CART in stage.woken


def test_a_tick_does_not_look_at_workloads_that_are_gone() -> None:
    stage = Stage(healthy())
    stage.put_remediation(remediation(SICK.ref, policy(), outcome=Outcome.FAILED))
    stage.world.forget(CART)
    stage.healer.tick()
    assert CART not in stage.woken


def test_a_suspect_that_was_deleted_unseen_is_no_reason_to_look_again_and_again() -> None:
    stage = Stage(healthy())
    stage.put_policy(policy())
    owner = objects.replica_set(objects.deployment())
    stage.world.observe("Pod", pods.pod(owner, 9), sick=True)
    assert stage.healer.consider(CART) is None
    assert stage.world.suspects() == []


def test_zero_replicas_without_any_evidence_are_not_polled() -> None:
    idle = objects.workload(objects.deployment(replicas=0, revision=2))
    idle.resource["metadata"]["creationTimestamp"] = objects.stamp(ago(seconds=2))
    stage = Stage(idle)
    stage.put_policy(policy(anomaly_type="MetricAnomaly", action="scale"))
    assert stage.world.suspects() == [CART]
    assert stage.healer.consider(CART) == 3.0  # whoever scales down and up again is left some seconds
    stage.later(seconds=5)
    assert stage.healer.consider(CART) is None
    stage.healer.tick()
    assert CART in stage.woken  # once a tick is enough


def test_a_suspect_that_came_after_the_workload_was_read_stays_one() -> None:
    stage = Stage(healthy())
    before = stage.world.suspicious(CART)
    owner = objects.replica_set(objects.deployment())
    stage.world.observe("Pod", pods.pod(owner, 9), sick=True)
    stage.world.confirm(CART, before, healthy())
    assert stage.world.suspects() == [CART]


def test_jobs_of_cron_jobs_are_forgotten_with_the_job() -> None:
    stage = Stage()
    above = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "c", "controller": True}
    job = objects.job("nightly-1", ownerReferences=[above])
    pod = pods.pod(job)
    stage.world.observe("Job", job, sick=False)
    stage.world.observe("Job", job, sick=False, gone=True)
    assert stage.world.owner("Job", job) == Key(NAMESPACE, "CronJob", "nightly")
    assert stage.world.owner("Pod", pod) == Key(NAMESPACE, "Job", "nightly-1")


def shops(stage: Stage, sick: int, of: int = 10) -> list[Key]:
    """Deployments of which some have a pod that looks sick."""
    keys = []
    for number in range(of):
        name = f"shop-{number}"
        deployment = objects.deployment(name)
        stage.world.observe("Deployment", deployment, sick=False)
        if number < sick:
            stage.world.observe("Pod", pods.pod(objects.replica_set(deployment)), sick=True)
        keys.append(Key(NAMESPACE, "Deployment", name))
    return keys


def stage_of_shops(sick: int) -> Stage:
    stage = Stage()
    stage.world.put("Namespace", objects.namespace())
    stage.put_policy(policy())
    shops(stage, sick)
    return stage


def test_suspects_count_as_sick_until_somebody_has_looked() -> None:
    stage = stage_of_shops(sick=6)
    assert stage.world.unhealthy() == (6, 60.0)
    assert stage.world.diagnosed() == (0, 0.0)
    for number in range(6):
        stage.world.diagnose(Key(NAMESPACE, "Deployment", f"shop-{number}"), sick=number < 2)
    assert stage.world.unhealthy() == (2, 20.0)


def test_a_new_leader_opens_nothing_in_a_storm_that_it_has_not_counted_yet() -> None:
    stage = Stage(SICK)
    stage.put_policy(policy())
    for number in range(9):
        deployment = objects.deployment(f"shop-{number}")
        stage.world.observe("Deployment", deployment, sick=False)
        stage.world.observe("Pod", pods.pod(objects.replica_set(deployment)), sick=True)
    soon = stage.healer.consider(CART)
    assert stage.remediations() == []
    assert (soon, stage.api.writes("events")) == (3.0, [])  # it looks again soon, and says nothing before it knows
    for number in range(9):
        stage.world.diagnose(Key(NAMESPACE, "Deployment", f"shop-{number}"), sick=number < 8)
    assert stage.healer.consider(CART) == 15.0
    assert stage.remediations() == []
    assert stage.api.writes("events") != []


def test_rollouts_that_turn_out_well_hold_nothing_up_once_they_were_looked_at() -> None:
    stage = Stage(SICK)
    stage.put_policy(policy())
    for number in range(9):
        deployment = objects.deployment(f"shop-{number}")
        stage.world.observe("Deployment", deployment, sick=False)
        stage.world.observe("Pod", pods.pod(objects.replica_set(deployment)), sick=True)
    stage.healer.consider(CART)
    for number in range(9):
        stage.world.diagnose(Key(NAMESPACE, "Deployment", f"shop-{number}"), sick=False)
    stage.healer.consider(CART)
    assert len(stage.remediations()) == 1
    assert stage.world.last_storm is None


def test_a_suspect_that_cannot_be_read_is_not_counted_for_ever() -> None:
    stage = stage_of_shops(sick=1)
    stage.healer.failed(f"{NAMESPACE}/Deployment/shop-0", ValueError("no rights"), 1)
    assert stage.world.unhealthy() == (0, 0.0)


@pytest.mark.parametrize(("looks", "remembered"), [(1, None), (2, NOW)])
def test_a_replica_that_stands_by_remembers_a_storm_that_lasts(looks: int, remembered: object) -> None:
    stage = stage_of_shops(sick=6)
    for _ in range(looks):
        stage.healer.stand_by()
    assert stage.world.last_storm == remembered


def test_few_suspects_are_no_storm_to_a_replica_that_stands_by() -> None:
    stage = stage_of_shops(sick=4)
    for _ in range(3):
        stage.healer.stand_by()
    assert stage.world.last_storm is None


def come_up(stage: Stage, *statuses: Resource, count: int = 60, **more: Any) -> None:
    """What watches tell of new Deployments, each with one pod in the same state."""
    for number in range(count):
        shop = objects.deployment(f"shop-{number}", replicas=1, ready=0, created=stage.now)
        pod = pods.pod(objects.replica_set(shop), statuses=statuses, created=stage.now, **more)
        for one in (shop, pod):
            stage.world.observe(one["kind"], one, might_be_sick(one), failing=is_failing(one))


PREPARED = pods.status("setup", state=pods.terminated(0), ready=True)
CREATING = pods.waiting(reason="ContainerCreating")
STARTING = pods.running(ready=False, started=NOW)


def test_sixty_deployments_that_come_up_are_no_storm_to_a_replica_that_stands_by() -> None:
    stage = stage_of_shops(sick=0)
    come_up(stage, CREATING, phase="Pending")
    assert len(stage.world.suspects()) == 60
    stage.healer.stand_by()
    stage.later(seconds=15)
    come_up(stage, STARTING, init_statuses=[PREPARED])
    stage.healer.stand_by()
    assert stage.world.last_storm is None
    assert stage.world.unhealthy()[0] == 60  # should it have to lead now, it looks at each before it acts


def test_sixty_new_deployments_that_fail_are_a_storm_to_a_replica_that_stands_by() -> None:
    stage = stage_of_shops(sick=0)
    come_up(stage, pods.imagepull(), phase="Pending")
    stage.healer.stand_by()
    stage.healer.stand_by()
    assert stage.world.last_storm == NOW


def test_the_targets_are_counted_anew_when_a_policy_a_namespace_or_a_workload_changes() -> None:
    stage = stage_of_shops(sick=0)
    assert len(stage.world.targets()) == 10
    stage.world.observe("Deployment", objects.deployment("shop-10"), sick=False)
    assert len(stage.world.targets()) == 11
    stage.put_policy(policy(selector={"matchLabels": {"app": "none"}}))
    assert stage.world.targets() == set()
    stage.put_policy(policy())
    stage.world.put("Namespace", objects.namespace(opted_in=False))
    assert stage.world.targets() == set()


def test_records_of_a_policy_that_is_gone_are_deleted_at_a_tick() -> None:
    stage = Stage(healthy())
    for number in range(55):
        when = ago(days=1) - timedelta(minutes=number)
        done = remediation(SICK.ref, policy("gone"), name=f"r-{number}", outcome=Outcome.FAILED, completed=when)
        stage.put_remediation(done)
    ticks(stage)
    assert len(stage.remediations()) == 50
