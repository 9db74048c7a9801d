"""From raw scores to votes and to confidence, in three separate steps.

1. **p-value**: how often would normal data score as high? The bulk is ranked against held-back recent normal data, the
   tail is a fitted exponential of the log-score. The reference stands still between two calibrations: an incident
   cannot teach it that incidents are normal (:mod:`selfheal.hearing` says what it is learned from).
2. **vote**: the p-value passes a level in k of the last m rows, and holds until it is quiet again (hysteresis).
3. **confidence**: a logistic curve from the evidence of the votes to the probability of a real anomaly, fitted on
   faults injected into held-back normal data (:mod:`selfheal.injection`), never on labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from selfheal.errors import BadModel
from selfheal.window import Floats, Places

Flags = npt.NDArray[np.bool_]

_LN10 = math.log(10.0)
_MIDDLE = 0.9  # quantile where the tail begins
_FAR = 0.995
_LEAST_MEMORY = 60.0  # seconds that persistence looks back
_LEAST_TAIL = 0.02  # of the log-score: two per cent more is never a proof of anything
MOST_SURPRISE = 15.0
"""-log10(p) is cut here: 1 - p has no room for less in 64 bits."""


@dataclass(frozen=True)
class VoteSettings:
    """How surprise becomes a vote. One configuration for all data; none was chosen with labels of a series.

    Attributes:
        level: p-value at which a row counts.
        release: p-value above which a raised vote begins to fall. The same: a higher one found no more and kept half as
            many quiet rows again alarmed.
        needed: Rows of the last ``among`` that must count.
        among: Length of the memory, in rows.
    """

    level: float = 0.01
    release: float = 0.01
    needed: int = 2
    among: int = 3

    @classmethod
    def for_step(cls, step: float) -> Self:
        """Persistence that spans at least a minute: rows that come faster must not cry wolf more often a day.

        Args:
            step: Seconds between rows.
        """
        among = max(cls.among, math.ceil(_LEAST_MEMORY / step))
        return cls(needed=math.ceil(among * cls.needed / cls.among), among=among)

    def to_numbers(self) -> dict[str, float]:
        """For a manifest."""
        return asdict(self)

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, float]) -> VoteSettings:
        """From a manifest.

        Raises:
            BadModel: When a setting is missing or unknown.
        """
        if set(numbers) != {field.name for field in fields(cls)}:
            raise BadModel(f"the model's vote settings are {sorted(numbers)}: it is of another version, train it again")
        settings: dict[str, Any] = {**numbers, "needed": int(numbers["needed"]), "among": int(numbers["among"])}
        return cls(**settings)


@dataclass(frozen=True)
class Reference:
    """What a detector's score looks like on normal data.

    Attributes:
        middle: 90 % quantile of the log-score.
        tail: Mean excess of the log-score above it: the scale of the exponential tail.
        body: Log-scores at 0, 5, .. 90 %, shape [19], for ranks below the tail.
    """

    middle: float
    tail: float
    body: Floats

    @classmethod
    def learn(cls, scores: Floats) -> Reference:
        """From scores of held-back normal rows, shape [t]."""
        logs = _log(scores)
        middle = float(np.quantile(logs, _MIDDLE))
        over = logs[logs > middle] - middle
        # The mean excess alone would trust a short sample; the far quantile keeps heavy tails honest.
        far = (float(np.quantile(logs, _FAR)) - middle) / math.log((1 - _MIDDLE) / (1 - _FAR))
        tail = max(float(over.mean()) if over.size else 0.0, far, _LEAST_TAIL)
        return cls(middle, tail, np.quantile(logs, np.linspace(0, _MIDDLE, 19)))

    def surprise(self, scores: Floats) -> Floats:
        """-log10 of the p-value of each row; both of shape [t]."""
        logs = _log(scores)
        rank = np.interp(logs, self.body, np.linspace(0, _MIDDLE, len(self.body)))
        return _surprise((logs - self.middle) / self.tail, rank)


@dataclass(frozen=True)
class References:
    """Those of n workloads for one detector, for scores of shape [t, n].

    Attributes:
        middle: Shape [n]; this and the others as in :class:`Reference`.
        tail: Shape [n].
        body: Shape [n, 19].
    """

    middle: Floats
    tail: Floats
    body: Floats

    @classmethod
    def of(cls, references: Sequence[Reference]) -> References:
        """Stack them in their order."""
        middle, tail = (np.array([getattr(one, name) for one in references]) for name in ("middle", "tail"))
        return cls(middle, tail, np.stack([one.body for one in references]))

    def take(self, which: Places) -> References:
        """Those at some places, in that order."""
        return References(self.middle[which], self.tail[which], self.body[which])

    def surprise(self, scores: Floats) -> Floats:
        """As :meth:`Reference.surprise`, shape [t, n]."""
        logs = _log(scores)
        ranks, last, each = (
            np.linspace(0, _MIDDLE, self.body.shape[1]),
            self.body.shape[1] - 1,
            np.arange(len(self.body)),
        )
        below = (self.body <= logs[..., None]).sum(axis=-1) - 1  # the knot below, -1 before the first
        knot = np.clip(below, 0, last - 1)
        left, right = self.body[each, knot], self.body[each, knot + 1]
        between = ranks[knot] + (logs - left) * (ranks[1] / np.where(right > left, right - left, np.inf))
        rank = np.where(below < 0, 0.0, np.where(below >= last, _MIDDLE, between))
        return _surprise((logs - self.middle) / self.tail, rank)


def _surprise(over: Floats, rank: Floats) -> Floats:
    beyond = -math.log10(1 - _MIDDLE) + over / _LN10
    found: Floats = np.where(over > 0, beyond, -np.log10(np.maximum(1 - rank, 1 - _MIDDLE)))
    return np.clip(found, 0.0, MOST_SURPRISE)


def _log(scores: Floats) -> Floats:
    found: Floats = np.log(np.maximum(scores, 0.0) + 1e-3)
    return found


def raise_votes(surprise: Floats, settings: VoteSettings) -> Flags:
    """Votes from surprise: k of m to rise, quiet for m rows to fall, shape [t, ..]."""
    rise, fall = _turns(surprise, settings)
    return rise > fall


def newest_votes(surprise: Floats, settings: VoteSettings) -> tuple[Flags, Flags]:
    """Votes of the newest row from a few newest rows alone, as far as these tell.

    Args:
        surprise: Shape [k, n]; what was before is not known.
        settings: As for :func:`raise_votes`.

    Returns:
        The votes, and whether each is certain, both of shape [n]. A vote turned up or down in these rows is certain:
        what was before cannot change it.
    """
    rise, fall = (turns[settings.among - 1 :] for turns in _turns(surprise, settings))
    if not len(rise):
        return (np.zeros(surprise.shape[1:], dtype=bool),) * 2
    # Before the first full memory a fall may be none, and a rise may be missing: only turns after it count.
    return rise[-1] > fall[-1], np.maximum(rise[-1], fall[-1]) >= settings.among - 1


def _turns(surprise: Floats, settings: VoteSettings) -> tuple[Places, Places]:
    """Last row up to each at which a vote rose, and at which it fell; -1 for none, shape [t, ..]."""
    rows = np.arange(len(surprise)).reshape(-1, *[1] * (surprise.ndim - 1))
    high = surprise >= -math.log10(settings.level)
    calm = surprise < -math.log10(settings.release)
    up = _recent(high, settings.among) >= settings.needed
    down = ~up & (_recent(calm, settings.among) >= np.minimum(settings.among, rows + 1))
    rise, fall = (np.maximum.accumulate(np.where(turn, rows, -1), axis=0) for turn in (up, down))
    return rise, fall


def _recent(flags: Flags, among: int) -> Places:
    """How many of the last rows, this one included, shape [t, ..]."""
    count: Places = np.cumsum(flags, axis=0)
    count[among:] -= count[:-among].copy()
    return count


def evidence(surprises: Floats) -> Floats:
    """What the confidence is read from: the second largest and the mean surprise, shape [t, 2].

    Args:
        surprises: By detector, NaN where one abstains, shape [t, d].
    """
    known = np.nan_to_num(surprises, nan=0.0)
    ordered = np.sort(known, axis=1)
    second = ordered[:, -2] if known.shape[1] > 1 else np.zeros(len(known))
    count = np.maximum(np.isfinite(surprises).sum(axis=1), 1)
    return np.column_stack([second, known.sum(axis=1) / count])


@dataclass(frozen=True)
class Confidence:
    """A logistic curve from evidence to probability.

    Attributes:
        weights: Shape [2], not negative: more surprise never lowers the confidence.
        bias: Log-odds without any surprise.
    """

    weights: Floats
    bias: float

    @classmethod
    def default(cls) -> Confidence:
        """What holds where there was too little data to calibrate: 0.5 at two votes of p = 0.001."""
        return cls(np.array([1.2, 0.6]), -5.4)

    @classmethod
    def learn(cls, rows: Floats, faulty: Flags, prior: float = 0.05) -> Confidence:
        """Fit on evidence of rows with and without injected faults.

        Args:
            rows: Evidence, shape [n, 2].
            faulty: Whether a fault was injected, shape [n].
            prior: Share of anomalous rows to assume in real life; injected ones are far more frequent.

        Returns:
            The curve; the default one where a class is missing.
        """
        if faulty.sum() < 20 or (~faulty).sum() < 20:
            return cls.default()
        weight = np.where(faulty, prior / faulty.mean(), (1 - prior) / (1 - faulty.mean()))
        theta = _logistic(rows, faulty.astype(float), weight)
        return cls(np.maximum(theta[:2], 0.05), float(theta[2]))

    def __call__(self, rows: Floats) -> Floats:
        """Probability for evidence of shape [t, 2], shape [t]."""
        log_odds = np.clip(rows @ self.weights + self.bias, -30, 30)
        found: Floats = 1 / (1 + np.exp(-log_odds))
        return found


def _logistic(rows: Floats, target: Floats, weight: Floats) -> Floats:
    """Weighted logistic regression with a little ridge, by scipy's optimiser; weights not negative, shape [3]."""
    from scipy.optimize import minimize

    design = np.column_stack([rows, np.ones(len(rows))])
    share = weight / weight.sum()

    def loss(theta: Floats) -> tuple[float, Floats]:
        odds = design @ theta
        value = share @ (np.logaddexp(0.0, odds) - target * odds) + 1e-4 * float(theta[:2] @ theta[:2])
        slope = design.T @ (share * (1 / (1 + np.exp(-np.clip(odds, -30, 30))) - target))
        slope[:2] += 2e-4 * theta[:2]
        return float(value), slope

    found: Floats = minimize(loss, np.array([1.0, 0.5, -4.0]), jac=True, bounds=[(0, 8), (0, 8), (-15, 3)]).x
    return found
