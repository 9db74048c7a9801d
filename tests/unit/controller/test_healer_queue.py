"""The queue: one worker a key, nothing lost, failures come again. Its clock is moved by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from controller.queue import WorkQueue


class Hands:
    """Does the work, and remembers it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.at_once = 0
        self._busy: list[str] = []
        self._seen = threading.Condition()
        self.results: dict[str, list[float | Exception | None]] = {}
        self.gate = threading.Event()
        self.gate.set()

    def work(self, key: str) -> float | None:
        with self._seen:
            assert key not in self._busy, "two workers at one key"
            self._busy.append(key)
            self.at_once = max(self.at_once, len(self._busy))
            self._seen.notify_all()
        self.gate.wait(10)
        with self._seen:
            self._busy.remove(key)
            self.done.append(key)
            self._seen.notify_all()
        planned = self.results.get(key)
        result = planned.pop(0) if planned else None
        if isinstance(result, Exception):
            raise result
        return result

    def wait(self, holds: Callable[[], bool]) -> None:
        with self._seen:
            assert self._seen.wait_for(holds, 10)

    def wait_busy(self, count: int) -> None:
        self.wait(lambda: len(self._busy) == count)


@contextmanager
def queue(hands: Hands, workers: int = 2, failed: list[tuple[str, int]] | None = None) -> Iterator[WorkQueue]:
    told = failed if failed is not None else []
    found = WorkQueue(hands.work, workers, failed=lambda key, _, n: told.append((key, n)), gap=0.0)
    found.start()
    try:
        yield found
    finally:
        hands.gate.set()
        found.stop()


def test_every_key_is_worked_on() -> None:
    hands = Hands()
    with queue(hands) as found:
        for key in "abc":
            found.add(key)
        hands.wait(lambda: sorted(hands.done) == ["a", "b", "c"])


def test_many_reasons_to_look_before_the_look_are_one_look() -> None:
    hands = Hands()
    hands.gate.clear()
    with queue(hands, workers=1) as found:
        found.add("first")
        hands.wait_busy(1)
        for _ in range(10):
            found.add("a")
        hands.gate.set()
        found.add("last")
        hands.wait(lambda: "last" in hands.done)
    assert hands.done == ["first", "a", "last"]


def test_a_key_that_is_added_while_it_is_worked_on_is_worked_on_again_but_never_by_two() -> None:
    hands = Hands()
    hands.gate.clear()
    with queue(hands) as found:
        found.add("a")
        hands.wait_busy(1)
        found.add("a")
        hands.gate.set()
        hands.wait(lambda: hands.done == ["a", "a"])
    assert hands.at_once == 1


def test_only_so_many_keys_are_worked_on_at_once() -> None:
    hands = Hands()
    hands.gate.clear()
    with queue(hands, workers=2) as found:
        for key in "abcdef":
            found.add(key)
        hands.wait_busy(2)
        hands.gate.set()
        hands.wait(lambda: len(hands.done) == 6)
    assert hands.at_once == 2


def test_work_that_wants_to_be_called_again_is() -> None:
    hands = Hands()
    hands.results["a"] = [0.0, 0.0, None]
    with queue(hands) as found:
        found.add("a")
        hands.wait(lambda: hands.done == ["a", "a", "a"])


def test_a_key_whose_work_raises_comes_again_and_the_failures_are_told() -> None:
    hands = Hands()
    hands.results["a"] = [ValueError("our own mistake"), None]
    told: list[tuple[str, int]] = []
    with queue(hands, failed=told) as found:
        found.add("a")
        hands.wait(lambda: hands.done == ["a", "a"])
    assert told == [("a", 1)]


def test_a_later_time_does_not_put_off_an_earlier_one() -> None:
    hands = Hands()
    with queue(hands) as found:
        found.add("a", delay=3600)
        found.add("a")
        found.add("a", delay=3600)
        hands.wait(lambda: hands.done == ["a"])


def test_stopping_waits_for_the_work_in_hand_and_takes_no_more() -> None:
    hands = Hands()
    hands.gate.clear()
    found = WorkQueue(hands.work, 1, gap=0.0)
    found.start()
    found.add("a")
    hands.wait_busy(1)
    found.add("b")
    stopper = threading.Thread(target=found.stop)
    stopper.start()
    hands.gate.set()
    stopper.join(10)
    assert hands.done == ["a"]
