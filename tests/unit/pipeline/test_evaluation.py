"""The evaluation counts what happened, and says so when nothing can be told."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from selfheal import evaluation
from selfheal.ensemble import Ensemble, Members, split
from selfheal.errors import MetricMismatch, NoData
from selfheal.evaluation import describe, evaluate
from selfheal.modelcard import Context, model_card
from selfheal.report import Report
from selfheal.report_plots import figures, html, png, svg
from selfheal.window import MetricWindow, grid


def normal(workload: str, seed: int, rows: int = 1500) -> MetricWindow:
    chance = np.random.default_rng(seed)
    values = np.column_stack([100 + chance.standard_normal(rows), 5 + 0.1 * chance.standard_normal(rows)])
    times = grid(np.datetime64("2026-11-20T00:00:00", "s"), rows, 60.0, first=True)
    return MetricWindow(workload, times, values, ("memory", "cpu"), 60.0)


@pytest.fixture(scope="module")
def windows() -> list[MetricWindow]:
    return [normal("shop/Deployment/cart", 1), normal("shop/Deployment/web", 2)]


@pytest.fixture(scope="module")
def ensemble(windows: list[MetricWindow]) -> Ensemble:
    """Two detectors are the fewest that can vote."""
    training, held_back = split(windows)
    return Ensemble.assemble([Members.fit(name, training) for name in ("lstm", "arima")], held_back)


@pytest.fixture(scope="module")
def held_back() -> list[MetricWindow]:
    return [normal("shop/Deployment/cart", 11, 700), normal("shop/Deployment/web", 12, 700)]


@pytest.fixture(scope="module")
def report(ensemble: Ensemble, windows: list[MetricWindow], held_back: list[MetricWindow]) -> Report:
    return evaluate(ensemble, held_back, training=describe(windows))


def test_a_report_survives_json(report: Report) -> None:
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_the_same_seed_judges_by_the_same_faults(
    ensemble: Ensemble, held_back: list[MetricWindow], windows: list[MetricWindow], report: Report
) -> None:
    assert evaluate(ensemble, held_back, training=describe(windows)) == report
    assert evaluate(ensemble, held_back, seed=1).curves != report.curves


def test_an_alarm_on_normal_data_is_a_false_episode(
    ensemble: Ensemble, held_back: list[MetricWindow], report: Report
) -> None:
    values = held_back[0].values.copy()
    values[300:330] *= 3
    found = evaluate(ensemble, [held_back[0].with_values(values), held_back[1]])
    rows = {row.workload: row for row in found.workloads}
    before = {row.workload: row for row in report.workloads}
    cart, web = "shop/Deployment/cart", "shop/Deployment/web"
    assert rows[cart].false_episodes > before[cart].false_episodes
    assert rows[web].false_episodes == before[web].false_episodes
    assert (found.false_episodes_per_day or 0) > (report.false_episodes_per_day or 0)
    assert (found.vote.voted or 0) > (report.vote.voted or 0)


def test_faults_that_are_found_count_for_recall_and_delay(report: Report) -> None:
    assert report.events == sum(row.events for row in report.workloads) > 0
    assert report.recall == sum(row.found for row in report.workloads) / report.events
    assert report.recall > 0
    assert report.delay is not None
    assert report.ece is not None
    assert 0 <= report.ece <= 1
    assert sum(one.weight for one in report.reliability) == pytest.approx(1)


def test_nominal_and_realised_rates_stand_side_by_side(report: Report, ensemble: Ensemble) -> None:
    assert set(report.rates) == {"lstm", "arima"}
    for rate in report.rates.values():
        assert rate.nominal == ensemble.settings.level
        assert rate.realised is not None
        assert 1300 < rate.rows < 1400  # without the rows of warm-up
        assert rate.interval
        assert rate.interval[0] <= rate.realised <= rate.interval[1]


def test_a_workload_that_cannot_be_judged_is_named_and_not_counted_as_quiet(ensemble: Ensemble) -> None:
    short = normal("shop/Deployment/cart", 3, 5)
    found = evaluate(ensemble, [short])
    assert found.workloads[0].alarmed is None
    assert found.false_episodes_per_day is None
    assert found.recall is None
    assert "could not be judged, fewer than two detectors can vote: shop/Deployment/cart" in found.notes[0]
    assert "recall" not in found.figures()


def test_data_in_which_nothing_moves_cannot_hold_faults_and_says_so(
    ensemble: Ensemble, held_back: list[MetricWindow]
) -> None:
    still = held_back[0].with_values(np.full_like(held_back[0].values, 100.0))
    found = evaluate(ensemble, [still])
    assert found.events == 0
    assert found.recall is None
    assert "no fault could be injected" in found.notes[0]


def test_no_data_and_other_metrics_are_errors(ensemble: Ensemble, held_back: list[MetricWindow]) -> None:
    with pytest.raises(NoData):
        evaluate(ensemble, [])
    with pytest.raises(MetricMismatch):
        evaluate(ensemble, [held_back[0].select(["cpu"])])


def test_the_digest_tells_data_apart(windows: list[MetricWindow], held_back: list[MetricWindow]) -> None:
    assert describe(windows) == describe(windows)
    assert describe(windows).digest != describe(held_back).digest
    assert describe(windows).rows == 3000


@given(arrays(bool, st.integers(0, 40)))
def test_stretches_cover_exactly_the_true_rows(flags: evaluation.Flags) -> None:
    covered = np.zeros(len(flags), dtype=bool)
    for start, stop in evaluation._stretches(flags):
        assert start < stop
        assert not covered[start:stop].any()
        assert start == 0 or not flags[start - 1]
        covered[start:stop] = True
    assert np.array_equal(covered, flags)


def test_a_delay_is_counted_from_the_faults_start_and_a_late_alarm_does_not_count() -> None:
    faulty = np.array([0, 1, 1, 1, 0, 0, 1, 1, 0], dtype=bool)
    alarm = np.array([0, 0, 0, 1, 1, 0, 0, 0, 1], dtype=bool)
    assert evaluation._waits(faulty, alarm, 60.0) == [120.0, None]


def test_the_page_is_self_contained_and_shows_every_plot(report: Report) -> None:
    page = html(report, Context(verdict="Accepted: <b>well</b>.", accepted=True))
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "http" not in page
    assert page.count("<svg") == len(figures(report)) - 1 == 3 + len(report.curves)  # the matrix is a table
    assert "Accepted: &lt;b&gt;well&lt;/b&gt;." in page
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_plots_are_the_same_bytes_for_the_same_numbers(report: Report) -> None:
    assert png(figures(report)["reliability"]) == png(figures(report)["reliability"])
    assert svg(figures(report)["reliability"]) == svg(figures(report)["reliability"])


def test_a_page_about_nothing_says_cannot_tell(ensemble: Ensemble) -> None:
    page = html(evaluate(ensemble, [normal("shop/Deployment/cart", 3, 5)]))
    assert page.count("cannot tell") >= 4


def test_the_card_shows_a_dash_for_what_is_not_known(ensemble: Ensemble, report: Report) -> None:
    blind = evaluate(ensemble, [normal("shop/Deployment/cart", 3, 5)])
    card = model_card(blind, Context(champion=report))
    assert f"| injected faults found | - | {report.recall:.1%} | - |" in card
    assert "could not be judged" in card
    assert "Trained on: not recorded" in card
