"""Returns what Argo CD has lent, once it is due, and records that. The leader alone writes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from controller.cluster import Cluster
from controller.coordination import standing
from controller.logs import log
from controller.model import Workload
from controller.observe import World
from controller.returning import due, letting_go, returned, was_synced
from controller.telling import Teller
from selfheal.errors import Conflict, Forbidden
from selfheal.remediation import Remediation


class Lender:
    """Takes our name off what is to be returned.

    Args:
        cluster: Reads and writes.
        world: What the watches told.
        teller: Told about it.
    """

    def __init__(self, cluster: Cluster, world: World, teller: Teller) -> None:
        self._cluster = cluster
        self._world = world
        self._teller = teller

    def give_back(self, workload: Workload, lent: Sequence[Remediation], now: datetime) -> None:
        """Return what closed Remediations of a workload have lent, where that is due.

        One entry of ``managedFields`` holds all that we have changed, so one that is due ends the others too.

        Raises:
            TemporaryError: The queue calls again.
        """
        config = self._world.config
        if not lent or config.suspended or standing(workload, config) is not None:
            return
        reasons = {one.name: due(one, workload, self._world.policy_of(one.spec.policy_ref)) for one in lent}
        for one in lent:
            if reasons[one.name] and was_synced(one):
                self._record(one, reasons[one.name], now)
        fields = [one for one in lent if not was_synced(one)]
        reason = next(filter(None, (reasons[one.name] for one in fields)), "")
        if reason and self._let_go(workload):
            for one in fields:
                self._record(one, reasons[one.name] or reason, now)

    def _let_go(self, workload: Workload) -> bool:
        """Whether our name stands on nothing any more."""
        operation = letting_go(workload)
        try:
            if operation is not None:
                self._cluster.write.apply((operation,))
        except (Conflict, Forbidden) as error:  # tried again at the next look
            log(
                "what was lent is not returned", level=logging.WARNING, workload=workload.ref.workload, cause=str(error)
            )
            return False
        return True

    def _record(self, remediation: Remediation, reason: str, now: datetime) -> None:
        stored = self._cluster.records.write_status(remediation, returned(remediation.status, reason, now))
        self._world.keep(stored)
        self._teller.returned(stored, now)
