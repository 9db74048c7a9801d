"""A queue of workload keys: one worker a key at a time, few at once, later is possible, nothing is ever lost."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from controller.logs import log
from selfheal.errors import SelfhealError

Work = Callable[[str], float | None]
"""Tends one key; returns after how many seconds it wants to be called again, None for "when something happens"."""

Failed = Callable[[str, BaseException, int], None]
"""Told before a key is tried again: the key, the last error, and how often it failed in a row."""

_LONGEST_BACKOFF = 60.0  # seconds
_MANY = 1000  # ended keys that are remembered before old ones are dropped


class WorkQueue:
    """Calls ``work`` for every key that is due.

    A key that is added while it is being worked on is worked on again afterwards. When ``work`` raises, the key comes
    again after a growing delay.

    Args:
        work: See :data:`Work`.
        workers: Keys worked on at the same time.
        failed: See :data:`Failed`.
        gap: Seconds between two calls for one key: a burst of events is one reason to look, not twenty.
        clock: Seconds; tests put their own in.
    """

    def __init__(
        self,
        work: Work,
        workers: int,
        *,
        failed: Failed | None = None,
        gap: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._workers = workers
        self._failed = failed
        self._gap = gap
        self._clock = clock
        self._order = itertools.count()
        self._heap: list[tuple[float, int, str]] = []
        self._due: dict[str, float] = {}
        self._running: set[str] = set()
        self._failures: dict[str, tuple[int, BaseException]] = {}
        self._ended: dict[str, float] = {}
        self._stopped = False
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="heal")
        self._dispatcher = threading.Thread(target=self._dispatch, name="queue", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._dispatcher.start()

    def stop(self) -> None:
        """Take no new key and wait for those being worked on: a write and its record belong together."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, key: str, delay: float = 0.0) -> None:
        """Have a key worked on after ``delay`` seconds, or earlier if that was wanted before."""
        with self._changed:
            soonest = self._ended.get(key, float("-inf")) + self._gap
            self._schedule(key, max(soonest, self._clock() + delay))
            self._changed.notify_all()

    def _schedule(self, key: str, due: float) -> None:
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))

    def _dispatch(self) -> None:
        while (key := self._next()) is not None:
            self._pool.submit(self._run, key).add_done_callback(partial(self._finished, key))

    def _run(self, key: str) -> float | None:
        with self._changed:
            failure = self._failures.get(key)
        if failure is not None and self._failed is not None:
            self._failed(key, failure[1], failure[0])
        return self._work(key)

    def _next(self) -> str | None:
        """Wait for a key that is due and free; None at the end."""
        with self._changed:
            while not self._stopped:
                key, wait = self._pick()
                if key is not None:
                    return key
                self._changed.wait(wait)
            return None

    def _pick(self) -> tuple[str | None, float | None]:
        """A key to work on now, or how long to wait; keys at work are put off until they are free."""
        if len(self._running) >= self._workers:
            return None, None
        busy: list[tuple[float, int, str]] = []
        found, wait = None, None
        while self._heap and found is None and wait is None:
            due, order, key = self._heap[0]
            if self._due.get(key) != due:  # an earlier time was set since
                heapq.heappop(self._heap)
            elif due > self._clock():
                wait = due - self._clock()
            else:
                heapq.heappop(self._heap)
                if key in self._running:
                    busy.append((due, order, key))
                else:
                    found = key
        for entry in busy:
            heapq.heappush(self._heap, entry)
        if found is not None:
            del self._due[found]
            self._running.add(found)
        return found, wait

    def _finished(self, key: str, done: Future[float | None]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        delay = self._backoff(key, error) if error is not None else done.result()
        with self._changed:
            now = self._clock()
            self._running.discard(key)
            self._remember_end(key, now)
            if error is None:
                self._failures.pop(key, None)
            wanted = self._due.pop(key, None)
            if wanted is not None:
                self._schedule(key, max(wanted, now + self._gap))
            if delay is not None:
                self._schedule(key, now + delay)
            self._changed.notify_all()

    def _remember_end(self, key: str, now: float) -> None:
        self._ended[key] = now
        if len(self._ended) > _MANY:
            self._ended = {key: end for key, end in self._ended.items() if now - end < self._gap}

    def _backoff(self, key: str, error: BaseException) -> float:
        with self._changed:
            failures = self._failures.get(key, (0, error))[0] + 1
            self._failures[key] = (failures, error)
        delay = min(_LONGEST_BACKOFF, 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)
        expected = isinstance(error, SelfhealError)
        log(
            f"will try again: {error}" if expected else "will try again after an error of our own",
            level=logging.WARNING if expected else logging.ERROR,
            error=None if expected else error,
            key=key,
            after=round(delay, 1),
            failures=failures,
        )
        return delay
