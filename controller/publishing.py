"""Every step that Remediations record reaches the journal's notifier, through outages and restarts.

The record is the outbox: it is in the API server before anything is told. What was confirmed is noted on the record
once it is complete, in the message of condition ``Published``; whoever leads next tells what is missing there.
See docs/adr/0010-kafka.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from controller.cluster import Records
from controller.logs import log
from controller.metrics import Metrics
from controller.notify.base import Notice
from controller.notify.journal import Journal
from controller.observe import World
from controller.steps import recorded
from selfheal.errors import SelfhealError
from selfheal.remediation import ConditionType, Remediation, RemediationStatus, with_condition

_MARKS = 100  # written at one sweep, so that a long history does not hold up what else is due at a tick
_BETWEEN = ", "


class Publisher:
    """Tells a journal what Remediations record.

    Args:
        records: Notes what was confirmed.
        world: All Remediations.
        journal: Delivers.
        metrics: For Prometheus.
        clock: Aware time.
    """

    def __init__(
        self, records: Records, world: World, journal: Journal, metrics: Metrics, clock: Callable[[], datetime]
    ) -> None:
        self._records = records
        self._world = world
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._settled: dict[str, str] = {}

    def tell(self, remediation: Remediation) -> None:
        """A Remediation was written: what is new in it is queued; calls nobody."""
        self._journal.tell(missing(remediation))

    def sweep(self) -> None:
        """Queue what was never told, note what is confirmed, forget what the API server no longer keeps."""
        told = self._journal.known()  # before the look at the world: what is opened meanwhile is not forgotten
        known = {one.uid: one for one in self._world.remediations()}
        self._settled = {uid: version for uid, version in self._settled.items() if uid in known}
        unsettled = {uid: one for uid, one in known.items() if self._settled.get(uid) != one.resource_version}
        self._journal.forget(told - unsettled.keys())
        confirmed = [one for one in unsettled.values() if not self._is_told(one)]
        for one in confirmed[:_MARKS]:
            self._note(one)
        self._metrics.events_waiting(self._journal.waiting)

    def forget(self) -> None:
        """Another replica leads now, and tells everything that is not noted."""
        self._journal.forget(self._journal.known())
        self._metrics.events_waiting(0)

    def start(self) -> None:
        """Begin to deliver."""
        self._journal.start()

    def stop(self) -> None:
        """Deliver what waits, for two seconds at most; the rest is told by whoever leads next."""
        self._journal.stop()

    def _is_told(self, remediation: Remediation) -> bool:
        """Tell what is missing; False where all is confirmed and the record does not say so yet."""
        left = missing(remediation)
        if not left and not remediation.is_open:
            self._settled[remediation.uid] = remediation.resource_version
        done = self._journal.confirmed(remediation.uid)
        if left and not remediation.is_open and all(one.step in done for one in left):
            return False
        self._journal.tell(left)
        return True

    def _note(self, remediation: Remediation) -> None:
        try:
            self._world.keep(self._records.write_status(remediation, published(remediation, self._clock())))
        except SelfhealError as error:  # the next sweep tries again; until then a restart would tell twice
            log("not noted as published", level=logging.DEBUG, uid=remediation.uid, cause=str(error))


def missing(remediation: Remediation) -> tuple[Notice, ...]:
    """The recorded steps that the record does not say to be published."""
    said = remediation.status.condition(ConditionType.PUBLISHED)
    done = said.message.split(_BETWEEN) if said is not None else ()
    return tuple(one for one in recorded(remediation) if one.step not in done)


def published(remediation: Remediation, now: datetime) -> RemediationStatus:
    """The status that says that all recorded steps are published."""
    steps = _BETWEEN.join(one.step for one in recorded(remediation))
    status, kind = remediation.status, ConditionType.PUBLISHED
    conditions = with_condition(status.conditions, kind, "True", "Confirmed", steps, now)
    return status.model_copy(update={"conditions": conditions})
