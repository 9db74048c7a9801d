"""Each field of a Remediation's status tells where it stands, or is what the next step rests on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.model import Apply, Progress, Propose, Wait
from controller.reconcile import advance
from controller.status import cleared, remediation_status_after
from selfheal.errors import Refused
from selfheal.policy import Action, HealingConfig
from selfheal.remediation import Approval, AttemptResult, Change, Condition, Outcome, Remediation
from tests.fields.story import NOW, SICK, WELL, Story, play, seconds
from tests.unit.controller.records import after, change_of, policy, progress, remediation

GOOD, BAD = play(policy(), heals=True), play(policy())


def conditions(found: Remediation) -> dict[str, Condition]:
    """By type."""
    return {one.type: one for one in found.status.conditions}


def test_each_step_of_a_heal_is_a_condition() -> None:
    found = {kind: (one.status, one.reason) for kind, one in conditions(GOOD.end).items()}
    assert found == {"Applied": ("True", "Applied"), "Verified": ("True", "Stable"), "Complete": ("True", "Verified")}


def test_each_step_of_a_failure_is_a_condition() -> None:
    found = {kind: (one.status, one.reason) for kind, one in conditions(BAD.end).items()}
    assert found == {
        "Applied": ("True", "Applied"),
        "Verified": ("False", "TimedOut"),
        "Undone": ("True", "Restored"),
        "Complete": ("True", "Ineffective"),
    }


def test_a_condition_says_why_since_when_and_about_which_generation() -> None:
    found = conditions(GOOD.end)
    assert found["Applied"].message == "command: false -> true"
    assert found["Complete"].message == GOOD.end.status.message
    assert found["Applied"].last_transition_time == GOOD.end.status.times.applied
    assert {one.observed_generation for one in found.values()} == {1}, "the spec never changes"


def test_an_approval_is_a_condition() -> None:
    yes = Approval.model_validate({"remediationName": "rem-1", "decision": "Approve", "approver": "ada"})
    assert conditions(play(policy(mode="Approve"), heals=True, approval=yes).end)["Approved"].status == "True"
    assert conditions(play(policy(mode="Approve")).end)["Approved"].status == "False"


@pytest.mark.parametrize(
    ("story", "outcome", "reason"), [(GOOD, Outcome.SUCCESSFUL, "Verified"), (BAD, Outcome.FAILED, "Ineffective")]
)
def test_the_end_has_an_outcome_a_reason_and_a_message(story: Story, outcome: Outcome, reason: str) -> None:
    status = story.end.status
    assert (status.outcome, status.reason) == (outcome, reason)
    assert "rollback" in status.message


def test_the_next_step_says_when_it_is_due_at_the_latest() -> None:
    waiting = after(planned("Approve"), advance(planned("Approve")))
    assert waiting.status.next_step_time == NOW + timedelta(minutes=15)
    assert BAD.end.status.next_step_time is None
    held = replace(planned("Auto"), config=HealingConfig(suspended=True))
    stored = after(held, advance(held))
    assert stored.status.next_step_time is not None
    again = progress(SICK, stored, policy(), now=stored.status.next_step_time + timedelta(seconds=1))
    assert after(again, advance(again)).status.reason == "SuspendedTooLong"


def planned(mode: str) -> Progress:
    """A stored plan."""
    owner = policy(mode=mode)
    fresh = progress(SICK, remediation(SICK.ref, owner), owner)
    stored = after(fresh, Propose(Action.ROLLBACK), change=change_of(SICK, "rem-1/1"), dry_run="accepted")
    return replace(fresh, remediation=stored)


def test_the_times_of_a_heal_follow_each_other() -> None:
    times = GOOD.end.status.times
    found = [times.detected, times.decided, times.applied, times.recovered, times.verified, times.completed]
    assert None not in found
    assert found == sorted(found, key=lambda one: one or NOW)
    assert seconds(times.recovered, times.verified) >= 60


def test_the_time_of_an_undo_is_recorded_and_none_of_a_success() -> None:
    times = BAD.end.status.times
    assert (times.recovered, times.verified) == (None, None)
    assert 0 <= seconds(BAD.attempts[0].ended_time, times.undone) <= 30


def test_what_was_seen_to_be_over_is_recorded_once() -> None:
    over = cleared(BAD.end, NOW + timedelta(hours=1))
    assert over.times.cleared == NOW + timedelta(hours=1)
    again = BAD.end.model_copy(update={"status": over})
    assert cleared(again, NOW + timedelta(hours=2)) == over


def test_an_attempt_says_what_was_tried_when_and_what_came_of_it() -> None:
    (tried,) = BAD.attempts
    assert (tried.action, tried.result, tried.reason) == (Action.ROLLBACK, AttemptResult.UNDONE, "TimedOut")
    assert tried.started_time == NOW
    assert seconds(tried.started_time, tried.ended_time) >= 300
    assert "exit code 1" in tried.message


def test_an_attempt_keeps_the_plan_its_undo_and_what_the_dry_run_said() -> None:
    (tried,) = GOOD.attempts
    plan = change_of(SICK, "rem-1/1")
    assert (tried.change, tried.undo, tried.dry_run) == (plan, plan.undo, "accepted")


def test_an_attempt_keeps_the_evidence_of_its_verification() -> None:
    assert "ReplicasReady: yes: 2 of 2 replicas are ready, 2 of the newest revision" in GOOD.attempts[0].evidence
    assert any(line.startswith("SignalClear: no: ") for line in BAD.attempts[0].evidence)
    assert any(line.startswith("SpecRestored: yes") for line in BAD.attempts[0].evidence)


def test_a_refused_attempt_keeps_its_reason() -> None:
    fresh = progress(SICK, remediation(SICK.ref, policy()), policy())
    status = remediation_status_after(fresh, Propose(Action.ROLLBACK), error=Refused("NoHealthyRevision", "none"))
    assert (status.attempts[0].reason, status.attempts[0].message) == ("NoHealthyRevision", "none")


def test_what_a_plan_would_do_is_shown_to_whom_it_waits_for() -> None:
    step = advance(planned("Approve"))
    assert isinstance(step, Wait)
    assert "command: false -> true" in step.message


def test_the_note_of_a_plan_is_told() -> None:
    fresh = progress(SICK, remediation(SICK.ref, policy()), policy())
    told = Change(operations=change_of(SICK, "rem-1/1").operations, note="it lasts as long as the pod")
    stored = after(fresh, Propose(Action.ROLLBACK), change=told)
    assert stored.status.message == stored.status.attempts[0].message == "it lasts as long as the pod"


def test_a_value_that_is_not_as_expected_after_the_change_is_a_change_taken_back() -> None:
    def verdict(expected: dict[str, object]) -> str:
        plan = change_of(SICK, "rem-1/1").model_copy(update={"expected": expected})
        fresh = progress(SICK, remediation(SICK.ref, policy()), policy())
        stored = replace(fresh, remediation=after(fresh, Propose(Action.ROLLBACK), change=plan))
        written = replace(stored, remediation=after(stored, Apply()), workload=WELL, symptoms=())
        return after(written, advance(written)).status.reason

    assert verdict({"/spec/replicas": 2}) == "Stabilizing"
    assert verdict({"/spec/replicas": 3}) == "RevertedByOwner"


def test_a_plan_is_written_only_while_it_is_planned() -> None:
    state = planned("Auto")
    assert advance(state) == Apply()
    status = state.remediation.status
    tried = status.attempts[0].model_copy(update={"result": AttemptResult.APPLIED})
    stored = state.remediation.model_copy(update={"status": status.model_copy(update={"attempts": (tried,)})})
    assert advance(replace(state, remediation=stored)) != Apply()
