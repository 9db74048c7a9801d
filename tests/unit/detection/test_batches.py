"""Many windows judged together: the same numbers as one by one, whatever stands beside them."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfheal.calibration import Reference, References, VoteSettings, newest_votes, raise_votes
from selfheal.detectors import DETECTORS, Detector
from selfheal.detectors.base import Batched, Flags
from selfheal.detectors.stack import Loop, stacked
from selfheal.ensemble import Ensemble
from selfheal.trend import flat, growth
from selfheal.window import Floats, MetricWindow, Windows
from tests.unit.detection.series import SHOP, daily, shop

NAMES = ("requests", "errors", "memory", "served_total")
CLOSE = 1e-6
KNOWN = ("shop/Deployment/cart", "shop/Deployment/web")
OFTEN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def past(seed: int) -> MetricWindow:
    """A workload with a counter; one without errors, one whose memory stands still, one without requests."""
    window = daily(NAMES, 4, seed=seed)
    window.values[:, 3] = np.cumsum(window.values[:, 3])
    odd = (np.nan, 5.0, 0.0)[seed % 3]
    window.values[:, (1, 2, 0)[seed % 3]] = odd
    return window


def spoilt(window: MetricWindow, seed: int) -> MetricWindow:
    """Gaps, a reset, a shift, a metric that is gone: each by lot."""
    draw = np.random.default_rng(seed)
    values = window.values.copy()
    if draw.random() < 0.5:
        values[draw.random(values.shape) < 0.15] = np.nan
    if draw.random() < 0.3:
        values[-int(draw.integers(1, 5)) :] = np.nan
    if draw.random() < 0.3:
        values[:, int(draw.integers(values.shape[1]))] = draw.choice([np.nan, 7.0])
    if draw.random() < 0.5:
        values[-int(draw.integers(1, len(values) + 1)) :] *= draw.choice([0.1, 1.3, 4.0])
    if draw.random() < 0.3:
        values[len(values) // 2 :, -1] -= np.nan_to_num(values[len(values) // 2, -1])
    return window.with_values(values)


@pytest.fixture(scope="module")
def fitted() -> dict[str, list[Detector]]:
    return {name: [kind(0).fit(past(seed)) for seed in range(4)] for name, kind in DETECTORS.items()}


@pytest.fixture(scope="module")
def asked() -> list[MetricWindow]:
    return [spoilt(past(seed % 4).rows(200 + 5 * seed, 260 + 5 * seed), seed) for seed in range(12)]


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("loop", [False, True], ids=["stacked", "one by one"])
def test_stacked_models_score_as_each_of_them_does(
    name: str, fitted: dict[str, list[Detector]], asked: list[MetricWindow], loop: bool
) -> None:
    which = np.array([3, 1, 1, 0, 2, 3, 0, 1, 2, 2, 0, 3])
    models = [fitted[name][place] for place in which]
    together = Loop(fitted[name]) if loop else stacked(fitted[name])
    sight, some = together.look(Windows.of(asked), which), np.array([7, 2, 9])
    pairs = list(zip(models, asked, strict=True))
    score = np.transpose([model.score(window) for model, window in pairs])
    np.testing.assert_allclose(sight.score(len(score), np.arange(len(which))), score, atol=CLOSE)
    np.testing.assert_allclose(sight.score(7, some), score[-7:, some], atol=CLOSE)
    for place, (model, window) in enumerate(pairs):
        said = sight.testify(place)
        np.testing.assert_allclose(said.deviations(window), model.deviations(window), atol=CLOSE)
        np.testing.assert_allclose(said.expected(window), model.expected(window), rtol=CLOSE, atol=CLOSE)
        np.testing.assert_array_equal(said.counters, model.counters)


@pytest.mark.parametrize("name", DETECTORS)
def test_our_own_detectors_need_no_loop(name: str, fitted: dict[str, list[Detector]]) -> None:
    assert isinstance(stacked(fitted[name]), Batched)


@pytest.mark.parametrize("name", DETECTORS)
def test_stacking_keeps_numbers_once_and_models_as_they_were(
    name: str, fitted: dict[str, list[Detector]], asked: list[MetricWindow], tmp_path: Path
) -> None:
    before = fitted[name][1].score(asked[0])
    first = stacked(fitted[name])
    fitted[name][1].save(tmp_path)
    for model in (fitted[name][1], DETECTORS[name].load(tmp_path)):
        np.testing.assert_array_equal(model.score(asked[0]), before)
    largest = max(vars(first)["_arrays"].items(), key=lambda item: item[1].nbytes)
    assert np.shares_memory(largest[1], vars(fitted[name][1])["_arrays"][largest[0]])


class Plain:
    """A detector as somebody writes one who has read the contract and nothing else."""

    name: ClassVar[str] = "plain"
    need: ClassVar[int] = 1
    warmup: ClassVar[int] = 0
    seasonal: ClassVar[bool] = False

    def __init__(self, seed: int = 0) -> None:
        self.names: tuple[str, ...] = NAMES
        self._level = float(seed)

    def fit(self, window: MetricWindow) -> Self:
        self.names = window.names
        return self

    def score(self, window: MetricWindow) -> Floats:
        found: Floats = np.abs(self.deviations(window)).max(axis=1)
        return found

    def deviations(self, window: MetricWindow) -> Floats:
        return np.nan_to_num(window.values - self._level)

    def expected(self, window: MetricWindow) -> Floats:
        return np.full(window.values.shape, self._level)

    @property
    def counters(self) -> Flags:
        return np.zeros(len(self.names), dtype=bool)

    def save(self, folder: Path) -> None:
        (folder / "plain").write_text(str(self._level))

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(int(float((folder / "plain").read_text())))


def test_a_detector_without_a_stack_is_asked_window_by_window(asked: list[MetricWindow]) -> None:
    models: list[Detector] = [Plain(level) for level in range(len(asked))]
    together = stacked(models)
    assert isinstance(together, Loop)
    expected = np.transpose([model.score(window) for model, window in zip(models, asked, strict=True)])
    every = np.arange(len(asked))
    np.testing.assert_array_equal(together.look(Windows.of(asked), every).score(60, every), expected)


def asks(seeds: list[int]) -> list[MetricWindow]:
    """Windows of known workloads and strangers, of several lengths, spoilt by lot, the same workload more than once."""
    found = []
    for seed in seeds:
        draw = np.random.default_rng(seed)
        window = shop(6, seed=seed % 5, workload=str(draw.choice([*KNOWN, "other/Deployment/new"])))
        rows = int(draw.choice([3, 12, 34, 60, 60, 60, 150]))  # 150 rows of 10 minutes are longer than a day
        end = int(draw.integers(rows, len(window)))
        found.append(spoilt(window.rows(end - rows, end), seed))
    return found


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=12))
@OFTEN
def test_a_request_of_many_is_answered_like_one_request_each(ensemble: Ensemble, seeds: list[int]) -> None:
    windows = asks(seeds)
    for together, window in zip(ensemble.judge(windows), windows, strict=True):
        (alone,) = ensemble.judge([window])
        numbers = ("scores", "confidence", "top_metrics", "forecast")
        assert together.model_dump(exclude=set(numbers)) == alone.model_dump(exclude=set(numbers))
        assert together.scores == pytest.approx(alone.scores, abs=CLOSE)
        assert together.confidence == pytest.approx(alone.confidence, abs=CLOSE)
        assert together.forecast == alone.forecast
        assert [top.name for top in together.top_metrics] == [top.name for top in alone.top_metrics]
        for ours, theirs in zip(together.top_metrics, alone.top_metrics, strict=True):
            assert ours.share == pytest.approx(theirs.share, abs=2e-4)
            assert ours.expected == pytest.approx(theirs.expected, rel=CLOSE)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=12))
@OFTEN
def test_the_newest_rows_say_what_the_whole_trace_says(ensemble: Ensemble, seeds: list[int]) -> None:
    windows = asks(seeds)
    for answer, window in zip(ensemble.judge(windows), windows, strict=True):
        trace = ensemble.trace(window)
        assert answer.abstained.keys() >= trace.abstained.keys()
        assert all(answer.votes[name] == trace.votes[name][-1] for name in answer.votes)
        assert all(answer.scores[name] == pytest.approx(trace.scores[name][-1], abs=CLOSE) for name in answer.scores)
        if answer.confidence is not None:
            assert answer.confidence == pytest.approx(trace.confidence[-1], abs=CLOSE)
            assert answer.anomaly == trace.anomaly[-1]


def test_a_long_silence_is_judged_as_in_a_trace_beside_others(ensemble: Ensemble) -> None:
    window = shop(6, seed=3, workload=KNOWN[0]).rows(-140)
    values = window.values.copy()
    values[20:80] = np.nan
    silent = window.with_values(values * np.where(np.arange(140) < 80, 1.0, 1.5)[:, None])
    answers = ensemble.judge([window, silent, window])
    trace = ensemble.trace(silent)
    assert answers[0] == answers[2]
    assert answers[1].scores == {name: scores[-1] for name, scores in trace.scores.items()}


def test_hundreds_are_answered_in_their_order(ensemble: Ensemble) -> None:
    few = asks(list(range(40)))
    once = ensemble.judge(few)
    assert [answer.workload for answer in once] == [window.workload for window in few]
    for many, answer in zip(ensemble.judge(few * 9), once * 9, strict=True):
        assert many.votes == answer.votes
        assert many.scores == pytest.approx(answer.scores, abs=CLOSE)


def test_metrics_in_another_order_are_put_in_the_models(ensemble: Ensemble) -> None:
    window = shop(6, seed=3, workload=KNOWN[0]).rows(-60)
    first, turned = ensemble.judge([window, window.select(SHOP[::-1])])
    assert first == turned


@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.5, 1.9, 2.5]), min_size=3, max_size=3), min_size=1, max_size=25))
def test_votes_of_many_are_the_votes_of_each(rows: list[list[float]]) -> None:
    surprise = np.array(rows)
    for step in (15.0, 60.0):
        chosen = VoteSettings.for_step(step)
        votes = raise_votes(surprise, chosen)
        for column in range(3):
            np.testing.assert_array_equal(votes[:, column], raise_votes(surprise[:, column], chosen))
        for newest in range(1, len(rows)):
            said, sure = newest_votes(surprise[-newest:], chosen)
            np.testing.assert_array_equal(said[sure], votes[-1][sure])


def test_calm_rows_are_certain_without_the_past() -> None:
    chosen = VoteSettings()
    said, sure = newest_votes(np.zeros((chosen.among, 2)), chosen)
    assert sure.all()
    assert not said.any()


@given(st.integers(0, 10_000))
def test_surprise_against_many_references_is_that_against_each(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores: list[Floats] = [np.exp(draw.normal(0, draw.uniform(0.1, 2), 60)).round(draw.choice(4)) for _ in range(3)]
    references = [Reference.learn(one) for one in scores]
    asked = np.exp(draw.normal(0, 2, (40, 3)))
    asked[:19] = np.exp(np.transpose([one.body for one in references])) - 1e-3  # right on the knots
    found = References.of(references).surprise(asked)
    for column, one in enumerate(references):
        np.testing.assert_allclose(found[:, column], one.surprise(asked[:, column]), atol=1e-9)


@given(st.integers(0, 10_000), st.sampled_from([5, 12, 60, 130, 240]), st.sampled_from([0.003, 0.02]))
@OFTEN
def test_what_is_told_to_be_flat_at_a_glance_does_not_grow(seed: int, rows: int, least: float) -> None:
    draw = np.random.default_rng(seed)
    level = 100 + draw.normal(0, draw.choice([0.0, 0.3, 3.0]), (rows, 20))
    begin, slope = draw.integers(0, rows, 20), draw.choice([-1.0, 0.0, 0.2, 1.0, 5.0], 20)
    values = level + slope * np.maximum(np.arange(rows)[:, None] - begin, 0)
    values[int(draw.integers(rows)) :, ::4] *= draw.choice([0.3, 0.9, 1.2])
    values[draw.random(rows) < 0.1, 1::6] = np.nan
    for column in np.flatnonzero(flat(values, least=least)):
        assert growth(values[:, column], least=least) is None


def test_noise_is_flat_and_a_ramp_is_not() -> None:
    noise = 100 + np.random.default_rng(0).normal(0, 1, (60, 40))
    assert flat(noise).mean() > 0.8
    assert not flat(noise + 2.0 * np.arange(60)[:, None]).any()
