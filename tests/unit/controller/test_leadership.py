"""At most one replica acts, whatever the network does; and soon one does again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cluster.client import NotFound
from controller.cluster.lease import Lease
from controller.leadership import Leadership
from selfheal.errors import Conflict, Unavailable

DURATION, DEADLINE, RETRY = 15.0, 10.0, 2.0


class Server:
    """One Lease, as an API server keeps it."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.version = 0


class Line:
    """One replica's connection to the server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.cut = False
        self.before_write: Callable[[], object] = bool

    def read(self) -> Lease | None:
        if self.cut:
            raise Unavailable("no answer")
        return self.server.lease

    def take(self, seen: Lease | None, identity: str) -> Lease:
        return self._write(seen, Lease(identity, ""))

    def give_back(self, seen: Lease) -> None:
        self._write(seen, Lease("", ""))

    def _write(self, seen: Lease | None, new: Lease) -> Lease:
        if self.cut:
            raise Unavailable("no answer")
        self.before_write()
        if self.server.lease != seen:
            raise Conflict("the object has been modified")
        self.server.version += 1
        self.server.lease = replace(new, version=str(self.server.version))
        return self.server.lease


class Replica:
    """A controller that only takes part in the election."""

    def __init__(self, server: Server, name: str, clock: list[float]) -> None:
        self.line = Line(server)
        self.said: list[str] = []
        self.election = Leadership(
            self.line,
            name,
            lambda: self.said.append("begin"),
            lambda: self.said.append("lost"),
            duration=DURATION,
            deadline=DEADLINE,
            retry=RETRY,
            clock=lambda: clock[0],
        )

    @property
    def acts(self) -> bool:
        return self.election.acts


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def pair(clock: list[float]) -> tuple[Replica, Replica]:
    server = Server()
    return Replica(server, "a", clock), Replica(server, "b", clock)


def pass_by(clock: list[float], seconds: float, *replicas: Replica) -> None:
    """Time goes on, and replicas look at the Lease every two seconds."""
    end = clock[0] + seconds
    while clock[0] < end:
        clock[0] += RETRY
        for replica in replicas:
            replica.election.attempt()


def test_the_first_replica_leads_at_once_and_the_second_waits(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    a.election.attempt()
    b.election.attempt()
    assert (a.acts, b.acts) == (True, False)
    assert a.said == ["begin"]


def test_a_leader_that_renews_stays_leader(pair: tuple[Replica, Replica], clock: list[float]) -> None:
    pass_by(clock, 600, *pair)
    assert [replica.acts for replica in pair] == [True, False]
    assert pair[0].said == ["begin"]


def test_a_replica_that_is_killed_is_succeeded_within_twenty_seconds(
    pair: tuple[Replica, Replica], clock: list[float]
) -> None:
    a, b = pair
    pass_by(clock, 60, a, b)
    pass_by(clock, DURATION - RETRY, b)
    assert not b.acts
    pass_by(clock, 2 * RETRY, b)
    assert b.acts


def test_a_leader_that_is_cut_off_stops_before_another_may_begin(
    pair: tuple[Replica, Replica], clock: list[float]
) -> None:
    a, b = pair
    pass_by(clock, 60, a, b)
    a.line.cut = True
    pass_by(clock, DEADLINE, a, b)
    assert (a.acts, b.acts) == (False, False)
    assert a.said == ["begin", "lost"]
    pass_by(clock, DURATION, a, b)
    assert (a.acts, b.acts) == (False, True)
    a.line.cut = False
    pass_by(clock, 60, a, b)
    assert (a.acts, b.acts) == (False, True)


def test_a_replica_that_ends_gives_way_at_once(pair: tuple[Replica, Replica], clock: list[float]) -> None:
    a, b = pair
    pass_by(clock, 10, a, b)
    a.election.stop()
    assert not a.acts
    pass_by(clock, RETRY, b)
    assert b.acts


def test_of_two_that_see_a_free_lease_one_leads(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    a.line.before_write = b.election.attempt
    a.election.attempt()
    assert (a.acts, b.acts) == (False, True)


def test_a_leader_whose_lease_was_taken_by_hand_stops(pair: tuple[Replica, Replica], clock: list[float]) -> None:
    a, _ = pair
    pass_by(clock, 10, a)
    a.line.server.lease = Lease("somebody", "900")
    a.election.attempt()
    assert not a.acts
    assert a.said == ["begin", "lost"]


def test_a_beginning_that_fails_is_tried_again(pair: tuple[Replica, Replica], clock: list[float]) -> None:
    a, _ = pair
    fails = iter([True, False])

    def begin() -> None:
        if next(fails):
            raise Unavailable("no list")
        a.said.append("begin")

    a.election._begin = begin
    a.election.attempt()
    assert a.said == []
    pass_by(clock, RETRY, a)
    assert a.said == ["begin"]


def test_in_a_namespace_that_is_missing_nobody_leads(pair: tuple[Replica, Replica]) -> None:
    def gone() -> None:
        raise NotFound("namespace selfheal-system not found")

    a, _ = pair
    a.line.before_write = gone
    a.election.attempt()
    assert not a.acts


MOVES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "cut a", "cut b", "join a", "join b"]), st.floats(0.0, 12.0)), max_size=80
)


@given(MOVES)
def test_two_replicas_never_act_at_once(moves: list[tuple[str, float]]) -> None:
    clock, server = [1000.0], Server()
    replicas = {name: Replica(server, name, clock) for name in ("a", "b")}
    for move, later in moves:
        name = move[-1]
        if len(move) == 1:
            replicas[name].election.attempt()
        else:
            replicas[name].line.cut = move.startswith("cut")
        assert not all(replica.acts for replica in replicas.values())
        clock[0] += later
        assert not all(replica.acts for replica in replicas.values())
