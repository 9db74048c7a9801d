"""The ensemble rule and the definition of confidence. Pure Python, shared by endpoint, pipeline and controller.

Rule: a workload is anomalous when at least two detectors vote for it, of those that did not abstain. With fewer than
two detectors able to vote the answer is ``None``: cannot tell.

Confidence: a calibrated probability that the workload is really anomalous. The ensemble's own probability comes from
calibration on injected faults (:mod:`selfheal.calibration`). A fact that Kubernetes reports is added as evidence in
log-odds, ``logit(confidence) = logit(p_ensemble) + w``, with one weight for each anomaly type in :data:`FACT_WEIGHT`.
See docs/adr/0001-confidence.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

QUORUM = 2
"""How many votes make an anomaly (the article's hard vote)."""

_EDGE = 1e-4  # keeps log-odds finite: nobody is ever more certain than 1 in 10,000

FACT_WEIGHT: Mapping[str, float] = MappingProxyType(
    {
        # Facts: Kubernetes has already given up on the container, or says why it cannot run. With a silent ensemble
        # (p = 0.5) the weight alone gives the confidence in the comment.
        "CrashLoopBackOff": 3.0,  # 0.95
        "OOMKilled": 3.5,  # 0.97
        "ImagePullBackOff": 3.5,  # 0.97
        "ConfigError": 3.5,  # 0.97
        "RolloutStuck": 2.6,  # 0.93
        "JobFailed": 2.6,  # 0.93
        "ProbeFailure": 2.2,  # 0.90: a probe can be wrong while the program is right
        "PodPending": 2.2,  # 0.90: the scheduler may still find room
        # A fact of type MetricAnomaly, known by its cause (ADR "zero replicas"): the objects themselves prove it.
        "ScaledToZero": 3.0,  # 0.95
    }
)
"""Log-odds that a reported fact adds. To be learned from outcomes later; until then, documented judgement."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One detector's opinion about the newest sample of a window.

    Attributes:
        detector: Name in :data:`selfheal.detectors.DETECTORS`.
        vote: True or False; None when the detector abstained.
        score: Calibrated score in 0..1 (one minus the p-value); None when it abstained.
        reason: Why it abstained, empty otherwise.
    """

    detector: str
    vote: bool | None
    score: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the votes come to.

    Attributes:
        anomaly: True, False, or None for "cannot tell".
        score: The second largest calibrated score, so that ``score >= 1 - a`` is "two votes at level a" for every a;
            None when fewer than two detectors could vote.
        votes: The votes it was made from.
    """

    anomaly: bool | None
    score: float | None
    votes: tuple[Vote, ...]

    @property
    def in_favour(self) -> int:
        """How many detectors voted for an anomaly."""
        return sum(vote.vote is True for vote in self.votes)


def hard_vote(votes: Iterable[Vote], quorum: int = QUORUM) -> Verdict:
    """Apply the ensemble rule.

    Args:
        votes: One for each detector, abstentions included.
        quorum: Votes needed; fewer detectors than this able to vote is "cannot tell".

    Returns:
        The verdict; it does not depend on the order of the votes.
    """
    given = tuple(votes)
    able = [vote for vote in given if vote.vote is not None]
    if len(able) < quorum:
        return Verdict(None, None, given)
    scores = sorted((vote.score if vote.score is not None else float(bool(vote.vote)) for vote in able), reverse=True)
    return Verdict(sum(vote.vote is True for vote in able) >= quorum, scores[quorum - 1], given)


def logit(probability: float) -> float:
    """Log-odds of a probability, finite at both ends."""
    p = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(p / (1 - p))


def with_fact(p_ensemble: float | None, anomaly_type: str) -> float:
    """Confidence once Kubernetes has reported a fact of this type.

    Args:
        p_ensemble: The endpoint's confidence in 0..1; None when it cannot tell, which counts as even odds. A silent
            ensemble is no evidence against a fact: a container that Kubernetes gave up on can look calm in metrics
            that are a scrape old. So the ensemble can raise the confidence in a fact, and never lowers it below
            the fact's own.
        anomaly_type: A symptom type, or the cause of a fact that has a weight of its own; others add nothing.

    Returns:
        Probability in 0..1.
    """
    prior = 0.5 if p_ensemble is None else max(p_ensemble, 0.5) if anomaly_type in FACT_WEIGHT else p_ensemble
    log_odds = logit(prior) + FACT_WEIGHT.get(anomaly_type, 0.0)
    return 1 / (1 + math.exp(-log_odds))
