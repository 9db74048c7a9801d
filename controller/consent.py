"""Whether the policy still wants what is planned: it may be edited or deleted while an incident goes on. Pure."""

from __future__ import annotations

from controller.model import Progress
from selfheal.policy import Action, Policy


def policy_now(progress: Progress) -> Policy | None:
    """The policy that opened the Remediation; None when it is gone, disabled, or about something else now."""
    policy, spec = progress.policy, progress.remediation.spec
    if policy is None or policy.uid != spec.policy_ref.uid or not policy.spec.enabled:
        return None
    if policy.spec.anomaly_type is not spec.anomaly.type or policy.target_namespace != progress.remediation.namespace:
        return None
    workload = progress.workload
    return policy if workload is None or policy.spec.selector.matches(workload.labels) else None


def actions_of(policy: Policy) -> tuple[Action, ...]:
    """What a policy allows, in its order: the action and then its escalation."""
    return tuple(dict.fromkeys((policy.spec.action, *policy.spec.escalation)))
