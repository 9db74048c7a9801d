"""New statuses as values: what is stored after each step. Pure; the healer writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from controller.model import Progress, Step
from selfheal.errors import SelfhealError
from selfheal.policy import Policy
from selfheal.remediation import Change, LastVerdict, PolicyStatus, Remediation, RemediationStatus


def first_status(remediation: Remediation, now: datetime) -> RemediationStatus:
    """The status of a Remediation that was just created: when it was detected and decided."""
    raise NotImplementedError


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
        error: What the planner, the dry run or the write raised: ``Refused`` and other ``PermanentError`` end the
            attempt, ``Conflict`` has it planned anew, any other ``TemporaryError`` has the step tried again.

    Returns:
        The status to store; equal to the stored one when nothing is new (then no write is needed).
    """
    raise NotImplementedError


def cleared(remediation: Remediation, now: datetime) -> RemediationStatus:
    """The status of a closed Remediation once its incident was seen to be over (``Decision.cleared``)."""
    raise NotImplementedError


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
    raise NotImplementedError
