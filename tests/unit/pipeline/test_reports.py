"""Report, card and page: what a reviewer decides from is there, fits, and says what nobody knows."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime, timedelta
from io import StringIO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from selfheal.comparison import MARGINS, better, changes, contents, in_words
from selfheal.measures import episodes_interval, phi, precision_recall, rate_interval, reliability, share_interval
from selfheal.modelcard import MOST, Context, limits, model_card, worst_first
from selfheal.report import Bin, Data, Precision, Rate, Report, SetRow, WorkloadRow
from selfheal.report_plots import html
from selfheal.report_tables import tables

MOMENT = datetime(2026, 11, 23, tzinfo=UTC)
DATA = Data(start=MOMENT, end=MOMENT + timedelta(days=1), workloads=1, rows=100, digest="sha256:2")
DETECTORS = ("arima", "isolation_forest", "lstm", "prophet")

shares = st.floats(0, 1)
maybe = st.none() | shares
names = st.from_regex(r"[a-z0-9-]{1,30}/Deployment/[a-z0-9-]{1,60}", fullmatch=True)
reasons = st.dictionaries(st.sampled_from(DETECTORS), st.text(min_size=1, max_size=60), max_size=4)
rates = st.builds(
    Rate, nominal=st.floats(1e-4, 0.1), realised=maybe, voted=maybe, rows=st.integers(0, 10**6), interval=st.none()
)
rows = st.builds(
    WorkloadRow,
    workload=names,
    days=st.floats(0, 30),
    voters=st.integers(0, 4),
    false_episodes=st.integers(0, 500),
    alarmed=maybe,
    events=st.integers(0, 50),
    found=st.just(0),
    delay=st.none() | st.floats(0, 1e5),
    realised=maybe,
    area=maybe,
    basis=st.sampled_from(["workload", "pooled"]),
    abstained=reasons,
    without=reasons,
)
reports = st.builds(
    Report,
    metrics=st.lists(st.from_regex(r"[a-z_]{1,40}", fullmatch=True), min_size=1, max_size=23).map(tuple),
    step=st.just(60.0),
    catalogue=st.just("sha256:" + "c" * 64),
    held_back=st.just(DATA),
    training=st.none() | st.just(DATA),
    rates=st.dictionaries(st.sampled_from(DETECTORS), rates, max_size=4),
    vote=rates,
    false_episodes_per_day=st.none() | st.floats(0, 100),
    events=st.integers(0, 100),
    recall=maybe,
    delay=st.none() | st.floats(0, 1e5),
    ece=maybe,
    reliability=st.just((Bin(confidence=0.1, faulty=0.2, weight=1.0),)),
    correlation=st.just({one: dict.fromkeys(DETECTORS, 0.5) for one in DETECTORS}),
    workloads=st.lists(rows, max_size=16).map(tuple),
    notes=st.lists(st.text(max_size=500), max_size=3).map(tuple),
    sets=st.lists(st.builds(SetRow, name=names, workloads=st.just(1), days=st.just(1.0)), max_size=16).map(tuple),
    seed=st.none() | st.integers(0, 9),
)


def report(false: float | None = 0.5, recall: float | None = 0.9, **more: object) -> Report:
    rate = Rate(nominal=0.01, realised=0.02, voted=0.001, rows=100, interval=(0.01, 0.03))
    return Report.model_validate(
        {
            "metrics": ("pod_memory_usage",),
            "step": 60.0,
            "catalogue": "sha256:1",
            "held_back": DATA,
            "rates": {"arima": rate},
            "vote": rate,
            "false_episodes_per_day": false,
            "events": 10,
            "recall": recall,
            "delay": 60.0,
            "ece": 0.05,
            "correlation": {},
            "workloads": (),
            **more,
        }
    )


# ---- the card --------------------------------------------------------------------------------------------------------
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(reports, st.none() | reports, st.text(max_size=1000))
def test_every_card_fits_what_mlflow_keeps_and_begins_with_the_verdict(
    one: Report, champion: Report | None, verdict: str
) -> None:
    card = model_card(one, Context(champion=champion, verdict=verdict, origin={"selfheal.git_sha": "a" * 40}))
    assert len(card) <= MOST
    assert card.startswith("## Verdict\n")


def test_a_card_of_ordinary_length_is_not_cut_off() -> None:
    many = tuple(workload(f"shop/Deployment/service-{number}") for number in range(200))
    card = model_card(report(workloads=many), Context(verdict="Accepted: well.", origin={"selfheal.git_sha": "abc"}))
    assert "cut off" not in card
    assert "188 more in report.html" in card
    assert "selfheal.git_sha" in card


def workload(name: str, **more: object) -> WorkloadRow:
    facts = {"days": 1.0, "voters": 4, "false_episodes": 0, "alarmed": 0.0, "events": 4, "found": 4, "delay": 60.0}
    return WorkloadRow.model_validate({"workload": name, **facts, **more})


def test_the_worst_workloads_stand_first_and_the_unjudged_before_them() -> None:
    found = worst_first(
        [
            workload("good"),
            workload("misses", found=1),
            workload("cries", false_episodes=3),
            workload("blind", alarmed=None, events=0, found=0, delay=None),
        ]
    )
    assert [row.workload for row in found] == ["blind", "cries", "misses", "good"]


def test_limits_name_workloads_without_models_and_detectors_that_abstain_with_the_reason() -> None:
    short = "needs 2 days of history, has 6 h"
    one = report(
        workloads=(
            workload("shop/Deployment/new", basis="pooled", without={"prophet": short, "lstm": short}),
            workload("shop/Deployment/cart", abstained={"prophet": short}),
            workload("shop/Deployment/web", abstained={"prophet": short}),
        )
    )
    told = limits(one)
    assert f"no models of its own (prophet, lstm: {short}), the pooled ones answer: shop/Deployment/new" in told
    assert f"prophet abstains ({short}): shop/Deployment/cart, shop/Deployment/web" in told
    for line in told:
        assert f"- {line}" in model_card(one, Context())


# ---- against the champion --------------------------------------------------------------------------------------------
def test_each_figure_stands_beside_the_champions_with_the_difference() -> None:
    found = {one.label: one for one in changes(report(0.25, 0.9), report(0.5, 0.95))}
    assert found["false episodes a day and workload"].cells() == ("0.25", "0.50", "-0.25")
    assert found["false episodes a day and workload"].better is True
    assert found["injected faults found"].cells() == ("90.0%", "95.0%", "-5.0%")
    assert found["injected faults found"].better is False
    assert found["median delay, seconds"].cells() == ("60", "60", "0")


def test_what_changed_is_a_sentence() -> None:
    said = in_words(changes(report(0.25, 0.9), report(0.5, 0.95)))
    assert said.startswith("Better: false episodes a day and workload (0.50 to 0.25); worse: injected faults found")
    assert in_words(changes(report(), None)) == "There is no champion to compare with."


def test_what_cannot_be_told_is_neither_better_nor_worse() -> None:
    first = changes(report(None, 0.9), report(0.5, 0.9))[0]
    assert (first.better, first.cells()) == (None, ("-", "0.50", "-"))


@given(st.floats(0, 50), st.floats(0, 50))
def test_a_difference_that_nobody_could_see_counts_as_none(mine: float, theirs: float) -> None:
    first = changes(report(mine), report(theirs))[0]
    assert (first.better is None) == (f"{mine:.2f}" == f"{theirs:.2f}")
    assert first.better is None or first.better is (mine < theirs)


def test_new_and_lost_metrics_and_workloads_are_named() -> None:
    one = report(metrics=("a", "b"), workloads=(workload("x"),))
    told = contents(one, report(metrics=("b", "c"), workloads=(workload("y"),)))
    assert told[:2] == ("metrics: new a, gone c", "workloads: new x, gone y")
    assert "the same data" in told


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(reports, reports)
def test_no_promotion_adds_false_episodes_or_loses_recall_beyond_the_margins(one: Report, champion: Report) -> None:
    accepted, sentence = better(one, champion)
    if not accepted:
        return
    assert one.false_episodes_per_day is not None
    assert one.recall is not None
    if champion.false_episodes_per_day is not None and champion.recall is not None:
        assert one.false_episodes_per_day <= champion.false_episodes_per_day + MARGINS.false_rise + 1e-9
        assert one.recall >= champion.recall - MARGINS.recall_fall - 1e-9
        assert f"{champion.false_episodes_per_day:.2f} and {champion.recall:.0%}" in sentence


# ---- page and tables -------------------------------------------------------------------------------------------------
def test_the_page_shows_everything_that_a_reviewer_asks_for() -> None:
    curve = Precision(area=0.8, base=0.2, recall=(0.5, 1.0), precision=(0.9, 0.7))
    one = report(
        precision={"ensemble": curve, "arima": curve},
        correlation={"arima": {"arima": 1.0, "lstm": -0.3}, "lstm": {"arima": -0.3, "lstm": None}},
        workloads=(workload("shop/Deployment/cart", abstained={"prophet": "needs 2 days of history, has 6 h"}),),
        sets=(SetRow(name="faults 1", workloads=1, days=1.0, events=4, recall=0.75, area=0.8, gain=0.05),),
        seed=7,
    )
    context = Context(
        champion=report(1.5), champion_version="6", same_data=True, accepted=False, verdict="Refused: x.",
        origin={"selfheal.git_sha": "abc123", "selfheal.versions": "numpy 2.1"},
    )  # fmt: skip
    page = re.sub(r"<svg.*?</svg>|<style.*?</style>|<[^>]*>", " ", html(one, context), flags=re.DOTALL)
    text = " ".join(page.split())
    for expected in (
        "Refused: x.", "version 6", "0.50 1.50 -1.00 better", "1 to 3", "faults 1", "75 %", "-0.30",
        "prophet abstains (needs 2 days of history, has 6 h): shop/Deployment/cart", "sha256:2", "sha256:1", "abc123",
        "numpy 2.1", "seed 7", "adds over 0.25 false episodes a day", "2026-11-23 00:00 to 2026-11-24 00:00 UTC",
    ):  # fmt: skip
        assert expected in text


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(reports)
def test_every_report_becomes_tables_with_one_row_a_workload(one: Report) -> None:
    found = {name: list(csv.reader(StringIO(text, newline=""))) for name, text in tables(one, None).items()}
    assert len(found["tables/workloads.csv"]) == len(one.workloads) + 1
    assert len(found["tables/sets.csv"]) == len(one.sets) + 1
    assert all(len(row) == len(found["tables/workloads.csv"][0]) for row in found["tables/workloads.csv"])


# ---- statistics ------------------------------------------------------------------------------------------------------
@given(st.integers(0, 200), st.integers(1, 200))
def test_an_interval_holds_the_share(hits: int, more: int) -> None:
    low, high = share_interval(hits, hits + more) or (1.0, 0.0)
    assert 0 <= low <= hits / (hits + more) <= high <= 1


def test_nothing_has_no_interval() -> None:
    assert share_interval(0, 0) is None
    assert rate_interval([], 60) is None
    assert episodes_interval(3, 0.0) is None


def test_alarms_in_clumps_prove_less_than_scattered_ones() -> None:
    scattered, clumped = np.zeros(6000, dtype=bool), np.zeros(6000, dtype=bool)
    scattered[::100] = True
    clumped[:60] = True
    near, far = rate_interval([scattered], 60), rate_interval([clumped], 60)
    assert near is not None
    assert far is not None
    assert far[1] - far[0] > 2 * (near[1] - near[0])


def test_a_perfect_score_has_average_precision_one_and_a_blind_one_that_of_chance() -> None:
    faulty = np.array([False] * 8 + [True] * 2)
    perfect, blind = precision_recall(faulty.astype(float), faulty), precision_recall(np.zeros(10), faulty)
    assert perfect is not None
    assert blind is not None
    assert perfect.area == 1.0
    assert blind.area == blind.base == pytest.approx(0.2)
    assert precision_recall(np.zeros(10), np.zeros(10, dtype=bool)) is None


@given(arrays(float, 50, elements=st.floats(0, 1)), arrays(bool, 50))
def test_average_precision_depends_on_the_order_alone(scores: np.ndarray, faulty: np.ndarray) -> None:
    ranks = np.unique(scores, return_inverse=True)[1].astype(float)
    assert precision_recall(scores, faulty) == precision_recall(ranks, faulty)


def test_an_honest_confidence_has_no_calibration_error() -> None:
    faulty = np.array([True] * 5 + [False] * 95)
    error, bins = reliability([(np.full(100, 0.05), faulty)], 0.05)
    assert error == pytest.approx(0.0)
    assert len(bins) == 1
    assert reliability([], 0.05) == (None, ())


def test_votes_that_agree_have_phi_one_and_a_silent_detector_none() -> None:
    votes = np.array([True, False, True, False])
    assert phi([(votes, votes)]) == pytest.approx(1.0)
    assert phi([(votes, ~votes)]) == pytest.approx(-1.0)
    assert phi([(votes, np.zeros(4, dtype=bool))]) is None
