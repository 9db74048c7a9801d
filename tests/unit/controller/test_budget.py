"""The budget: what may have changed something, and records that ended without a change, each up to the same limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.coordination import budget_left
from controller.model import Decision
from controller.reconcile import decide
from selfheal.policy import Action, Budget, HealingConfig
from selfheal.remediation import Attempt, AttemptResult, Outcome, Remediation, TargetRef
from tests.unit.controller import objects
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import NAMESPACE, ago
from tests.unit.controller.records import bad_rollout, healthy, policy, remediation, situation

SICK = bad_rollout()
HARMLESS = (Outcome.OBSERVED, Outcome.SKIPPED, Outcome.DENIED)
LIMITS = Budget(max_concurrent=3, max_per_hour=4, max_per_namespace_per_hour=2)
CONFIG = HealingConfig(budget=LIMITS)


def other(index: int, outcome: Outcome | None, minutes: float = 30, namespace: str = NAMESPACE) -> Remediation:
    """A Remediation of another workload; None as outcome for one that is open."""
    target = TargetRef(api_version="apps/v1", kind="Deployment", namespace=namespace, name="x", uid=f"x-{index}")
    begun = ago(minutes=minutes)
    return remediation(target, policy(), name=f"r-{index}", outcome=outcome, decided=begun, namespace=namespace)


def asked(history: Sequence[Remediation], deleted: Sequence[Remediation] = ()) -> Decision:
    """Whether one more is opened."""
    given = situation(SICK, policy(), config=CONFIG, history=tuple(history))
    return decide(replace(given, deleted=tuple(deleted)))


@pytest.mark.parametrize("outcome", HARMLESS)
def test_records_without_a_change_have_a_limit_of_their_own(outcome: Outcome) -> None:
    two = [other(index, outcome) for index in range(2)]
    assert asked(two[:1]).reason == "Opened"
    found = asked(two)
    assert (found.reason, found.refused) == ("BudgetExhausted", True)
    assert found.message == (
        "2 remediations without a change in this namespace in the last hour (maxPerNamespacePerHour), 2 are allowed"
    )
    assert asked([other(index, outcome, minutes=61) for index in range(9)]).reason == "Opened"


def test_records_without_a_change_in_other_namespaces_count_up_to_the_limit_of_the_cluster() -> None:
    elsewhere = [other(index, Outcome.SKIPPED, namespace=f"n-{index}") for index in range(4)]
    assert asked(elsewhere[:3]).reason == "Opened"
    assert "without a change in the last hour (maxPerHour)" in asked(elsewhere).message


def test_neither_budget_uses_up_the_other() -> None:
    assert asked([other(1, Outcome.SKIPPED), other(2, Outcome.FAILED)]).reason == "Opened"


def test_what_is_open_and_has_written_nothing_may_still_end_without_a_change() -> None:
    fresh = other(2, None)
    assert asked([other(1, Outcome.SKIPPED), fresh]).reason == "BudgetExhausted"
    written = Attempt(action=Action.ROLLBACK, started_time=ago(minutes=1), result=AttemptResult.APPLIED)
    at_work = fresh.model_copy(update={"status": fresh.status.model_copy(update={"attempts": (written,)})})
    assert asked([other(1, Outcome.SKIPPED), at_work]).reason == "Opened"


def test_a_record_that_was_deleted_counts_too() -> None:
    assert asked([other(1, Outcome.SKIPPED)], [other(2, Outcome.OBSERVED)]).reason == "BudgetExhausted"
    assert asked([other(1, Outcome.SKIPPED)], [other(1, Outcome.SKIPPED)]).reason == "Opened"


RECORDS = st.lists(
    st.builds(
        lambda outcome, minutes, namespace: (outcome, minutes, namespace),
        st.sampled_from([None, *Outcome]),
        st.floats(0, 120),
        st.sampled_from([NAMESPACE, "elsewhere"]),
    ),
    max_size=12,
)


@given(RECORDS)
def test_what_is_opened_stays_within_every_limit(seen: list[tuple[Outcome | None, float, str]]) -> None:
    history = [other(index, *one) for index, one in enumerate(seen)]
    recent = [one for one, (_, minutes, _) in zip(history, seen, strict=True) if minutes < 60]
    found = asked(history)
    for kind in (
        [one for one in recent if one.status.outcome in HARMLESS or one.is_open],
        [one for one in recent if one.status.outcome not in HARMLESS],
    ):
        here = [one for one in kind if one.namespace == NAMESPACE]
        full = len(kind) >= LIMITS.max_per_hour or len(here) >= LIMITS.max_per_namespace_per_hour
        assert not (full and found.open)
    assert not (sum(one.is_open for one in history) >= LIMITS.max_concurrent and found.open)
    assert (found.reason == "BudgetExhausted") == (found.open is None)


@given(RECORDS, st.timedeltas(timedelta(0), timedelta(minutes=61)))
def test_a_budget_that_is_free_stays_free_when_time_passes(
    seen: list[tuple[Outcome | None, float, str]], later: timedelta
) -> None:
    history = tuple(other(index, *one) for index, one in enumerate(seen))
    now = situation(SICK, policy(), config=CONFIG, history=history)
    if decide(now).open is not None:
        assert decide(replace(now, now=now.now + later)).reason != "BudgetExhausted"


@given(RECORDS)
def test_the_metric_counts_how_many_are_still_opened(seen: list[tuple[Outcome | None, float, str]]) -> None:
    history = [other(index, outcome, minutes, "elsewhere") for index, (outcome, minutes, _) in enumerate(seen)]
    left = budget_left(LIMITS, history, objects.NOW)
    for number in range(left):
        assert asked(history).open is not None
        history.append(other(100 + number, None, namespace="new"))
    assert asked(history).reason == "BudgetExhausted"


def test_records_without_a_change_and_deleted_ones_count_in_the_metric_as_they_do_in_the_budget() -> None:
    stage = Stage(healthy())

    def remaining() -> float | None:
        stage.healer.tick()
        return stage.metrics.registry.get_sample_value("selfheal_budget_remaining")

    assert remaining() == 5
    for index in range(17):
        stage.put_remediation(other(index, Outcome.SKIPPED))
        stage.put_remediation(other(100 + index, Outcome.FAILED))
    assert remaining() == 3
    stage.put_remediation(other(200, Outcome.OBSERVED))
    assert remaining() == 2
    stage.world.drop("Remediation", {"metadata": {"namespace": NAMESPACE, "name": "r-200"}})
    assert remaining() == 2


def test_the_refusal_is_told_once_and_not_at_every_look() -> None:
    stage = Stage(SICK)
    stage.put_policy(policy())
    for index in range(6):
        stage.put_remediation(other(index, Outcome.SKIPPED))
    for _ in range(5):
        stage.healer.tend(SICK.ref.workload)
        stage.later(seconds=15)
    assert len(stage.remediations()) == 6
    told = [one for path, one in stage.api.objects.items() if "/events/" in path]
    assert {one["reason"] for one in told} == {"BudgetExhausted"}
    assert len(told) == 2  # on the workload and on the policy
