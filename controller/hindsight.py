"""Whether a change that was observed and not made would have been right, by what is seen later. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from jsonpointer import JsonPointer

from controller.applied import missing_values
from controller.incidents import cleared, ended, is_over, of_target
from controller.model import Situation
from selfheal.policy import REMEDIATION_ANNOTATION, Verification
from selfheal.remediation import Hindsight, Outcome, Remediation


def looked_back(situation: Situation) -> tuple[tuple[str, Hindsight], ...]:
    """What can be said now about Observed Remediations of the target whose incident is not known to be over."""
    return tuple(_judged(situation))


def _judged(situation: Situation) -> Iterator[tuple[str, Hindsight]]:
    over = cleared(situation)
    for one in of_target(situation.history, situation.workload.ref.uid):
        if one.status.outcome is not Outcome.OBSERVED or is_over(one):
            continue
        same, late = _same_change(situation, one), situation.now - ended(one) > _timeout(situation, one)
        if one.name in over and (same or not late):
            yield one.name, Hindsight.SAME_CHANGE_MADE if same else Hindsight.NOT_NEEDED
        elif late and not same and _is_sick(situation, one):
            yield one.name, Hindsight.STILL_SICK


def _same_change(situation: Situation, observed: Remediation) -> bool:
    """Whether the workload is as the plan would have left it, but for our own mark, which nobody else writes."""
    mark = JsonPointer.from_parts([REMEDIATION_ANNOTATION]).path
    expected = observed.status.attempts[-1].change.expected if observed.status.attempts else {}
    values = {path: value for path, value in expected.items() if not path.endswith(mark)}
    return bool(values) and not missing_values(values, situation.workload.resource)


def _is_sick(situation: Situation, observed: Remediation) -> bool:
    kind, prediction = observed.spec.anomaly.type, situation.prediction
    if kind.is_symptom:
        return any(symptom.type is kind for symptom in situation.symptoms)
    return prediction is not None and prediction.anomaly is True and prediction.anomaly_type == kind


def _timeout(situation: Situation, observed: Remediation) -> timedelta:
    """How long the policy would have waited for a change to help; the default once it is gone."""
    found = (one.spec.verification for one in situation.policies if one.uid == observed.spec.policy_ref.uid)
    return next(found, Verification()).timeout
