"""Whether the policy still wants what is planned, and whether a person has said yes to it. Pure.

A policy may be edited or deleted while an incident goes on. An answer is about the plan that was shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from controller.model import Progress, Workload
from controller.stored import Answer
from selfheal.policy import Action, Policy
from selfheal.remediation import Attempt, Remediation, RemediationStatus


def policy_now(progress: Progress) -> Policy | None:
    """The policy that opened the Remediation; None when it is gone, disabled, or about something else now."""
    return progress.policy if is_wanted(progress.policy, progress.remediation, progress.workload) else None


def is_wanted(policy: Policy | None, remediation: Remediation, workload: Workload | None) -> bool:
    """Whether the policy that opened a Remediation is there, enabled, and still about it and its workload."""
    spec = remediation.spec
    if policy is None or policy.uid != spec.policy_ref.uid or not policy.spec.enabled:
        return False
    if policy.spec.anomaly_type is not spec.anomaly.type or policy.target_namespace != remediation.namespace:
        return False
    return workload is None or policy.spec.selector.matches(workload.labels)


def actions_of(policy: Policy) -> tuple[Action, ...]:
    """What a policy allows, in its order: the action and then its escalation."""
    return tuple(dict.fromkeys((policy.spec.action, *policy.spec.escalation)))


def shown(status: RemediationStatus) -> Attempt | None:
    """The plan that people were shown; None while there is none."""
    return next((attempt for attempt in status.attempts if attempt.change.operations), None)


def answer_to(status: RemediationStatus, answers: Sequence[Answer]) -> Answer | None:
    """The answer that counts: a denial wins, then the first that was given after the plan was shown.

    The API server's times are whole seconds. An approval whose time is not known is none.
    """
    denial = next((one for one in answers if one.approval.decision == "Deny"), None)
    plan = shown(status)
    if denial is not None or plan is None:
        return denial
    begun = plan.started_time.replace(microsecond=0)
    in_order = sorted((one for one in answers if one.given is not None and one.given >= begun), key=_given)
    return in_order[0] if in_order else None


def _given(answer: Answer) -> datetime:
    if answer.given is None:
        raise ValueError("the time of this answer is not known")
    return answer.given
