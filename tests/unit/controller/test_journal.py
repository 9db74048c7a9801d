"""The journal delivers everything, in order, and lets nobody wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from tenacity import wait_fixed

from controller.notify.base import Notice
from controller.notify.journal import Journal
from selfheal.errors import PermanentError, SelfhealError, Unavailable
from tests.unit.controller.test_notify_slack import NOTICE


class Wire:
    """A transport that fails as it is told to."""

    name = "wire"

    def __init__(self) -> None:
        self.arrived: list[tuple[str, str]] = []
        self.tried = 0
        self.rests = 0
        self.fails: Callable[[Notice], SelfhealError | None] = lambda _: None

    def send(self, notice: Notice) -> None:
        self.tried += 1
        error = self.fails(notice)
        if error is not None:
            raise error
        self.arrived.append(notice.key)

    def rest(self) -> None:
        self.rests += 1


def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(500):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


def story(uid: str, *steps: str) -> list[Notice]:
    return [replace(NOTICE, uid=uid, step=step) for step in steps]


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def journal(wire: Wire) -> Iterator[Journal]:
    found = Journal(wire, wait=wait_fixed(0.01))
    found.start()
    yield found
    found.stop()


def test_an_outage_of_any_length_loses_nothing_and_keeps_the_order(wire: Wire, journal: Journal) -> None:
    wire.fails = lambda _: Unavailable("down")
    journal.tell(story("a", "Opened", "Applied-1"))
    eventually(lambda: wire.tried > 20)
    journal.tell(story("a", "Opened", "Applied-1", "Completed"))
    wire.fails = lambda _: None
    eventually(lambda: journal.waiting == 0)
    assert wire.arrived == [("a", "Opened"), ("a", "Applied-1"), ("a", "Completed")]
    assert journal.confirmed("a") == {"Opened", "Applied-1", "Completed"}


def test_an_outage_is_one_line_in_the_log_with_its_cause(
    wire: Wire, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    wire.fails = lambda _: Unavailable("down")
    journal.tell(story("a", "Opened"))
    eventually(lambda: wire.tried > 5)
    (line,) = caplog.records
    assert line.getMessage() == "notices wait, none is lost"
    assert line.__dict__["selfheal_fields"] == {"notifier": "wire", "waiting": 1, "cause": "down"}


def test_only_what_arrived_is_confirmed(wire: Wire, journal: Journal) -> None:
    wire.fails = lambda notice: Unavailable("down") if notice.step == "Completed" else None
    journal.tell(story("a", "Opened", "Completed"))
    eventually(lambda: wire.tried > 3)
    assert journal.confirmed("a") == {"Opened"}
    assert journal.confirmed("unheard") == frozenset()


def test_telling_returns_while_a_try_hangs(wire: Wire, journal: Journal) -> None:
    hanging = threading.Event()
    wire.fails = lambda _: None if hanging.wait(10) else Unavailable("hung")
    journal.tell(story("a", "Opened"))
    eventually(lambda: wire.tried == 1)
    journal.tell(story("b", "Opened"))
    assert journal.waiting == 2
    hanging.set()
    eventually(lambda: journal.waiting == 0)


def test_one_that_is_refused_does_not_hold_up_others_and_is_tried_when_it_is_told_again(
    wire: Wire, journal: Journal
) -> None:
    wire.fails = lambda notice: PermanentError("too large") if notice.uid == "big" else None
    journal.tell(story("big", "Opened", "Completed"))
    journal.tell(story("a", "Opened"))
    eventually(lambda: wire.arrived == [("a", "Opened")])
    tried = wire.tried
    wire.fails = lambda _: None
    journal.tell(story("big", "Opened", "Completed"))
    eventually(lambda: journal.waiting == 0)
    assert tried == 2, "its second step waited for the first"
    assert wire.arrived[1:] == [("big", "Opened"), ("big", "Completed")]


def test_a_notifier_rests_when_nothing_is_told_and_is_awake_when_something_is(wire: Wire) -> None:
    journal = Journal(wire, idle=0.01)
    journal.start()
    eventually(lambda: wire.rests > 2)
    journal.tell(story("a", "Opened"))
    eventually(lambda: wire.arrived == [("a", "Opened")])
    journal.stop()


def test_what_is_forgotten_is_not_delivered(wire: Wire, journal: Journal) -> None:
    wire.fails = lambda _: Unavailable("down")
    journal.tell(story("a", "Opened", "Completed"))
    eventually(lambda: wire.tried > 0)
    journal.forget(journal.known())
    wire.fails = lambda _: None
    journal.tell(story("b", "Opened"))
    eventually(lambda: ("b", "Opened") in wire.arrived)
    assert ("a", "Completed") not in wire.arrived


def test_an_end_delivers_what_waits_and_does_not_wait_for_who_is_away(wire: Wire) -> None:
    healthy, dead = Journal(wire, wait=wait_fixed(60)), Wire()
    healthy.tell(story("a", "Opened", "Completed"))
    healthy.start()
    healthy.stop()
    assert len(wire.arrived) == 2
    dead.fails = lambda _: Unavailable("down")
    journal = Journal(dead, wait=wait_fixed(60))
    journal.start()
    journal.tell(story("a", "Opened", "Completed"))
    eventually(lambda: dead.tried == 1)
    journal.stop(seconds=30)
    assert dead.tried <= 2
