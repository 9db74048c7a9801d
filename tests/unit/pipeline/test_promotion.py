"""Promotions that run at once, in every order that chance draws: one champion, and the members that belong to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal.errors import Conflict, NoData
from selfheal.promotion import CHAMPION, PREVIOUS, promote, settle
from selfheal.protocol import MODEL_NAME

MEMBERS = ("selfheal-arima", "selfheal-lstm")
ALL = (*MEMBERS, MODEL_NAME)


class Store:
    """A registry in memory; ``turn`` is called before each of its calls."""

    def __init__(self, turn: Callable[[], None] = lambda: None) -> None:
        self.aliases: dict[tuple[str, str], str] = {}
        self.turn = turn

    def named(self, name: str, alias: str) -> str | None:
        self.turn()
        return self.aliases.get((name, alias))

    def point(self, name: str, alias: str, version: str) -> None:
        self.turn()
        self.aliases[name, alias] = version

    def members(self, version: str) -> Mapping[str, str]:
        if version not in ("1", "2", "3"):
            raise NoData(f"no version {version}")
        return dict.fromkeys(MEMBERS, version)

    def all_of(self, alias: str) -> set[str | None]:
        return {self.aliases.get((name, alias)) for name in ALL}


class Turns:
    """Lets threads make one call each in an order that was drawn; a thread that ended gives its turns away."""

    def __init__(self, order: list[int], threads: int) -> None:
        self._order: Iterator[int] = cycle([*order, *range(threads)])
        self._next = next(self._order)
        self._going = set(range(threads))
        self._changed = threading.Condition()
        self._mine = threading.local()

    def begin(self, number: int) -> None:
        self._mine.number = number

    def take(self) -> None:
        """Wait for one's turn; the call after it ends when the next thread has been let in, which is good enough."""
        with self._changed:
            self._changed.wait_for(lambda: self._next == self._mine.number, 10)
            self._forward()

    def end(self) -> None:
        with self._changed:
            self._going.discard(self._mine.number)
            if self._next == self._mine.number:
                self._forward()

    def _forward(self) -> None:
        while self._going:
            self._next = next(self._order)
            if self._next in self._going:
                break
        self._changed.notify_all()


def at_once(order: list[int], versions: tuple[str, ...]) -> tuple[Store, list[str]]:
    turns = Turns(order, len(versions))
    store = Store(turns.take)
    store.aliases |= {(name, CHAMPION): "1" for name in ALL}

    def run(number: int) -> str:
        turns.begin(number)
        try:
            promote(store, versions[number])
        except Conflict:
            return "conflict"
        finally:
            turns.end()
        return "done"

    with ThreadPoolExecutor(len(versions)) as pool:
        return store, list(pool.map(run, range(len(versions))))


@settings(max_examples=300, deadline=None)
@given(order=st.lists(st.integers(0, 1), min_size=4, max_size=60))
def test_two_promotions_at_once_end_with_one_champion_and_its_members(order: list[int]) -> None:
    store, ends = at_once(order, ("2", "3"))
    champion = store.aliases[MODEL_NAME, CHAMPION]
    assert store.all_of(CHAMPION) == {champion}
    assert len(store.all_of(PREVIOUS)) == 1
    assert ends[("2", "3").index(champion)] == "done", "who came last is told that it is champion"
    assert champion not in store.all_of(PREVIOUS)


def test_who_was_overtaken_is_told_and_does_not_disturb_the_champion() -> None:
    store = Store()
    store.aliases |= {(name, CHAMPION): "1" for name in ALL}
    calls = iter(range(100))

    def meddle() -> None:
        if next(calls) == len(ALL) + 2:  # after the ensemble's alias was set
            store.turn = lambda: None
            promote(store, "3")

    store.turn = meddle
    with pytest.raises(Conflict, match="points to 3: somebody else moved it"):
        promote(store, "2")
    assert store.all_of(CHAMPION) == {"3"}
    assert store.all_of(PREVIOUS) == {"2"}


def test_a_promotion_that_was_killed_half_way_is_mended_by_the_next() -> None:
    store = Store()
    store.aliases |= {(name, CHAMPION): "1" for name in ALL} | {(MEMBERS[0], CHAMPION): "2"}
    assert settle(store) == "1"
    assert store.all_of(CHAMPION) == {"1"}


def test_what_is_not_registered_changes_nothing() -> None:
    store = Store()
    with pytest.raises(NoData):
        promote(store, "9")
    assert not store.aliases


def test_promoting_the_champion_keeps_who_was_before_it() -> None:
    store = Store()
    for version in ("1", "2", "2"):
        promote(store, version)
    assert store.all_of(CHAMPION) == {"2"}
    assert store.all_of(PREVIOUS) == {"1"}
