"""Each field of a Remediation's spec records or decides something."""

from __future__ import annotations

from typing import Any

from controller.coordination import refusal
from controller.model import Finish
from controller.reconcile import advance, decide
from controller.status import first_status
from selfheal.policy import Policy
from selfheal.protocol import ModelInfo, TopMetric
from selfheal.remediation import Outcome, Remediation, RemediationSpec, Source
from tests.fields.story import NOW, SICK, play
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import ago
from tests.unit.controller.records import policy, prediction, progress, remediation, situation

OWNER = policy().model_copy(update={"generation": 3})
ANSWER = prediction(
    True,
    "MetricAnomaly",
    0.9,
    votes={"arima": True, "lstm": False},
    scores={"arima": 0.99, "lstm": 0.2},
    abstained={"prophet": "too little history"},
    top_metrics=(TopMetric(name="pod_memory_usage", observed=8e8, expected=5e8, share=0.7),),
    model=ModelInfo(version="7"),
)


def opened(**more: Any) -> RemediationSpec:
    """What is recorded about the sick workload."""
    found = decide(situation(SICK, OWNER, **more)).open
    assert found is not None
    return found[1]


def test_the_record_says_which_policy_asked_and_how_it_was_then() -> None:
    ref = opened().policy_ref
    assert (ref.name, ref.namespace, ref.uid, ref.generation) == ("heal", "shop", "uid-heal", 3)


def test_the_record_says_which_workload_it_is_about() -> None:
    target = opened().target
    assert (target.api_version, target.kind, target.namespace, target.name) == (
        "apps/v1",
        "Deployment",
        "shop",
        "cart",
    )
    assert target.uid == SICK.resource["metadata"]["uid"]


def test_the_record_says_what_was_wrong() -> None:
    anomaly = opened().anomaly
    assert (anomaly.type, anomaly.symptom, anomaly.detected_time) == ("CrashLoopBackOff", "ProgramError", NOW)
    assert "exit code 1" in anomaly.message


def test_the_record_says_what_the_verdict_rested_on() -> None:
    verdict = opened(prediction=ANSWER).verdict
    assert (verdict.source, verdict.model_version) == (Source.BOTH, "7")
    assert verdict.confidence > opened().verdict.confidence
    assert {(one.detector, one.vote, one.score) for one in verdict.votes} == {
        ("arima", True, 0.99),
        ("lstm", False, 0.2),
        ("prophet", None, None),
    }
    (top,) = verdict.top_metrics
    assert (top.name, top.observed, top.expected) == ("pod_memory_usage", 8e8, 5e8)


def test_a_verdict_from_symptoms_alone_says_so() -> None:
    verdict = opened().verdict
    assert (verdict.source, verdict.model_version, verdict.votes, verdict.top_metrics) == (Source.SYMPTOM, "", (), ())


def held(past: Remediation, owner: Policy) -> str:
    """Why a further Remediation of the same incident is not opened; empty when it is."""
    found = refusal(situation(SICK, owner, history=(past,)), owner, None)
    return found.reason if found else ""


def failed(owner: Policy) -> Remediation:
    """One that failed long ago; its incident goes on."""
    when = ago(minutes=30)
    found = remediation(SICK.ref, owner, outcome=Outcome.FAILED, decided=when, completed=when)
    ref = found.spec.policy_ref.model_copy(update={"generation": owner.generation})
    return found.model_copy(update={"spec": found.spec.model_copy(update={"policy_ref": ref})})


def test_a_policy_that_was_edited_since_may_try_the_incident_again() -> None:
    assert held(failed(OWNER), OWNER) == "RetriesExhausted"
    assert held(failed(OWNER), OWNER.model_copy(update={"generation": 4})) == ""


def test_another_policy_of_the_same_name_is_not_the_one_that_asked() -> None:
    anew = OWNER.model_copy(update={"uid": "uid-anew"})
    assert held(failed(OWNER), anew) == ""
    step = advance(progress(SICK, remediation(SICK.ref, OWNER), anew))
    assert isinstance(step, Finish)
    assert step.reason == "PolicyGone"


def changed(found: Remediation, **target: str) -> Remediation:
    """About another target."""
    ref = found.spec.target.model_copy(update=target)
    return found.model_copy(update={"spec": found.spec.model_copy(update={"target": ref})})


def carried_out(found: Remediation) -> Remediation:
    """What becomes of a fresh Remediation when the controller takes its steps."""
    stage = Stage(SICK)
    stage.put_policy(policy())
    stage.stepper.run(stage.put_remediation(found))
    return stage.remediations()[0]


def test_another_workload_of_the_same_name_is_not_the_target() -> None:
    ours = remediation(SICK.ref, policy())
    assert carried_out(ours).status.reason != "WorkloadGone"
    for target in ({"uid": "made-anew"}, {"name": "other"}, {"kind": "StatefulSet"}):
        assert carried_out(changed(ours, **target)).status.reason == "WorkloadGone"


def test_the_first_status_repeats_what_was_found_and_when() -> None:
    found = remediation(SICK.ref, policy(), decided=ago(seconds=4))
    status = first_status(found, NOW)
    assert (status.times.detected, status.times.decided) == (ago(seconds=4), NOW)


def test_what_only_the_ensemble_saw_needs_the_ensemble_to_be_called_healed() -> None:
    leak = policy(anomaly_type="MemoryLeak", action="restart", maxRetries=1)
    found = remediation(SICK.ref, leak, source=Source.ENSEMBLE)
    blind = play(leak, heals=True, found=found, prediction=prediction(), predicted=NOW)
    assert blind.end.status.outcome is Outcome.INCONCLUSIVE
