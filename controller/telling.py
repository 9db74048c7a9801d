"""Says what happened: a log line, Events on target and policy, metrics and a notice, once for each step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from controller.cluster import Records
from controller.escalation import escalation
from controller.logs import log
from controller.metrics import Metrics
from controller.model import Decision, Resource, Workload
from controller.notify.base import Notice, NoticeQueue
from controller.steps import COMPLETED, OPENED, attempt_note, completed_note, opened_note, step_notice
from selfheal.errors import SelfhealError
from selfheal.policy import API_VERSION
from selfheal.remediation import Attempt, AttemptResult, Outcome, Remediation, RemediationStatus

_REPEAT_AFTER = 3600.0  # seconds after which the same refusal is told again
_REMEMBERED = 10_000
_TOLD = frozenset({"AlreadyHandled", "RetriesExhausted"})
"""Refusals that only say that a Remediation has ended: that was told, and silence is promised until it clears."""

_BAD = frozenset({Outcome.FAILED, Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.DENIED})
_TIMES = ("decided", "applied", "recovered", "verified", "undone", "completed")


class Teller:
    """Tells people and other systems.

    Args:
        records: For Events.
        notices: Notifiers.
        metrics: For Prometheus.
        clock: Seconds, for the deduplication of refusals.
        publish: Told every Remediation that was created or has a new status; returns at once.
    """

    def __init__(
        self,
        records: Records,
        notices: NoticeQueue,
        metrics: Metrics,
        clock: Callable[[], float],
        publish: Callable[[Remediation], None] = lambda _: None,
    ) -> None:
        self._records = records
        self._notices = notices
        self._metrics = metrics
        self._clock = clock
        self._publish = publish
        self._refused: dict[tuple[str, str, str], float] = {}

    def opened(self, remediation: Remediation, now: datetime) -> None:
        """A Remediation was created."""
        self._metrics.detected(remediation.spec.anomaly.type)
        self._publish(remediation)
        self._tell(remediation, OPENED, "RemediationOpened", opened_note(remediation), now)

    def moved(self, before: Remediation, after: Remediation, now: datetime) -> None:
        """A Remediation has a new status: tells every step that was reached since the last one."""
        self._time(before.status, after.status, now)
        self._publish(after)
        for number, attempt in enumerate(after.status.attempts, 1):
            old = before.status.attempts[number - 1] if number <= len(before.status.attempts) else None
            if old is None or old.result != attempt.result:
                self._attempt(after, number, attempt, now)
        if before.is_open and not after.is_open and after.status.outcome is not None:
            self._completed(after, after.status.outcome, now)

    def _time(self, before: RemediationStatus, after: RemediationStatus, now: datetime) -> None:
        for step in _TIMES:
            if getattr(before.times, step) is None and (reached := getattr(after.times, step)) is not None:
                self._metrics.reached(step, after.times.detected, min(reached, now))

    def _attempt(self, remediation: Remediation, number: int, attempt: Attempt, now: datetime) -> None:
        bad = attempt.result in (AttemptResult.FAILED, AttemptResult.ERROR, AttemptResult.REFUSED)
        self._tell(
            remediation,
            f"{attempt.result}-{number}",
            f"Remediation{attempt.result}",
            attempt_note(number, attempt),
            now,
            kind="Warning" if bad else "Normal",
        )

    def _completed(self, remediation: Remediation, outcome: Outcome, now: datetime) -> None:
        attempts = remediation.status.attempts
        self._metrics.ended(attempts[-1].action if attempts else None, outcome)
        plea = escalation(remediation)
        if plea:
            self._event_pair(remediation, "Escalated", plea, "Escalate", "Warning")
        self._tell(
            remediation,
            COMPLETED,
            f"Remediation{outcome}",
            completed_note(remediation),
            now,
            kind="Warning" if outcome in _BAD else "Normal",
        )

    def _tell(
        self,
        remediation: Remediation,
        step: str,
        reason: str,
        note: str,
        now: datetime,
        kind: Literal["Normal", "Warning"] = "Normal",
    ) -> None:
        notice = notice_of(remediation, step, note, now)
        log(note, step=step, remediation=notice.remediation, uid=notice.uid, workload=notice.workload, reason=reason)
        self._notices.tell(notice)
        self._event_pair(remediation, reason, note, step, kind)

    def _event_pair(
        self, remediation: Remediation, reason: str, note: str, step: str, kind: Literal["Normal", "Warning"]
    ) -> None:
        """One Event on the target and one on the policy, each with the other as ``related``."""
        policy = remediation.spec.policy_ref
        target, owner = _target(remediation), _policy_ref(policy.namespace, policy.name, policy.uid)
        self._event(target, reason, note, step, kind, owner)
        if policy.namespace:
            self._event(owner, reason, note, step, kind, target)

    def returned(self, remediation: Remediation, now: datetime) -> None:
        """What was lent went back to its owner."""
        loan = remediation.status.loan
        if loan is not None:
            note = f"{', '.join(loan.fields)} is {loan.owner}'s again ({loan.reason})"
            self._tell(remediation, "Returned", "LoanReturned", note, now)

    def refused(self, workload: Workload, decision: Decision) -> None:
        """A rule held back what a policy wanted: told once an hour, not at every look."""
        policy = decision.policy
        key = (workload.ref.uid, policy.uid if policy else "", decision.reason)
        last = self._refused.get(key)
        if last is not None and self._clock() - last < _REPEAT_AFTER:
            return
        if len(self._refused) >= _REMEMBERED:
            self._refused.clear()
        self._refused[key] = self._clock()
        log(decision.message, step="Refused", workload=workload.ref.workload, reason=decision.reason)
        if decision.reason in _TOLD:
            return
        target = workload.ref.model_dump(by_alias=True)
        self._event(target, decision.reason, decision.message, "Refuse", "Warning", None)
        if policy is not None:
            owner = _policy_ref(policy.namespace, policy.name, policy.uid)
            note = f"{workload.ref.workload}: {decision.message}"
            self._event(owner, decision.reason, note, "Refuse", "Warning", target)

    def cleared(self, workload: Workload) -> None:
        """Nothing holds a workload back any more: the next refusal is news again."""
        for key in [key for key in self._refused if key[0] == workload.ref.uid]:
            self._refused.pop(key, None)

    def _event(
        self,
        regarding: Resource,
        reason: str,
        note: str,
        action: str,
        kind: Literal["Normal", "Warning"],
        related: Resource | None,
    ) -> None:
        try:
            self._records.event(regarding, reason, note, action=action, kind=kind, related=related)
        except SelfhealError as error:  # an Event is a courtesy: a heal does not wait for it
            log("Event not written", level=logging.WARNING, reason=reason, cause=str(error))


def notice_of(remediation: Remediation, step: str, message: str, now: datetime) -> Notice:
    """What notifiers are told about a step."""
    status = remediation.status
    newest = status.attempts[-1] if status.attempts else None
    outcome = status.outcome.value if status.outcome else ""
    return step_notice(remediation, step, status.reason, message, now, newest, outcome)


def _policy_ref(namespace: str, name: str, uid: str) -> Resource:
    return {"apiVersion": API_VERSION, "kind": "SelfHealingPolicy", "namespace": namespace, "name": name, "uid": uid}


def _target(remediation: Remediation) -> Resource:
    target = remediation.spec.target
    return target.model_dump(by_alias=True) | {"namespace": remediation.namespace}
