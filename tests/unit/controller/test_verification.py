"""What proves a fix, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.evidence import endpoint_calm
from controller.model import Apply, Judgement, Progress, Propose, Workload
from controller.verification import judge
from selfheal.policy import Action
from selfheal.protocol import Forecast, Prediction
from selfheal.remediation import Outcome, Source
from tests.unit.controller import objects, pods
from tests.unit.controller.objects import ago
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


def applied(workload: Workload, seconds: float, **more: Any) -> Progress:
    """A fix that was written some seconds ago to what the workload is now."""
    owner = policy()
    then = ago(seconds=seconds)
    fresh = progress(workload, remediation(workload.ref, owner, decided=then), owner, now=then)
    plan = after(fresh, Propose(Action.ROLLBACK), change=change_of(workload, "rem-1/1"))
    written = replace(fresh, remediation=plan)
    return progress(marked(workload, "rem-1/1"), after(written, Apply()), owner, **more)


def findings(found: Judgement) -> dict[str, bool | None]:
    """By name."""
    return {one.name: one.holds for one in found.findings}


def test_a_fix_is_proven_once_all_has_held_for_the_stabilisation_period() -> None:
    early, late = judge(applied(healthy(), 59)), judge(applied(healthy(), 60))
    assert (early.outcome, early.recovered) == (None, ago(seconds=59))
    assert (late.outcome, late.reason) == (Outcome.SUCCESSFUL, "Stable")


def test_what_stays_sick_has_failed_when_the_time_is_up() -> None:
    assert judge(applied(bad_rollout(), 299)).outcome is None
    late = judge(applied(bad_rollout(), 300))
    assert (late.outcome, late.reason) == (Outcome.FAILED, "TimedOut")
    assert findings(late)["SignalClear"] is False


def test_a_pod_that_got_ready_late_starts_the_clock_anew() -> None:
    cart = objects.deployment(replicas=1)
    owner = objects.replica_set(cart, replicas=1, ready=1)
    young = objects.workload(cart, [pods.pod(owner, created=ago(seconds=20))], [owner])
    assert judge(applied(young, 100)).recovered == ago(seconds=20)


def test_a_status_about_an_older_spec_proves_nothing() -> None:
    old = objects.deployment(generation=3, observed=2)
    found = judge(applied(objects.workload(old), 100))
    assert findings(found)["ReplicasReady"] is False


def test_nothing_running_proves_nothing() -> None:
    none = objects.workload(objects.deployment(replicas=0))
    assert findings(judge(applied(none, 100)))["ReplicasReady"] is None
    assert judge(applied(none, 301)).outcome is Outcome.INCONCLUSIVE


def test_a_container_that_died_just_now_is_not_flat() -> None:
    cart = objects.deployment(replicas=1)
    owner = objects.replica_set(cart, replicas=1, ready=1)
    last = pods.terminated(1, at=ago(seconds=10))
    again = pods.pod(owner, statuses=[pods.running(restarts=1, last=last, started=ago(seconds=9))])
    found = judge(applied(objects.workload(cart, [again], [owner]), 100))
    assert findings(found)["RestartsFlat"] is False
    assert found.recovered is None


def test_a_change_that_is_gone_has_failed_at_once_and_says_who() -> None:
    given = applied(healthy(), 10)
    reverted = marked(healthy(), None)
    found = judge(replace(given, workload=reverted))
    assert (found.outcome, found.reason) == (Outcome.FAILED, "RevertedByOwner")


def test_trouble_that_comes_back_has_failed_before_the_time_is_up() -> None:
    given = applied(healthy(), 100)
    status = given.remediation.status
    times = status.times.model_copy(update={"recovered": ago(seconds=50)})
    stored = given.remediation.model_copy(update={"status": status.model_copy(update={"times": times})})
    sick = replace(applied(bad_rollout(), 100), remediation=stored)
    assert judge(sick).reason == "FailedAgain"


def leak(hours: float) -> Prediction:
    """A leak that still reaches its limit."""
    found = Forecast(metric="pod_memory_usage", limit=1e9, exhausted_in=hours * 3600, exhausted_in_lower=hours * 1800)
    return prediction(forecast=found)


@pytest.mark.parametrize(
    ("answer", "calm"),
    [
        (None, None),
        (prediction(None, None, None), None),
        (prediction(False, None, 0.02), True),
        (leak(2), False),
        (leak(48), True),
        (prediction(), True),
    ],
)
def test_a_leak_is_cured_when_nothing_is_forecast_to_run_out(answer: Prediction | None, calm: bool | None) -> None:
    owner = policy(anomaly_type="MemoryLeak", action="restart")
    given = progress(healthy(), remediation(healthy().ref, owner, source=Source.ENSEMBLE), owner, prediction=answer)
    assert endpoint_calm(given, ago(minutes=1)).holds is calm


def test_an_answer_from_before_the_change_says_nothing_about_it() -> None:
    given = applied(healthy(), 60, prediction=prediction(False, None, 0.02), predicted=ago(minutes=2))
    assert findings(judge(given))["EndpointCalm"] is None
