"""The state machine of an open Remediation, driven to its end under any outcome."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.model import Apply, Conclude, Finish, Progress, Propose, Step, Undo, Wait, Workload
from controller.reconcile import advance
from selfheal.errors import Conflict, Forbidden, Refused, SelfhealError, TemporaryError, Unavailable
from selfheal.policy import HealingConfig, Policy
from selfheal.remediation import Approval, AttemptResult, Outcome, Source
from tests.unit.controller.objects import NOW
from tests.unit.controller.records import (
    after,
    bad_rollout,
    change_of,
    healthy,
    marked,
    policy,
    prediction,
    progress,
    remediation,
)

SICK = bad_rollout()
START = remediation(SICK.ref, policy())
ERRORS: list[SelfhealError | None] = [
    None,
    None,
    Refused("NoHealthyRevision", "no older revision was healthy"),
    Forbidden("the API server says no"),
    Conflict("somebody else wrote first"),
    Unavailable("the API server does not answer"),
]


ESCALATIONS: list[list[str]] = [[], ["restart"], ["notify-only"], ["restart", "notify-only"]]


def begin(owner: Policy | None = None, **more: Any) -> Progress:
    """A fresh Remediation of the sick workload."""
    owner = owner or policy()
    return progress(SICK, remediation(SICK.ref, owner), owner, **more)


def then(given_progress: Progress, step: Step, workload: Workload = SICK, **more: Any) -> Progress:
    """What the next step rests on, once this one is stored."""
    stored = after(given_progress, step, **more)
    return replace(given_progress, remediation=stored, workload=workload)


def planned(owner: Policy | None = None) -> Progress:
    """A stored plan."""
    fresh = begin(owner)
    step = advance(fresh)
    assert isinstance(step, Propose)
    return then(fresh, step, change=change_of(SICK, "rem-1/1"), dry_run="accepted")


def test_a_plan_is_stored_before_it_is_applied() -> None:
    assert isinstance(advance(begin()), Propose)
    assert advance(planned()) == Apply()


def test_observe_ends_after_the_dry_run() -> None:
    step = advance(planned(policy(mode="Observe")))
    assert isinstance(step, Finish)
    assert (step.outcome, "command: false -> true" in step.message) == (Outcome.OBSERVED, True)


def test_approve_waits_for_a_person_and_no_answer_in_time_is_no() -> None:
    waiting = planned(policy(mode="Approve"))
    step = advance(waiting)
    assert isinstance(step, Wait)
    assert step.until == NOW + timedelta(minutes=15)
    late = advance(replace(waiting, now=step.until))
    assert isinstance(late, Finish)
    assert (late.outcome, late.reason) == (Outcome.DENIED, "ApprovalTimeout")


@pytest.mark.parametrize("decision", ["Approve", "Deny"])
def test_a_person_decides(decision: str) -> None:
    answer = Approval.model_validate({"remediationName": "rem-1", "decision": decision, "approver": "ada"})
    step = advance(replace(planned(policy(mode="Approve")), approval=answer))
    assert (step == Apply()) == (decision == "Approve")


def test_what_heals_by_itself_is_left_alone() -> None:
    step = advance(replace(planned(), symptoms=()))
    assert isinstance(step, Finish)
    assert (step.outcome, step.reason) == (Outcome.SKIPPED, "ClearedByItself")


def test_a_change_that_is_visible_already_is_not_made_twice() -> None:
    killed = replace(planned(), workload=marked(SICK, "rem-1/1"))
    step = advance(killed)
    assert isinstance(step, Wait)
    stored = after(killed, step)
    assert stored.status.attempts[0].result is AttemptResult.APPLIED
    assert stored.status.times.applied == NOW


def test_a_failed_fix_is_undone_and_the_undo_verified_before_the_end() -> None:
    applied = then(planned(), Apply(), marked(SICK, "rem-1/1"))
    late = replace(applied, now=NOW + timedelta(minutes=6))
    verdict = advance(late)
    assert isinstance(verdict, Conclude)
    assert verdict.result is AttemptResult.FAILED
    failed = then(late, verdict, marked(SICK, "rem-1/1"))
    undo = advance(failed)
    assert isinstance(undo, Undo)
    undone = then(failed, undo, marked(SICK, None))
    restored = advance(undone)
    assert isinstance(restored, Conclude)
    assert restored.result is AttemptResult.UNDONE
    end = advance(then(undone, restored, marked(SICK, None)))
    assert isinstance(end, Finish)
    assert end.outcome is Outcome.FAILED


def test_an_undo_that_somebody_stood_in_the_way_of_is_tried_again_for_a_while() -> None:
    applied = then(planned(), Apply(), marked(SICK, "rem-1/1"))
    late = replace(applied, now=NOW + timedelta(minutes=6))
    failed = then(late, advance(late), marked(SICK, "rem-1/1"))
    stopped = then(failed, advance(failed), marked(SICK, "rem-1/1"), error=Conflict("the kubelet wrote first"))
    assert isinstance(advance(stopped), Wait)
    soon = replace(stopped, now=stopped.now + timedelta(seconds=6))
    assert isinstance(advance(soon), Undo)
    again = then(soon, Undo("TimedOut"), marked(SICK, "rem-1/1"), error=Conflict("the kubelet wrote first"))
    end = advance(replace(again, now=again.now + timedelta(seconds=40)))
    assert isinstance(end, Finish)
    assert (end.outcome, end.reason) == (Outcome.ERROR, "UndoFailed")


def test_an_undo_without_effect_is_an_error() -> None:
    applied = then(planned(), Apply(), marked(SICK, "rem-1/1"))
    late = replace(applied, now=NOW + timedelta(minutes=6))
    failed = then(late, advance(late), marked(SICK, "rem-1/1"))
    written = then(failed, advance(failed), marked(SICK, "rem-1/1"))
    step = advance(replace(written, now=written.now + timedelta(seconds=31)))
    assert isinstance(step, Finish)
    assert (step.outcome, step.reason) == (Outcome.ERROR, "UndoNotVerified")


def test_a_change_that_somebody_took_back_is_not_fought_over() -> None:
    applied = then(planned(policy(action="restart")), Apply(), marked(SICK, None))
    verdict = advance(applied)
    assert isinstance(verdict, Conclude)
    assert verdict.judgement.reason == "RevertedByOwner"


def test_suspension_holds_every_step_and_old_ones_do_not_resume() -> None:
    held = replace(planned(), config=HealingConfig(suspended=True))
    step = advance(held)
    assert isinstance(step, Wait)
    resumed = replace(then(held, step), config=HealingConfig())
    assert advance(replace(resumed, now=NOW + timedelta(minutes=1))) == Apply()
    late = advance(replace(resumed, now=NOW + timedelta(minutes=6)))
    assert isinstance(late, Finish)
    assert (late.outcome, late.reason) == (Outcome.SKIPPED, "SuspendedTooLong")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"policy": None}, "PolicyGone"),
        ({"workload": None}, "WorkloadGone"),
        ({"policy": policy(enabled=False)}, "PolicyGone"),
    ],
)
def test_what_is_gone_before_a_change_ends_in_peace(change: dict[str, Any], reason: str) -> None:
    step = advance(replace(planned(), **change))
    assert isinstance(step, Finish)
    assert (step.outcome, step.reason) == (Outcome.SKIPPED, reason)


def test_no_safe_action_is_an_answer() -> None:
    taint = replace(SICK, pods=())
    symptom = replace(begin().symptoms[0], cause="Taint")
    step = advance(replace(begin(), workload=taint, symptoms=(symptom,)))
    assert isinstance(step, Finish)
    assert (step.outcome, step.reason) == (Outcome.SKIPPED, "NoSafeAction")


def test_notify_only_changes_nothing_and_claims_no_success() -> None:
    fresh = begin(policy(action="notify-only"))
    told = then(fresh, advance(fresh))
    step = advance(told)
    assert isinstance(step, Finish)
    assert step.outcome is Outcome.OBSERVED


def test_an_ensemble_incident_is_not_acted_upon_once_the_endpoint_is_calm() -> None:
    leak = policy(anomaly_type="MemoryLeak", action="restart")
    found = remediation(SICK.ref, leak, source=Source.ENSEMBLE)
    seen = progress(healthy(), found, leak, prediction=prediction())
    assert isinstance(advance(seen), Propose)
    calm = advance(replace(seen, prediction=prediction(False, None, 0.01)))
    assert isinstance(calm, Finish)
    assert calm.reason == "ClearedByItself"


@settings(deadline=None, max_examples=100)
@given(
    data=st.data(),
    retries=st.integers(0, 4),
    escalation=st.sampled_from(ESCALATIONS),
)
def test_whatever_happens_it_ends_and_nothing_is_written_without_a_stored_plan(
    data: st.DataObject, retries: int, escalation: list[str]
) -> None:
    owner = policy(maxRetries=retries, escalation=escalation, undoOnFailure=data.draw(st.booleans()))
    state, writes, visible, patience = begin(owner), 0, False, 9
    for _ in range(200):
        step = advance(state)
        attempts = state.remediation.status.attempts
        error = data.draw(st.sampled_from(ERRORS)) if isinstance(step, Propose | Apply | Undo) else None
        patience -= isinstance(error, TemporaryError)  # a server that is away for ever lets nothing end
        error = None if isinstance(error, TemporaryError) and patience < 0 else error
        mark = f"rem-1/{len(attempts)}"
        if isinstance(step, Apply):
            assert attempts[-1].result is AttemptResult.PLANNED
            assert attempts[-1].undo
            writes, visible = writes + (error is None), error is None
        if isinstance(step, Undo):
            assert attempts[-1].result is AttemptResult.FAILED
            visible = visible and error is not None
        if isinstance(step, Finish):
            assert step.message
            assert writes <= retries
            assert step.outcome is not Outcome.SUCCESSFUL
            return
        plan = change_of(SICK, f"rem-1/{len(attempts) + 1}") if isinstance(step, Propose) and error is None else None
        later = state.now + timedelta(seconds=data.draw(st.sampled_from([1, 20, 400])))
        later = max(later, step.until) if isinstance(step, Wait) else later
        stored = after(state, step, change=plan, error=error)
        state = replace(state, remediation=stored, workload=marked(SICK, mark if visible else None), now=later)
    pytest.fail("it did not end within 200 steps")
