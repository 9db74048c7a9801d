"""The steps that a Remediation records, told from the record alone: the same ones whenever and by whomever. Pure.

Slack and the webhook hear of a step at the moment it is taken. What must survive outages and restarts cannot rest on
that moment: it is read off the record, which the API server keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from controller.causes import advice_of
from controller.escalation import escalation
from controller.incidents import WRITTEN, ended, taken_back_at
from controller.notify.base import Notice
from selfheal.remediation import Attempt, AttemptResult, ConditionType, Remediation

OPENED, COMPLETED = "Opened", "Completed"
_BEFORE_A_PLAN = (AttemptResult.REFUSED, AttemptResult.ERROR)


def recorded(remediation: Remediation) -> tuple[Notice, ...]:
    """Every step that a Remediation records, in order.

    ``Opened``; ``Planned-N`` and ``Applied-N`` where attempt N got so far; its result, such as ``Successful-N``; and
    ``Completed``. What somebody took back after the end comes after it. An attempt that was taken back says ``Undone``:
    what it was judged before is in its reason.

    Returns:
        One notice a step; the same record gives the same notices.
    """
    attempts = [step for number in range(1, len(remediation.status.attempts) + 1) for step in _of(remediation, number)]
    opened, end = _opened(remediation), _completed(remediation)
    if end is None:
        return (opened, *attempts)
    late = [one for one in attempts if one.step.startswith(AttemptResult.UNDONE) and one.time > end.time]
    return (opened, *(one for one in attempts if one not in late), end, *late)


def opened_note(remediation: Remediation) -> str:
    """What is wrong, for people."""
    anomaly, verdict = remediation.spec.anomaly, remediation.spec.verdict
    return f"{anomaly.type}: {anomaly.message} (confidence {verdict.confidence:.2f}, {verdict.source})"


def attempt_note(number: int, attempt: Attempt) -> str:
    """What an attempt does or came to, for people; ``number`` counts from 1."""
    return f"attempt {number}, {attempt.action}: {attempt.message or _plan(attempt)}"


def _plan(attempt: Attempt) -> str:
    return attempt.change.diff or attempt.change.note or attempt.dry_run


def completed_note(remediation: Remediation) -> str:
    """How it ended, for people, with what they should do where that is due."""
    status, anomaly = remediation.status, remediation.spec.anomaly
    note = f"{status.outcome} ({status.reason}): {status.message}"
    if not escalation(remediation):
        return note
    advice = advice_of(anomaly.type, anomaly.symptom)
    return note if advice in note else f"{note} {advice}"


def _opened(remediation: Remediation) -> Notice:
    when = remediation.status.times.decided or remediation.spec.anomaly.detected_time
    return step_notice(remediation, OPENED, OPENED, opened_note(remediation), when)


def _completed(remediation: Remediation) -> Notice | None:
    status = remediation.status
    said = status.condition(ConditionType.COMPLETE)
    if remediation.is_open or said is None:
        return None
    last = status.attempts[-1] if status.attempts else None
    note, when, outcome = completed_note(remediation), ended(remediation), str(status.outcome or "")
    return step_notice(remediation, COMPLETED, said.reason, note, when, last, outcome)


def _of(remediation: Remediation, number: int) -> Iterator[Notice]:
    attempt = remediation.status.attempts[number - 1]
    plan = f"attempt {number}, {attempt.action}: {attempt.change.note or _plan(attempt)}"  # its message until the end

    def notice(result: AttemptResult, reason: str, note: str, when: datetime) -> Notice:
        return step_notice(remediation, f"{result}-{number}", reason or result, note, when, attempt)

    if _was_planned(attempt):
        yield notice(AttemptResult.PLANNED, "", plan, attempt.started_time)
    applied = _applied_at(remediation, number)
    if applied is not None:
        yield notice(AttemptResult.APPLIED, "", plan, applied)
    if attempt.result not in (AttemptResult.PLANNED, AttemptResult.APPLIED):
        when = _judged_at(remediation, number)
        yield notice(attempt.result, attempt.reason, attempt_note(number, attempt), when)


def _was_planned(attempt: Attempt) -> bool:
    """Not so where the planner or the dry run refused: then the attempt ended as it began."""
    return attempt.result not in _BEFORE_A_PLAN or attempt.ended_time != attempt.started_time


def _applied_at(remediation: Remediation, number: int) -> datetime | None:
    """When all of an attempt was written; None where it was not. Of earlier attempts only the beginning is kept."""
    attempts, applied = remediation.status.attempts, remediation.status.times.applied
    attempt = attempts[number - 1]
    if attempt.result not in WRITTEN:
        return None
    is_last_written = all(one.result not in WRITTEN for one in attempts[number:])
    known = is_last_written and applied is not None and applied >= attempt.started_time
    if known:
        return applied
    judged = attempt.ended_time is not None  # one that was written by half is taken back without a judgement
    return attempt.started_time if judged or attempt.result is AttemptResult.APPLIED else None


def _judged_at(remediation: Remediation, number: int) -> datetime:
    attempts, times = remediation.status.attempts, remediation.status.times
    attempt = attempts[number - 1]
    last_undone = max((n for n, one in enumerate(attempts, 1) if one.result is AttemptResult.UNDONE), default=0)
    when = (taken_back_at(remediation) or times.undone) if number == last_undone else None
    return when or attempt.ended_time or attempt.started_time


def step_notice(
    remediation: Remediation,
    step: str,
    reason: str,
    message: str,
    when: datetime,
    attempt: Attempt | None = None,
    outcome: str = "",
) -> Notice:
    """What is told about one step; ``attempt`` is the one that it belongs to."""
    spec, namespace = remediation.spec, remediation.namespace
    return Notice(
        uid=remediation.uid,
        step=step,
        remediation=f"{namespace}/{remediation.name}",
        workload=f"{namespace}/{spec.target.kind}/{spec.target.name}",
        anomaly=spec.anomaly.type.value,
        confidence=spec.verdict.confidence,
        action=attempt.action.value if attempt else "",
        diff=attempt.change.diff if attempt else "",
        outcome=outcome,
        reason=reason,
        message=message,
        time=when,
    )
