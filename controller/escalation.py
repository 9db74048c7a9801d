"""Which ends of a Remediation need a person, and what that person should do. Pure."""

from __future__ import annotations

from controller.causes import advice_of, knows_no_action
from selfheal.remediation import AttemptResult, Outcome, Remediation

_NOT_NEEDED = frozenset({"ClearedByItself", "WorkloadGone", "PolicyGone", "ObserveMode"})
"""Reasons after which nothing is left to do, or somebody wants to look only."""
_GAVE_UP = frozenset({"NoSafeAction", "RetriesExhausted"})


def escalation(remediation: Remediation) -> str:
    """The notice at the end of a Remediation that did not heal; the empty text where none is due.

    It is due after a failure, after an end of which nobody knows how it was, where no action was left, and where the
    cause is one that only a person can remove, whatever the policy does about it.
    """
    status, anomaly = remediation.status, remediation.spec.anomaly
    if remediation.is_open or not _is_due(remediation):
        return ""
    advice = advice_of(anomaly.type, anomaly.symptom)
    last = status.message.replace(advice, "").strip()
    return f"{status.reason}: {anomaly.message or anomaly.type} What to do: {advice} Last word: {last}"


def _is_due(remediation: Remediation) -> bool:
    status, anomaly = remediation.status, remediation.spec.anomaly
    if status.outcome in (Outcome.FAILED, Outcome.ERROR):
        return True  # also when the symptom is away for the moment: what was tried has not proved itself
    if status.reason in _NOT_NEEDED:
        return False
    match status.outcome:
        case Outcome.INCONCLUSIVE:
            return True
        case Outcome.SKIPPED:
            refused = bool(status.attempts) and status.attempts[-1].result is AttemptResult.REFUSED
            return refused or status.reason in _GAVE_UP
        case Outcome.OBSERVED:
            return knows_no_action(anomaly.symptom)
        case _:
            return False
