"""Has every notice confirmed by one notifier, in order, however long that takes.

Five tries are enough for people (base.py). A log that other systems rest on must not have holes: here nothing is
dropped. What waits is bounded by the records that it comes from, since who tells also says what to forget.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception_type, wait_exponential_jitter
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set
from tenacity.wait import wait_base

from controller.logs import log
from controller.notify.base import Notice, Notifier
from selfheal.errors import PermanentError, TemporaryError


class Patient(Notifier, Protocol):
    """A notifier that says when a notice is safe, and keeps a connection."""

    def rest(self) -> None:
        """Nothing was told for a while: the connection may be closed until something is."""
        ...


@dataclass(slots=True)
class _Account:
    """What is known of one remediation."""

    waiting: deque[Notice] = field(default_factory=deque)
    known: set[str] = field(default_factory=set)

    def confirmed(self) -> frozenset[str]:
        return frozenset(self.known - {notice.step for notice in self.waiting})


class Journal:
    """One notifier and what it has confirmed; delivers in a background thread, one notice at a time.

    A notice that the notifier refuses for good is set aside, with all later ones of its remediation, until it is told
    again: others do not wait for it.

    Args:
        notifier: Where to deliver.
        wait: Between tries; tests make it short.
        idle: Seconds without a notice after which the notifier may rest.
    """

    def __init__(self, notifier: Patient, *, wait: wait_base | None = None, idle: float = 30.0) -> None:
        self._notifier = notifier
        self._idle = idle
        self._wait = wait or wait_exponential_jitter(max=10)
        self._accounts: dict[str, _Account] = {}
        self._ready: OrderedDict[str, None] = OrderedDict()  # uids of those whose first notice is due
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._deliver, name=f"notify-{notifier.name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def tell(self, notices: Sequence[Notice]) -> None:
        """Queue what is not known yet, and return at once.

        Args:
            notices: Of one remediation, in order.
        """
        with self._changed:
            for notice in notices:
                account = self._accounts.setdefault(notice.uid, _Account())
                if notice.step not in account.known:
                    account.known.add(notice.step)
                    account.waiting.append(notice)
                if account.waiting:
                    self._ready[notice.uid] = None
            self._changed.notify()

    def confirmed(self, uid: str) -> frozenset[str]:
        """The steps of a remediation that are safe."""
        with self._changed:
            return self._accounts.get(uid, _Account()).confirmed()

    def known(self) -> frozenset[str]:
        """The uids of all remediations of which something was told."""
        with self._changed:
            return frozenset(self._accounts)

    def forget(self, uids: Collection[str]) -> None:
        """Forget remediations: what waits of them is not delivered any more."""
        with self._changed:
            for uid in uids:
                self._accounts.pop(uid, None)
                self._ready.pop(uid, None)

    @property
    def waiting(self) -> int:
        """How many notices are not confirmed yet."""
        with self._changed:
            return sum(len(account.waiting) for account in self._accounts.values())

    def stop(self, seconds: float = 2.0) -> None:
        """Deliver what waits for at most so long, and at once give up what is not taken."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _deliver(self) -> None:
        while (notice := self._next()) is not None or not self._stopping.is_set():
            if notice is None:
                self._notifier.rest()
            elif not self._send(notice):
                return

    def _send(self, notice: Notice) -> bool:
        """False where it is not taken and we are stopping."""
        try:
            self._tries()(self._notifier.send, notice)
        except RetryError:
            return False
        except PermanentError as error:
            self._set_aside(notice, error)
        else:
            self._confirm(notice)
        return True

    def _tries(self) -> Retrying:
        return Retrying(
            stop=stop_when_event_set(self._stopping),
            wait=self._wait,
            retry=retry_if_exception_type(TemporaryError),
            sleep=sleep_using_event(self._stopping),
            before_sleep=self._say,
        )

    def _next(self) -> Notice | None:
        """The next that is due; waits for one. None when none comes for a while, or we are stopping."""
        with self._changed:
            self._changed.wait_for(lambda: self._due() is not None or self._stopping.is_set(), self._idle)
            return self._due()

    def _due(self) -> Notice | None:
        uid = next(iter(self._ready), None)
        return None if uid is None else self._accounts[uid].waiting[0]

    def _confirm(self, notice: Notice) -> None:
        with self._changed:
            waiting = self._accounts.get(notice.uid, _Account()).waiting
            if waiting and waiting[0] is notice:  # else it was forgotten, and perhaps told anew, meanwhile
                waiting.popleft()
            if not waiting:
                self._ready.pop(notice.uid, None)

    def _set_aside(self, notice: Notice, error: PermanentError) -> None:
        with self._changed:
            self._ready.pop(notice.uid, None)
        log(
            "notice refused: it is kept and told again later",
            level=logging.ERROR,
            notifier=self._notifier.name,
            uid=notice.uid,
            step=notice.step,
            cause=str(error),
        )

    def _say(self, state: RetryCallState) -> None:
        """One line an outage; the next success needs none."""
        if state.attempt_number == 1 and state.outcome is not None:
            log(
                "notices wait, none is lost",
                level=logging.WARNING,
                notifier=self._notifier.name,
                waiting=self.waiting,
                cause=str(state.outcome.exception()),
            )
