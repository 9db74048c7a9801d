"""What counts as growth, and how well its slope is known."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal.trend import Trend, growth
from selfheal.window import Floats

ROWS = np.arange(120)
NOISE = np.random.default_rng(4).normal(0, 1, 120)


def teeth(period: float, height: float, floor: float = 500.0) -> Floats:
    return floor + height * ((ROWS / period) % 1.0)


def told(values: Floats, restarts: Floats | None = None) -> Trend:
    found = growth(values, restarts)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "values",
    [
        np.full(120, 500.0),
        500 + NOISE,
        np.r_[np.full(60, 500.0), np.full(60, 800.0)] + NOISE,
        500 + 300 * (1 - np.exp(-ROWS / 8.0)) + NOISE,
        np.linspace(800, 500, 120) + NOISE,
        np.r_[np.linspace(500, 800, 80), np.linspace(800, 700, 40)],
        500 + 100 * np.sin(ROWS / 6.0),
        np.linspace(500, 501, 120),
    ],
    ids=["constant", "noise", "step", "cache that is full", "fall", "over", "waves", "next to nothing"],
)
def test_what_does_not_grow_until_now_is_no_growth(values: Floats) -> None:
    assert growth(values) is None


def _around(shape: Callable[[Floats], Floats], least: int) -> list[Trend]:
    """Growth told of a change that happens anywhere in a window, for many sizes and much or little noise."""
    random, rows, found = np.random.default_rng(0), np.arange(240.0), []
    for rise, noise in itertools.product((0.05, 0.2, 0.6), (0.001, 0.004, 0.01)):
        for at in range(3, 240 - least, 8):
            values = 500 * (1 + rise * shape(rows - at) + noise * random.standard_normal(240))
            found += [growth(values)]
    return [one for one in found if one is not None]


def test_a_step_is_no_growth_wherever_in_the_window_it_stands() -> None:
    assert _around(lambda since: (since >= 0).astype(float), least=2) == []


def test_a_cache_that_has_filled_is_no_growth_wherever_in_the_window_it_did() -> None:
    assert len(_around(lambda since: 1 - np.exp(-np.maximum(since, 0) / 4), least=17)) <= 2


@pytest.mark.parametrize("period", [11, 17, 26, 39])
@pytest.mark.parametrize("height", [60.0, 150.0, 300.0])
def test_a_collectors_sawtooth_is_no_leak_at_any_phase(period: int, height: float) -> None:
    whole = np.r_[teeth(period, height), teeth(period, height)] + np.r_[NOISE, NOISE[::-1]]
    calls = [growth(whole[end - 120 : end]) for end in range(120, 240, 3)]
    assert [found for found in calls if found is not None] == []


@pytest.mark.parametrize("period", [11, 17, 26])
def test_a_leak_under_a_sawtooth_is_told_by_what_is_left_after_each_collection(period: int) -> None:
    found = told(teeth(period, 150.0) + 1.0 * ROWS + NOISE)
    assert found.slope == pytest.approx(1.0, rel=0.15)
    assert found.least <= 1.0 <= found.most
    # The limit is met by a tooth's top, not by its foot.
    assert found.level == pytest.approx(500 + 150 + 119, rel=0.05)


@given(st.floats(0.5, 50), st.floats(0, 0.5), st.integers(0, 2**31), st.integers(0, 90))
def test_a_ramps_slope_is_found_wherever_in_the_window_it_begins(
    slope: float, noise: float, seed: int, begin: int
) -> None:
    random = np.random.default_rng(seed)
    values = 500 + slope * np.maximum(ROWS - begin, 0) + noise * slope * random.standard_normal(120)
    found = growth(values)
    if slope * (120 - begin) < 20:  # less than a few per cent of the level may pass for none
        return
    assert found is not None
    assert found.slope == pytest.approx(slope, rel=0.2)
    assert found.least < found.slope < found.most
    assert abs(found.since - begin) <= 15


def test_the_interval_holds_the_true_slope_though_the_noise_remembers_itself() -> None:
    random, held = np.random.default_rng(0), 0
    for _ in range(100):
        drift = np.cumsum(random.normal(0, 0.5, 120))
        found = told(500 + 2.0 * ROWS + drift)
        held += found.least <= 2.0 <= found.most
    assert held >= 85


def test_growth_begins_anew_at_a_restart_that_was_counted() -> None:
    values = np.r_[np.linspace(500, 900, 80), np.linspace(500, 620, 40)]
    restarts = np.r_[np.zeros(81), np.ones(39)]  # the count is scraped a little later
    assert growth(values) is None, "the end of a climb may be a collection"
    found = told(values, restarts)
    assert found.since >= 80
    assert found.slope == pytest.approx(120 / 39, rel=0.1)


def test_a_lone_drop_of_nearly_everything_is_a_new_process_even_uncounted() -> None:
    assert told(np.r_[np.linspace(300, 900, 80), np.linspace(100, 200, 40)]).since >= 80


def test_gaps_change_nothing_but_the_number_of_witnesses() -> None:
    values = np.asarray(500 + 2.0 * ROWS, dtype=float)
    values[[3, 4, 5, 50, 117]] = np.nan
    assert told(values).slope == pytest.approx(2.0, rel=0.01)
    values[8:] = np.nan
    assert growth(values) is None
    assert growth(np.full(120, np.nan)) is None
