"""Records are the outbox: what they hold is told, what is confirmed is noted on them, by whoever leads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from tenacity import wait_fixed

from controller.notify.journal import Journal
from controller.publishing import Publisher, missing
from selfheal.errors import Conflict, Unavailable
from selfheal.remediation import ConditionType, Remediation
from selfheal.takingback import taken_back
from tests.fields.story import play
from tests.unit.controller.memory import Stage
from tests.unit.controller.records import policy
from tests.unit.controller.test_journal import Wire, eventually

HEAL = ["Opened", "Planned-1", "Applied-1", "Successful-1", "Completed"]
STORY = play(policy(), heals=True)


class Leader:
    """A publisher on an API server in memory; another one begins with what is stored there."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.wire = stage, Wire()
        self.journal = Journal(self.wire, wait=wait_fixed(0.01))
        records = stage.cluster.records
        self.publisher = Publisher(records, stage.world, self.journal, stage.metrics, stage.clock)
        self.journal.start()

    @property
    def steps(self) -> list[str]:
        return [step for _, step in self.wire.arrived]

    @property
    def record(self) -> Remediation:
        (found,) = self.stage.world.remediations()
        return found

    def sweep(self) -> None:
        """A tick, and time to deliver."""
        self.publisher.sweep()
        eventually(lambda: self.journal.waiting == 0)

    def die(self) -> Leader:
        """Another replica goes on."""
        self.journal.stop(0)
        return Leader(self.stage.succeed())


@pytest.fixture
def leader() -> Iterator[Leader]:
    stage = Stage()
    stage.put_remediation(STORY.end)
    found = Leader(stage)
    yield found
    found.journal.stop()


def published(found: Remediation) -> str:
    said = found.status.condition(ConditionType.PUBLISHED)
    return said.message if said else ""


def test_a_record_that_was_never_told_is_told_and_then_says_so(leader: Leader) -> None:
    leader.sweep()
    assert (leader.steps, published(leader.record)) == (HEAL, "")
    leader.sweep()
    assert published(leader.record) == ", ".join(HEAL)


def test_what_a_record_says_to_be_published_no_successor_tells_again(leader: Leader) -> None:
    leader.sweep()
    leader.sweep()
    heir = leader.die()
    heir.sweep()
    assert heir.steps == []


def test_what_a_dead_broker_kept_from_one_leader_the_next_one_tells(leader: Leader) -> None:
    leader.wire.fails = lambda _: Unavailable("down")
    leader.publisher.sweep()
    eventually(lambda: leader.wire.tried > 0)
    leader.publisher.sweep()
    assert published(leader.record) == "", "nothing is said to be published that nobody confirmed"
    heir = leader.die()
    heir.sweep()
    assert heir.steps == HEAL


def test_an_open_record_is_told_as_far_as_it_is_and_not_marked() -> None:
    stage = Stage()
    stage.put_remediation(STORY.states[1])
    early = Leader(stage)
    for _ in range(2):
        early.sweep()
    assert early.steps == ["Opened", "Planned-1"]
    assert published(early.record) == ""
    early.publisher.tell(STORY.end)
    eventually(lambda: early.journal.waiting == 0)
    assert early.steps == HEAL, "each once"
    early.journal.stop()


def test_a_mark_that_somebody_overtakes_is_written_at_the_next_sweep(leader: Leader) -> None:
    leader.sweep()
    leader.stage.api.failing.append(Conflict("somebody wrote first"))
    leader.sweep()
    assert published(leader.record) == ""
    leader.sweep()
    assert published(leader.record) == ", ".join(HEAL)
    assert leader.steps == HEAL


def test_what_a_person_takes_back_later_is_told_alone(leader: Leader) -> None:
    leader.sweep()
    leader.sweep()
    now = leader.record
    leader.stage.later(hours=1)
    status = taken_back(now.status, 0, "ann took it back", leader.stage.now + timedelta(hours=1))
    leader.stage.world.keep(leader.stage.cluster.records.write_status(now, status))
    leader.sweep()
    leader.sweep()
    assert leader.steps == [*HEAL, "Undone-1"]
    assert missing(leader.record) == ()


def test_a_record_that_the_audit_no_longer_keeps_is_no_longer_told(leader: Leader) -> None:
    leader.wire.fails = lambda _: Unavailable("down")
    leader.publisher.sweep()
    leader.stage.world.forget_remediation(leader.record)
    leader.publisher.sweep()
    assert leader.journal.waiting == 0


def test_a_replica_that_no_longer_leads_tells_nothing_more(leader: Leader) -> None:
    leader.wire.fails = lambda _: Unavailable("down")
    leader.publisher.sweep()
    assert leader.stage.metrics.registry.get_sample_value("selfheal_events_waiting") == len(HEAL)
    leader.publisher.forget()
    assert leader.journal.waiting == 0
    assert leader.stage.metrics.registry.get_sample_value("selfheal_events_waiting") == 0
