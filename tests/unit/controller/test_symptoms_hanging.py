"""What hangs: pods and workloads that do not go, pods that are never made, rollouts that stand, and when that shows."""

from datetime import datetime
from typing import Any

import pytest

from controller.causes import has_safe_action
from controller.model import Resource, Symptom, Workload
from controller.symptoms import might_be_sick, symptoms
from selfheal.policy import AnomalyType
from tests.unit.controller import objects, pods
from tests.unit.controller.objects import NOW, ago

DEADLINE = ("shop.example/backup", "shop.example/archive")


def of(workload: Workload) -> list[tuple[AnomalyType, str]]:
    return [(one.type, one.cause) for one in symptoms(workload, NOW)]


# Stuck in termination.


def leaving(deleted: datetime, finalizers: tuple[str, ...] = DEADLINE) -> Workload:
    """A healthy Deployment with one more pod on its way out; deletionTimestamp already has the grace period in it."""
    cart = objects.deployment()
    owner = objects.replica_set(cart, replicas=2, ready=2)
    stuck = pods.pod(owner, 3, deleted=deleted, finalizers=list(finalizers))
    return objects.workload(cart, [pods.pod(owner, 1), pods.pod(owner, 2), stuck], [owner])


def test_a_pod_that_its_finalizers_hold_is_stuck_and_the_finalizers_are_named() -> None:
    sick = leaving(ago(seconds=31))
    (found,) = symptoms(sick, NOW)
    assert (found.type, found.cause) == (AnomalyType.ROLLOUT_STUCK, "StuckTerminating")
    assert all(name in found.message for name in DEADLINE)
    assert might_be_sick(sick.pods[2])


def test_a_pod_that_takes_its_time_to_end_is_not_stuck() -> None:
    assert of(leaving(ago(seconds=29))) == []


def test_a_pod_whose_node_is_gone_is_stuck_without_any_finalizer() -> None:
    (found,) = symptoms(leaving(ago(minutes=5), ()), NOW)
    assert "no finalizer" in found.message


def test_a_finished_jobs_bookkeeping_is_no_suspect() -> None:
    sick = leaving(ago(seconds=5), ("batch.kubernetes.io/job-tracking",))
    assert not might_be_sick(sick.pods[2])


def test_a_workload_that_its_finalizers_hold_is_stuck_itself() -> None:
    sick = leaving(ago(minutes=1), ())
    sick.resource["metadata"] |= {"deletionTimestamp": objects.stamp(ago(minutes=1)), "finalizers": ["shop.example/x"]}
    found = next(one for one in symptoms(sick, NOW) if not one.pod)
    assert (found.cause, "shop.example/x" in found.message) == ("StuckTerminating", True)
    assert might_be_sick(sick.resource)


def test_nothing_is_done_about_what_is_stuck_in_termination() -> None:
    (found,) = symptoms(leaving(ago(minutes=1)), NOW)
    assert not has_safe_action(found.type, found)


# A rollout that stands, before its deadline.


def rolling(status: Resource, reason: str = "ReplicaSetUpdated", **more: Any) -> Workload:
    """A rolling update whose first new pod has this status, while an old pod serves."""
    new = objects.template(objects.container(**more), labels={"app": "cart"})
    going = [objects.condition("Progressing", "True", reason, since=ago(seconds=40))]
    cart = objects.deployment(revision=2, ready=1, updated=1, pod_template=new, conditions=going)
    old = objects.replica_set(cart, 1, replicas=1, ready=1, pod_template=objects.template(labels={"app": "cart"}))
    newest = objects.replica_set(cart, 2, replicas=1, created=ago(seconds=40))
    found = [pods.pod(newest, 1, statuses=[status], created=ago(seconds=40)), pods.pod(old, 1)]
    return objects.workload(cart, found, [newest, old])


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (pods.crashlooping(), "ProgramError"),
        (pods.imagepull(), "ImageNotFound"),
        (pods.waiting(reason="CreateContainerConfigError", message='configmap "app" not found'), "MissingConfigMap"),
    ],
)
def test_a_rollout_stands_as_soon_as_its_new_pods_have_a_definite_fault(status: Resource, cause: str) -> None:
    found = of(rolling(status))
    assert (AnomalyType.ROLLOUT_STUCK, cause) in found
    stuck = next(one for one in symptoms(rolling(status), NOW) if one.type is AnomalyType.ROLLOUT_STUCK)
    assert (stuck.by_rollout, stuck.pod) == (True, "cart-h2-1")


def test_a_rollout_that_waits_for_room_may_still_go_on() -> None:
    sick = rolling(pods.running())
    owner = sick.revisions[0]
    waiting = pods.pod(owner, 1, unschedulable="0/1 nodes are available: 1 Insufficient cpu.", created=ago(minutes=1))
    sick = objects.workload(sick.resource, [waiting, sick.pods[1]], sick.revisions)
    assert of(sick) == [(AnomalyType.POD_PENDING, "InsufficientCpu")]


def test_a_rollout_that_was_completed_stands_no_more() -> None:
    assert AnomalyType.ROLLOUT_STUCK not in dict(of(rolling(pods.crashlooping(), "NewReplicaSetAvailable")))


def test_a_rollout_in_which_nothing_fails_is_left_until_its_deadline() -> None:
    assert of(rolling(pods.running(ready=False, started=ago(seconds=30)))) == []


# Pods that are never made.


def quota(used: str, hard: str = "4") -> Resource:
    return {
        "metadata": {"name": "team"},
        "spec": {"hard": {"pods": hard}},
        "status": {"hard": {"pods": hard}, "used": {"pods": used}},
    }


def short(resource: Resource, live: int, used: str = "4", **more: Any) -> Workload:
    owned = [pods.pod(resource, number) for number in range(live)]
    return objects.workload(resource, owned, quotas=(quota(used),), **more)


@pytest.mark.parametrize(
    "resource", [objects.stateful_set(ready=1), objects.daemon_set(ready=1)], ids=["StatefulSet", "DaemonSet"]
)
def test_pods_that_a_used_up_quota_keeps_out_are_found_by_arithmetic(resource: Resource) -> None:
    (found,) = symptoms(short(resource, 1), NOW)
    assert (found.type, found.cause) == (AnomalyType.POD_PENDING, "QuotaExceeded")
    assert "ResourceQuota team" in found.message
    assert of(short(resource, 1, used="3")) == []
    assert of(short(resource, 2)) == []


def test_a_job_without_pods_under_a_used_up_quota_is_found_too() -> None:
    report = objects.job()
    report["status"] = {}
    (found,) = symptoms(short(report, 0), NOW)
    assert found.cause == "QuotaExceeded"
    assert might_be_sick(report)
    report["spec"]["suspend"] = True
    assert of(short(report, 0)) == []


def test_a_pod_that_has_just_been_asked_for_is_not_missing_yet() -> None:
    assert of(short(objects.stateful_set(ready=1, created=ago(seconds=5)), 1)) == []


def test_a_limit_range_that_refuses_the_template_is_found_by_arithmetic() -> None:
    body = objects.template(objects.container(memory="2Gi"), labels={"app": "store"})
    bound = {
        "metadata": {"name": "small"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}, "min": {"memory": "64Mi"}}]},
    }
    store = objects.stateful_set(ready=0, pod_template=body)
    (found,) = symptoms(objects.workload(store, limit_ranges=(bound,)), NOW)
    assert found.cause == "AdmissionDenied"
    assert "LimitRange small" in found.message


# How long things may take.


def unmounted(volumes: list[Resource], waited: float) -> Workload:
    cart = objects.deployment(
        replicas=1, ready=0, pod_template=objects.template(labels={"app": "cart"}, volumes=volumes)
    )
    owner = objects.replica_set(cart, 1, replicas=1)
    sandbox = objects.condition("PodReadyToStartContainers", "False", "", since=ago(seconds=waited))
    waiting = pods.waiting(reason="ContainerCreating")
    born = ago(seconds=waited)
    pod = pods.pod(owner, statuses=[waiting], phase="Pending", conditions=[sandbox], created=born)
    return objects.workload(cart, [pod], [owner])


CONFIG: Resource = {"name": "config", "configMap": {"name": "app"}}
DISK: Resource = {"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}


def test_a_missing_config_map_volume_shows_within_the_promised_time() -> None:
    assert of(unmounted([CONFIG], 13)) == [(AnomalyType.CONFIG_ERROR, "BadMount")]
    assert of(unmounted([CONFIG], 9)) == []


def test_beside_a_disk_that_may_be_slow_to_attach_it_takes_longer() -> None:
    assert of(unmounted([CONFIG, DISK], 50)) == []
    assert of(unmounted([CONFIG, DISK], 61)) == [(AnomalyType.CONFIG_ERROR, "BadMount")]


PROBE: dict[str, Any] = {"readinessProbe": {"periodSeconds": 2, "failureThreshold": 3}}


def unready(seconds: float, sibling_took: float | None) -> tuple[Symptom, ...]:
    """A new pod that runs and is not ready, beside an older one that took so long to get ready."""
    sick = rolling(pods.running(ready=False, started=ago(seconds=seconds)), **PROBE)
    old = sick.pods[1]
    if sibling_took is None:
        sick = objects.workload(sick.resource, [sick.pods[0]], sick.revisions)
    else:
        ready = next(one for one in old["status"]["conditions"] if one["type"] == "Ready")
        ready["lastTransitionTime"] = objects.stamp(ago(seconds=3600 - sibling_took))
    return tuple(one for one in symptoms(sick, NOW) if one.type is AnomalyType.PROBE_FAILURE)


def test_beside_pods_that_got_ready_quickly_a_probe_that_fails_shows_soon() -> None:
    assert unready(13, sibling_took=2)
    assert not unready(9, sibling_took=2)


def test_beside_pods_that_were_slow_to_start_a_new_one_may_be_slow_too() -> None:
    assert not unready(50, sibling_took=40)
    assert unready(75, sibling_took=40)


def test_without_pods_to_compare_with_a_new_one_gets_the_long_patience() -> None:
    assert not unready(30, sibling_took=None)
    assert unready(37, sibling_took=None)
