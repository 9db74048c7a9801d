"""One suite for every entry of DETECTORS: a new detector is tested by being listed."""

import ast
from pathlib import Path

import numpy as np
import pytest

import selfheal.detectors
from selfheal.detectors import DETECTORS, Detector
from selfheal.errors import BadModel, InsufficientData, MetricMismatch
from selfheal.window import MetricWindow
from tests.unit.detection.series import daily

NAMES = ("requests", "errors", "memory")

pytestmark = pytest.mark.parametrize("name", DETECTORS)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Detector]:
    return {name: kind(0).fit(daily(NAMES, 4)) for name, kind in DETECTORS.items()}


@pytest.fixture
def fresh() -> MetricWindow:
    return daily(NAMES, 1, seed=7)


def test_the_same_seed_gives_the_same_scores(name: str, fitted: dict[str, Detector], fresh: MetricWindow) -> None:
    again = DETECTORS[name](0).fit(daily(NAMES, 4))
    np.testing.assert_array_equal(again.score(fresh), fitted[name].score(fresh))


def test_a_stored_detector_scores_as_it_did_before(
    name: str, fitted: dict[str, Detector], fresh: MetricWindow, tmp_path: Path
) -> None:
    fitted[name].save(tmp_path)
    again = DETECTORS[name].load(tmp_path)
    np.testing.assert_array_equal(again.score(fresh), fitted[name].score(fresh))
    np.testing.assert_array_equal(again.expected(fresh), fitted[name].expected(fresh))
    np.testing.assert_array_equal(again.counters, fitted[name].counters)


def test_a_damaged_file_is_a_bad_model(name: str, fitted: dict[str, Detector], tmp_path: Path) -> None:
    fitted[name].save(tmp_path)
    file = tmp_path / f"{name}.npz"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(BadModel, match="cannot be read"):
        DETECTORS[name].load(tmp_path)


def test_the_future_never_changes_the_past(name: str, fitted: dict[str, Detector], fresh: MetricWindow) -> None:
    values = fresh.values.copy()
    values[100:] = 1e6
    before, after = fitted[name].score(fresh), fitted[name].score(fresh.with_values(values))
    np.testing.assert_array_equal(before[:100], after[:100])
    np.testing.assert_array_equal(before[:100], fitted[name].score(fresh.rows(0, 100)))
    assert after[100:].max() > before[100:].max()


def test_a_shift_of_everything_scores_higher_than_normal_data(
    name: str, fitted: dict[str, Detector], fresh: MetricWindow
) -> None:
    values = fresh.values.copy()
    values[72:] *= 1.6
    score = fitted[name].score(fresh.with_values(values))
    assert score[72:80].max() > 1.1 * score[30:72].max()


def test_the_order_of_metrics_does_not_matter(name: str, fitted: dict[str, Detector], fresh: MetricWindow) -> None:
    turned = fresh.select(NAMES[::-1])
    np.testing.assert_array_equal(fitted[name].score(turned), fitted[name].score(fresh))


def test_other_metrics_are_a_mismatch_that_names_them(
    name: str, fitted: dict[str, Detector], fresh: MetricWindow
) -> None:
    with pytest.raises(MetricMismatch, match="unknown latency") as error:
        fitted[name].score(MetricWindow("w", fresh.times, fresh.values, ("requests", "errors", "latency"), fresh.step))
    assert error.value.missing == ("memory",)


def test_gaps_constants_and_dead_metrics_never_make_a_score_nan(name: str) -> None:
    window = daily((*NAMES, "constant", "dead"), 4)
    values = window.values.copy()
    values[:, 3], values[:, 4] = 7.0, np.nan
    values[np.random.default_rng(0).random(values.shape) < 0.1] = np.nan
    values[50:60] = np.nan
    detector = DETECTORS[name](0).fit(window.with_values(values))
    for seen in (values, np.full_like(values, np.nan), np.where(np.arange(5) == 4, 1.0, values)):
        assert np.isfinite(detector.score(window.with_values(seen))).all()
    assert len(detector.score(window.rows(0, 0))) == 0


def test_a_counters_reset_is_no_event(name: str) -> None:
    window = daily(("requests_total", "memory"), 4)
    increase = window.values[:, 0].copy()
    steady = window.with_values(np.column_stack([np.cumsum(increase), window.values[:, 1]]))
    detector = DETECTORS[name](0).fit(steady)
    assert detector.counters.tolist() == [True, False]
    restarted = steady.values.copy()
    restarted[300:, 0] -= restarted[299, 0]  # the program starts again and counts from zero
    np.testing.assert_allclose(detector.score(steady.with_values(restarted)), detector.score(steady), rtol=1e-6)


def test_a_restart_long_ago_is_no_anomaly_today(name: str) -> None:
    """The catalogue knows that restarts are counted; their values, nearly always the same, do not show it."""
    window = daily(("pod_cpu_usage", "container_restart_count"), 4)
    values = window.values.copy()
    values[:, 1] = 0.0
    detector = DETECTORS[name](0).fit(window.with_values(values))
    assert detector.counters.tolist() == [False, True]
    restarted = values.copy()
    restarted[300:, 1] = 1.0
    before, after = detector.score(window.with_values(values)), detector.score(window.with_values(restarted))
    np.testing.assert_allclose(after[400:], before[400:], atol=0.02)


@pytest.mark.parametrize("metrics", [1, 50])
def test_one_metric_or_fifty_are_both_fine(name: str, metrics: int) -> None:
    window = daily(tuple(f"m{i}" for i in range(metrics)), 3)
    score = DETECTORS[name](0).fit(window).score(window)
    assert score.shape == (len(window),)
    assert np.isfinite(score).all()


def test_too_little_history_says_how_much_is_needed(name: str) -> None:
    with pytest.raises(InsufficientData) as error:
        DETECTORS[name](0).fit(daily(NAMES, 4).rows(0, 20))
    assert error.value.got == 20
    assert error.value.need > 20


def test_every_file_of_a_detector_has_its_line(name: str) -> None:
    folder = Path(selfheal.detectors.__file__).parent
    shared = {"__init__", "base", "residual", "scaling", "stack", "storage", "week"}
    assert {file.stem for file in folder.glob("*.py")} - shared == set(DETECTORS)
    classes = [n for n in ast.parse((folder / f"{name}.py").read_text()).body if isinstance(n, ast.ClassDef)]
    assert [c.name for c in classes] == [DETECTORS[name].__name__]
    assert DETECTORS[name].name == name
