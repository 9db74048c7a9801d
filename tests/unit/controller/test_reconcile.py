"""Whether to open a Remediation."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.model import LOOKS
from controller.reconcile import decide, fits
from selfheal.policy import Budget, HealingConfig
from selfheal.remediation import Remediation, Source
from tests.unit.controller import objects
from tests.unit.controller.objects import NOW
from tests.unit.controller.records import bad_rollout, healthy, policy, prediction, remediation, situation

SICK, WELL = bad_rollout(), healthy()


@given(st.lists(st.sampled_from(["a", "b", "c"]), unique=True), st.sampled_from([None, False]))
def test_nothing_is_done_about_a_healthy_workload(names: list[str], anomaly: bool | None) -> None:
    answer = prediction(anomaly, None, None if anomaly is None else 0.99)
    found = decide(situation(WELL, *(policy(name) for name in names), prediction=answer))
    assert (found.open, found.reason, found.refused) == (None, "Healthy", False)


def test_two_replicas_name_one_incident_alike() -> None:
    first = decide(situation(SICK, policy()))
    second = decide(situation(SICK, policy(), now=NOW + timedelta(seconds=7)))
    assert first.open is not None
    assert second.open is not None
    assert first.open[0] == second.open[0]


def test_a_fact_alone_is_enough_and_the_ensemble_can_only_add_to_it() -> None:
    alone = decide(situation(SICK, policy()))
    both = decide(situation(SICK, policy(), prediction=prediction(True, "MetricAnomaly", 0.9)))
    assert alone.open is not None
    assert both.open is not None
    assert (alone.open[1].verdict.source, both.open[1].verdict.source) == (Source.SYMPTOM, Source.BOTH)
    assert both.open[1].verdict.confidence > alone.open[1].verdict.confidence > 0.95


def test_what_only_the_ensemble_sees_needs_its_vote() -> None:
    leak = policy(anomaly_type="MemoryLeak", action="restart")
    assert decide(situation(WELL, leak)).reason == "Healthy"
    found = decide(situation(WELL, leak, prediction=prediction()))
    assert found.open is not None
    assert found.open[1].verdict.source is Source.ENSEMBLE


def test_an_anomaly_without_a_cause_has_to_last_until_something_is_done() -> None:
    widen = policy(anomaly_type="MetricAnomaly", action="scale")
    answer = prediction(True, "MetricAnomaly", 0.93)

    def reason(*streak: float) -> str:
        return decide(situation(WELL, widen, prediction=answer, streak=streak)).reason

    assert reason() == reason(*[0.93] * (LOOKS - 1)) == "TooBrief"
    assert reason(*[0.93] * LOOKS) == "Opened"
    assert reason(*[0.93] * (LOOKS - 2), 0.5, 0.93) == "TooBrief"
    leak = policy(anomaly_type="MemoryLeak", action="restart")
    assert decide(situation(WELL, leak, prediction=prediction(True, "MemoryLeak", 0.93))).reason == "Opened"


def test_below_its_threshold_a_policy_does_nothing() -> None:
    assert decide(situation(SICK, policy(confidenceThreshold=0.99))).reason == "BelowThreshold"


def test_no_policy_no_action() -> None:
    assert decide(situation(SICK, policy(anomaly_type="OOMKilled"))).reason == "NoPolicy"
    assert decide(situation(SICK, policy(selector={"matchLabels": {"tier": "x"}}))).reason == "NoPolicy"


def test_priority_then_name_choose_the_policy() -> None:
    found = decide(situation(SICK, policy("b"), policy("a"), policy("z", priority=1)))
    assert found.policy is not None
    assert found.policy.name == "z"
    found = decide(situation(SICK, policy("b"), policy("a")))
    assert found.policy is not None
    assert found.policy.name == "a"


@given(st.permutations(["b", "a", "c"]))
def test_policies_of_one_name_do_not_depend_on_the_order_in_which_they_are_known(order: list[str]) -> None:
    rivals = [policy().model_copy(update={"uid": f"uid-{one}", "namespace": "shop"}) for one in order]
    found = decide(situation(SICK, *rivals)).policy
    assert found is not None
    assert found.uid == "uid-a"


def test_a_policy_does_not_target_kinds_that_its_action_does_not_fit() -> None:
    job = objects.workload(objects.job(failed="BackoffLimitExceeded"))
    fitting = policy(anomaly_type="JobFailed", action="notify-only")
    assert fits(fitting, "Job", job.labels)
    assert not fits(policy(), "Job", job.labels)


@given(st.integers(0, 8), st.integers(0, 8))
def test_the_budget_is_never_exceeded(most: int, at_work: int) -> None:
    def other(index: int) -> Remediation:
        ref = SICK.ref.model_copy(update={"uid": f"other-{index}"})
        return remediation(ref, policy(), name=f"rem-{index}", namespace="elsewhere")

    config = HealingConfig(budget=Budget(max_concurrent=most))
    found = decide(situation(SICK, policy(), history=tuple(map(other, range(at_work))), config=config))
    assert (found.open is not None) == (at_work < most)
    assert found.message
