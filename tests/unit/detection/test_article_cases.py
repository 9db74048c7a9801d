"""What the article promises to find, in small."""

import numpy as np
import pytest

from selfheal.ensemble import Ensemble
from selfheal.window import DAY, MetricWindow, grid
from tests.unit.detection.series import MONDAY, STEP, changed, daily, instance, shop

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


def test_a_leak_of_ten_per_cent_an_hour_is_found_before_exhaustion(ensemble: Ensemble) -> None:
    calm = shop(6, seed=21).rows(-ROWS_A_DAY)
    start = ROWS_A_DAY // 2
    hours = np.arange(ROWS_A_DAY - start) * STEP / 3600
    leak = changed(calm, start, dict.fromkeys(("pod_memory_usage", "memory_limit_ratio"), 1 + 0.1 * hours))
    found = int(np.argmax(ensemble.trace(leak).anomaly[start:]))
    assert ensemble.trace(leak).anomaly[start:].any()
    # A limit at twice the usual level would be reached after ten hours.
    assert 0 < hours[found] < 6
    answer = ensemble.predict([instance(leak.rows(0, start + found + 1))])[0]
    assert answer.anomaly is True


def test_a_shift_of_many_metrics_is_found_though_each_stays_within_its_range() -> None:
    history = daily(SIX, 6)
    model = Ensemble.fit([history])
    calm = daily(SIX, 6, seed=5).rows(-ROWS_A_DAY)
    at = slice(110, 125)  # in the evening, when the level is low
    shifted = changed(calm, 110, dict.fromkeys(SIX, 1.06)).rows(0, 125)
    assert (shifted.values[at] < history.values.max(axis=0)).all()
    assert model.trace(shifted).anomaly[at].any()
    assert not model.trace(calm).anomaly[at].any()


@pytest.fixture(scope="module")
def two_weeks() -> Ensemble:
    return Ensemble.fit([weekly(18, 1, peaks=(0, 1, 2))])


def test_the_monday_peak_of_the_next_week_is_no_anomaly_for_prophet(two_weeks: Ensemble) -> None:
    monday = weekly(22, 2, peaks=(0, 1, 2, 3)).rows(21 * ROWS_A_DAY)
    assert not two_weeks.trace(monday).votes["prophet"].any()


def test_a_missing_monday_peak_is_an_anomaly_for_prophet(two_weeks: Ensemble) -> None:
    monday = weekly(22, 2, peaks=(0, 1, 2)).rows(21 * ROWS_A_DAY)
    votes = two_weeks.trace(monday).votes["prophet"]
    assert votes[55:80].any()
    assert not votes[:50].any()
