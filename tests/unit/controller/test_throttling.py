"""A fix against CPU throttling is judged by what came after it, not by a window that still holds what was before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controller.evidence import endpoint_calm
from controller.model import Apply, Judgement, Progress, Propose
from controller.verification import judge
from selfheal.policy import Action
from selfheal.remediation import Change, Outcome, Source
from tests.unit.controller import objects, pods
from tests.unit.controller.memory import Stage as MemoryStage
from tests.unit.controller.objects import NOW, ago
from tests.unit.controller.records import after, healthy, policy, prediction, progress, remediation
from tests.unit.controller.test_healer_verdicts import CART, OWNER, FakePrometheus, Stage

THROTTLED = policy(anomaly_type="CPUThrottling", action="adjust-resources")
STILL = prediction(kind="CPUThrottling")


def raised(seconds: float, **more: Any) -> Progress:
    """A CPU limit was raised some seconds ago; the endpoint's newest window still looks throttled."""
    well, then = healthy(), ago(seconds=seconds)
    found = remediation(well.ref, THROTTLED, decided=then, source=Source.ENSEMBLE)
    fresh = progress(well, found, THROTTLED, now=then, prediction=STILL)
    planned = replace(fresh, remediation=after(fresh, Propose(Action.ADJUST_RESOURCES), change=Change(diff="cpu")))
    return progress(well, after(planned, Apply()), THROTTLED, prediction=STILL, predicted=NOW, **more)


def verdict(seconds: float, **more: Any) -> Judgement:
    """What verification says."""
    return judge(raised(seconds, **more))


def test_a_fix_that_ended_the_throttling_is_proven_though_the_window_still_holds_what_was_before() -> None:
    found = verdict(90, throttling=0.4)
    assert (found.outcome, found.reason) == (Outcome.SUCCESSFUL, "Stable")


def test_one_that_did_not_end_it_has_failed_when_the_time_is_up() -> None:
    assert verdict(90, throttling=60.0).outcome is None
    assert verdict(300, throttling=60.0).outcome is Outcome.FAILED


@pytest.mark.parametrize(("seconds", "calm"), [(90, None), (299, None), (301, False)])
def test_unmeasured_an_old_window_proves_nothing_until_its_rates_have_forgotten(
    seconds: float, calm: bool | None
) -> None:
    assert endpoint_calm(raised(seconds), ago(seconds=seconds)).holds is calm


def test_the_measure_is_no_evidence_about_another_kind_of_anomaly() -> None:
    leak = policy(anomaly_type="MemoryLeak", action="restart")
    given = progress(healthy(), remediation(healthy().ref, leak, source=Source.ENSEMBLE), leak, throttling=99.0)
    assert endpoint_calm(given, ago(minutes=1)).holds is None


class Throttled(FakePrometheus):
    """Knows how throttled four pods are; one of them is gone, one is leaving, one is idle and divides by zero."""

    def _result(self, form: dict[str, str]) -> list[Any]:
        if "throttled" not in form["query"]:
            return super()._result(form)
        shares = {"cart-h1-1": "3.5", "cart-h1-2": "NaN", "cart-h1-3": "70", "cart-old": "98"}
        return [{"metric": OWNER | {"pod": name}, "value": [0, share]} for name, share in shares.items()]


class Measured(Stage):
    """The endpoint and such a Prometheus."""

    prometheus_type = Throttled


def test_throttling_is_measured_from_the_change_on_and_of_the_pods_that_are_there() -> None:
    found = Measured()
    cart = objects.deployment()
    owner = objects.replica_set(cart, 1, replicas=2, ready=2)
    leaving = pods.pod(owner, 3, deleted=NOW)
    target = objects.workload(cart, [pods.pod(owner, 1), pods.pod(owner, 2), leaving], [owner])
    assert found.verdicts.throttling(target, found.now - timedelta(seconds=40)) == 3.5
    assert "[40s]" in found.prometheus.queries[-1]
    assert "[5m]" not in found.prometheus.queries[-1]


def test_a_prometheus_that_is_down_leaves_throttling_unknown() -> None:
    found = Measured()
    found.prometheus.down = True
    assert found.verdicts.throttling(healthy(), found.now - timedelta(seconds=40)) is None


def test_while_a_fix_is_verified_its_window_is_read_again_but_not_at_every_look() -> None:
    found = Stage()
    found.verdicts.look([CART])
    seen = []
    for seconds in (5, 16, 1):
        found.now += timedelta(seconds=seconds)
        verdict = found.verdicts.renewed(healthy())
        assert verdict is not None
        seen.append((len(found.asked), (found.now - verdict.end).total_seconds()))
    assert seen == [(1, 5), (2, 0), (2, 1)]


def test_an_endpoint_that_fails_meanwhile_leaves_the_verdict_of_the_last_tick() -> None:
    found = Stage()
    found.verdicts.look([CART])
    found.now += timedelta(seconds=20)
    found.endpoint_down = True
    verdict = found.verdicts.renewed(healthy())
    assert verdict is not None
    assert verdict.end == found.now - timedelta(seconds=20)


def test_the_stepper_measures_while_it_verifies() -> None:
    seen = Measured()
    stage = MemoryStage(healthy(), verdicts=seen.verdicts)
    stage.put_policy(THROTTLED)
    stored = stage.put_remediation(raised(90).remediation)
    seen.now = stage.now
    seen.verdicts.look([CART])
    stage.stepper.run(stored)
    (attempt,) = stage.remediations()[0].status.attempts
    assert attempt.result == "Successful"
    assert any(line.startswith("EndpointCalm: yes: the worst pod was throttled in 4 %") for line in attempt.evidence)
