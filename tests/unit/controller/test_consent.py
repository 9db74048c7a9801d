"""What a policy and people still want, when a policy is edited and answers come early or late."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.consent import answer_to
from controller.model import Apply, Conclude, Finish, Progress, Propose, Wait
from controller.reconcile import advance
from controller.stored import Answer
from selfheal.policy import Action, Policy
from selfheal.remediation import Approval, Outcome
from tests.unit.controller.objects import NOW
from tests.unit.controller.records import after, bad_rollout, change_of, policy, progress, remediation

SICK = bad_rollout()
APPROVE = policy(mode="Approve")
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def planned(owner: Policy) -> Progress:
    """A stored plan."""
    fresh = progress(SICK, remediation(SICK.ref, owner), owner)
    step = advance(fresh)
    assert isinstance(step, Propose)
    return replace(fresh, remediation=after(fresh, step, change=change_of(SICK, "rem-1/1"), dry_run="accepted"))


def answer(decision: str = "Approve", given: datetime | None = NOW) -> Answer:
    spec = {"remediationName": "rem-1", "decision": decision, "approver": "ada"}
    return Answer(Approval.model_validate(spec), given)


def answered(waiting: Progress, *answers: Answer, now: datetime = NOW) -> Progress:
    """What the next step rests on once people have answered."""
    counts = answer_to(waiting.remediation.status, answers)
    found = (counts.approval, counts.given) if counts else (None, None)
    return replace(waiting, approval=found[0], answered=found[1], now=now)


def test_an_approval_from_before_the_plan_was_shown_is_none() -> None:
    step = advance(answered(planned(APPROVE), answer(given=NOW - MINUTE), now=NOW + MINUTE))
    assert isinstance(step, Wait)
    assert step.reason == "WaitingForApproval"


def test_an_approval_in_the_second_of_the_plan_counts_though_the_servers_times_are_whole_seconds() -> None:
    waiting = planned(APPROVE)
    status = waiting.remediation.status
    attempt = status.attempts[0].model_copy(update={"started_time": NOW + timedelta(milliseconds=900)})
    later = waiting.remediation.model_copy(update={"status": status.model_copy(update={"attempts": (attempt,)})})
    assert advance(answered(replace(waiting, remediation=later), answer(), now=NOW + SECOND)) == Apply()


def test_an_approval_in_time_counts_though_the_controller_was_down_until_after_the_deadline() -> None:
    given_in_time = answer(given=NOW + 14 * MINUTE)
    assert advance(answered(planned(APPROVE), given_in_time, now=NOW + 16 * MINUTE)) == Apply()


def test_an_approval_after_the_deadline_is_too_late() -> None:
    step = advance(answered(planned(APPROVE), answer(given=NOW + 15 * MINUTE), now=NOW + 16 * MINUTE))
    assert isinstance(step, Finish)
    assert (step.outcome, step.reason) == (Outcome.DENIED, "ApprovalTimeout")


def test_an_approval_whose_time_is_not_known_is_none() -> None:
    assert answer_to(planned(APPROVE).remediation.status, [answer(given=None)]) is None


def test_an_early_approval_does_not_hide_one_that_counts() -> None:
    both = (answer(given=NOW - MINUTE), answer(given=NOW + MINUTE))
    assert advance(answered(planned(APPROVE), *both, now=NOW + 2 * MINUTE)) == Apply()


@given(st.lists(st.sampled_from([-9, 0, 1, 99]), max_size=4), st.sampled_from([None, -9, 9, 99]))
def test_a_denial_wins_whenever_it_was_given(approvals: list[int], denied: int | None) -> None:
    denial = answer("Deny", None if denied is None else NOW + denied * MINUTE)
    said = [*(answer(given=NOW + minutes * MINUTE) for minutes in approvals), denial]
    step = advance(answered(planned(APPROVE), *said, now=NOW + MINUTE))
    assert isinstance(step, Finish)
    assert step.outcome is Outcome.DENIED


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ({"enabled": False}, "PolicyGone"),
        ({"anomaly_type": "OOMKilled"}, "PolicyGone"),
        ({"selector": {"matchLabels": {"app": "other"}}}, "PolicyGone"),
        ({"targetNamespace": "elsewhere"}, "PolicyGone"),
        ({"confidenceThreshold": 0.99}, "BelowThreshold"),
    ],
)
def test_a_plan_that_the_edited_policy_would_not_make_is_dropped(edit: dict[str, Any], reason: str) -> None:
    step = advance(replace(planned(policy()), policy=policy(**edit)))
    assert isinstance(step, Finish)
    assert (step.outcome, step.reason) == (Outcome.SKIPPED, reason)


@pytest.mark.parametrize("action", [Action.NOTIFY_ONLY, Action.RESTART])
def test_an_action_that_the_policy_no_longer_names_gives_way_to_the_one_that_it_names_now(action: Action) -> None:
    edited = replace(planned(policy()), policy=policy(action=action.value))
    dropped = advance(edited)
    assert isinstance(dropped, Conclude)
    assert dropped.judgement.reason == "PolicyChanged"
    assert advance(replace(edited, remediation=after(edited, dropped))) == Propose(action)


def test_an_action_that_moved_to_the_escalation_is_still_wanted() -> None:
    edited = policy(action="restart", escalation=["rollback"])
    assert advance(replace(planned(policy()), policy=edited)) == Apply()
