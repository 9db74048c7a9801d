"""After a long silence nobody knows what has changed: what comes is measured by its own first rows."""

import numpy as np
import pytest

from selfheal.detectors import DETECTORS, Detector
from selfheal.detectors.base import YARD, measured_anew, silences
from selfheal.detectors.scaling import Scaling
from selfheal.window import DAY, MetricWindow
from tests.unit.detection.series import daily

NAMES = ("requests", "errors", "memory")
STEP = 600.0
GONE = 300  # rows: two days


@pytest.fixture(scope="module")
def fitted() -> dict[str, Detector]:
    return {name: kind(0).fit(daily(NAMES, 4)) for name, kind in DETECTORS.items()}


def moved(silent: int) -> MetricWindow:
    """A day of the usual, a silence of so many rows, and a day two levels higher."""
    window = daily(NAMES, 2 + silent * STEP / DAY, seed=7)
    values = window.values.copy()
    values[144 : 144 + silent] = np.nan
    values[144 + silent :] += 2 * np.nanmedian(values, axis=0)
    return window.with_values(values)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_new_level_after_two_days_of_silence_is_no_anomaly_but_without_them_it_is(
    name: str, fitted: dict[str, Detector]
) -> None:
    usual = np.quantile(fitted[name].score(daily(NAMES, 2, seed=3))[30:], 0.99)
    after = fitted[name].score(moved(GONE))[144 + GONE + YARD :]
    at_once = fitted[name].score(moved(0))[145:160]
    assert np.median(after) < 1.5 * usual
    assert at_once.max() > max(usual, 1.2 * np.median(after))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_fault_at_the_new_level_is_seen(name: str, fitted: dict[str, Detector]) -> None:
    window = moved(GONE)
    broken = window.values.copy()
    start = 144 + GONE + 2 * YARD
    broken[start : start + 12, 0] *= 2.0
    calm, fault = fitted[name].score(window), fitted[name].score(window.with_values(broken))
    assert fault[start + 1 : start + 6].max() > calm[start : start + 12].max()


def test_a_silence_of_an_hour_changes_nothing() -> None:
    assert silences(moved(6)) == []
    assert silences(moved(GONE)) == [(144 + GONE, 144 + GONE + YARD, len(moved(GONE)))]


def test_the_first_rows_after_a_silence_count_as_usual_and_what_follows_is_measured_by_them() -> None:
    scaled = np.concatenate([np.zeros(10), np.zeros(40), np.full(YARD, 5.0), np.full(10, 7.0)])[:, None]
    window = daily(("a",), len(scaled) * STEP / DAY)
    values = window.values.copy()
    values[10:50] = np.nan
    offset, width = measured_anew(scaled, window.with_values(values))
    np.testing.assert_array_equal(((scaled - offset) / width)[:, 0], [0.0] * (50 + YARD) + [2.0] * 10)


def test_what_was_expected_after_a_silence_is_at_the_new_level() -> None:
    window = moved(GONE)
    expected = DETECTORS["arima"](0).fit(daily(NAMES, 4)).expected(window)
    after = window.values[-50:]
    assert np.abs(expected[-50:] / after - 1).mean() < 0.1


def test_scaled_values_go_back_to_the_metrics_units() -> None:
    window, scaling = moved(GONE), Scaling.learn(daily(NAMES, 4))
    known = np.flatnonzero(np.isfinite(window.values).all(axis=1))
    rows = known[(known < 144) | (known >= 144 + GONE + YARD)]  # the first ones are taken for usual, whatever they were
    back = scaling.invert(scaling.apply(window), window)
    np.testing.assert_allclose(back[rows], window.values[rows], rtol=1e-6)
