"""Each field of a policy's status tells what happened."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from controller.healer import policy_key
from controller.observe import World
from controller.status import policy_status
from controller.verdicts import Verdicts
from selfheal.protocol import ModelInfo, Prediction, to_wire
from selfheal.remediation import LastVerdict, Outcome, PolicyStatus, Remediation, VoteRecord
from tests.fields.story import SICK
from tests.unit.controller import objects
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import NOW, ago
from tests.unit.controller.records import policy, remediation
from tests.unit.controller.test_healer_verdicts import CART
from tests.unit.controller.test_healer_verdicts import Stage as Endpoint

OWNER = policy()


def past(outcome: Outcome, *, name: str = "rem-0", minutes: float = 10) -> Remediation:
    """A Remediation that ended."""
    when = ago(minutes=minutes)
    return remediation(SICK.ref, OWNER, name=name, outcome=outcome, decided=when, completed=when)


def test_conditions_say_since_when_and_for_which_generation_and_why() -> None:
    working = remediation(SICK.ref, OWNER)
    early = policy_status(OWNER.model_copy(update={"generation": 3}), [working], ago(minutes=5))
    late = policy_status(OWNER.model_copy(update={"generation": 4}), [working], NOW, old=early)
    told = {one.type: one for one in late.conditions}
    assert {one.last_transition_time for one in late.conditions} == {ago(minutes=5)}
    assert (told["Ready"].observed_generation, told["Remediating"].observed_generation) == (4, 4)
    assert (told["Remediating"].status, told["Remediating"].reason) == ("True", "AtWork")
    assert "rem-1" in told["Remediating"].message
    calm = policy_status(OWNER, [], NOW, old=late)
    assert {one.type: one.last_transition_time for one in calm.conditions}["Remediating"] == NOW


def test_targets_are_workloads_that_the_policy_selects_and_its_action_fits() -> None:
    world = World("selfheal-system", lambda: NOW)
    for name, labels in (("cart", {"tier": "web"}), ("pay", {"tier": "web"}), ("db", {"tier": "db"})):
        world.observe("Deployment", objects.deployment(name, labels=labels), sick=False)
    world.observe("Job", objects.job(labels={"tier": "web"}), sick=False)
    assert len(world.targets_of(policy(selector={"matchLabels": {"tier": "web"}}))) == 2
    assert policy_status(OWNER, [], NOW, targets=2).targets == 2


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_is_counted_and_not_forgotten_with_its_record(outcome: Outcome) -> None:
    two = [past(outcome, name="rem-0"), past(outcome, name="rem-1")]
    counted = policy_status(OWNER, two, NOW)
    tally = counted.remediations.model_dump()
    assert tally == dict.fromkeys(tally, 0) | {outcome.value.lower(): 2}
    assert policy_status(OWNER, two[:1], NOW, old=counted).remediations == counted.remediations


def test_the_newest_remediation_is_referred_to() -> None:
    found = policy_status(OWNER, [past(Outcome.FAILED), remediation(SICK.ref, OWNER, name="rem-2")], NOW)
    assert found.last_remediation_ref is not None
    assert (found.last_remediation_ref.name, found.last_remediation_ref.namespace) == ("rem-2", "shop")


class Judged(Endpoint):
    """An endpoint that calls the target anomalous, as version 7 of its model."""

    def _endpoint(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/v2"):
            return super()._endpoint(request)
        answer = Prediction(
            workload=SICK.ref.workload,
            anomaly=True,
            confidence=0.91,
            votes={"arima": True, "lstm": False},
            scores={"arima": 0.99, "lstm": 0.2},
            model=ModelInfo(version="7"),
        )
        return httpx.Response(200, json=to_wire([answer]))


def reported(*history: Remediation, verdicts: Verdicts | None = None) -> LastVerdict:
    """What a policy's status says about the last verdict, as the healer writes it."""
    stage = Stage(SICK, verdicts=verdicts)
    stage.put_policy(OWNER)
    for one in history:
        stage.put_remediation(one)
    (stored,) = stage.world.policies()
    stage.healer.report(policy_key(stored.resource))
    read = stage.cluster.records.list("SelfHealingPolicy")[0]["status"]
    found = PolicyStatus.model_validate(read).last_verdict
    assert found is not None
    return found


def test_the_last_verdict_is_that_of_the_endpoint_against_a_target() -> None:
    endpoint = Judged()
    endpoint.verdicts.look([CART])
    found = reported(past(Outcome.FAILED), verdicts=endpoint.verdicts)
    assert (found.target, found.confidence, found.model) == ("shop/Deployment/cart", 0.91, "7")
    assert {(one.detector, one.vote, one.score) for one in found.votes} == {("arima", True, 0.99), ("lstm", False, 0.2)}


def test_without_the_endpoint_it_is_that_of_the_newest_remediation() -> None:
    votes = (VoteRecord(detector="lstm", vote=True, score=0.7),)
    new = remediation(SICK.ref, OWNER, name="rem-2")
    verdict = new.spec.verdict.model_copy(update={"confidence": 0.97, "votes": votes, "model_version": "3"})
    new = new.model_copy(update={"spec": new.spec.model_copy(update={"verdict": verdict})})
    found = reported(past(Outcome.FAILED, minutes=60), new)
    assert found == LastVerdict(target="shop/Deployment/cart", votes=votes, confidence=0.97, model="3")


def test_a_condition_that_changes_says_when() -> None:
    before = policy_status(OWNER, [], NOW - timedelta(hours=1))
    after = policy_status(OWNER, [], NOW, old=before, invalid="the namespace is not opted in")
    ready = next(one for one in after.conditions if one.type == "Ready")
    assert (ready.status, ready.reason, ready.last_transition_time) == ("False", "Invalid", NOW)
