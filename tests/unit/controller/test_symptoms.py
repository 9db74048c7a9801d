"""What Kubernetes objects say, and what they do not say."""

from typing import Any

import pytest

from controller.causes import CAUSES, sensible
from controller.model import Resource, Symptom, Workload
from controller.symptoms import might_be_sick, symptoms
from selfheal.policy import Action, AnomalyType
from tests.unit.controller import objects, pods
from tests.unit.controller.objects import NOW, ago
from tests.unit.controller.records import bad_rollout, healthy


def of_status(status: Resource, **container: Any) -> tuple[Symptom, ...]:
    """Symptoms of a Deployment whose only pod has this container status."""
    body = objects.template(objects.container(memory="48Mi", **container), labels={"app": "cart"})
    cart = objects.deployment(replicas=1, ready=0, pod_template=body)
    owner = objects.replica_set(cart, 1, replicas=1)
    return symptoms(objects.workload(cart, [pods.pod(owner, statuses=[status])], [owner]), NOW)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (0, "Completed"),
        (1, "ProgramError"),
        (2, "WrongUse"),
        (126, "NotExecutable"),
        (127, "CommandNotFound"),
        (137, "Killed"),
        (139, "Segfault"),
        (143, "Terminated"),
        (77, "OtherExit"),
    ],
)
def test_a_crash_loop_has_its_cause_from_the_exit_code(code: int, cause: str) -> None:
    found = of_status(pods.crashlooping(exit_code=code))
    assert [(one.type, one.cause) for one in found] == [(AnomalyType.CRASH_LOOP_BACK_OFF, cause)]


def died_twice(*lives: float, exit_code: int = 1) -> Resource:
    """A container between its second end and its third start: the kubelet shows no reason for ten seconds."""
    ends = [pods.terminated(exit_code, at=ago(seconds=age)) for age in (12, 1)]
    for end, age, life in zip(ends, (12, 1), lives, strict=True):
        end["terminated"]["startedAt"] = objects.stamp(ago(seconds=age + life))
    return pods.status(state=ends[1], last=ends[0], restarts=1)


def test_a_registry_that_does_not_answer_once_is_given_until_the_kubelet_gives_up() -> None:
    cart = objects.deployment(replicas=1, ready=0)
    owner = objects.replica_set(cart, 1, replicas=1)
    text = "dial tcp 203.0.113.7:443: i/o timeout"

    def found(reason: str) -> list[str]:
        young = pods.pod(owner, statuses=[pods.waiting(reason=reason, message=text)], created=ago(seconds=5))
        return [one.cause for one in symptoms(objects.workload(cart, [young], [owner]), NOW)]

    assert found("ErrImagePull") == []
    assert found("ImagePullBackOff") == ["RegistryUnavailable"]


def test_two_failures_at_once_are_a_crash_loop_before_the_kubelet_says_so() -> None:
    (found,) = of_status(died_twice(0, 2))
    assert (found.type, found.cause) == (AnomalyType.CRASH_LOOP_BACK_OFF, "ProgramError")


def test_a_container_that_did_well_before_one_of_its_ends_is_given_time() -> None:
    assert of_status(died_twice(30, 2)) == ()
    assert of_status(died_twice(2, 30)) == ()
    assert of_status(died_twice(2, 2, exit_code=0)) == ()


def test_the_first_failure_of_a_container_is_no_crash_loop() -> None:
    assert of_status(pods.status(state=pods.terminated(1), restarts=0)) == ()


def test_a_memory_kill_comes_before_the_crash_loop_it_makes_and_names_the_limit() -> None:
    first, second = of_status(pods.oom())
    assert (first.type, first.cause, second.cause) == (AnomalyType.OOM_KILLED, "LimitTooLow", "MemoryLimit")
    assert "48Mi" in first.message


def test_a_memory_kill_of_long_ago_is_none() -> None:
    assert of_status(pods.oom(at=ago(minutes=11), back_off=False)) == ()


@pytest.mark.parametrize(
    ("reason", "message", "cause"),
    [
        ("ImagePullBackOff", "shop:no: not found", "ImageNotFound"),
        ("ErrImagePull", "pull access denied", "ImageUnauthorized"),
        ("ErrImagePull", "dial tcp: lookup registri.local: no such host", "RegistryUnknown"),
        ("InvalidImageName", "", "InvalidImageName"),
        ("ErrImageNeverPull", "", "ImageNeverPull"),
    ],
)
def test_an_image_that_cannot_be_had_is_told_by_why(reason: str, message: str, cause: str) -> None:
    (found,) = of_status(pods.waiting(reason=reason, message=message))
    assert (found.type, found.cause) == (AnomalyType.IMAGE_PULL_BACK_OFF, cause)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ('configmap "app" not found', "MissingConfigMap"),
        ('secret "app" not found', "MissingSecret"),
        ("couldn't find key MODE in ConfigMap shop/app", "MissingKey"),
    ],
)
def test_a_broken_reference_is_a_config_error(message: str, cause: str) -> None:
    (found,) = of_status(pods.waiting(reason="CreateContainerConfigError", message=message))
    assert (found.type, found.cause) == (AnomalyType.CONFIG_ERROR, cause)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("0/1 nodes are available: 1 Insufficient cpu.", "InsufficientCpu"),
        ("0/1 nodes are available: 1 node(s) had untolerated taint {a: b}.", "Taint"),
        ("0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.", "AntiAffinity"),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "UnboundPVC"),
        ("0/1 nodes are available: 1 node(s) were unschedulable.", "Cordoned"),
        (
            "0/4 nodes are available: 1 node(s) had untolerated taint {a: b}, 3 Insufficient memory.",
            "InsufficientMemory",
        ),
    ],
)
def test_a_pod_without_a_node_is_told_by_what_keeps_most_nodes_away(message: str, cause: str) -> None:
    cart = objects.deployment(replicas=1, ready=0)
    owner = objects.replica_set(cart, 1, replicas=1)
    (found,) = symptoms(objects.workload(cart, [pods.pod(owner, unschedulable=message)], [owner]), NOW)
    assert (found.type, found.cause) == (AnomalyType.POD_PENDING, cause)


def test_a_used_up_quota_is_read_off_the_replica_set() -> None:
    failure = objects.condition("ReplicaFailure", "True", "FailedCreate", "forbidden: exceeded quota: q")
    cart = objects.deployment(replicas=1, ready=0)
    (found,) = symptoms(objects.workload(cart, [], [objects.replica_set(cart, replicas=1, conditions=[failure])]), NOW)
    assert found.cause == "QuotaExceeded"
    assert all(not sensible(one, found.type, found)[0] for one in Action if one is not Action.NOTIFY_ONLY)


def test_a_failing_readiness_probe_shows_after_its_own_patience_and_not_before() -> None:
    probe = {"readinessProbe": {"periodSeconds": 5, "failureThreshold": 2}}
    assert of_status(pods.running(ready=False, started=ago(seconds=30)), **probe) == ()
    (found,) = of_status(pods.running(ready=False, started=ago(minutes=5)), **probe)
    assert (found.type, found.cause) == (AnomalyType.PROBE_FAILURE, "ReadinessFailing")


def test_a_rollout_past_its_deadline_is_stuck() -> None:
    late = objects.condition("Progressing", "False", "ProgressDeadlineExceeded", "timed out", ago(minutes=1))
    (found,) = symptoms(objects.workload(objects.deployment(ready=1, conditions=[late])), NOW)
    assert (found.type, found.since) == (AnomalyType.ROLLOUT_STUCK, ago(minutes=1))


def test_a_failed_job_is_told_with_kubernetes_own_reason() -> None:
    (found,) = symptoms(objects.workload(objects.job(failed="BackoffLimitExceeded")), NOW)
    assert (found.type, found.cause) == (AnomalyType.JOB_FAILED, "BackoffLimitExceeded")


def test_a_healthy_workload_has_no_symptom() -> None:
    assert symptoms(healthy(), NOW) == ()
    assert not any(might_be_sick(one) for one in (healthy().resource, *healthy().pods))


def test_a_pod_on_its_way_out_is_none() -> None:
    cart = objects.deployment()
    owner = objects.replica_set(cart, replicas=2, ready=2)
    leaving = pods.pod(owner, statuses=[pods.crashlooping()], deleted=NOW)
    assert symptoms(objects.workload(cart, [leaving], [owner]), NOW) == ()


def test_trouble_of_the_newest_revision_alone_came_by_the_rollout() -> None:
    (found,) = symptoms(bad_rollout(), NOW)
    assert found.by_rollout


def test_ready_pods_of_an_older_revision_prove_the_rollout_bad_however_long_ago_it_was() -> None:
    sick = bad_rollout()
    sick.pods[0]["metadata"]["creationTimestamp"] = objects.stamp(ago(hours=9))
    assert symptoms(sick, NOW)[0].by_rollout


def test_a_rollback_is_no_answer_to_trouble_that_did_not_come_by_a_rollout() -> None:
    (found,) = of_status(pods.crashlooping())
    useful, why = sensible(Action.ROLLBACK, found.type, found)
    assert not useful
    assert "newest revision" in why


def test_trouble_of_the_only_revision_did_not_come_by_a_rollout() -> None:
    assert not of_status(pods.crashlooping())[0].by_rollout


def test_an_incident_starts_at_the_same_moment_while_the_pod_keeps_dying() -> None:
    early, late = (of_status(pods.crashlooping(restarts=n, at=ago(seconds=s))) for n, s in ((3, 90), (9, 2)))
    assert early[0].since == late[0].since == objects.HOUR_AGO


def test_fifty_pods_with_one_trouble_are_one_symptom() -> None:
    cart = objects.deployment(replicas=50, ready=0)
    owner = objects.replica_set(cart, replicas=50)
    sick = [pods.pod(owner, index, statuses=[pods.crashlooping()]) for index in range(50)]
    found = symptoms(objects.workload(cart, sick, [owner]), NOW)
    assert len(found) == 1
    assert "50 of 50" in found[0].message


def test_text_from_the_cluster_is_one_printable_line() -> None:
    (found,) = of_status(pods.waiting(reason="ImagePullBackOff", message="bad\n\x1b[31mname" + "x" * 900))
    assert found.message.isprintable()
    assert len(found.message) < 500


def test_a_container_has_to_outlive_its_last_life_to_be_well() -> None:
    def after_restart(seconds: float) -> tuple[Symptom, ...]:
        last = pods.terminated(1, at=ago(seconds=seconds + 1))
        last["terminated"]["startedAt"] = objects.stamp(ago(seconds=seconds + 31))
        return of_status(pods.running(restarts=3, started=ago(seconds=seconds), last=last))

    assert after_restart(20)
    assert after_restart(60) == ()


def test_every_sick_object_passes_the_pre_filter() -> None:
    sick: Workload = bad_rollout()
    assert might_be_sick(sick.resource)
    assert might_be_sick(sick.pods[0])
    assert not might_be_sick(sick.pods[1])


def test_every_cause_has_advice() -> None:
    assert all(row.advice.endswith(".") for row in CAUSES.values())
