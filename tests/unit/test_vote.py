"""The ensemble rule and the definition of confidence."""

import math

from hypothesis import given
from hypothesis import strategies as st

from selfheal.vote import FACT_WEIGHT, QUORUM, Vote, hard_vote, logit, with_fact

NAMES = ("isolation_forest", "arima", "prophet", "lstm")
opinions = st.lists(st.tuples(st.sampled_from([True, False, None]), st.floats(0, 1)), min_size=4, max_size=4).map(
    lambda pairs: [Vote(n, v, None if v is None else s) for n, (v, s) in zip(NAMES, pairs, strict=True)]
)
probabilities = st.floats(0, 1)


def test_two_votes_of_four_make_an_anomaly() -> None:
    votes = [Vote("isolation_forest", True, 0.999), Vote("arima", True, 0.99), Vote("prophet", False, 0.1)]
    assert hard_vote(votes).anomaly is True


def test_one_vote_does_not() -> None:
    votes = [Vote("isolation_forest", True, 0.999), Vote("arima", False, 0.2), Vote("prophet", False, 0.1)]
    assert hard_vote(votes).anomaly is False


def test_fewer_than_two_detectors_able_to_vote_cannot_tell() -> None:
    verdict = hard_vote([Vote("isolation_forest", True, 0.999), Vote("prophet", None, None, "needs 2 days")])
    assert verdict.anomaly is None
    assert verdict.score is None


@given(opinions, st.permutations(range(4)))
def test_the_order_of_the_votes_does_not_matter(votes: list[Vote], order: list[int]) -> None:
    mixed = hard_vote([votes[i] for i in order])
    assert (mixed.anomaly, mixed.score) == (hard_vote(votes).anomaly, hard_vote(votes).score)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0.0001, 0.5))
def test_the_score_is_the_second_largest_so_that_it_equals_two_votes_at_every_level(
    scores: list[float], level: float
) -> None:
    votes = [Vote(str(i), score >= 1 - level, score) for i, score in enumerate(scores)]
    verdict = hard_vote(votes)
    assert verdict.score is not None
    assert (verdict.score >= 1 - level) == verdict.anomaly


@given(opinions)
def test_another_vote_in_favour_never_turns_an_anomaly_into_none(votes: list[Vote]) -> None:
    before = hard_vote(votes).anomaly
    after = hard_vote([*votes, Vote("fifth", True, 1.0)]).anomaly
    assert not (before is True and after is not True)


@given(probabilities, st.sampled_from(sorted(FACT_WEIGHT)))
def test_a_reported_fact_never_lowers_confidence_below_its_own(p: float, kind: str) -> None:
    assert with_fact(p, kind) >= with_fact(None, kind) - 1e-12


def test_a_crash_loop_alone_reaches_the_default_threshold_of_085() -> None:
    assert with_fact(None, "CrashLoopBackOff") > 0.85


def test_a_convinced_ensemble_raises_the_confidence_in_a_fact() -> None:
    assert with_fact(0.9, "ProbeFailure") > with_fact(None, "ProbeFailure")


@given(probabilities)
def test_types_of_the_ensemble_get_no_help_from_facts(p: float) -> None:
    assert math.isclose(with_fact(p, "MemoryLeak"), min(max(p, 1e-4), 1 - 1e-4), rel_tol=1e-9)


@given(probabilities)
def test_log_odds_are_finite_everywhere(p: float) -> None:
    assert math.isfinite(logit(p))


def test_the_quorum_is_the_articles() -> None:
    assert QUORUM == 2
