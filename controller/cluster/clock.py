"""What time it is at the API server, whatever the machine's own clock says.

Kubernetes' timestamps are compared with now all the time: when a pod became ready, when a change was written. A clock
that is minutes off, or is set in the middle of a heal, would make a good fix look late and a bad one look calm. Every
answer says when it was written (``Date``, in whole seconds), and between two answers only the monotonic clock counts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from controller.logs import log

_NOTABLE = 5.0  # seconds: more than answers take
_SECOND = 1.0  # Date is cut to whole seconds


class ServerClock:
    """Follows the clock of one API server.

    Args:
        ours: Aware time, for as long as the server has said nothing.
        monotonic: Seconds; tests put their own in.
    """

    def __init__(
        self,
        ours: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ours = ours
        self.monotonic = monotonic
        self._lock = threading.Lock()
        self._between: tuple[float, float] | None = None

    def heard(self, date: str | None, sent: float) -> None:
        """Take note of an answer that has just come.

        Args:
            date: Its header; what is none is ignored.
            sent: Monotonic seconds at which the request was sent.
        """
        try:
            said = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return
        least, most = said - self.monotonic(), said + _SECOND - sent
        with self._lock:
            fits = self._between is not None and least <= self._between[1] and most >= self._between[0]
            if self._between is not None and fits:
                least, most = max(least, self._between[0]), min(most, self._between[1])
            self._between = least, most  # else the server's clock was set: the newest answer counts
        if not fits:
            self._compare()

    def _compare(self) -> None:
        """Nothing here goes by the machine's clock, but other programs do: people should know."""
        off = (self._ours() - self.now()).total_seconds()
        if abs(off) > _NOTABLE:
            text = "this machine's clock is not the API server's, which counts here: look at both"
            log(text, level=logging.WARNING, seconds_ahead=round(off))

    def now(self) -> datetime:
        """Aware time; at most a second behind the server's, and never ahead of it."""
        with self._lock:
            between = self._between
        return self._ours() if between is None else datetime.fromtimestamp(between[0] + self.monotonic(), UTC)


class TimedPool:
    """A urllib3 pool whose answers set a clock, errors too.

    Args:
        pool: The pool that sends.
        clock: Is set.
    """

    def __init__(self, pool: Any, clock: ServerClock) -> None:
        self._pool = pool
        self._clock = clock

    def request(self, method: str, url: str, **more: Any) -> Any:
        """Send a request."""
        sent = self._clock.monotonic()
        answer = self._pool.request(method, url, **more)
        self._clock.heard(answer.headers.get("Date"), sent)
        return answer

    def __getattr__(self, name: str) -> Any:
        """Everything else is the pool's."""
        return getattr(self._pool, name)
