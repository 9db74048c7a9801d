"""A record of what would have been done says later whether doing it would have been right."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controller.cluster import Key
from controller.model import Workload
from controller.reconcile import decide
from selfheal.policy import Action
from selfheal.remediation import Attempt, Change, Hindsight, Outcome, Remediation, Source
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import NAMESPACE, NOW, ago
from tests.unit.controller.records import bad_rollout, change_of, healthy, policy, prediction, remediation, situation

SICK, WELL = bad_rollout(), healthy()
OBSERVER = policy(mode="Observe")
CART = Key(NAMESPACE, "Deployment", "cart")
EXPECTED = {"/metadata/labels/mended": "yes"}


def observed(
    minutes: float, *, outcome: Outcome = Outcome.OBSERVED, expected: dict[str, Any] | None = None, **more: Any
) -> Remediation:
    """A record that ended some minutes ago, with the plan that was not carried out."""
    then = ago(minutes=minutes)
    found = remediation(SICK.ref, OBSERVER, outcome=outcome, reason="ObserveMode", decided=then, completed=then, **more)
    mark = change_of(SICK, "rem-1/1")
    plan = Change(operations=mark.operations, diff="image", expected=mark.expected | (expected or {}))
    tried = Attempt(action=Action.ROLLBACK, started_time=then, change=plan, undo=mark.undo)
    return found.model_copy(update={"status": found.status.model_copy(update={"attempts": (tried,)})})


def mended(workload: Workload) -> Workload:
    """With the change that was planned, by whomever."""
    metadata = workload.resource["metadata"] | {"labels": {"mended": "yes"}}
    return replace(workload, resource=workload.resource | {"metadata": metadata})


def word(workload: Workload, past: Remediation, **more: Any) -> str:
    """What is said of it by what is seen now."""
    return dict(decide(situation(workload, OBSERVER, history=(past,), **more)).hindsight).get(past.name, "")


def test_what_cleared_by_itself_within_the_timeout_needed_no_action() -> None:
    assert word(WELL, observed(4)) == Hindsight.NOT_NEEDED


def test_what_is_there_after_the_timeout_would_have_needed_one() -> None:
    assert word(SICK, observed(4)) == ""
    assert word(SICK, observed(6)) == Hindsight.STILL_SICK


def test_the_timeout_is_that_of_the_policy() -> None:
    patient = policy(mode="Observe", verification={"timeout": "10m"})
    found = decide(situation(SICK, patient, history=(observed(6),)))
    assert found.hindsight == ()


def test_what_cleared_much_later_for_reasons_that_are_not_known_stays_unjudged() -> None:
    assert word(WELL, observed(60)) == ""


def test_a_person_who_made_the_same_change_and_cured_it_proves_it_right() -> None:
    for minutes in (4, 60):
        assert word(mended(WELL), observed(minutes, expected=EXPECTED)) == Hindsight.SAME_CHANGE_MADE
    assert word(WELL, observed(4, expected=EXPECTED)) == Hindsight.NOT_NEEDED
    assert word(mended(WELL), observed(4)) == Hindsight.NOT_NEEDED, "our own mark alone is no change"


def test_the_same_change_that_cured_nothing_does_not_prove_it_right() -> None:
    assert word(SICK, observed(6, expected=EXPECTED)) == Hindsight.STILL_SICK
    assert word(mended(SICK), observed(6, expected=EXPECTED)) == ""


def test_what_only_the_ensemble_saw_is_over_when_it_says_so() -> None:
    leak = policy(anomaly_type="MemoryLeak", action="restart", mode="Observe")
    past = remediation(WELL.ref, leak, outcome=Outcome.OBSERVED, decided=ago(minutes=4), source=Source.ENSEMBLE)
    past = past.model_copy(update={"status": observed(4).status})

    def told(**more: Any) -> dict[str, str]:
        return dict(decide(situation(WELL, leak, history=(past,), **more)).hindsight)

    assert told() == {}
    assert told(prediction=prediction(False, None, 0.02)) == {"rem-1": Hindsight.NOT_NEEDED}
    assert told(prediction=prediction(), now=NOW + timedelta(minutes=2)) == {"rem-1": Hindsight.STILL_SICK}


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.OBSERVED])
def test_only_what_was_observed_is_judged_later(outcome: Outcome) -> None:
    assert word(WELL, observed(4, outcome=outcome)) == ""


def test_the_healer_writes_it_and_a_cure_by_the_same_change_comes_later() -> None:
    stage = Stage(SICK)
    stage.put_policy(OBSERVER)
    stage.put_remediation(observed(4, expected=EXPECTED))

    def looked_at(minutes: float) -> str | None:
        stage.now = NOW + timedelta(minutes=minutes)
        stage.healer.consider(CART)
        return stage.remediations()[0].status.hindsight

    assert looked_at(0) is None
    assert looked_at(2) == Hindsight.STILL_SICK
    sick = {one["metadata"]["uid"] for one in (*SICK.pods, *SICK.revisions)}
    stage.api.objects = {at: one for at, one in stage.api.objects.items() if one["metadata"].get("uid") not in sick}
    stage.add(mended(WELL))
    assert looked_at(9) == Hindsight.SAME_CHANGE_MADE
    assert stage.remediations()[0].status.times.cleared == stage.now
