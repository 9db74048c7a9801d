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

Work = Callable[[str], float | None]
"""Tends one key; returns after how many seconds it wants to be called again, None for "when something happens"."""

_LONGEST_BACKOFF = 60.0  # seconds


class WorkQueue:
    """Calls ``work`` for every key that is due.

    A key that is added while it is being worked on is worked on again afterwards. When ``work`` raises, the key comes
    again after a growing delay.

    Args:
        work: See :data:`Work`.
        workers: Keys worked on at the same time.
        clock: Seconds; tests put their own in.
    """

    def __init__(self, work: Work, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._work = work
        self._workers = workers
        self._clock = clock
        self._order = itertools.count()
        self._heap: list[tuple[float, int, str]] = []
        self._due: dict[str, float] = {}
        self._running: set[str] = set()
        self._failures: dict[str, int] = {}
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
            self._schedule(key, self._clock() + max(0.0, delay))
            self._changed.notify_all()

    def _schedule(self, key: str, due: float) -> None:
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))

    def _dispatch(self) -> None:
        while (key := self._next()) is not None:
            self._pool.submit(self._work, key).add_done_callback(partial(self._finished, key))

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
            self._running.discard(key)
            if error is None:
                self._failures.pop(key, None)
            if delay is not None:
                self._schedule(key, self._clock() + delay)
            self._changed.notify_all()

    def _backoff(self, key: str, error: BaseException) -> float:
        with self._changed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(_LONGEST_BACKOFF, 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)
        log("will try again", level=logging.ERROR, error=error, workload=key, after=round(delay, 1), failures=failures)
        return delay
