"""The API server's clock, followed by the dates of its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from controller.cluster.clock import ServerClock

BEGIN = datetime(2026, 11, 24, 3, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Stage:
    """A server whose clock is right and a controller whose own is behind."""

    def __init__(self, behind: timedelta = timedelta(hours=1)) -> None:
        self.passed = 0.0
        self.server = BEGIN
        self.clock = ServerClock(lambda: BEGIN + timedelta(seconds=self.passed) - behind, lambda: self.passed)

    def wait(self, seconds: float) -> None:
        self.passed += seconds
        self.server += timedelta(seconds=seconds)

    def ask(self, there: float = 0.0, back: float = 0.0) -> None:
        """One request, with what its ways take."""
        sent = self.passed
        self.wait(there)
        date = format_datetime(self.server.astimezone(UTC).replace(microsecond=0), usegmt=True)
        self.wait(back)
        self.clock.heard(date, sent)

    @property
    def behind(self) -> timedelta:
        return self.server - self.clock.now()


def test_before_the_first_answer_the_machine_has_to_know() -> None:
    assert Stage().clock.now() == BEGIN - timedelta(hours=1)


def test_one_answer_is_right_to_a_second_and_monotonic_time_goes_on_from_there() -> None:
    stage = Stage()
    stage.wait(0.7)
    stage.ask()
    stage.wait(3600)
    assert timedelta(0) <= stage.behind <= SECOND


def test_many_answers_are_right_to_a_fraction_and_slow_ones_spoil_nothing() -> None:
    stage = Stage()
    for _ in range(60):
        stage.wait(0.373)
        stage.ask(0.01, 0.02)
    assert timedelta(0) <= stage.behind <= SECOND / 10
    for there, back in ((0.0, 9.0), (9.0, 0.0), (4.0, 5.0)):
        stage.ask(there, back)
        assert timedelta(0) <= stage.behind <= SECOND / 10


def test_a_server_whose_own_clock_is_set_is_followed() -> None:
    stage = Stage()
    for by in (timedelta(hours=1), -timedelta(hours=2)):
        stage.ask()
        stage.server += by
        stage.ask()
        assert timedelta(0) <= stage.behind <= SECOND


@pytest.mark.parametrize(("hours", "told"), [(1, ["-3600"]), (0, [])])
def test_people_are_told_once_of_a_machine_whose_clock_is_off(
    hours: int, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(timedelta(hours=hours))
    for _ in range(3):
        stage.wait(1.0)
        stage.ask()
    assert [str(vars(line)["selfheal_fields"]["seconds_ahead"]) for line in caplog.records] == told


def test_a_date_that_is_none_changes_nothing() -> None:
    stage = Stage()
    stage.ask()
    for date in (None, "", "yesterday", "Tue, 99 Nov 2026 03:00:00 GMT"):
        stage.clock.heard(date, stage.passed)
    assert timedelta(0) <= stage.behind <= SECOND
