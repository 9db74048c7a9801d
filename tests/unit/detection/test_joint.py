"""Metrics that deviate together by nature: what counts is how unusual the combination is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal.detectors import DETECTORS
from selfheal.detectors.base import combine, combine_jointly, whitening
from selfheal.detectors.residual import ResidualDetector
from selfheal.window import Floats
from tests.unit.detection.series import daily

ALIVE = np.ones(3)


def together(rows: int, seed: int = 0) -> Floats:
    """Two metrics that go up and down together, and one of its own."""
    random = np.random.default_rng(seed)
    common = random.standard_normal(rows)
    return np.column_stack(
        [
            common + 0.2 * random.standard_normal(rows),
            common + 0.2 * random.standard_normal(rows),
            random.standard_normal(rows),
        ]
    )


def test_two_metrics_that_part_are_more_unusual_than_two_that_rise_together() -> None:
    matrix = whitening(together(2000), ALIVE)
    rise, part = combine_jointly(np.array([[2.0, 2.0, 0.0], [1.5, -1.5, 0.0]]), ALIVE, matrix)
    assert part > 2 * rise


def test_usual_deviations_score_about_one() -> None:
    usual = combine_jointly(together(2000, seed=1), ALIVE, whitening(together(2000), ALIVE))
    assert np.sqrt((usual**2).mean()) == pytest.approx(1.0, rel=0.1)


def test_metrics_without_data_do_not_count() -> None:
    deviations = np.column_stack([together(500), np.zeros(500)])
    alive = np.array([1.0, 1.0, 1.0, 0.0])
    without = combine_jointly(deviations[:, :3], ALIVE, whitening(deviations[:, :3], ALIVE))
    np.testing.assert_allclose(combine_jointly(deviations, alive, whitening(deviations, alive)), without)
    assert (
        combine_jointly(np.zeros((4, 2)), np.zeros(2), whitening(np.zeros((4, 2)), np.zeros(2))).tolist() == [0.0] * 4
    )


def test_a_combination_that_never_varied_does_not_decide_alone() -> None:
    """Twins are equal to the last digit in training; parted by a thousandth of their spread they are still usual."""
    one = np.random.default_rng(0).standard_normal(500)
    matrix = whitening(np.column_stack([one, one]), np.ones(2))
    usual = combine_jointly(np.array([[1.0, 1.0], [1.001, 0.999]]), np.ones(2), matrix)
    assert usual[1] == pytest.approx(usual[0], rel=0.05)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 60))
def test_scores_are_finite_whatever_training_looked_like(seed: int, metrics: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    deviations = random.standard_normal((rows, metrics)) * random.choice([0.0, 1e-9, 1.0, 50.0], metrics)
    found = combine_jointly(deviations, np.ones(metrics), whitening(deviations, np.ones(metrics)))
    assert np.isfinite(found).all()
    assert (found >= 0).all()


def test_arima_sees_that_metrics_part_which_each_alone_does_not_show() -> None:
    kind = DETECTORS["arima"]
    assert issubclass(kind, ResidualDetector)
    assert kind.joint
    window = daily(("in", "out", "other"), 4)
    random = np.random.default_rng(3)
    common = np.cumsum(random.standard_normal(len(window)))
    values = np.column_stack([100 + common, 200 + 2 * common, 50 + random.standard_normal(len(window))])
    values += 0.1 * random.standard_normal(values.shape)
    detector = kind(0).fit(window.rows(0, 400).with_values(values[:400]))
    parted = values.copy()
    step = np.diff(values[:400, 0]).std()
    parted[450:, 0] += step  # one spread up here, and one down there
    parted[450:, 1] -= 2 * step
    before, after = window.with_values(values), window.with_values(parted)
    each = [combine(detector.deviations(one), np.ones(3)) for one in (before, after)]
    jointly = [detector.score(one) for one in (before, after)]
    alone, both = (found[450:453].max() / np.quantile(calm[20:], 0.999) for calm, found in (each, jointly))
    assert both > 1.0 > alone


def test_the_lstm_sees_together_what_no_metric_shows_alone_and_only_then() -> None:
    kind = DETECTORS["lstm"]
    assert issubclass(kind, ResidualDetector)
    detector = kind(0).fit(daily(("a", "b", "c", "d"), 4))
    alive = np.ones(4)
    random = np.random.default_rng(1)
    usual = random.standard_normal((2000, 4))
    together = detector._combined(np.array([[2.4, 2.4, 2.4, 2.4], [2.4, -2.4, 2.4, 2.4]]), ...)
    assert (together > np.quantile(combine(usual, alive), 0.99)).all()
    far = np.array([[6.0, 2.4, 2.4, 2.4]])
    np.testing.assert_array_equal(detector._combined(far, ...), combine(far, alive))
    assert (detector._combined(usual, ...) >= combine(usual, alive)).all()
