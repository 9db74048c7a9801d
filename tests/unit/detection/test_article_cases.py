"""What the article promises to find: the leak on weeks of made-up services (bench/detection), the rest in small."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from bench.detection.cases import PLAIN, SAWTOOTH, Story, correlated, leak_world, leaks, mondays, wider_teeth
from bench.detection.synthetic import STEP as STEP_OF_A_MINUTE
from bench.detection.typing_faults import Injected
from selfheal.detectors import DETECTORS
from selfheal.ensemble import Ensemble
from selfheal.window import DAY, MetricWindow, grid
from tests.unit.detection.series import MONDAY, STEP, changed, daily

SIX = tuple(f"m{i}" for i in range(6))
ROWS_A_DAY = round(DAY / STEP)


def weekly(days: int, seed: int, *, peaks: tuple[int, ...]) -> MetricWindow:
    """Requests with a peak on Mondays from 9 to 12 (of the weeks named), latency beside it."""
    random = np.random.default_rng(seed)
    row = np.arange(days * ROWS_A_DAY)
    hour, day = (row * STEP / 3600) % 24, row // ROWS_A_DAY
    peak = (day % 7 == 0) & (hour >= 9) & (hour < 12) & np.isin(day // 7, peaks)
    base = 100 + 20 * np.sin(2 * np.pi * hour / 24) + 100 * peak
    noise = random.standard_normal((len(row), 2))
    values = np.column_stack([base + 3 * noise[:, 0], base / 2 + 2 * noise[:, 1]])
    return MetricWindow("shop/Deployment/web", grid(MONDAY, len(row), STEP, first=True), values, ("rps", "cpu"), STEP)


@pytest.fixture(scope="module")
def world() -> tuple[Ensemble, dict[str, MetricWindow]]:
    """A plain service and one whose collector draws a saw-tooth of a quarter of its memory; a week of minutes each."""
    return leak_world()


@pytest.fixture(scope="module")
def leaking(world: tuple[Ensemble, dict[str, MetricWindow]]) -> dict[str, tuple[Story, Story, Injected]]:
    return leaks(world, every=10)


@pytest.mark.parametrize(("name", "minutes"), [(PLAIN, 30), (SAWTOOTH, 120)])
def test_a_leak_of_ten_per_cent_an_hour_is_called_one_many_hours_before_exhaustion(
    leaking: dict[str, tuple[Story, Story, Injected]], name: str, minutes: int
) -> None:
    leak, _, truth = leaking[name]
    told = leak.first("MemoryLeak")
    assert told is not None
    assert leak.rows[told] - truth.start <= minutes
    assert truth.exhaustion is not None
    assert truth.exhaustion - leak.rows[told] * STEP_OF_A_MINUTE >= 10 * 3600


@pytest.mark.parametrize(("name", "least"), [(PLAIN, 1.0), (SAWTOOTH, 0.9)])
def test_the_alarm_of_such_a_leak_holds_until_exhaustion(
    leaking: dict[str, tuple[Story, Story, Injected]], name: str, least: float
) -> None:
    leak, _, _ = leaking[name]
    last_hours = leak.alarmed[-36:]
    assert leak.rows[-1] - leak.rows[-36] == 350
    assert last_hours.mean() >= least
    if name == PLAIN:
        assert all(answer.anomaly_type == "MemoryLeak" for answer in leak.answers[-36:])


def test_prophet_sees_growth_in_a_window_that_begins_far_beyond_anything_usual() -> None:
    history = daily(SIX, 6)
    prophet = DETECTORS["prophet"](0).fit(history)
    values = np.repeat(history.values[:120].mean(axis=0)[None], 120, axis=0)
    values[:, 0] *= np.linspace(8, 12, 120)  # a spread is about 7 % of the level: it begins 100 spreads up
    window = history.rows(0, 120).with_values(values)
    assert prophet.deviations(window)[-1, 0] > 20


@pytest.mark.parametrize("name", [PLAIN, SAWTOOTH])
def test_the_forecast_of_such_a_leak_holds(leaking: dict[str, tuple[Story, Story, Injected]], name: str) -> None:
    leak, _, truth = leaking[name]
    assert truth.exhaustion is not None
    late = [(row, answer.forecast) for row, answer in zip(leak.rows, leak.answers, strict=True) if answer.anomaly]
    known = [(forecast, truth.exhaustion - row * STEP_OF_A_MINUTE) for row, forecast in late if forecast is not None]
    assert len(known) > len(late) / 2
    assert np.mean([forecast.exhausted_in_lower <= left for forecast, left in known]) > 0.85
    assert 0.8 < np.median([forecast.exhausted_in / left for forecast, left in known]) < 1.2


@pytest.mark.parametrize("name", [PLAIN, SAWTOOTH])
def test_the_same_day_without_the_leak_is_never_called_one(
    leaking: dict[str, tuple[Story, Story, Injected]], name: str
) -> None:
    _, calm, _ = leaking[name]
    assert [answer.anomaly_type for answer in calm.answers if answer.anomaly_type == "MemoryLeak"] == []


def test_a_saw_tooth_that_grows_wider_is_an_anomaly_and_no_leak(
    world: tuple[Ensemble, dict[str, MetricWindow]],
) -> None:
    for story in wider_teeth(world, every=10).values():
        assert story.alarmed.mean() > 0.5
        kinds = {answer.anomaly_type for answer in story.answers}
        assert "MemoryLeak" not in kinds


def test_a_shift_of_many_metrics_is_found_though_each_stays_within_its_range() -> None:
    history = daily(SIX, 6)
    model = Ensemble.fit([history])
    calm = daily(SIX, 6, seed=5).rows(-ROWS_A_DAY)
    at = slice(110, 125)  # in the evening, when the level is low
    shifted = changed(calm, 110, dict.fromkeys(SIX, 1.06)).rows(0, 125)
    assert (shifted.values[at] < history.values.max(axis=0)).all()
    assert model.trace(shifted).anomaly[at].any()
    assert not model.trace(calm).anomaly[at].any()


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_a_failure_that_no_metric_shows_alone_is_found_and_stays_found(seed: int) -> None:
    failing, calm, sigmas = correlated(seed)
    assert failing.start is not None
    assert np.nanmax(np.abs(sigmas[failing.start : failing.stop])) < 3
    assert inside(failing).mean() > 0.7
    assert not calm.alarmed.any()


@pytest.fixture(scope="module", params=[0, 1, 2])
def third_monday(request: pytest.FixtureRequest) -> tuple[Story, Story]:
    """The third Monday with its peak and without, after two weeks of history; a week of a made-up service's noise."""
    return mondays(request.param)


def inside(story: Story) -> npt.NDArray[np.bool_]:
    """Whether it was an anomaly, for each answer between nine and eleven."""
    assert story.start is not None
    assert story.stop is not None
    return story.alarmed[(np.array(story.rows) >= story.start) & (np.array(story.rows) < story.stop)]


def test_a_mondays_peak_that_came_twice_is_no_anomaly_in_week_three(third_monday: tuple[Story, Story]) -> None:
    usual, _ = third_monday
    assert inside(usual).sum() <= 2
    assert not usual.alarmed[np.array(usual.rows) < (usual.start or 0)].any()


def test_a_mondays_peak_that_does_not_come_is_an_anomaly(third_monday: tuple[Story, Story]) -> None:
    _, missing = third_monday
    assert inside(missing).sum() >= 20
    assert inside(missing)[:4].any()
    assert not missing.alarmed[np.array(missing.rows) < (missing.start or 0)].any()


def test_a_peak_seen_once_is_still_an_anomaly() -> None:
    week = weekly(14, 1, peaks=(1,))
    first = weekly(22, 2, peaks=(1, 2, 3)).rows(21 * ROWS_A_DAY)
    assert Ensemble.fit([week]).trace(first).anomaly[55:72].mean() > 0.5


@pytest.fixture(scope="module")
def weeks() -> Ensemble:
    return Ensemble.fit([weekly(18, 1, peaks=(0, 1, 2))])


def test_a_peak_on_mondays_is_no_anomaly_on_mondays_alone(weeks: Ensemble) -> None:
    days = weekly(22, 2, peaks=(0, 1, 2, 3)).rows(21 * ROWS_A_DAY)
    assert not weeks.trace(days).anomaly.any()
    tuesday = replace(days, times=days.times + np.timedelta64(1, "D"))
    assert weeks.trace(tuesday).anomaly[55:72].mean() > 0.5
