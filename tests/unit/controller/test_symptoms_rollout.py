"""Whether trouble came with the newest revision, where no older pod is left to compare with."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from controller.causes import sensible
from controller.model import Resource, Workload
from controller.rollouts import trouble_began
from controller.symptoms import symptoms
from selfheal.policy import Action
from tests.unit.controller import objects, pods
from tests.unit.controller.objects import NOW, ago


def rolled_out(status: Resource, born: datetime, completed: datetime) -> Workload:
    """A Deployment whose second revision was rolled out completely, and fails now."""
    going = [objects.condition("Progressing", "True", "NewReplicaSetAvailable", since=completed)]
    new = objects.template(objects.container(memory="64Mi", env=[{"name": "A"}]), labels={"app": "cart"})
    cart = objects.deployment(replicas=1, ready=0, revision=2, pod_template=new, conditions=going)
    old = objects.replica_set(cart, 1, pod_template=objects.template(labels={"app": "cart"}))
    newest = objects.replica_set(cart, 2, replicas=1, created=born)
    pod = pods.pod(newest, statuses=[status], created=born)
    return objects.workload(cart, [pod], [newest, old])


def came_by_rollout(workload: Workload) -> bool:
    return symptoms(workload, NOW)[0].by_rollout


def test_what_breaks_a_revision_that_was_noted_as_healthy_did_not_come_with_it() -> None:
    sick = rolled_out(pods.crashlooping(restarts=2, at=ago(seconds=40)), ago(minutes=1), ago(minutes=1))
    assert came_by_rollout(sick)
    assert not came_by_rollout(replace(sick, recorded=("cart-h2", "cart-h1")))
    assert came_by_rollout(replace(sick, recorded=("cart-h1",)))


def test_a_note_about_an_older_revision_blames_no_rollout_that_went_well() -> None:
    sick = rolled_out(pods.crashlooping(restarts=4), ago(minutes=30), ago(minutes=30))
    assert not came_by_rollout(replace(sick, recorded=("cart-h1",)))


def lacking(seconds: float, life: float, restarts: int) -> Workload:
    """A pod that ran for some seconds after its rollout was complete, and lives for some seconds each time since."""
    waits = sum(10 * 2**number for number in range(restarts - 1))
    first = ago(seconds=waits + restarts * life)
    last = {
        "exitCode": 1,
        "reason": "Error",
        "startedAt": objects.stamp(ago(seconds=life)),
        "finishedAt": objects.stamp(NOW),
    }
    status = pods.waiting(reason="CrashLoopBackOff", restarts=restarts, last={"terminated": last})
    begun = first - timedelta(seconds=seconds)
    return rolled_out(status, begun, begun)


@pytest.mark.parametrize("restarts", [2, 3])
@pytest.mark.parametrize(
    ("seconds", "life", "blamed"),
    [(45, 1, False), (30, 0, False), (29, 0, True), (45, 5, True), (100, 10, False), (45, 45, True)],
)
def test_who_ran_steadily_and_dies_at_once_since_lacks_something_that_the_rollout_did_not_bring(
    seconds: float, life: float, blamed: bool, restarts: int
) -> None:
    assert came_by_rollout(lacking(seconds, life, restarts)) is blamed


def test_after_many_restarts_nobody_can_tell_any_more() -> None:
    assert came_by_rollout(lacking(45, 1, 4))


def test_older_pods_that_are_well_at_the_same_time_blame_the_rollout_all_the_same() -> None:
    sick = lacking(45, 1, 3)
    newest, old = sick.revisions
    serving = replace(sick, revisions=(newest, old | {"status": {"replicas": 1, "readyReplicas": 1}}))
    assert came_by_rollout(serving)


def test_memory_may_fill_up_in_a_revision_that_was_noted_as_healthy() -> None:
    sick = rolled_out(pods.oom(restarts=2), ago(minutes=30), ago(minutes=30))
    assert came_by_rollout(replace(sick, recorded=("cart-h2",)))


def test_what_breaks_half_an_hour_after_a_good_rollout_did_not_come_by_it() -> None:
    sick = rolled_out(pods.crashlooping(restarts=4), ago(minutes=30), ago(minutes=30))
    assert not came_by_rollout(sick)
    found = symptoms(sick, NOW)[0]
    assert not sensible(Action.ROLLBACK, found.type, found)[0], "an older revision would not help"


@pytest.mark.parametrize(("restarts", "minutes"), [(1, 0.5), (4, 3), (6, 10), (10, 30)])
def test_what_dies_from_its_start_on_came_by_the_rollout_that_was_called_complete_for_a_moment(
    restarts: int, minutes: float
) -> None:
    born = ago(minutes=minutes)
    assert came_by_rollout(rolled_out(pods.crashlooping(restarts=restarts), born, born + timedelta(seconds=3)))


def test_memory_that_has_to_fill_first_may_still_have_come_by_the_rollout() -> None:
    assert came_by_rollout(rolled_out(pods.oom(restarts=2), ago(minutes=30), ago(minutes=30)))


def test_a_pod_that_comes_long_after_a_completed_rollout_says_nothing_against_its_revision() -> None:
    missing = pods.waiting(reason="CreateContainerConfigError", message='configmap "app" not found')
    assert not came_by_rollout(rolled_out(missing, born=ago(minutes=1), completed=ago(minutes=30)))
    assert came_by_rollout(rolled_out(missing, born=ago(minutes=1), completed=ago(minutes=1)))


def test_a_pod_that_lost_its_readiness_after_it_had_long_been_ready_was_well_before() -> None:
    sick = rolled_out(pods.running(ready=False, started=ago(minutes=30)), ago(minutes=30), ago(minutes=30))
    ready = next(one for one in sick.pods[0]["status"]["conditions"] if one["type"] == "Ready")
    ready["lastTransitionTime"] = objects.stamp(ago(minutes=4))
    assert trouble_began(sick.pods[0]) == ago(minutes=4)


def test_the_first_death_is_told_from_the_number_of_restarts_and_kubernetes_back_off() -> None:
    sick = rolled_out(pods.crashlooping(restarts=3, at=ago(seconds=10)), ago(minutes=30), ago(minutes=30))
    # 10 s + 20 s + 40 s of waiting and three lives of two seconds before the last death.
    assert trouble_began(sick.pods[0]) == ago(seconds=10 + 70 + 6)
