"""A notice, and the queue that delivers it in the background."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import httpx
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from tenacity.nap import sleep_using_event
from tenacity.wait import wait_base

from controller.logs import log
from selfheal.errors import PermanentError, SelfhealError, TemporaryError, Unavailable, WrongUse

_TRIES = 5
_REMEMBERED = 10_000  # steps of this many notices are known as told; one is 100 bytes


@dataclass(frozen=True, slots=True)
class Notice:
    """One step of one remediation, as people and other systems are told about it.

    Attributes:
        uid: Of the Remediation.
        step: ``Opened``, ``Applied``, ``Undone``, ``Completed``, ...; with ``uid`` the key of deduplication.
        remediation: ``namespace/name``.
        workload: ``namespace/Kind/name``.
        anomaly: Its type.
        confidence: 0..1.
        action: The newest attempt's, empty before one.
        diff: What was or would be changed, one line a field.
        outcome: Empty while it is open.
        reason: CamelCase constant.
        message: For people.
        time: UTC.
    """

    uid: str
    step: str
    remediation: str
    workload: str
    anomaly: str
    confidence: float
    action: str
    diff: str
    outcome: str
    reason: str
    message: str
    time: datetime

    @property
    def key(self) -> tuple[str, str]:
        """What makes two notices the same."""
        return self.uid, self.step


class Notifier(Protocol):
    """One place to tell."""

    name: str

    def send(self, notice: Notice) -> None:
        """Deliver once.

        Raises:
            TemporaryError: Worth another try.
            PermanentError: Not worth one.
        """
        ...


@dataclass
class _Line:
    """One notifier with its own queue, so that a dead one does not hold up the others."""

    notifier: Notifier
    waiting: queue.Queue[Notice | None]
    told: dict[tuple[str, str], None] = field(default_factory=dict)

    def is_new(self, notice: Notice) -> bool:
        if notice.key in self.told:
            return False
        self.told[notice.key] = None
        if len(self.told) > _REMEMBERED:
            del self.told[next(iter(self.told))]
        return True


class NoticeQueue:
    """Delivers notices in background threads, retried and deduplicated.

    Args:
        notifiers: Whom to tell.
        wait: Between tries; tests make it short.
        size: Notices that may wait for one notifier; more are dropped with a log line.
    """

    def __init__(
        self,
        notifiers: Sequence[Notifier] = (),
        *,
        wait: wait_base | None = None,
        size: int = 1000,
    ) -> None:
        self._wait = wait or wait_exponential_jitter(max=60)
        self._lines = [_Line(notifier, queue.Queue(size)) for notifier in notifiers]
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._deliver, args=(line,), name=f"notify-{line.notifier.name}", daemon=True)
            for line in self._lines
        ]

    def start(self) -> None:
        """Begin to deliver."""
        for thread in self._threads:
            thread.start()

    def tell(self, notice: Notice) -> None:
        """Queue a notice and return at once."""
        for line in self._lines:
            with self._lock:
                new = line.is_new(notice)
            if new:
                self._put(line, notice)

    def _put(self, line: _Line, notice: Notice) -> None:
        try:
            line.waiting.put_nowait(notice)
        except queue.Full:
            log(
                "notice dropped, too many are waiting", level=logging.ERROR, notifier=line.notifier.name, uid=notice.uid
            )

    def stop(self, seconds: float = 5.0) -> None:
        """Deliver what waits, for at most so long."""
        for line in self._lines:
            with suppress(queue.Full):  # a thread so far behind is ended by _stopping
                line.waiting.put_nowait(None)
        for thread in self._threads:
            thread.join(seconds / max(1, len(self._threads)))
        self._stopping.set()

    def _deliver(self, line: _Line) -> None:
        while not self._stopping.is_set():
            notice = line.waiting.get()
            if notice is None:
                return
            self._send(line.notifier, notice)

    def _send(self, notifier: Notifier, notice: Notice) -> None:
        tries = Retrying(
            stop=stop_after_attempt(_TRIES),
            wait=self._wait,
            retry=retry_if_exception_type(TemporaryError),
            sleep=sleep_using_event(self._stopping),
        )
        try:
            tries(notifier.send, notice)
        except RetryError as error:
            self._give_up(notifier, notice, error.last_attempt.exception())
        except SelfhealError as error:
            self._give_up(notifier, notice, error)

    def _give_up(self, notifier: Notifier, notice: Notice, error: BaseException | None) -> None:
        log(
            "notice not delivered",
            level=logging.ERROR,
            notifier=notifier.name,
            uid=notice.uid,
            step=notice.step,
            cause=str(error),
        )


def post_json(client: httpx.Client, url: str, payload: dict[str, Any], whom: str) -> None:
    """POST JSON once; messages never hold the URL, which can be a secret.

    Raises:
        Unavailable: No answer, 429 or a server's fault: worth another try.
        PermanentError: Any other answer.
    """
    try:
        answer = client.post(url, json=payload)
    except httpx.TransportError as error:
        raise Unavailable(f"{whom} does not answer ({type(error).__name__}): check its URL and the network") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise WrongUse(f"the URL of {whom} is none: write https://...") from None
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
        raise Unavailable(f"{whom} answered {answer.status_code}")
    if not answer.is_success:
        raise PermanentError(f"{whom} answered {answer.status_code} ({answer.text[:100]!r}): check its URL")
