"""New statuses as values: what is stored after each step. Pure; the healer writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from controller.applied import applied, with_seen
from controller.incidents import ended
from controller.model import Apply, Conclude, Finding, Finish, Judgement, Progress, Propose, Step, Undo, Wait
from controller.undoing import SETTLING, written_at
from selfheal.errors import Conflict, Refused, SelfhealError, TemporaryError
from selfheal.policy import Policy
from selfheal.remediation import (
    Attempt,
    AttemptResult,
    Change,
    Condition,
    ConditionType,
    Hindsight,
    LastVerdict,
    Outcome,
    PolicyConditionType,
    PolicyStatus,
    Remediation,
    RemediationRef,
    RemediationStatus,
    Tally,
    with_condition,
)

AGAIN = timedelta(seconds=10)
"""After a step that the API server could not take."""


def first_status(remediation: Remediation, now: datetime) -> RemediationStatus:
    """The status of a Remediation that was just created: when it was detected and decided."""
    status, detected = remediation.status, remediation.spec.anomaly.detected_time
    times = status.times.model_copy(update={"detected": detected, "decided": now})
    return _with(status, times=times, message=remediation.spec.anomaly.message, reason="Opened")


def remediation_status_after(
    progress: Progress,
    step: Step,
    *,
    change: Change | None = None,
    dry_run: str = "",
    error: SelfhealError | None = None,
) -> RemediationStatus:
    """The status after a step was tried.

    Args:
        progress: What the step rested on; ``progress.now`` is the time of the step.
        step: As ``advance`` returned it.
        change: After Propose: the plan, tried dry.
        dry_run: After Propose: what the API server said.
        error: What the planner, the dry run or the write raised. ``Refused`` and other ``PermanentError`` end the
            attempt, a ``Conflict`` of a write has it planned anew, other ``TemporaryError`` have the step tried again
            (also a ``Conflict`` of a dry run: nothing was planned yet that could be wrong).

    Returns:
        The status to store; equal to the stored one when nothing is new (then no write is needed).
    """
    status = with_seen(progress)
    if isinstance(error, TemporaryError) and (isinstance(step, Propose) or not isinstance(error, Conflict)):
        return _with(status, reason="Retrying", message=str(error), next_step_time=progress.now + AGAIN)
    match step:
        case Wait():
            return _waited(status, progress.now, step)
        case Propose():
            return _proposed(status, progress.now, step, change or Change(), dry_run, error)
        case Apply() if error is None:
            return _approved(applied(status, progress, "Applied"), progress)
        case Apply():
            return _stopped(status, progress.now, error)
        case Conclude():
            return _concluded(status, progress.now, step)
        case Undo():
            return _undone(status, progress.now, step, error)
        case Finish():
            return _finished(status, progress.now, step)


def _with(status: RemediationStatus, **update: Any) -> RemediationStatus:
    # Built anew, not copied, so that texts which are too long are cut and reasons checked.
    return RemediationStatus.model_validate(dict(status) | update)


def _waited(status: RemediationStatus, now: datetime, step: Wait) -> RemediationStatus:
    times = status.times
    if step.reason == SETTLING and written_at(status) is None:
        times = times.model_copy(update={"undone": now})
    elif step.judgement is not None:
        times = times.model_copy(update={"recovered": step.judgement.recovered})
    polls = step.looks or step.judgement is not None  # a moment that moves at each look is no news
    until = status.next_step_time if polls else step.until
    return _with(status, times=times, reason=step.reason, message=step.message, next_step_time=until)


def _attempted(status: RemediationStatus, **update: Any) -> tuple[Attempt, ...]:
    """All attempts, the newest changed."""
    last = Attempt.model_validate(dict(status.attempts[-1]) | update)
    return (*status.attempts[:-1], last)


def _reason(error: SelfhealError | None) -> str:
    return error.reason if isinstance(error, Refused) else type(error).__name__


def _proposed(
    status: RemediationStatus, now: datetime, step: Propose, change: Change, dry_run: str, error: SelfhealError | None
) -> RemediationStatus:
    attempt = Attempt(
        action=step.action,
        started_time=now,
        change=change,
        undo=change.undo,
        dry_run=dry_run,
        message=change.note,
    )
    if error is not None:
        result = AttemptResult.REFUSED if isinstance(error, Refused) else AttemptResult.ERROR
        update = {"result": result, "reason": _reason(error), "message": str(error), "ended_time": now}
        attempt = Attempt.model_validate(dict(attempt) | update)
    conditions = status.conditions
    for kind in (ConditionType.APPLIED, ConditionType.VERIFIED, ConditionType.UNDONE):
        if status.condition(kind) is not None:
            conditions = with_condition(conditions, kind, "Unknown", "NextAttempt", "", now)
    return _with(
        status,
        attempts=(*status.attempts, attempt),
        conditions=conditions,
        times=status.times.model_copy(update={"recovered": None}),
        reason=attempt.reason or "Planned",
        message=attempt.message or change.diff,
        next_step_time=None,
    )


def _approved(status: RemediationStatus, progress: Progress) -> RemediationStatus:
    given = progress.approval
    if given is None or given.decision != "Approve":
        return status
    text = f"{given.approver}: {given.reason}" if given.reason else given.approver
    kind = ConditionType.APPROVED
    return _with(status, conditions=with_condition(status.conditions, kind, "True", "Approved", text, progress.now))


def _stopped(status: RemediationStatus, now: datetime, error: SelfhealError | None) -> RemediationStatus:
    """The write was refused; what was written half-way has been taken back by whoever writes."""
    reason, message = _reason(error), str(error)
    attempts = _attempted(status, result=AttemptResult.ERROR, reason=reason, message=message, ended_time=now)
    conditions = with_condition(status.conditions, ConditionType.APPLIED, "False", reason, message, now)
    return _with(status, attempts=attempts, conditions=conditions, reason=reason, message=message, next_step_time=None)


def lines(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Findings as evidence, one line each."""
    words = {True: "yes", False: "no", None: "unknown"}
    return tuple(f"{one.name}: {words[one.holds]}: {one.message}" for one in findings)


def _concluded(status: RemediationStatus, now: datetime, step: Conclude) -> RemediationStatus:
    if step.result is AttemptResult.UNDONE:
        return _restored(status, now, step.judgement)
    judgement = step.judgement
    good = step.result is AttemptResult.SUCCESSFUL
    verified = {AttemptResult.SUCCESSFUL: "True", AttemptResult.FAILED: "False"}.get(step.result, "Unknown")
    against = [one.message for one in judgement.findings if one.holds is (None if verified == "Unknown" else False)]
    message = "all evidence held" if good else "; ".join(against) or judgement.reason
    condition = with_condition(
        status.conditions, ConditionType.VERIFIED, _tri(verified), judgement.reason, message, now
    )
    recovered = judgement.recovered if good else None
    times = status.times.model_copy(update={"recovered": recovered, "verified": now if good else None})
    return _with(
        status,
        attempts=_attempted(
            status,
            result=step.result,
            reason=judgement.reason,
            message=message,
            evidence=lines(judgement.findings),
            ended_time=now,
        ),
        conditions=condition,
        times=times,
        reason=judgement.reason,
        message=message,
        next_step_time=None,
    )


def _tri(text: str) -> Any:
    return text


def _restored(status: RemediationStatus, now: datetime, judgement: Judgement) -> RemediationStatus:
    evidence = (*status.attempts[-1].evidence, *lines(judgement.findings))
    message = "; ".join(one.message for one in judgement.findings) or "there was nothing to take back"
    sure = judgement.outcome is Outcome.SUCCESSFUL
    state, reason = ("True", "Undone") if sure else ("Unknown", judgement.reason)
    return _with(
        status,
        attempts=_attempted(status, result=AttemptResult.UNDONE, evidence=evidence),
        conditions=with_condition(status.conditions, ConditionType.UNDONE, _tri(state), judgement.reason, message, now),
        times=status.times.model_copy(update={"undone": written_at(status) or now}),
        reason=reason,
        message=message,
        next_step_time=None,
    )


def _undone(status: RemediationStatus, now: datetime, step: Undo, error: SelfhealError | None) -> RemediationStatus:
    kind = ConditionType.UNDONE
    if error is None:
        conditions = with_condition(_fresh(status, kind), kind, "Unknown", "UndoWritten", step.reason, now)
        times = status.times.model_copy(update={"undone": now})
        return _with(
            status,
            conditions=conditions,
            times=times,
            reason="UndoWritten",
            message=step.reason,
            next_step_time=None,
        )
    conditions = with_condition(_fresh(status, kind), kind, "False", "UndoFailed", str(error), now)
    return _with(status, conditions=conditions, reason="UndoFailed", message=str(error), next_step_time=None)


def _fresh(status: RemediationStatus, kind: ConditionType) -> tuple[Condition, ...]:
    """Without one condition, so that its next transition time is that of this attempt."""
    return tuple(one for one in status.conditions if one.type != kind)


def _finished(status: RemediationStatus, now: datetime, step: Finish) -> RemediationStatus:
    conditions = with_condition(status.conditions, ConditionType.COMPLETE, "True", step.reason, step.message, now)
    if step.outcome is Outcome.DENIED:
        kind = ConditionType.APPROVED
        conditions = with_condition(conditions, kind, "False", step.reason, step.message, now)
    return _with(
        status,
        conditions=conditions,
        outcome=step.outcome,
        reason=step.reason,
        message=step.message,
        times=status.times.model_copy(update={"completed": now}),
        next_step_time=None,
    )


def cleared(remediation: Remediation, now: datetime) -> RemediationStatus:
    """The status of a closed Remediation once its incident was seen to be over (``Decision.cleared``)."""
    status = remediation.status
    if remediation.is_open or status.times.cleared is not None:
        return status
    return _with(status, times=status.times.model_copy(update={"cleared": now}))


def judged_later(status: RemediationStatus, hindsight: Hindsight | None) -> RemediationStatus:
    """The status of an Observed Remediation once it is seen whether acting would have been right."""
    return status if hindsight is None or hindsight is status.hindsight else _with(status, hindsight=hindsight)


def policy_status(
    policy: Policy,
    remediations: Sequence[Remediation],
    now: datetime,
    *,
    old: PolicyStatus | None = None,
    targets: int | None = None,
    verdict: LastVerdict | None = None,
    invalid: str = "",
    degraded: str = "",
) -> PolicyStatus:
    """The status of a policy.

    Args:
        policy: As it is.
        remediations: All that it started, in any order.
        now: Aware.
        old: As stored.
        targets: How many workloads it selects; None when not counted.
        verdict: The newest about any target; None keeps the old one.
        invalid: Why the policy cannot be used; empty when it can.
        degraded: What is missing (endpoint down: only symptoms); empty when nothing is.
    """
    before = old or PolicyStatus()
    by_age = sorted(remediations, key=lambda one: (one.spec.anomaly.detected_time, one.name))
    conditions = before.conditions
    for kind, status, reason, message in (
        _ready(policy, invalid, degraded),
        *_activity(by_age, before),
    ):
        conditions = with_condition(conditions, kind, _tri(status), reason, message, now, policy.generation)
    last = by_age[-1] if by_age else None
    return PolicyStatus(
        conditions=conditions,
        targets=before.targets if targets is None else targets,
        last_verdict=verdict or before.last_verdict,
        last_remediation_ref=RemediationRef(name=last.name, namespace=last.namespace)
        if last
        else before.last_remediation_ref,
        remediations=_tally(by_age, before.remediations),
    )


Told = tuple[str, str, str, str]


def _ready(policy: Policy, invalid: str, degraded: str) -> Told:
    kind = PolicyConditionType.READY
    if invalid:
        return kind, "False", "Invalid", invalid
    if not policy.spec.enabled:
        return kind, "False", "Disabled", "enabled is false"
    if degraded and not policy.spec.anomaly_type.is_symptom:
        return kind, "Unknown", "EndpointMissing", f"{policy.spec.anomaly_type} needs the endpoint. {degraded}"
    return (kind, "True", "SymptomsOnly", degraded) if degraded else (kind, "True", "Watching", "")


def _activity(by_age: Sequence[Remediation], before: PolicyStatus) -> list[Told]:
    at_work = [one for one in by_age if one.is_open]
    closed = sorted((one for one in by_age if not one.is_open and one.status.outcome), key=ended)
    detected, working, succeeded = (
        PolicyConditionType.ANOMALY_DETECTED,
        PolicyConditionType.REMEDIATING,
        PolicyConditionType.SUCCEEDED,
    )
    if at_work:
        newest = at_work[-1]
        names = ", ".join(one.name for one in at_work[:3])
        found: list[Told] = [
            (detected, "True", str(newest.spec.anomaly.type), newest.spec.anomaly.message),
            (working, "True", "AtWork", f"{len(at_work)} open: {names}"),
        ]
    else:
        found = [(detected, "False", "Calm", ""), (working, "False", "Idle", "")]
    if closed:
        outcome = closed[-1].status.outcome or Outcome.ERROR
        text = f"{closed[-1].name}: {closed[-1].status.message}"
        good = {Outcome.SUCCESSFUL: "True", Outcome.FAILED: "False", Outcome.ERROR: "False"}.get(outcome, "Unknown")
        found.append((succeeded, good, str(outcome), text))
    elif all(one.type != succeeded for one in before.conditions):
        found.append((succeeded, "Unknown", "NothingYet", "no remediation has ended yet"))
    return found


def _tally(by_age: Sequence[Remediation], before: Tally) -> Tally:
    """Counts by outcome; never fewer than before, for the history limit deletes old records."""
    now = {outcome.value.lower(): 0 for outcome in Outcome}
    for one in by_age:
        if not one.is_open and one.status.outcome:
            now[one.status.outcome.value.lower()] += 1
    return Tally(**{name: max(count, getattr(before, name)) for name, count in now.items()})
