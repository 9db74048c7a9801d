"""A storm that begins while Remediations are open: what has written nothing waits, what has is finished."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.cluster import Key
from controller.model import Apply, Conclude, Progress, Undo, Wait
from controller.reconcile import advance
from selfheal.policy import Policy
from selfheal.remediation import Approval, AttemptResult
from tests.unit.controller import objects
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import NAMESPACE, NOW
from tests.unit.controller.records import after, bad_rollout, marked, policy, remediation
from tests.unit.controller.test_machine import SICK, planned, then
from tests.unit.controller.test_machine_half_written import HALF
from tests.unit.controller.test_machine_half_written import planned as planned_in_parts

STORM = "60 % of the workloads are sick"
YES = Approval.model_validate({"remediationName": "rem-1", "decision": "Approve", "approver": "ada"})


@pytest.mark.parametrize("given", [planned(), replace(planned(policy(mode="Approve")), approval=YES)])
def test_a_plan_that_is_not_written_waits_for_the_end_of_a_storm_and_goes_on_then(given: Progress) -> None:
    assert advance(given) == Apply()
    stormy = replace(given, storm=STORM)
    step = advance(stormy)
    assert isinstance(step, Wait)
    assert (step.reason, "goes on when the storm and its cooldown are over" in step.message) == ("Storm", True)
    record = after(stormy, step)
    assert (record.status.reason, record.status.message) == ("Storm", step.message)
    assert advance(replace(given, remediation=record)) == Apply()


def test_however_long_a_storm_lasts_it_uses_up_no_attempt() -> None:
    given = replace(planned(), storm=STORM)
    late = replace(given, now=NOW + timedelta(hours=2))
    assert isinstance(advance(late), Wait)
    step = advance(replace(late, storm=""))
    assert isinstance(step, Conclude)
    assert step.judgement.reason == "PlanTooOld"  # it is made anew, and counts for nothing


def test_looking_again_and_again_writes_nothing_new() -> None:
    given = replace(planned(), storm=STORM)
    first = after(given, advance(given))
    again = replace(given, remediation=first, now=NOW + timedelta(seconds=5), storm="a storm has just passed: 9 s left")
    assert after(again, advance(again)).status == first.status


@pytest.mark.parametrize("half", HALF)
def test_a_plan_that_is_half_written_is_finished_in_a_storm_too(half: str) -> None:
    change, workload = HALF[half]
    assert advance(replace(planned_in_parts(change), workload=workload, storm=STORM)) == Apply()


def test_what_is_written_is_verified_and_undone_in_a_storm_too() -> None:
    applied = replace(then(planned(), Apply(), marked(SICK, "rem-1/1")), storm=STORM)
    late = replace(applied, now=NOW + timedelta(minutes=6))
    verdict = advance(late)
    assert isinstance(verdict, Conclude)
    assert verdict.result is AttemptResult.FAILED
    assert isinstance(advance(then(late, verdict, marked(SICK, "rem-1/1"))), Undo)


def stage(owner: Policy, sick: int) -> Stage:
    """A sick cart with an open Remediation among ten workloads, of which some more are sick."""
    found = Stage(bad_rollout())
    found.put_policy(owner)
    for number in range(9):
        found.world.observe("Deployment", objects.deployment(f"shop-{number}"), sick=False)
        found.world.diagnose(Key(NAMESPACE, "Deployment", f"shop-{number}"), sick=number < sick)
    found.world.diagnose(Key(NAMESPACE, "Deployment", "cart"), sick=True)
    return found


def test_the_storm_is_asked_for_right_before_the_write_and_remembered() -> None:
    found = stage(policy(), sick=5)
    found.stepper.run(found.put_remediation(remediation(SICK.ref, policy())))
    (waiting,) = found.remediations()
    assert (waiting.status.reason, waiting.status.attempts[0].result) == ("Storm", "Planned")
    assert found.world.last_storm == NOW
    for number in range(9):
        found.world.diagnose(Key(NAMESPACE, "Deployment", f"shop-{number}"), sick=False)
    found.later(minutes=9)
    found.stepper.run(waiting)
    assert found.remediations()[0].status.reason == "Storm"  # its cooldown
    found.later(minutes=2)
    found.stepper.run(found.remediations()[0])
    assert found.remediations()[0].status.attempts[-1].result == "Applied"


def test_few_that_are_sick_hold_no_write_back() -> None:
    found = stage(policy(), sick=3)
    found.stepper.run(found.put_remediation(remediation(SICK.ref, policy())))
    assert found.remediations()[0].status.attempts[0].result == "Applied"
