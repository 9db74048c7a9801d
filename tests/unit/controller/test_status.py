"""What is stored after a step, and what a policy says about itself."""

import pytest

from controller.model import Apply, Finish, Propose, Wait
from controller.status import cleared, policy_status
from selfheal.errors import Conflict, Forbidden, Refused, SelfhealError, Unavailable
from selfheal.policy import Action
from selfheal.remediation import AttemptResult, Outcome, PolicyConditionType
from tests.unit.controller.objects import NOW
from tests.unit.controller.records import after, bad_rollout, change_of, policy, progress, remediation

SICK = bad_rollout()
FRESH = progress(SICK, remediation(SICK.ref, policy()), policy())
PLAN = change_of(SICK, "rem-1/1")


def test_a_plan_is_stored_with_its_undo() -> None:
    (attempt,) = after(FRESH, Propose(Action.ROLLBACK), change=PLAN, dry_run="accepted").status.attempts
    assert (attempt.result, attempt.undo, attempt.dry_run) == (AttemptResult.PLANNED, PLAN.undo, "accepted")


def test_a_refused_plan_keeps_its_reason() -> None:
    (attempt,) = after(FRESH, Propose(Action.ROLLBACK), error=Refused("OnlyOneRevision", "no older")).status.attempts
    assert (attempt.result, attempt.reason, attempt.message) == (AttemptResult.REFUSED, "OnlyOneRevision", "no older")


@pytest.mark.parametrize("error", [Unavailable("no answer"), Conflict("somebody else wrote first")])
def test_a_plan_that_could_not_be_tried_changes_nothing_but_when_to_try_again(error: SelfhealError) -> None:
    found = after(FRESH, Propose(Action.ROLLBACK), error=error).status
    assert found.attempts == ()
    assert found.next_step_time is not None
    assert found.next_step_time > NOW


def test_a_write_that_is_refused_ends_the_attempt() -> None:
    planned = after(FRESH, Propose(Action.ROLLBACK), change=PLAN)
    stored = progress(SICK, planned, policy())
    found = after(stored, Apply(), error=Forbidden("no right")).status
    assert (found.attempts[0].result, found.attempts[0].reason) == (AttemptResult.ERROR, "Forbidden")
    assert found.times.applied is None


def test_waiting_for_the_same_twice_is_no_news() -> None:
    step = Wait(NOW, "Suspended", "healing is suspended")
    once = after(FRESH, step)
    assert after(progress(SICK, once, policy()), step) == once


def test_the_end_is_recorded_once() -> None:
    done = after(FRESH, Finish(Outcome.SKIPPED, "ClearedByItself", "the symptom is gone"))
    assert not done.is_open
    assert done.status.times.completed == NOW
    assert cleared(done, NOW).times.cleared == NOW


def test_a_policy_tells_what_it_does_and_how_the_last_time_ended() -> None:
    past = remediation(SICK.ref, policy(), name="rem-0", outcome=Outcome.FAILED)
    now = remediation(SICK.ref, policy(), name="rem-1")
    found = policy_status(policy(), [now, past], NOW, targets=3)
    told = {one.type: (one.status, one.reason) for one in found.conditions}
    assert told == {
        PolicyConditionType.READY: ("True", "Watching"),
        PolicyConditionType.ANOMALY_DETECTED: ("True", "CrashLoopBackOff"),
        PolicyConditionType.REMEDIATING: ("True", "AtWork"),
        PolicyConditionType.SUCCEEDED: ("False", "Failed"),
    }
    assert (found.targets, found.remediations.failed) == (3, 1)
    assert policy_status(policy(), [now, past], NOW, old=found) == found


def test_without_the_endpoint_a_policy_that_needs_it_is_not_ready() -> None:
    leak = policy(anomaly_type="MemoryLeak", action="restart")
    ready = next(
        one for one in policy_status(leak, [], NOW, degraded="endpoint down").conditions if one.type == "Ready"
    )
    assert (ready.status, ready.reason) == ("Unknown", "EndpointMissing")
