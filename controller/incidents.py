"""Which Remediation belongs to which incident: what has begun, what is over, what may be tried again. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from controller.facts import LONG_AGO, created
from controller.model import Situation, Symptom, Workload
from selfheal.policy import Action, Policy
from selfheal.remediation import Attempt, AttemptResult, ConditionType, Outcome, Remediation
from selfheal.takingback import UNDONE_BY_PERSON

REPEATABLE = frozenset(
    {"SuspendedTooLong", "PolicyGone", "OutsideWindow", "RolloutInProgress", "CannotTell", "SyncInProgress"}
)
"""Reasons of outcome Skipped that were about a moment, not about the incident."""

WRITTEN = frozenset(
    {
        AttemptResult.APPLIED,
        AttemptResult.SUCCESSFUL,
        AttemptResult.FAILED,
        AttemptResult.INCONCLUSIVE,
        AttemptResult.UNDONE,
    }
)
"""Results of attempts that were written: the others, refused or stopped by a conflict, have changed nothing."""


def written(remediation: Remediation, action: Action) -> tuple[Attempt, ...]:
    """Attempts of one action that were written, the newest last."""
    return tuple(one for one in remediation.status.attempts if one.action is action and one.result in WRITTEN)


MADE_ANEW = timedelta(seconds=30)
"""After a fix was taken back its revision may be made again, where Kubernetes had dropped it."""
QUIET = timedelta(minutes=10)
"""After a heal that failed a workload has to look well so long after it: Kubernetes forgets its back-off as late."""


def of_target(history: Iterable[Remediation], uid: str) -> tuple[Remediation, ...]:
    """All Remediations of one workload."""
    return tuple(one for one in history if one.spec.target.uid == uid)


def ended(remediation: Remediation) -> datetime:
    """When a closed Remediation ended."""
    times = remediation.status.times
    return times.completed or times.decided or remediation.spec.anomaly.detected_time


def taken_back_at(remediation: Remediation) -> datetime | None:
    """When somebody took back what it had changed; None when nobody has."""
    undone = remediation.status.condition(ConditionType.UNDONE)
    return undone.last_transition_time if undone is not None and undone.reason == UNDONE_BY_PERSON else None


def is_over(remediation: Remediation) -> bool:
    """Whether its incident is known to be over, so that what comes now is a new one.

    Who takes a fix back has the trouble again, and wants it: it is no new incident.
    """
    status = remediation.status
    if taken_back_at(remediation) is not None:
        return status.times.cleared is not None
    by_itself = status.reason == "ClearedByItself" and status.outcome is not Outcome.FAILED
    return status.outcome is Outcome.SUCCESSFUL or by_itself or status.times.cleared is not None


def may_repeat(remediation: Remediation, policy: Policy) -> bool:
    """Whether the same incident may be taken up again: nothing was learned from the last time."""
    status, ref = remediation.status, remediation.spec.policy_ref
    edited = ref.uid == policy.uid and ref.generation < policy.generation
    if taken_back_at(remediation) is not None:
        return edited
    skipped = status.outcome is Outcome.SKIPPED and status.reason in REPEATABLE
    return edited or skipped or status.outcome is Outcome.ERROR


def lasting(situation: Situation, policy: Policy, symptom: Symptom | None) -> tuple[Remediation, ...]:
    """Closed Remediations of this policy in the incident that goes on now, the newest last."""
    mine = [
        one
        for one in of_target(situation.history, situation.workload.ref.uid)
        if one.spec.policy_ref.uid == policy.uid and not one.is_open
    ]
    mine.sort(key=settled)
    over = max((ended(one) for one in mine if is_over(one)), default=LONG_AGO)
    begun = symptom.since if symptom else LONG_AGO
    # An undo brings new pods, which are well until they fail as those before them did: it begins no new incident.
    return tuple(
        one
        for one in mine
        if not is_over(one) and settled(one) > over and (settled(one) >= begun or _goes_on(one, situation.workload))
    )


def _goes_on(remediation: Remediation, workload: Workload) -> bool:
    """Whether a heal failed or was taken back, and nobody has rolled out anything new since: it is the same trouble."""
    done = settled(remediation)
    back = taken_back_at(remediation) is not None
    return (back or remediation.status.outcome is Outcome.FAILED) and not any(
        created(revision) > done for revision in workload.revisions
    )


def settled(remediation: Remediation) -> datetime:
    """When a closed Remediation ended, or was taken back after that; an undo makes its revision anew at the most."""
    back = taken_back_at(remediation)
    return ended(remediation) if back is None else max(ended(remediation), back + MADE_ANEW)


def start(situation: Situation, symptom: Symptom | None) -> datetime:
    """When the incident began, the same for every replica.

    Kubernetes' own timestamp, but never before the last Remediation of the target ended: a pod that fails again after
    it was healed is a new incident. The ensemble names no start, so its incidents begin with the minute they are seen.
    """
    begun = symptom.since if symptom else situation.now.replace(second=0, microsecond=0)
    past = [ended(one) for one in of_target(situation.history, situation.workload.ref.uid) if not one.is_open]
    return max([begun, *past])


def cleared(situation: Situation) -> tuple[str, ...]:
    """Closed Remediations of the target whose incident is over by what is seen now.

    After a heal that failed one calm look is not enough: what was undone came with new pods.
    """
    if situation.symptoms:
        return ()
    calm = situation.prediction is not None and situation.prediction.anomaly is False
    return tuple(
        one.name
        for one in of_target(situation.history, situation.workload.ref.uid)
        if not one.is_open
        and not is_over(one)
        and (one.spec.anomaly.symptom or one.spec.anomaly.type.is_symptom or calm)
        and (not _goes_on(one, situation.workload) or situation.now - settled(one) >= QUIET)
    )
