"""What a record tells when it is read later is what was told while it happened."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.metrics import Metrics
from controller.model import Propose
from controller.notify.base import Notice, NoticeQueue
from controller.status import remediation_status_after
from controller.steps import recorded
from controller.telling import Teller
from selfheal.errors import Refused
from selfheal.policy import Action
from selfheal.remediation import Approval, Remediation
from selfheal.takingback import taken_back
from tests.fields.story import NOW, SICK, Story, play
from tests.unit.controller.memory import Stage
from tests.unit.controller.records import policy, progress, remediation

GOOD, BAD = play(policy(), heals=True), play(policy())
DENIED = play(
    policy(mode="Approve"),
    approval=Approval.model_validate({"remediationName": "rem-1", "decision": "Deny", "approver": "ann"}),
)
STORIES = {
    "healed": GOOD,
    "failed": BAD,
    "escalated": play(policy(escalation=["restart"])),
    "not undone": play(policy(undoOnFailure=False)),
    "observed": play(policy(mode="Observe")),
    "denied": DENIED,
}


class Heard(NoticeQueue):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.notices: list[Notice] = []

    def tell(self, notice: Notice) -> None:
        self.notices.append(notice)


def steps(found: Remediation) -> list[str]:
    return [one.step for one in recorded(found)]


def live(story: Story) -> list[Notice]:
    """What Slack and the webhook heard while it happened."""
    heard = Heard()
    teller = Teller(Stage().cluster.records, heard, Metrics(), lambda: 0.0)
    teller.opened(story.states[0], NOW)
    for before, after in zip(story.states, story.states[1:], strict=False):
        teller.moved(before, after, NOW)
    return heard.notices


def test_a_heal_records_all_of_its_steps() -> None:
    assert steps(GOOD.end) == ["Opened", "Planned-1", "Applied-1", "Successful-1", "Completed"]


@pytest.mark.parametrize("name", STORIES)
def test_steps_that_are_read_off_as_they_happen_are_those_that_were_told_live(name: str) -> None:
    story = STORIES[name]
    read = [step for state in story.states for step in steps(state)]
    assert list(dict.fromkeys(read)) == [one.step for one in live(story)]


@pytest.mark.parametrize("name", STORIES)
def test_only_what_an_undone_attempt_was_judged_before_is_not_a_step_of_the_record(name: str) -> None:
    story = STORIES[name]
    told, undone = [one.step for one in live(story)], {n for n in steps(story.end) if n.startswith("Undone")}
    hidden = {f"{judged}-{one.partition('-')[2]}" for one in undone for judged in ("Failed", "Inconclusive")}
    assert steps(story.end) == [one for one in told if one not in hidden]


@pytest.mark.parametrize("name", STORIES)
def test_a_step_says_the_same_whenever_it_is_read(name: str) -> None:
    """Only its time can differ: of attempts before the last the record keeps no more than two moments."""
    story = STORIES[name]
    end = {one.step: one for one in recorded(story.end)}
    for state in story.states:
        for one in recorded(state):
            if one.step in end:
                coarse = one.step.startswith(("Applied", "Undone")) and len(story.attempts) > 1
                assert one == (replace(end[one.step], time=one.time) if coarse else end[one.step])


@pytest.mark.parametrize("name", STORIES)
def test_messages_are_those_that_people_got(name: str) -> None:
    told = {one.step: one.message for one in live(STORIES[name])}
    assert {one.step: one.message for one in recorded(STORIES[name].end)}.items() <= told.items()


@pytest.mark.parametrize("name", STORIES)
def test_times_never_run_backwards(name: str) -> None:
    times = [one.time for one in recorded(STORIES[name].end)]
    assert times == sorted(times)


def test_an_attempt_that_was_refused_was_never_planned() -> None:
    state = progress(SICK, remediation(SICK.ref, policy()), policy())
    status = remediation_status_after(state, Propose(Action.ROLLBACK), error=Refused("NoHealthyRevision", "none"))
    assert steps(state.remediation.model_copy(update={"status": status})) == ["Opened", "Refused-1"]


def test_what_a_person_takes_back_after_the_end_comes_after_it() -> None:
    later = GOOD.end.status.times.completed
    assert later is not None
    status = taken_back(GOOD.end.status, 0, "ann took it back", later + timedelta(hours=1))
    found = recorded(GOOD.end.model_copy(update={"status": status}))
    assert [one.step for one in found][-2:] == ["Completed", "Undone-1"]
    assert found[-1].time == later + timedelta(hours=1)


def test_an_end_that_needs_a_person_says_what_to_do() -> None:
    assert "What to do" not in recorded(GOOD.end)[-1].message
    assert len(recorded(BAD.end)[-1].message) > len(BAD.end.status.message)
