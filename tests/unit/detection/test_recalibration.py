"""What is usual is learned anew every day: from the history since training, without its alarms."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal.ensemble import Ensemble
from selfheal.hearing import NEW_STATE, usual
from selfheal.injection import AFTERMATH
from selfheal.window import DAY, MetricWindow
from tests.unit.detection.series import STEP, changed, shop

MINUTE = 60.0
HALF_DAY = int(NEW_STATE / MINUTE)
A_DAY = int(DAY / STEP)
TRAINED = 6 * A_DAY


def alarms(rows: int, *stretches: tuple[int, int]) -> np.ndarray:
    found = np.zeros(rows, dtype=bool)
    for begin, end in stretches:
        found[begin:end] = True
    return found


def test_an_alarm_and_its_aftermath_tell_nothing_of_what_is_usual() -> None:
    found = usual(alarms(200, (50, 80)), MINUTE)
    assert np.flatnonzero(~found).tolist() == list(range(50, 80 + AFTERMATH))


def test_an_alarm_of_more_than_half_a_day_is_a_new_state_from_then_on() -> None:
    found = usual(alarms(3 * HALF_DAY, (100, 3 * HALF_DAY)), MINUTE)
    assert not found[100 : 100 + HALF_DAY].any()
    assert found[100 + HALF_DAY + AFTERMATH :].all()


def test_alarms_that_come_and_go_are_one_incident() -> None:
    each_hour = [(start, start + 20) for start in range(0, 2 * HALF_DAY, 60)]
    found = usual(alarms(2 * HALF_DAY, *each_hour), MINUTE)
    assert found[-HALF_DAY + 60 :].all()
    assert not found[: HALF_DAY // 2 : 60].any()


@given(st.lists(st.booleans(), min_size=1, max_size=300), st.sampled_from([10.0, 60.0, 3600.0]))
def test_rows_far_from_any_alarm_always_count(flags: list[bool], step: float) -> None:
    alarmed = np.array(flags, dtype=bool)
    found = usual(alarmed, step)
    near = np.convolve(alarmed, np.ones(AFTERMATH + 1))[: len(alarmed)] > 0
    assert found.shape == alarmed.shape
    assert found[~near].all()


@pytest.fixture(scope="module")
def lately() -> MetricWindow:
    """The week of the model, and four days more in which all metrics are wilder."""
    window = shop(10)
    random = np.random.default_rng(0)
    wilder = np.exp(0.05 * random.standard_normal((4 * A_DAY, len(window.names))))
    return changed(window, TRAINED, dict(zip(window.names, wilder.T, strict=True)))


def test_a_workload_that_became_wilder_cries_wolf_less_after_a_day(ensemble: Ensemble, lately: MetricWindow) -> None:
    heard = ensemble.hear(lately)
    today = ensemble.recalibrated([heard.until(-A_DAY)])
    before, after = (model.read(heard).anomaly[-A_DAY:] for model in (ensemble, today))
    assert before.any()
    assert after.mean() < 0.5 * before.mean()


def test_scores_and_strangers_stay_as_they_are(ensemble: Ensemble, lately: MetricWindow) -> None:
    heard = ensemble.hear(lately)
    today = ensemble.recalibrated([heard.until(-A_DAY)])
    np.testing.assert_array_equal(today.read(heard).score, ensemble.read(heard).score)
    stranger = ensemble.hear(MetricWindow("else/Deployment/x", lately.times, lately.values, lately.names, lately.step))
    assert ensemble.recalibrated([stranger]).recent == {}


def test_yesterdays_calibration_has_no_say_in_todays(ensemble: Ensemble, lately: MetricWindow) -> None:
    heard = ensemble.hear(lately)
    once = ensemble.recalibrated([heard])
    twice = ensemble.recalibrated([heard.until(-A_DAY)]).recalibrated([heard])
    np.testing.assert_array_equal(once.read(heard).confidence, twice.read(heard).confidence)


def test_rows_that_were_trained_on_do_not_count(ensemble: Ensemble, lately: MetricWindow) -> None:
    first, last = ensemble.calibrated[lately.workload]
    long_ago = lately.times - np.timedelta64(int(lately.times[-1].astype(np.int64)) - first + 60, "s")
    old = MetricWindow(lately.workload, long_ago, lately.values, lately.names, lately.step)
    assert first < last
    assert ensemble.recalibrated([ensemble.hear(old)]).recent[lately.workload] == ensemble.references[lately.workload]


def test_a_stored_model_keeps_what_was_usual_lately(ensemble: Ensemble, lately: MetricWindow, tmp_path: Path) -> None:
    today = ensemble.recalibrated([ensemble.hear(lately)])
    today.save(tmp_path / "model")
    again = Ensemble.load(tmp_path / "model")
    newest = lately.rows(-120)
    assert again.judge([newest]) == today.judge([newest])
    np.testing.assert_array_equal(again.read(again.hear(lately)).confidence, today.read(today.hear(lately)).confidence)


def test_a_request_is_voted_on_as_the_trace_is_after_a_calibration(ensemble: Ensemble, lately: MetricWindow) -> None:
    today = ensemble.recalibrated([ensemble.hear(lately)])
    windows = [lately.rows(end - 120, end) for end in range(TRAINED, len(lately), 20)]
    for window, answer in zip(windows, today.judge(windows), strict=True):
        trace = today.trace(window)
        assert answer.votes == {name: bool(votes[-1]) for name, votes in trace.votes.items()}
        assert answer.confidence == pytest.approx(float(trace.confidence[-1]), abs=1e-6)
