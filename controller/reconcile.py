"""What to do about a situation: whether to open a Remediation. The steps of an open one are in machine.py. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from types import MappingProxyType

from controller.coordination import open_for, refusal
from controller.hindsight import looked_back
from controller.incidents import cleared, start
from controller.machine import advance
from controller.model import LOOKS, Decision, Situation, Symptom
from controller.rollouts import ROLLING_KINDS
from controller.takingback import seen_taken_back, with_seen
from selfheal.policy import Action, AnomalyType, Policy
from selfheal.remediation import (
    AnomalyRecord,
    PolicyRef,
    RemediationSpec,
    Source,
    TopMetricRecord,
    VerdictRecord,
    VoteRecord,
    remediation_name,
)
from selfheal.vote import FACT_WEIGHT, with_fact

__all__ = ["advance", "decide"]

KINDS: Mapping[Action, frozenset[str]] = MappingProxyType(
    {
        Action.ROLLBACK: ROLLING_KINDS,
        Action.RESTART: ROLLING_KINDS,
        Action.ADJUST_RESOURCES: ROLLING_KINDS,
        Action.SCALE: frozenset({"Deployment", "StatefulSet"}),
        Action.NOTIFY_ONLY: ROLLING_KINDS | {"Job", "CronJob"},
    }
)
"""Kinds of workloads that an action fits; a policy does not target others."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that is wrong, and how sure that is.

    Attributes:
        type: What.
        symptom: The fact; None when only the ensemble sees it.
        confidence: 0..1.
        source: What it rests on.
    """

    type: AnomalyType
    symptom: Symptom | None
    confidence: float
    source: Source


def decide(situation: Situation) -> Decision:
    """Whether to open a Remediation for a workload, for which policy, and if not, why not."""
    seen = seen_taken_back(situation)
    situation = with_seen(situation, seen)
    found = _decide(situation)
    return replace(found, cleared=cleared(situation), hindsight=looked_back(situation), taken_back=seen)


def _decide(situation: Situation) -> Decision:
    found = list(candidates(situation))
    if not found:
        return Decision(None, None, "Healthy", f"nothing is wrong with {situation.workload.ref.workload}")
    pairs = [(policy, one) for policy in situation.policies for one in found if targets(policy, situation, one.type)]
    if not pairs:
        seen = ", ".join(dict.fromkeys(str(one.type) for one in found))
        return Decision(None, None, "NoPolicy", f"no policy for {seen} targets {situation.workload.ref.workload}")
    sure = [(policy, one) for policy, one in pairs if one.confidence >= policy.spec.confidence_threshold]
    lasting = [(policy, one) for policy, one in sure if _lasts(situation, policy, one)]
    policy, best = min(lasting or sure or pairs, key=_preference)
    if sure and not lasting:
        looks = _looks(situation, policy)
        message = f"{best.type} names no cause and was believed at {looks} looks in a row, {LOOKS} are needed"
        return Decision(None, policy, "TooBrief", message)
    if not sure:
        wanted = policy.spec.confidence_threshold
        message = f"confidence in {best.type} is {best.confidence:.3f}, policy {policy.name} asks for {wanted:.3f}"
        return Decision(None, policy, "BelowThreshold", message)
    already = open_for(situation)
    if already is not None:
        return Decision(None, policy, "AlreadyOpen", f"remediation {already.name} is at work on it")
    held = refusal(situation, policy, best.symptom)
    if held is not None:
        return Decision(None, policy, held.reason, str(held), refused=True)
    return _opened(situation, policy, best)


def candidates(situation: Situation) -> Iterator[Candidate]:
    """All that is wrong: each fact, and what only the ensemble sees. Without the endpoint only facts count."""
    prediction = situation.prediction
    able = prediction is not None and prediction.anomaly is not None
    anomalous = prediction is not None and prediction.anomaly is True
    for symptom in situation.symptoms:
        p = prediction.confidence if prediction is not None and able else None
        source = Source.BOTH if anomalous else Source.SYMPTOM
        fact = symptom.cause if symptom.cause in FACT_WEIGHT else symptom.type
        yield Candidate(symptom.type, symptom, with_fact(p, fact), source)
    if prediction is None or not anomalous or prediction.confidence is None:
        return
    kind = next((one for one in AnomalyType if one == prediction.anomaly_type and not one.is_symptom), None)
    if kind is not None:
        yield Candidate(kind, None, prediction.confidence, Source.ENSEMBLE)


def _lasts(situation: Situation, policy: Policy, candidate: Candidate) -> bool:
    """Whether an anomaly is more than a moment of noise: facts and causes are, what has neither must go on."""
    known = candidate.source is not Source.ENSEMBLE or candidate.type is not AnomalyType.METRIC_ANOMALY
    return known or _looks(situation, policy) >= LOOKS


def _looks(situation: Situation, policy: Policy) -> int:
    """How many looks in a row, up to now, the policy would have believed."""
    believed = takewhile(lambda one: one >= policy.spec.confidence_threshold, reversed(situation.streak))
    return sum(1 for _ in believed)


def targets(policy: Policy, situation: Situation, anomaly_type: AnomalyType) -> bool:
    """Whether a policy is about this workload and this type."""
    workload = situation.workload
    here = policy.target_namespace == workload.ref.namespace and policy.spec.anomaly_type is anomaly_type
    return here and fits(policy, workload.ref.kind, workload.labels)


def fits(policy: Policy, kind: str, labels: Mapping[str, str]) -> bool:
    """Whether a policy is about workloads of this kind with these labels, in its namespace."""
    return kind in KINDS[policy.spec.action] and policy.spec.selector.matches(labels)


def _preference(pair: tuple[Policy, Candidate]) -> tuple[bool, int, float, str, str, str]:
    """The best first: enabled, then by priority, confidence and name; namespace and uid make it the same everywhere."""
    policy, candidate = pair
    order = (policy.name, policy.namespace, policy.uid)
    return not policy.spec.enabled, -policy.spec.priority, -candidate.confidence, *order


def _opened(situation: Situation, policy: Policy, best: Candidate) -> Decision:
    ref = situation.workload.ref
    name = remediation_name(policy.uid, ref.uid, start(situation, best.symptom))
    if any(one.name == name and one.namespace == ref.namespace for one in situation.history):
        return Decision(None, policy, "AlreadyHandled", f"remediation {name} was about this incident", refused=True)
    message = best.symptom.message if best.symptom else situation.prediction.message if situation.prediction else ""
    spec = RemediationSpec(
        policy_ref=PolicyRef(
            name=policy.name, namespace=policy.namespace, uid=policy.uid, generation=policy.generation
        ),
        target=ref,
        anomaly=AnomalyRecord(
            type=best.type,
            symptom=best.symptom.cause if best.symptom else "",
            detected_time=situation.now,
            message=message,
        ),
        verdict=_verdict(situation, best),
    )
    text = f"{best.type} of {ref.workload} with confidence {best.confidence:.3f}: policy {policy.name}"
    return Decision((name, spec), policy, "Opened", text)


def _verdict(situation: Situation, best: Candidate) -> VerdictRecord:
    prediction = situation.prediction
    if prediction is None:
        return VerdictRecord(confidence=best.confidence, source=best.source)
    tops = (TopMetricRecord(name=m.name, observed=m.observed, expected=m.expected) for m in prediction.top_metrics)
    votes = (VoteRecord(detector=v.detector, vote=v.vote, score=v.score) for v in prediction.to_votes())
    return VerdictRecord(
        confidence=best.confidence,
        votes=tuple(votes),
        top_metrics=tuple(tops)[:64],
        model_version=prediction.model.version,
        source=best.source,
    )
