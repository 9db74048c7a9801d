"""The state machine of an open Remediation: the next step, from what is stored and what is seen now. Pure.

Nothing is remembered between two calls, so any replica goes on where another one died. docs/controller.md draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from controller.applied import is_begun, with_seen
from controller.causes import REPEATS, sensible
from controller.consent import actions_of, policy_now, shown
from controller.coordination import disturbs_rollout, effective_mode, held_by, standing
from controller.leave import fits
from controller.model import (
    Apply,
    Conclude,
    Finish,
    Judgement,
    Progress,
    Propose,
    Step,
    Symptom,
    Undo,
    Wait,
    Workload,
)
from controller.undoing import SETTLING, UNDO_TIMEOUT, is_undone
from controller.verification import LEAK, USELESS, judge, settings_of
from selfheal.policy import Action, Mode, Policy
from selfheal.remediation import (
    Attempt,
    AttemptResult,
    Condition,
    ConditionType,
    Outcome,
    RemediationStatus,
    Source,
    undo_of,
)

POLL = timedelta(seconds=5)
"""How often verification looks, where no event brings it on."""
FRESH = timedelta(minutes=2)
"""For so long the verdict that opened a Remediation speaks for itself, without a newer one."""
REPLAN = frozenset({"Conflict", "PlanTooOld", "PolicyChanged"})
"""Reasons for which an attempt is planned anew: nothing was changed by it."""
MOST_REPLANS = 5
STORM = "so much is sick at once that nothing more is begun: it goes on when the storm and its cooldown are over"
LEAK_RETURNS = "the leak is there as before, it only has to fill the memory again"
HALF = frozenset({"PolicyGone", "PolicyChanged"})
"""Reasons for which a plan that is half written is taken back, whatever ``undoOnFailure`` says."""
_TRIED = frozenset({AttemptResult.FAILED, AttemptResult.UNDONE, AttemptResult.INCONCLUSIVE, AttemptResult.APPLIED})


def advance(progress: Progress) -> Step:
    """The next step of an open Remediation.

    Raises:
        ValueError: When it is complete already: there is no next step.
    """
    status = with_seen(progress)
    if status.is_true(ConditionType.COMPLETE):
        raise ValueError(f"remediation {progress.remediation.name} is complete: it has no next step")
    held = _held(progress, status)
    if held is not None:
        return held
    last = status.attempts[-1] if status.attempts else None
    match last.result if last else None:
        case AttemptResult.PLANNED if last:
            return _planned(progress, status, last)
        case AttemptResult.APPLIED:
            return _verifying(progress)
        case AttemptResult.SUCCESSFUL if last:
            return Finish(Outcome.SUCCESSFUL, "Verified", f"{last.action} helped: {'; '.join(last.evidence[:3])}")
        case AttemptResult.INCONCLUSIVE if last:
            return Finish(Outcome.INCONCLUSIVE, last.reason or "CannotTell", _sorry(last, "it may have helped or not"))
        case AttemptResult.FAILED if last and _must_undo(progress, last):
            return _undoing(progress, status)
        case _:
            return _next(progress, status)


def was_changed(progress: Progress, status: RemediationStatus) -> bool:
    """Whether something of ours may be in the cluster that is not proven and not undone."""
    if not status.attempts:
        return False
    result = status.attempts[-1].result
    half = result is AttemptResult.PLANNED and is_begun(progress)
    return half or result in (AttemptResult.APPLIED, AttemptResult.FAILED)


# What holds everything up.


def _held(progress: Progress, status: RemediationStatus) -> Step | None:
    changed = was_changed(progress, status)
    if progress.config.suspended:
        return _suspended(progress, status)
    if _was_suspended(status) and progress.now > _patience_ends(progress, status):
        return _end(changed, "SuspendedTooLong", "healing was suspended for too long: old remediations do not resume")
    if progress.workload is None:
        return _end(changed, "WorkloadGone", "the workload is gone, or another one has its name")
    forbidden = standing(progress.workload, progress.config)
    if forbidden is not None:
        return _end(changed, forbidden.reason, str(forbidden))
    return None


def _end(changed: bool, reason: str, message: str) -> Finish:
    if changed:
        note = "; what was changed stays as it is: `selfheal undo` takes it back"
        return Finish(Outcome.INCONCLUSIVE, reason, message + note)
    return Finish(Outcome.SKIPPED, reason, message)


def _was_suspended(status: RemediationStatus) -> bool:
    return status.reason == "Suspended" and status.next_step_time is not None


def _patience_ends(progress: Progress, status: RemediationStatus) -> datetime:
    """Until when a suspended Remediation may still resume; stored at the first step that was not taken."""
    if _was_suspended(status) and status.next_step_time is not None:
        return status.next_step_time
    return progress.now + settings_of(progress).timeout


def _suspended(progress: Progress, status: RemediationStatus) -> Wait:
    return Wait(_patience_ends(progress, status), "Suspended", "healing is suspended: run `selfheal resume`")


# Before a change.


def _before_acting(progress: Progress, status: RemediationStatus, policy: Policy) -> Step | None:
    """What speaks against a first or a further change now."""
    if not policy.spec.is_open(progress.now):
        return _over(status, "OutsideWindow", f"policy {policy.name} allows no action at this time (windows)")
    if progress.remediation.spec.verdict.confidence < policy.spec.confidence_threshold:
        return _over(status, "BelowThreshold", f"policy {policy.name} asks for more confidence now")
    if progress.remediation.spec.verdict.source is Source.ENSEMBLE:
        calm = _ensemble_calm(progress, status)
        if calm is not None:
            return calm
    elif not progress.symptoms:
        return _just_undone(progress, status) or _over(status, "ClearedByItself", "the symptom is gone")
    symptom = symptom_of(progress)
    tried = any(attempt.result in _TRIED for attempt in status.attempts)
    if symptom and not tried and progress.workload and disturbs_rollout(progress.workload, symptom):
        return Finish(Outcome.SKIPPED, "RolloutInProgress", "a newer rollout goes on, the trouble is in older pods")
    return None


def _just_undone(progress: Progress, status: RemediationStatus) -> Wait | None:
    """After an undo there are new pods, which look well until they fail as those before: wait and see."""
    undone = status.condition(ConditionType.UNDONE)
    if undone is None or all(one.result is not AttemptResult.UNDONE for one in status.attempts):
        return None
    until = undone.last_transition_time + settings_of(progress).stabilization_period
    text = "the fix was undone: is the trouble still there?"
    return Wait(until, "JustUndone", text) if progress.now < until else None


def _ensemble_calm(progress: Progress, status: RemediationStatus) -> Step | None:
    prediction = progress.prediction
    if prediction is not None and prediction.anomaly is False:
        return _over(status, "ClearedByItself", "the endpoint sees no anomaly any more")
    decided = status.times.decided or progress.remediation.spec.anomaly.detected_time
    if (prediction is None or prediction.anomaly is None) and progress.now - decided > FRESH:
        return _over(status, "CannotTell", "the endpoint cannot tell any more whether something is wrong")
    return None


def _over(status: RemediationStatus, reason: str, message: str) -> Finish:
    """The end without a further change: Skipped when nothing was tried, else Failed, for no try proved itself."""
    tried = any(attempt.result in _TRIED for attempt in status.attempts)
    if tried:
        leak = reason == "ClearedByItself" and any(attempt.reason == LEAK for attempt in status.attempts)
        text = f"{message}; what was tried before did not prove itself"
        return Finish(Outcome.FAILED, LEAK if leak else reason, f"{text}: {LEAK_RETURNS}" if leak else text)
    return Finish(Outcome.SKIPPED, reason, message)


def symptom_of(progress: Progress) -> Symptom | None:
    """The symptom of the Remediation's type as it is now; else the most telling one."""
    kind = progress.remediation.spec.anomaly.type
    found = next((one for one in progress.symptoms if one.type is kind), None)
    return found or (progress.symptoms[0] if progress.symptoms and kind.is_symptom else None)


def _planned(progress: Progress, status: RemediationStatus, last: Attempt) -> Step:
    if is_begun(progress):
        return _half_written(progress, last)
    policy = policy_now(progress)
    if policy is None:
        return _over(status, "PolicyGone", "the policy is gone, disabled or about something else now")
    if last.action not in actions_of(policy):
        return Conclude(AttemptResult.ERROR, Judgement(Outcome.ERROR, (), "PolicyChanged"))
    if not last.change.operations:
        return Finish(Outcome.OBSERVED, "Notified", last.change.note or last.change.diff or "people are told")
    against = _before_acting(progress, status, policy)
    if against is not None:
        return against
    mode, owner = effective_mode(policy, _there(progress), last.action)
    if mode is Mode.OBSERVE:
        told = f"{owner}. Would have done: {last.change.diff}. {last.change.note if owner else ''}"
        reason = held_by(_there(progress)) if owner else "ObserveMode"
        return Finish(Outcome.OBSERVED, reason, told.removeprefix(". ").rstrip(". ") + ("." if owner else ""))
    if not fits(last.change, _there(progress), policy.spec.parameters):
        return Conclude(AttemptResult.ERROR, Judgement(Outcome.ERROR, (), "PlanTooOld"))
    if mode is Mode.APPROVE:
        return _approval(progress, status, last)
    return _apply(progress, last, policy.spec.verification.timeout)


def _half_written(progress: Progress, last: Attempt) -> Step:
    """Half a change is worse than all of it or none: its own effect, a window or its age do not leave it there."""
    policy = policy_now(progress)
    if policy is None:
        return Conclude(AttemptResult.FAILED, Judgement(Outcome.FAILED, (), "PolicyGone"))
    mode, _ = effective_mode(policy, _there(progress), last.action)
    if last.action not in actions_of(policy) or mode is Mode.OBSERVE:
        return Conclude(AttemptResult.FAILED, Judgement(Outcome.FAILED, (), "PolicyChanged"))
    return Apply()


def _apply(progress: Progress, last: Attempt, patience: timedelta) -> Step:
    if progress.storm:
        return Wait(progress.now + POLL, "Storm", STORM, looks=True)
    if progress.now - last.started_time > patience:
        return Conclude(AttemptResult.ERROR, Judgement(Outcome.ERROR, (), "PlanTooOld"))
    return Apply()


def _approval(progress: Progress, status: RemediationStatus, last: Attempt) -> Step:
    """A person's answer; it is for the plan that was shown, and for no other."""
    plan, given, approved = shown(status) or last, progress.approval, status.is_true(ConditionType.APPROVED)
    until = plan.started_time + progress.config.approval_timeout
    if given is not None and given.decision == "Deny":
        return Finish(Outcome.DENIED, "Denied", f"{given.approver} said no: {given.reason or 'no reason given'}")
    if last.change.diff != plan.change.diff:
        return Finish(Outcome.DENIED, "PlanChanged", "the plan is not the one that was shown: it needs a new answer")
    if approved or (given is not None and (progress.answered or progress.now) < until):
        return _apply(progress, last, progress.config.approval_timeout + settings_of(progress).timeout)
    if progress.now >= until:
        return Finish(Outcome.DENIED, "ApprovalTimeout", f"nobody approved it by {until:%Y-%m-%d %H:%M:%S} UTC")
    return Wait(until, "WaitingForApproval", f"`selfheal approve {progress.remediation.name}`: {last.change.diff}")


# After a change.


def _verifying(progress: Progress) -> Step:
    judgement = judge(progress)
    results = {
        Outcome.SUCCESSFUL: AttemptResult.SUCCESSFUL,
        Outcome.FAILED: AttemptResult.FAILED,
        Outcome.INCONCLUSIVE: AttemptResult.INCONCLUSIVE,
    }
    if judgement.outcome is not None:
        return Conclude(results[judgement.outcome], judgement)
    until = progress.now + POLL
    if judgement.recovered is not None:
        until = max(judgement.recovered + settings_of(progress).stabilization_period, progress.now)
        until = min(until, progress.now + 4 * POLL)
    failing = [one.message for one in judgement.findings if one.holds is False]
    return Wait(until, judgement.reason, "; ".join(failing) or "all evidence holds so far", judgement)


def _must_undo(progress: Progress, last: Attempt) -> bool:
    half = last.reason in HALF
    wanted = half or progress.policy is None or progress.policy.spec.undo_on_failure
    return wanted and bool(undo_of(last))


def _undoing(progress: Progress, status: RemediationStatus) -> Step:
    last = status.attempts[-1]
    undone = status.condition(ConditionType.UNDONE)
    ended = last.ended_time or progress.now
    this_one = undone is not None and undone.last_transition_time >= ended
    judgement = is_undone(progress)
    if judgement.outcome in (Outcome.SUCCESSFUL, Outcome.INCONCLUSIVE):
        return Conclude(AttemptResult.UNDONE, judgement)
    if judgement.reason == SETTLING:
        return Wait(progress.now + POLL, SETTLING, judgement.findings[-1].message, judgement)
    if undone is not None and this_one and undone.reason == "UndoFailed":
        return _undo_again(progress, last, undone, ended)
    if undone is None or not this_one or undone.reason != "UndoWritten":
        return Undo(last.reason or "Failed")
    if judgement.outcome is None:
        return Wait(progress.now + POLL, judgement.reason, judgement.findings[0].message, judgement)
    return Finish(Outcome.ERROR, "UndoNotVerified", f"{last.action} failed, and its undo shows no effect: look at it")


def _undo_again(progress: Progress, last: Attempt, undone: Condition, ended: datetime) -> Step:
    """Somebody may have written at the same moment; what still fails after a while needs a person."""
    if progress.now - ended > UNDO_TIMEOUT:
        return Finish(Outcome.ERROR, "UndoFailed", f"{last.action} failed and cannot be undone: {undone.message}")
    if progress.now - undone.last_transition_time < POLL:
        return Wait(undone.last_transition_time + POLL, "UndoFailed", undone.message)
    return Undo(last.reason or "Failed")


# The next attempt.


def _next(progress: Progress, status: RemediationStatus) -> Step:
    policy = policy_now(progress)
    if policy is None:
        return _over(status, "PolicyGone", "the policy is gone, disabled or about something else now")
    tried = [attempt for attempt in status.attempts if counts(attempt)]
    against = _before_acting(progress, status, policy)
    if isinstance(against, Wait) and _is_spent(policy, status, tried):
        return _give_up(status, tried, "", policy)  # people need not wait to see whether the trouble comes back
    if against is not None:
        return against
    action, why = next_action(progress, policy, status.attempts)
    if action is Action.NOTIFY_ONLY and tried:
        action = None
    if action is not None and (len(tried) < policy.spec.max_retries or action is Action.NOTIFY_ONLY):
        approve = effective_mode(policy, _there(progress), action)[0] is Mode.APPROVE
        if not (approve and any(attempt.result in _TRIED for attempt in tried)):
            return Propose(action)
    return _give_up(status, tried, why, policy)


def _is_spent(policy: Policy, status: RemediationStatus, tried: Sequence[Attempt]) -> bool:
    """Whether nothing is left to be tried, whatever the trouble looks like."""
    left = (one for one in actions_of(policy) if one is not Action.NOTIFY_ONLY and not _used_up(one, status.attempts))
    return len(tried) >= policy.spec.max_retries or next(left, None) is None


def _there(progress: Progress) -> Workload:
    """The workload; _held has seen to it that there is one."""
    if progress.workload is None:
        raise ValueError("no workload: nothing can be planned")
    return progress.workload


def counts(attempt: Attempt) -> bool:
    """Whether an attempt is one of ``maxRetries``: a refused plan or one to be made anew has changed nothing."""
    return attempt.result is not AttemptResult.REFUSED and attempt.reason not in REPLAN


def next_action(progress: Progress, policy: Policy, attempts: Sequence[Attempt]) -> tuple[Action | None, str]:
    """The first action of the policy and its escalation that can help and is not used up.

    Returns:
        The action, or None; and why the policy's actions are out of question, for people.
    """
    reasons = []
    for action in actions_of(policy):
        useful, why = sensible(action, progress.remediation.spec.anomaly.type, symptom_of(progress))
        if not useful:
            reasons.append(why)
        elif not _used_up(action, attempts):
            return action, " ".join(reasons)
    return None, " ".join(reasons)


def _used_up(action: Action, attempts: Sequence[Attempt]) -> bool:
    same = [attempt for attempt in attempts if attempt.action is action]
    final = (AttemptResult.REFUSED, AttemptResult.ERROR)
    if any(one.reason in USELESS or (one.result in final and one.reason not in REPLAN) for one in same):
        return True
    if sum(one.reason in REPLAN for one in same) > MOST_REPLANS:
        return True
    return sum(counts(one) for one in same) >= REPEATS.get(action, 1)


def _give_up(status: RemediationStatus, tried: Sequence[Attempt], why: str, policy: Policy) -> Finish:
    """The one notice at the end: people have to look."""
    if any(attempt.result in _TRIED for attempt in tried):
        last = next(attempt for attempt in reversed(tried) if attempt.result in _TRIED)
        most = len(tried) >= policy.spec.max_retries
        ineffective = "RetriesExhausted" if most else "Ineffective"
        reason = last.reason if last.reason in USELESS else ineffective
        return Finish(Outcome.FAILED, reason, _sorry(last, f"{len(tried)} attempts did not help. {why}".strip()))
    stopped = next((attempt for attempt in reversed(status.attempts) if attempt.message or attempt.reason), None)
    if stopped is None:
        if policy.spec.max_retries == 0 and not why:
            return Finish(Outcome.SKIPPED, "RetriesExhausted", f"policy {policy.name} has maxRetries: 0")
        return Finish(Outcome.SKIPPED, "NoSafeAction", why or "no action of the policy can help")
    outcome = Outcome.SKIPPED if stopped.result is AttemptResult.REFUSED else Outcome.ERROR
    return Finish(outcome, stopped.reason or "Refused", f"{stopped.action}: {stopped.message} {why}".strip())


def _sorry(last: Attempt, text: str) -> str:
    return f"{last.action}: {text} Last finding: {'; '.join(last.evidence) or last.message or last.reason}"
