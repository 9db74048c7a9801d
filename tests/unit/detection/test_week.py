"""What comes back every week is learned where weeks prove it, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest

from selfheal.detectors import DETECTORS
from selfheal.detectors.scaling import Scaling
from selfheal.detectors.stack import stacked
from selfheal.detectors.week import SLOTS, proven
from selfheal.window import DAY, Floats, MetricWindow, Windows
from tests.unit.detection.series import STEP, daily

NAMES = ("requests", "errors", "memory")
TWO_WEEKS = 11.2
"""Days of training that two weeks of history leave, when a fifth is held back."""

A_DAY = round(DAY / STEP)
NINE, ELEVEN = 9 * A_DAY // 24, 11 * A_DAY // 24


def busy(days: float, mornings: tuple[int, ...], *, seed: int = 0, factor: float = 1.6) -> MetricWindow:
    """Requests and errors rise on some days from nine to eleven."""
    window = daily(NAMES, days, seed=seed)
    for day in mornings:
        window.values[day * A_DAY + NINE : day * A_DAY + ELEVEN, :2] *= factor
    return window


def shift(window: MetricWindow) -> Floats | None:
    scaling = Scaling.learn(window)
    found = proven((window.values - scaling.centre) / scaling.spread, window)
    return None if found is None else found.shift


def test_what_two_mondays_share_is_known_at_that_time_in_those_metrics() -> None:
    found = shift(busy(TWO_WEEKS, (0, 7)))
    assert found is not None
    assert (found[18:22, :2] > 2).all()
    assert np.count_nonzero(found) == 8


@pytest.mark.parametrize(
    "mornings", [(), (0,), (0, 6), (0, 8), (3, 7)], ids=["none", "once", "six days on", "eight days on", "two others"]
)
def test_what_did_not_come_back_after_a_week_proves_nothing(mornings: tuple[int, ...]) -> None:
    assert shift(busy(TWO_WEEKS, mornings)) is None


def test_a_rise_and_a_fall_prove_nothing() -> None:
    window = busy(TWO_WEEKS, (0,))
    window.values[7 * A_DAY + NINE : 7 * A_DAY + ELEVEN, :2] /= 1.6
    assert shift(window) is None


def test_half_an_hour_may_be_chance() -> None:
    window = daily(NAMES, TWO_WEEKS)
    for day in (0, 7):
        window.values[day * A_DAY + NINE : day * A_DAY + NINE + 3] *= 1.6
    assert shift(window) is None


def test_less_than_two_weeks_of_history_prove_nothing() -> None:
    assert shift(busy(10.5, (0, 7))) is None


def test_one_holiday_in_four_weeks_does_not_refute_a_monday() -> None:
    found = shift(busy(28, (0, 7, 14)))
    assert found is not None
    assert (found[18:22, :2] > 2).all()
    assert shift(busy(28, (0, 7))) is None


@pytest.mark.parametrize("step", [60.0, 300.0, 3600.0])
def test_noise_proves_nothing_at_any_step(step: float) -> None:
    for seed in range(3):
        window = daily(NAMES, 15, seed=seed, step=step)
        window.values[::7, 1] = np.nan
        assert Scaling.learn(window).week.shape == (0, 2, 3)


def test_a_wilder_time_of_the_week_is_measured_by_its_own_width() -> None:
    window = busy(TWO_WEEKS, (0, 7))
    random = np.random.default_rng(1)
    for day in (0, 7):
        rows = slice(day * A_DAY + NINE, day * A_DAY + ELEVEN)
        window.values[rows, 0] += 30 * random.standard_normal(ELEVEN - NINE)
    scaled = Scaling.learn(window).apply(window)
    assert 0.3 < scaled[NINE:ELEVEN, 0].std() < 2
    calm = Scaling.learn(busy(TWO_WEEKS, (0, 7))).week[18:22, 1, 0]
    assert (calm < 1.5).all()


def test_scaled_values_go_back_into_units() -> None:
    window = busy(TWO_WEEKS, (0, 7))
    scaling = Scaling.learn(window)
    assert scaling.week.shape == (SLOTS, 2, 3)
    np.testing.assert_allclose(scaling.invert(scaling.apply(window), window), window.values, rtol=1e-6)


@pytest.mark.parametrize("name", DETECTORS)
def test_one_workload_with_a_week_beside_others_without(name: str, tmp_path: Path) -> None:
    pasts = [busy(TWO_WEEKS, (), seed=1), busy(TWO_WEEKS, (0, 7)), busy(TWO_WEEKS, (1, 8), seed=2)]
    models = [DETECTORS[name](0).fit(past) for past in pasts]
    asked = [past.rows(7 * A_DAY, 7 * A_DAY + 90) for past in pasts for _ in range(2)]
    which = np.array([0, 1, 1, 0, 2, 2])
    alone = np.transpose([models[place].score(window) for place, window in zip(which, asked, strict=True)])
    sight = stacked(models).look(Windows.of(asked), which)
    np.testing.assert_allclose(sight.score(90, np.arange(6)), alone, atol=1e-6)
    for place, window in zip(which, asked, strict=True):
        models[place].save(tmp_path)
        loaded = DETECTORS[name].load(tmp_path)
        np.testing.assert_allclose(loaded.score(window), models[place].score(window), atol=1e-6)
    for place in range(6):
        usual = models[which[place]].expected(asked[place])
        np.testing.assert_allclose(sight.testify(place).expected(asked[place]), usual, rtol=1e-6, atol=1e-6)


def test_a_quiet_weekend_is_no_exception() -> None:
    window = daily(NAMES, 28)
    for day in (5, 6, 12, 13, 19, 20, 26, 27):
        window.values[day * A_DAY : (day + 1) * A_DAY] *= 0.6
    assert shift(window) is None
