"""Which attempt a plan is for, and which records are old enough to go."""

from __future__ import annotations

from datetime import timedelta

from controller.history import beyond_limit
from controller.stepper import next_attempt
from selfheal.policy import Action, AnomalyType, Policy, PolicySpec
from selfheal.remediation import (
    AnomalyRecord,
    Attempt,
    AttemptResult,
    Condition,
    PolicyRef,
    Remediation,
    RemediationSpec,
    RemediationStatus,
    Source,
    TargetRef,
    Times,
    VerdictRecord,
)
from tests.unit.controller.objects import NOW


def policy(limit: int) -> Policy:
    spec = {"anomalyType": "OOMKilled", "action": "restart", "remediationHistoryLimit": limit}
    return Policy(name="p", namespace="shop", uid="p-1", spec=PolicySpec.model_validate(spec))


def record(name: str, minutes_ago: int = 0, *, closed: bool = True, of: str = "p-1", **status: object) -> Remediation:
    when = NOW - timedelta(minutes=minutes_ago)
    done = Condition(type="Complete", status="True", reason="Done", last_transition_time=when)
    times = Times(completed=when if closed else None)
    return Remediation(
        name=name,
        namespace="shop",
        spec=RemediationSpec(
            policy_ref=PolicyRef(name="p", uid=of),
            target=TargetRef(api_version="apps/v1", kind="Deployment", name="cart", uid="u"),
            anomaly=AnomalyRecord(type=AnomalyType.OOM_KILLED, detected_time=when),
            verdict=VerdictRecord(confidence=0.9, source=Source.SYMPTOM),
        ),
        status=RemediationStatus.model_validate({"conditions": (done,) if closed else (), "times": times, **status}),
    )


def attempts(*results: AttemptResult) -> Remediation:
    made = tuple(Attempt(action=Action.RESTART, started_time=NOW, result=result) for result in results)
    return record("r", closed=False, attempts=made)


def test_the_newest_closed_records_stay() -> None:
    known = [record("new", 1), record("old", 30), record("middle", 10)]
    assert [one.name for one in beyond_limit(known, policy(2), ())] == ["old"]
    assert beyond_limit(known, policy(3), ()) == []


def test_open_records_never_go() -> None:
    known = [record("new", 1), record("open", 99, closed=False)]
    assert beyond_limit(known, policy(1), ()) == []


def test_a_plan_is_for_the_attempt_after_those_that_ended() -> None:
    assert next_attempt(attempts()) == 1
    assert next_attempt(attempts(AttemptResult.FAILED, AttemptResult.UNDONE)) == 3
