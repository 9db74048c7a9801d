"""A leak that no limit holds is told from a limit that is too low."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.actions import ACTIONS
from controller.leaks import unbounded
from controller.model import Apply, Judgement, Propose, Workload
from controller.reconcile import advance
from controller.stepper import plan_request
from controller.verification import judge
from selfheal.errors import Refused
from selfheal.policy import Action, AnomalyType
from selfheal.remediation import Attempt, AttemptResult, Change, Outcome, OutOfMemory, Source
from tests.unit.controller import objects, pods
from tests.unit.controller.actions.server import request
from tests.unit.controller.objects import NOW, ago
from tests.unit.controller.records import (
    after,
    healthy,
    policy,
    prediction,
    progress,
    remediation,
)
from tests.unit.controller.test_verification import leak

OOM = policy(anomaly_type="OOMKilled", action="adjust-resources", escalation=["restart"])


def life(limit: str, seconds: float, name: str = "app") -> OutOfMemory:
    """How a container was killed."""
    return OutOfMemory(container=name, limit=limit, seconds=seconds)


def killed(limit: str, seconds: float, at: datetime = NOW) -> Workload:
    """A Deployment whose only container was killed for its memory after so long a life."""
    cart = objects.deployment(replicas=1, ready=0, pod_template=objects.template(objects.container(memory=limit)))
    owner = objects.replica_set(cart, replicas=1)
    death = pods.terminated(137, "OOMKilled", at=at)
    death["terminated"]["startedAt"] = objects.stamp(at - timedelta(seconds=seconds))
    status = pods.waiting(reason="CrashLoopBackOff", message=pods.CAUSE_OF_BACK_OFF, last=death, restarts=3)
    return objects.workload(cart, [pods.pod(owner, statuses=[status])], [owner])


@given(
    growth=st.floats(0.05, 50),
    start=st.floats(0, 0.5),
    low=st.integers(32, 512),
    factor=st.floats(1.2, 4),
)
def test_what_grows_at_one_rate_under_both_limits_is_a_leak(
    growth: float, start: float, low: int, factor: float
) -> None:
    high = round(low * factor)
    first, second = ((limit - start * low) / growth for limit in (low, high))
    if min(first, second) >= 10:
        assert unbounded(life(f"{low}Mi", round(first)), life(f"{high}Mi", round(second)))


@given(low=st.integers(32, 512), factor=st.floats(1.2, 4), seconds=st.floats(1, 1e5), noise=st.floats(-0.02, 0.02))
def test_what_dies_as_soon_as_before_needs_more_at_once(low: int, factor: float, seconds: float, noise: float) -> None:
    assert not unbounded(life(f"{low}Mi", seconds), life(f"{round(low * factor)}Mi", seconds * (1 + noise)))


@pytest.mark.parametrize(
    ("before", "later"),
    [
        (life("48Mi", 1), life("148Mi", 3)),  # takes its memory at the start
        (life("148Mi", 18), life("48Mi", 6)),  # the limit is lower now
        (life("48Mi", 6), life("148Mi", 18, "proxy")),  # another container
        (life("48Mi", 6), life("148Mi", 3600)),  # lived well for an hour
        (life("100Mi", 100), life("104Mi", 103)),  # limits too close to each other to tell
    ],
)
def test_what_may_have_another_reason_is_no_leak(before: OutOfMemory, later: OutOfMemory) -> None:
    assert unbounded(before, later) == ""


def test_a_plan_remembers_how_the_container_was_killed_before() -> None:
    change = ACTIONS[Action.ADJUST_RESOURCES].plan(request(killed("48Mi", 6), AnomalyType.OOM_KILLED))
    assert change.out_of_memory == life("48Mi", 6)


def verdict(before: OutOfMemory, now: Workload) -> Judgement:
    """What is said of a raise that was written half a minute ago."""
    then = ago(seconds=30)
    fresh = progress(now, remediation(now.ref, OOM, decided=then), OOM, now=then)
    plan = Change(diff="memory limit of app: 48Mi -> 148Mi", out_of_memory=before)
    planned = replace(fresh, remediation=after(fresh, Propose(Action.ADJUST_RESOURCES), change=plan))
    return judge(progress(now, after(planned, Apply()), OOM))


def test_verification_notices_that_the_raise_bought_time_and_no_more() -> None:
    found = verdict(life("48Mi", 6), killed("148Mi", 18))
    assert (found.outcome, found.reason) == (Outcome.FAILED, "UnboundedLeak")
    assert "MiB/s" in found.findings[-1].message
    assert verdict(life("48Mi", 6), killed("148Mi", 18, at=ago(seconds=20))).outcome is None, "a life from before it"


def test_a_leak_uses_the_action_up_and_the_next_one_is_tried() -> None:
    now = killed("48Mi", 6)
    tried = Attempt(
        action=Action.ADJUST_RESOURCES,
        started_time=ago(minutes=2),
        ended_time=ago(minutes=1),
        result=AttemptResult.UNDONE,
        reason="UnboundedLeak",
    )
    found = remediation(now.ref, OOM)
    found = found.model_copy(update={"status": found.status.model_copy(update={"attempts": (tried,)})})
    assert advance(progress(now, found, OOM)) == Propose(Action.RESTART)


def test_the_next_incident_of_the_same_leak_gets_no_further_raise() -> None:
    earlier = Attempt(
        action=Action.ADJUST_RESOURCES,
        started_time=ago(hours=5),
        result=AttemptResult.SUCCESSFUL,
        change=Change(out_of_memory=life("100Mi", 3600)),
    )
    again = replace(request(killed("200Mi", 7300), AnomalyType.OOM_KILLED), before=(earlier,))
    with pytest.raises(Refused) as refused:
        ACTIONS[Action.ADJUST_RESOURCES].plan(again)
    assert refused.value.reason == "UnboundedLeak"


def test_a_forecast_that_still_runs_out_when_the_time_is_up_names_the_leak() -> None:
    owner = policy(anomaly_type="MemoryLeak", action="adjust-resources")
    well, then = healthy(), ago(minutes=6)
    found = remediation(well.ref, owner, decided=then, source=Source.ENSEMBLE)
    fresh = progress(well, found, owner, now=then, prediction=prediction())
    planned = replace(fresh, remediation=after(fresh, Propose(Action.ADJUST_RESOURCES), change=Change(diff="more")))
    late = progress(well, after(planned, Apply()), owner, prediction=leak(2), predicted=NOW)
    assert judge(late).reason == "UnboundedLeak"


def test_attempts_that_were_never_written_do_not_make_the_next_raise_bolder() -> None:
    now = killed("48Mi", 1)
    results = [AttemptResult.ERROR] * 5 + [AttemptResult.REFUSED]
    stopped = tuple(
        Attempt(action=Action.ADJUST_RESOURCES, started_time=NOW, result=one, reason="Conflict") for one in results
    )
    other = Attempt(action=Action.RESTART, started_time=NOW, result=AttemptResult.FAILED)
    found = remediation(now.ref, OOM)
    found = found.model_copy(update={"status": found.status.model_copy(update={"attempts": (*stopped, other)})})
    asked = plan_request(progress(now, found, OOM), OOM, Action.ADJUST_RESOURCES)
    assert ACTIONS[Action.ADJUST_RESOURCES].plan(asked).diff.startswith("memory limit of app: 48Mi -> 148Mi")
