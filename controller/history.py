"""Which records of the past may go: as many stay as the policy wants, and those that decisions still rest on. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby

from controller.incidents import ended, is_over
from selfheal.policy import Policy, PolicySpec
from selfheal.remediation import Remediation

ORPHANS: int = PolicySpec.model_fields["remediation_history_limit"].default
"""So many records of a policy that is gone are kept."""


def beyond_limit(
    remediations: Sequence[Remediation], policy: Policy | None, living: Collection[str]
) -> list[Remediation]:
    """Closed Remediations of one policy beyond its history limit, the oldest ones.

    Those of an incident that goes on stay: they are what stops the controller from trying for ever. So do those that
    have something lent.

    Args:
        remediations: Of the policy, in any order.
        policy: None when it is gone; then nothing is tried any more.
        living: The uids of workloads that are there.
    """
    closed = sorted((one for one in remediations if not one.is_open), key=ended, reverse=True)
    if policy is None:
        return [one for one in closed[ORPHANS:] if not _owes(one, living)]
    kept = _of_open_incidents(closed, max(policy.spec.max_retries, 1), living)
    beyond = closed[policy.spec.remediation_history_limit :]
    return [one for one in beyond if _name(one) not in kept and not _owes(one, living)]


def _owes(one: Remediation, living: Collection[str]) -> bool:
    """Whether it says what of a living workload is lent: only by it that is returned."""
    return one.status.owes and one.spec.target.uid in living


def _of_open_incidents(newest_first: Sequence[Remediation], most: int, living: Collection[str]) -> set[tuple[str, str]]:
    """The newest records of each living target, back to the last incident that is over."""

    def target(one: Remediation) -> str:
        return one.spec.target.uid

    kept: set[tuple[str, str]] = set()
    for uid, records in groupby(sorted(newest_first, key=target), key=target):
        for number, one in enumerate(records):
            if is_over(one) or number >= most or uid not in living:
                break
            kept.add(_name(one))
    return kept


def _name(one: Remediation) -> tuple[str, str]:
    return one.namespace, one.name
