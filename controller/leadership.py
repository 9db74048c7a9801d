"""Which of the replicas acts: the one that holds the Lease. The others watch, and take over within seconds.

The rules are those of client-go: a replica takes the Lease when it has not seen it change for as long as it lasts; it
acts no longer than the renewal deadline after its last renewal *began*, which is earlier than others may take it. Only
the replica's own monotonic clock counts, so that clocks that differ or jump do no harm. The election that comes with
the kubernetes client goes by the wall clock and cannot be stopped.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Protocol

from controller.cluster.client import NotFound
from controller.cluster.lease import Lease
from controller.logs import log
from selfheal.errors import Conflict, SelfhealError

_JITTER = 0.2  # of the retry period, so that replicas do not ask in step


class Store(Protocol):
    """See :class:`controller.cluster.lease.LeaseStore`."""

    def read(self) -> Lease | None:
        """As it is now."""

    def take(self, seen: Lease | None, identity: str) -> Lease:
        """Make it ours."""

    def give_back(self, seen: Lease) -> None:
        """Let others take it."""


class Leadership:
    """Takes part in the election.

    Args:
        store: The Lease.
        identity: Of this replica; no other has it.
        begin: Called whenever this replica begins to lead; when it raises, it is called again at the next try.
        lost: Called whenever it no longer does. What is under way then cannot write any more.
        duration: Seconds without a change after which others take the Lease.
        deadline: Seconds after which a leader that cannot renew it stops acting; less than ``duration``.
        retry: Seconds between two tries.
        clock: Monotonic seconds; tests put their own in.
    """

    def __init__(
        self,
        store: Store,
        identity: str,
        begin: Callable[[], None],
        lost: Callable[[], None],
        *,
        duration: float = 15.0,
        deadline: float = 10.0,
        retry: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._identity = identity
        self._begin = begin
        self._lost = lost
        self._duration = duration
        self._deadline = deadline
        self._retry = retry
        self._clock = clock
        self._seen: Lease | None = None
        self._changed = clock()
        self._until = float("-inf")
        self._leads = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leadership", daemon=True)

    @property
    def acts(self) -> bool:
        """Whether this replica may write now; asked before every write."""
        return self._clock() < self._until

    def start(self) -> None:
        """Take part from now on, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop acting and give the Lease back, so that another replica goes on at once."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(self._deadline)
        held, self._until = self.acts, float("-inf")
        if held and self._seen is not None:
            try:
                self._store.give_back(self._seen)
            except SelfhealError as error:
                log(f"the Lease is not given back, others wait {self._duration:g} s: {error}", level=logging.WARNING)

    def _run(self) -> None:
        while not self._over.is_set():
            self.attempt()
            self._over.wait(self._retry * random.uniform(1 - _JITTER, 1))

    def attempt(self) -> None:
        """Try once to take or keep the Lease."""
        begun = self._clock()
        try:
            if self._is_free(begun):
                self._seen = self._store.take(self._seen, self._identity)
                self._until = begun + self._deadline
            if self.acts and not self._leads:
                self._begin()
                self._leads = True
                log("leading", identity=self._identity)
        except SelfhealError as error:
            faster = isinstance(error, Conflict) and not isinstance(error, NotFound)
            level = logging.DEBUG if faster else logging.WARNING  # the next look tells who was faster
            log(f"cannot take the Lease: {error}", level=level, leads=self._leads)
        if self._leads and not self.acts:
            self._leads = False
            log("no longer leading: nothing is written until the Lease is ours again", level=logging.WARNING)
            self._lost()

    def _is_free(self, now: float) -> bool:
        """Look at the Lease; whether we may write it."""
        found = self._store.read()
        if found != self._seen:
            self._seen, self._changed = found, now
        if found is None or found.holder in ("", self._identity):
            return True
        if self._leads:
            self._until = float("-inf")  # somebody else holds it: whatever the reason, we do not act
            return False
        return now - self._changed >= self._duration
