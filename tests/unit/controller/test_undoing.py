"""What proves that a failed fix was taken back: the spec first, then the pods, and not for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import pytest

from controller.model import Conclude, Finding, Finish, Progress, Propose, Resource, Undo, Wait, Workload
from controller.reconcile import advance
from selfheal.errors import Unavailable
from selfheal.policy import REMEDIATION_ANNOTATION, Action
from selfheal.remediation import (
    Attempt,
    AttemptResult,
    Change,
    ConditionType,
    Operation,
    Outcome,
    Remediation,
    RemediationStatus,
    Times,
)
from tests.unit.controller import objects, pods
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import NOW, ago
from tests.unit.controller.records import after, policy, progress, remediation

OWNER = policy(escalation=["restart"])
BAD = objects.template(objects.container(image="registry.local/shop:2"), labels={"app": "cart"})
GOOD = objects.template(labels={"app": "cart"})
LIMIT = "/spec/containers/0/resources/limits/memory"
STARTING = pods.waiting(reason="ContainerCreating")


def write(resource: Resource, verb: Literal["Patch", "Resize", "Scale"], *patch: dict[str, Any]) -> Operation:
    """An operation on an object."""
    meta = resource["metadata"]
    names = {"namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}
    return Operation(verb=verb, api_version="apps/v1", kind=resource["kind"], patch=patch, **names)


def back_to(resource: Resource) -> Operation:
    """The undo that restores the template that an object has."""
    return write(resource, "Patch", {"op": "replace", "path": "/spec/template", "value": resource["spec"]["template"]})


def failed(workload: Workload, *undo: Operation, reason: str = "TimedOut") -> Progress:
    """A fix that failed ten seconds ago, and whose undo is not written yet; ``workload`` is what there is now."""
    found = remediation(workload.ref, OWNER, decided=ago(minutes=6))
    change = Change(operations=undo, undo=undo, diff="image of app: shop:2 -> shop:1")
    ended = Attempt(
        action=Action.ROLLBACK,
        started_time=ago(minutes=6),
        ended_time=ago(seconds=10),
        change=change,
        result=AttemptResult.FAILED,
        reason=reason,
    )
    status = RemediationStatus(attempts=(ended,), times=Times(decided=ago(minutes=6), applied=ago(minutes=5)))
    return progress(workload, found.model_copy(update={"status": status}), OWNER)


def undone(workload: Workload, *undo: Operation, **more: Any) -> Progress:
    """The same right after the undo was written."""
    before = failed(workload, *undo, **more)
    return replace(before, remediation=after(before, Undo("TimedOut")))


def cart(
    *new: Resource, ready: int = 2, updated: int = 1, replicas: int = 3, observed: int | None = None, **more: Any
) -> Workload:
    """A Deployment whose bad template is restored: its newest revision, beside two ready pods of the other."""
    target = objects.deployment(
        ready=ready, updated=updated, revision=3, pod_template=BAD, generation=5, observed=observed, **more
    )
    target["status"]["replicas"] = replicas
    newest = objects.replica_set(target, 3, replicas=len(new), pod_template=BAD)
    other = objects.replica_set(target, 2, replicas=2, ready=2, pod_template=GOOD)
    rest = [pods.pod(other, 8), pods.pod(other, 9)][: replicas - updated]
    return objects.workload(target, [*new, *rest], [newest, other])


def newest_pod(index: int, **more: Any) -> Resource:
    """A pod of the restored template."""
    return pods.pod(objects.replica_set(objects.deployment(pod_template=BAD), 3), index, **more)


def findings(found: Progress) -> dict[str, Finding]:
    """Of the next step, by name."""
    step = advance(found)
    assert isinstance(step, Conclude | Wait)
    assert step.judgement is not None
    return {one.name: one for one in step.judgement.findings}


CRASHES = newest_pod(1, statuses=[pods.crashlooping()], created=ago(seconds=5))


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (cart(CRASHES, observed=4), "has not seen it yet"),
        (cart(updated=0, replicas=2), "0 of 2 pods have the restored template, 0 of them are ready; its rollout goes"),
        (cart(newest_pod(1, statuses=[STARTING])), "1 of 2 pods have the restored template, 0 of them are ready; its"),
        (cart(newest_pod(1), newest_pod(2, statuses=[STARTING]), updated=2, replicas=2), "cart-h3-2 starts"),
    ],
    ids=["not observed", "no pod yet", "a pod starts", "the last pod starts"],
)
def test_an_undo_is_not_over_before_its_pods_are_there(now: Workload, says: str) -> None:
    given = undone(now, back_to(now.resource))
    step = advance(given)
    assert isinstance(step, Wait)
    assert (step.reason, says in step.message) == ("UndoSettling", True), step.message
    assert findings(given)["SpecRestored"].holds is True
    assert findings(given)["PodsRestored"].holds is False


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (cart(CRASHES), "1 of 2 pods have the restored template, 0 of them are ready"),
        (cart(newest_pod(1), newest_pod(2), updated=2, replicas=2), "2 of 2 pods have the restored template, 2 of"),
        (objects.workload(objects.deployment(replicas=0, pod_template=BAD)), "0 of 0 pods"),
    ],
    ids=["it stands where it stood before", "it went through", "nothing is wanted"],
)
def test_an_undo_is_proven_once_its_rollout_has_got_as_far_as_it_can(now: Workload, says: str) -> None:
    step = advance(undone(now, back_to(now.resource)))
    assert isinstance(step, Conclude)
    assert (step.result, step.judgement.reason) == (AttemptResult.UNDONE, "Restored")
    assert says in step.judgement.findings[-1].message


def test_what_was_seen_stands_in_the_evidence_and_the_escalation_goes_on() -> None:
    now = cart(CRASHES)
    given = undone(now, back_to(now.resource))
    record = after(given, advance(given))
    assert record.status.attempts[0].evidence == (
        "SpecRestored: yes: all that was touched is as it was",
        "PodsRestored: yes: 1 of 2 pods have the restored template, 0 of them are ready",
    )
    assert record.status.is_true(ConditionType.UNDONE)
    assert advance(replace(given, remediation=record)) == Propose(Action.RESTART)


def test_pods_that_do_not_come_are_not_waited_for_longer_than_the_policy_verifies() -> None:
    now = cart(newest_pod(1, statuses=[STARTING]))
    given = undone(now, back_to(now.resource))
    assert isinstance(advance(replace(given, now=NOW + timedelta(seconds=299))), Wait)
    late = replace(given, now=NOW + timedelta(seconds=300))
    step = advance(late)
    assert isinstance(step, Conclude)
    assert (step.judgement.outcome, step.judgement.reason) == (Outcome.INCONCLUSIVE, "UndoUnverified")
    record = after(late, step)
    said = record.status.condition(ConditionType.UNDONE)
    assert said is not None
    assert (said.status, said.reason, record.status.reason) == ("Unknown", "UndoUnverified", "UndoUnverified")
    assert record.status.times.undone == NOW
    sick = replace(late, remediation=record, symptoms=progress(cart(CRASHES), record, OWNER).symptoms)
    assert advance(sick) == Propose(Action.RESTART)


def test_pods_that_look_well_right_after_an_undo_do_not_end_the_incident() -> None:
    now = cart(newest_pod(1), newest_pod(2), updated=2, replicas=2)
    given = undone(now, back_to(now.resource))
    seen = replace(given, remediation=after(given, advance(given)))
    step = advance(seen)
    assert isinstance(step, Wait)
    assert (step.reason, step.until) == ("JustUndone", NOW + timedelta(seconds=60))
    assert advance(replace(seen, symptoms=progress(cart(CRASHES), given.remediation, OWNER).symptoms)) == Propose(
        Action.RESTART
    )
    end = advance(replace(seen, now=step.until))
    assert isinstance(end, Finish)
    assert (end.outcome, end.reason) == (Outcome.FAILED, "ClearedByItself")


def test_where_nothing_is_left_to_be_tried_people_are_told_at_once() -> None:
    now = cart(newest_pod(1), newest_pod(2), updated=2, replicas=2)
    given = undone(now, back_to(now.resource))
    seen = replace(given, remediation=after(given, advance(given)), policy=policy())
    end = advance(seen)
    assert isinstance(end, Finish)
    assert (end.outcome, end.reason) == (Outcome.FAILED, "Ineffective")


def test_a_leak_that_takes_a_while_to_fill_the_memory_again_is_not_called_cleared() -> None:
    now = cart(newest_pod(1), newest_pod(2), updated=2, replicas=2)
    given = undone(now, back_to(now.resource), reason="UnboundedLeak")
    seen = replace(given, remediation=after(given, advance(given)), now=NOW + timedelta(minutes=2))
    end = advance(seen)
    assert isinstance(end, Finish)
    assert (end.outcome, end.reason) == (Outcome.FAILED, "UnboundedLeak")
    assert "it only has to fill the memory again" in end.message


def test_a_rollout_back_that_cannot_begin_is_not_waited_for() -> None:
    target = objects.stateful_set(current_revision=1, update_revision=2, updated=0, ready=1, pod_template=BAD)
    revisions = [objects.controller_revision(target, 2), objects.controller_revision(target, 1, pod_template=GOOD)]
    older = objects.stateful_set(current_revision=1, pod_template=GOOD)
    broken = pods.pod(older, 1, statuses=[pods.crashlooping()])
    stuck = objects.workload(target, [pods.pod(older, 0), broken], revisions)
    step = advance(undone(stuck, back_to(target)))
    assert isinstance(step, Conclude)
    assert step.judgement.reason == "UndoUnverified"
    assert "0 of 2 pods have the restored template" in step.judgement.findings[-1].message


def resized(reported: str) -> tuple[Workload, Operation]:
    """A pod whose limit is 48Mi again, and what its kubelet reports."""
    body = objects.template(objects.container(memory="48Mi"))
    target = objects.deployment(replicas=1, pod_template=body)
    owner = objects.replica_set(target, replicas=1, ready=1)
    size = {"limits": {"memory": reported}, "requests": {"memory": "48Mi"}}
    one = pods.pod(owner, statuses=[pods.running() | {"resources": size}])
    return objects.workload(target, [one], [owner]), write(
        one, "Resize", {"op": "replace", "path": LIMIT, "value": "48Mi"}
    )


@pytest.mark.parametrize(("reported", "holds"), [("148Mi", False), ("48Mi", True)])
def test_the_undo_of_a_resize_is_proven_once_the_kubelet_reports_it(reported: str, holds: bool) -> None:
    now, undo = resized(reported)
    assert findings(undone(now, undo))["SizesRestored"].holds is holds


@pytest.mark.parametrize(("there", "holds"), [(3, False), (2, True)])
def test_the_undo_of_a_scale_is_proven_once_the_number_of_pods_is_the_old_one(there: int, holds: bool) -> None:
    target = objects.deployment()
    target["status"] |= {"replicas": there, "updatedReplicas": there}
    undo = write(target, "Scale", {"op": "replace", "path": "/spec/replicas", "value": 2})
    assert findings(undone(objects.workload(target), undo))["PodsRestored"].holds is holds


def test_what_somebody_rolls_out_while_the_pods_come_back_is_theirs() -> None:
    now = cart(newest_pod(1, statuses=[STARTING]))
    given = undone(now, back_to(now.resource))
    settling = replace(given, remediation=after(given, advance(given)))
    spec = now.resource["spec"] | {"template": objects.template(objects.container(image="registry.local/shop:3"))}
    theirs = replace(now, resource=now.resource | {"spec": spec})
    step = advance(replace(settling, workload=theirs, now=NOW + timedelta(minutes=1)))
    assert isinstance(step, Conclude)
    assert (step.result, step.judgement.reason) == (AttemptResult.UNDONE, "UndoUnverified")


def test_an_owner_who_took_our_change_back_is_not_waited_for() -> None:
    now = cart(newest_pod(1, statuses=[STARTING]))
    guard = {"op": "test", "path": "/spec/paused", "value": True}
    undo = write(now.resource, "Patch", guard, {"op": "remove", "path": "/spec/paused"})
    step = advance(failed(now, undo, reason="RevertedByOwner"))
    assert isinstance(step, Conclude)
    assert (step.result, step.judgement.reason) == (AttemptResult.UNDONE, "Restored")


def written(stage: Stage) -> Sequence[tuple[str, str]]:
    """Writes to the Deployment."""
    return [one for one in stage.api.stored if "/deployments/" in one[1]]


def test_a_replica_that_takes_over_after_the_verdict_writes_the_undo_within_30_seconds() -> None:
    now = cart(CRASHES)
    note = f"/metadata/annotations/{REMEDIATION_ANNOTATION.replace('/', '~1')}"
    now.resource["metadata"]["annotations"][REMEDIATION_ANNOTATION] = "rem-1/1"
    stage = Stage(now)
    stage.put_policy(OWNER)
    undo = write(now.resource, "Patch", {"op": "remove", "path": note})
    record = stage.put_remediation(failed(now, undo).remediation)
    stage.later(seconds=6)  # with the ten that are over: a Lease of 15 s, and a second to get ready
    successor = stage.succeed()
    successor.stepper.run(record)
    (stored,) = successor.remediations()
    attempt, undone_at = stored.status.attempts[0], stored.status.times.undone
    assert attempt.ended_time is not None
    assert undone_at is not None
    assert undone_at - attempt.ended_time == timedelta(seconds=16)
    assert len(written(successor)) >= 1


def test_an_api_server_that_is_away_for_a_moment_does_not_end_the_undo() -> None:
    now = cart(CRASHES)
    given = failed(now, back_to(cart().resource), write(now.resource, "Patch", {"op": "add", "path": "/x", "value": 1}))
    step = advance(given)
    assert isinstance(step, Undo)
    stored: Remediation = after(given, step, error=Unavailable("the API server does not answer"))
    assert not isinstance(advance(replace(given, remediation=stored)), Finish)
