"""When what was lent goes back to its owner, and how: our name is taken off the fields, whatever stands in them. Pure.

Ownership is a loan (design gitops.md): Argo CD ignores what our field manager has changed, a later wish of Git's
included. So that no wish is ignored for long, the first new revision of the repository ends the loan
(docs/adr/0011-loans.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from controller.applied import missing_values
from controller.argocd import automated, ignores_us, revision
from controller.consent import is_wanted
from controller.incidents import WRITTEN
from controller.model import Workload
from controller.releasing import entries_of
from controller.resizing import REVERTED
from controller.syncing import is_sync
from selfheal.policy import FIELD_MANAGER, GROUP, Policy
from selfheal.remediation import Attempt, AttemptResult, Operation, Remediation, RemediationStatus

_OURS = f"/metadata/annotations/{GROUP}~1"


def due(remediation: Remediation, workload: Workload, policy: Policy | None) -> str:
    """Why what a closed Remediation has lent is to be returned now; the empty text while it may stay.

    Args:
        remediation: As stored.
        workload: The target as it is now.
        policy: The policy that opened it, as it is now; None when it is gone.
    """
    loan = remediation.status.loan
    if remediation.is_open or loan is None or loan.returned_time is not None:
        return ""
    attempt, application = _lent(remediation), workload.application
    if attempt is None or attempt.result not in WRITTEN or attempt.result is AttemptResult.UNDONE:
        return "TakenBack" if attempt is not None and attempt.reason == REVERTED else "Undone"
    if is_sync(attempt):
        return "AutomatedAgain" if application is not None and automated(application) is not None else ""
    if missing_values(_values(attempt), workload.resource):
        return "TakenBack"
    if not is_wanted(policy, remediation, workload):
        return "PolicyGone"
    if application is None:
        return "OwnerUnknown"
    if not ignores_us(workload):
        return "LeaveGone"
    return "GitChanged" if revision(application) not in ("", loan.revision) else ""


def was_synced(remediation: Remediation) -> bool:
    """Whether what is lent is the automation of an Application, and not fields of the workload."""
    attempt = _lent(remediation)
    return attempt is not None and is_sync(attempt)


def _lent(remediation: Remediation) -> Attempt | None:
    """The newest attempt that something was lent for; one that follows it may be a restart."""
    return next((one for one in reversed(remediation.status.attempts) if one.change.lent), None)


def _values(attempt: Attempt) -> Mapping[str, Any]:
    """What stands in the workload as long as nobody has changed it, without notes of our own."""
    return {path: value for path, value in attempt.change.expected.items() if not path.startswith(_OURS)}


def letting_go(workload: Workload) -> Operation | None:
    """The write that takes our name off all fields of a workload; None where it stands on none."""
    entries = workload.resource["metadata"].get("managedFields") or ()
    if all(one.get("manager") != FIELD_MANAGER for one in entries):
        return None
    ref = workload.ref
    return Operation(
        verb="Patch",
        api_version=ref.api_version,
        kind=ref.kind,
        namespace=ref.namespace,
        name=ref.name,
        uid=ref.uid,
        patch=tuple(entries_of(workload.resource, of_subresources=True)),
    )


def returned(status: RemediationStatus, reason: str, now: datetime) -> RemediationStatus:
    """The status once what was lent is returned."""
    if status.loan is None:
        return status
    loan = status.loan.model_copy(update={"returned_time": now, "reason": reason})
    return status.model_copy(update={"loan": loan})
