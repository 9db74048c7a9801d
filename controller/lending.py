"""What the owner of a workload lends us, as it is recorded when a change is written. Pure."""

from __future__ import annotations

from controller.argocd import revision
from controller.model import Progress
from controller.owners import owner_of
from selfheal.remediation import Attempt, Loan


def loan_of(progress: Progress, attempt: Attempt) -> Loan | None:
    """The loan of a Remediation once an attempt is written: what was lent before and is not returned, and more."""
    before, workload = progress.remediation.status.loan, progress.workload
    if not attempt.change.lent or workload is None:
        return before
    kept = before.fields if before is not None and before.returned_time is None else ()
    return Loan(
        owner=str(owner_of(workload.resource) or ""),
        fields=tuple(dict.fromkeys((*kept, *attempt.change.lent))),
        revision=revision(workload.application) if workload.application is not None else "",
        lent_time=progress.now,
    )
