"""p-values, votes and confidence, as properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal.calibration import Confidence, Reference, VoteSettings, evidence, raise_votes
from selfheal.errors import BadModel
from selfheal.vote import Vote, hard_vote
from selfheal.window import Floats

SETTINGS = VoteSettings()


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.learn(np.random.default_rng(0).lognormal(0.0, 0.3, 5000))


def test_normal_data_pass_the_level_about_as_often_as_it_says(reference: Reference) -> None:
    fresh = np.random.default_rng(1).lognormal(0.0, 0.3, 200)
    many = np.concatenate([reference.surprise(np.random.default_rng(i).permutation(fresh)) for i in range(9)])
    assert 0.002 < float((many >= 2).mean()) < 0.03


def test_a_higher_score_is_never_less_surprising(reference: Reference) -> None:
    found = reference.surprise(np.linspace(0, 50, 300))
    assert (np.diff(found) >= 0).all()
    assert 0 <= found[0] < found[-1]


def test_a_vote_needs_two_of_three_rows_and_holds_until_three_are_quiet() -> None:
    surprise = np.array([0, 9, 0, 0, 9, 9, 0, 0, 0, 0], dtype=float)
    assert raise_votes(surprise, SETTINGS).tolist() == [False] * 5 + [True] * 3 + [False] * 2


@given(st.lists(st.floats(0, 15), min_size=1, max_size=60))
def test_a_vote_rises_only_where_the_p_value_passed_the_level(surprises: list[float]) -> None:
    surprise = np.array(surprises)
    votes = raise_votes(surprise, SETTINGS)
    for row in np.flatnonzero(votes & ~np.r_[False, votes[:-1]]):
        recent = 10.0 ** -surprise[max(0, row - SETTINGS.among + 1) : row + 1]
        assert (recent <= SETTINGS.level * (1 + 1e-9)).sum() >= SETTINGS.needed


@given(st.lists(st.floats(0, 1), min_size=2, max_size=4), st.floats(0.0, 1.0))
def test_the_second_largest_score_is_two_votes_at_every_level(scores: list[float], level: float) -> None:
    verdict = hard_vote([Vote(f"d{i}", score >= 1 - level, score) for i, score in enumerate(scores)])
    assert verdict.score is not None
    assert verdict.anomaly == (verdict.score >= 1 - level)


def test_a_constant_reference_is_no_division_by_zero() -> None:
    found = Reference.learn(np.ones(100)).surprise(np.array([1.0, 1.0, 5.0]))
    assert np.isfinite(found).all()
    assert found[2] > 5 > found[0]


def test_confidence_separates_injected_faults_and_grows_with_evidence() -> None:
    random = np.random.default_rng(0)
    calm, faulty = random.exponential(0.4, (500, 4)), random.exponential(0.4, (500, 4)) + 4
    rows = evidence(np.vstack([calm, faulty]))
    curve = Confidence.learn(rows, np.arange(1000) >= 500)
    assert curve(rows[500:]).mean() > 0.8 > 0.1 > curve(rows[:500]).mean()
    ladder = curve(np.column_stack([np.linspace(0, 15, 50)] * 2))
    assert (np.diff(ladder) >= 0).all()


def test_confidence_without_both_classes_is_the_documented_curve() -> None:
    assert Confidence.learn(np.zeros((100, 2)), np.zeros(100, dtype=bool)).bias == Confidence.default().bias


def test_evidence_ignores_detectors_that_abstain() -> None:
    found: Floats = evidence(np.array([[3.0, np.nan, 1.0, 2.0]]))
    assert found.tolist() == [[2.0, 2.0]]


def test_settings_of_another_version_are_refused() -> None:
    assert VoteSettings.from_numbers(SETTINGS.to_numbers()) == SETTINGS
    with pytest.raises(BadModel, match="another version"):
        VoteSettings.from_numbers({"level": 0.01})
