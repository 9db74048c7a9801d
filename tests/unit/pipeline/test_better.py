"""The champion's rule: pure, and on the safe side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal.evaluation import MARGINS, better
from selfheal.report import Report
from tests.support.reports import report

sane_false = st.floats(0, MARGINS.most_false)
sane_recall = st.floats(MARGINS.least_recall, 1)
rates = st.floats(0, 100)
shares = st.floats(0, 1)
reports = st.builds(report, st.none() | rates, st.none() | shares, st.none() | shares)


@given(sane_false, sane_recall)
def test_a_model_as_good_as_the_champion_is_accepted(false: float, recall: float) -> None:
    assert better(report(false, recall), report(false, recall))[0]


@given(sane_false, sane_recall, rates, shares)
def test_a_model_that_is_better_in_both_is_accepted(false: float, recall: float, more: float, less: float) -> None:
    assert better(report(false, recall), report(false + more, recall * less))[0]


@given(sane_false, sane_recall, st.floats(MARGINS.false_rise + 0.01, 10))
def test_more_false_alarms_than_the_margin_are_refused_whatever_is_found(
    false: float, recall: float, more: float
) -> None:
    assert not better(report(false + more, 1.0), report(false, recall))[0]


@given(sane_false, st.floats(MARGINS.recall_fall + 0.01, 1), st.floats(MARGINS.recall_fall + 0.005, 1))
def test_fewer_faults_found_than_the_margin_are_refused_however_quiet(false: float, recall: float, less: float) -> None:
    assert not better(report(0.0, max(recall - less, 0.0)), report(false, recall))[0]


@given(reports)
def test_without_a_champion_only_the_absolute_bounds_decide(challenger: Report) -> None:
    false, recall, ece = challenger.false_episodes_per_day, challenger.recall, challenger.ece
    sane = (
        false is not None
        and recall is not None
        and false <= MARGINS.most_false
        and recall >= MARGINS.least_recall
        and (ece is None or ece <= MARGINS.most_ece)
    )
    assert better(challenger, None)[0] is sane


@given(reports, st.none() | reports)
def test_what_is_out_of_bounds_is_never_accepted(challenger: Report, champion: Report | None) -> None:
    if better(challenger, champion)[0]:
        assert better(challenger, None)[0]


@given(reports, st.none() | reports)
def test_the_sentence_begins_with_the_decision(challenger: Report, champion: Report | None) -> None:
    accepted, sentence = better(challenger, champion)
    assert sentence.startswith("Accepted" if accepted else "Refused")
    assert sentence.endswith(".")


def test_what_could_not_be_judged_is_refused_and_not_taken_for_zero() -> None:
    accepted, sentence = better(report(None, None), None)
    assert not accepted
    assert "could not be judged" in sentence


@pytest.mark.parametrize(
    ("challenger", "champion", "why"),
    [
        (report(1.0, 0.9), report(0.5, 0.9), "false episodes rise by more than 0.25 a day (1.00"),
        (report(0.5, 0.8), report(0.5, 0.9), "recall falls by more than 5%"),
        (report(7.0, 0.9), None, "more than 6 false episodes"),
        (report(0.5, 0.3), None, "less than 40% of the injected faults"),
        (report(0.5, 0.9, 0.3), None, "its confidence is off by 0.30"),
    ],
)
def test_a_refusal_names_the_figure_that_decided(challenger: Report, champion: Report | None, why: str) -> None:
    accepted, sentence = better(challenger, champion)
    assert not accepted
    assert why in sentence
