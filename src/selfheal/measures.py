"""Statistics of an evaluation: intervals, precision and recall, agreement of votes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, chi2

from selfheal.report import Bin, Precision

__all__ = ["episodes_interval", "mean", "phi", "precision_recall", "rate_interval", "reliability", "share_interval"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_OUTSIDE = 0.05  # of all intervals: they are 95 % ones
_BINS = 10
_POINTS = 60  # of a stored curve


def mean(flags: Flags) -> float | None:
    """Share of True; None where there is nothing to count."""
    return float(flags.mean()) if len(flags) else None


def share_interval(hits: float, of: float) -> tuple[float, float] | None:
    """Clopper and Pearson's 95 % interval of a share; None of nothing.

    Args:
        hits: How many did.
        of: How many could.
    """
    if of <= 0:
        return None
    low = float(beta.ppf(_OUTSIDE / 2, hits, of - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - _OUTSIDE / 2, hits + 1, of - hits)) if hits < of else 1.0
    return low, high


def rate_interval(parts: Sequence[Flags], block: int) -> tuple[float, float] | None:
    """95 % interval of a share of rows that come in clumps (Korn and Graubard, 1998).

    Alarms of neighbouring rows are no independent proofs. The rows are cut into blocks; as far as the blocks differ by
    more than chance would have it, the rows count for fewer. Where nothing or everything passed, the blocks tell
    nothing about clumps, and rows are taken for independent.

    Args:
        parts: Whether a row passed, one array a window.
        block: Rows that may hang together.
    """
    blocks = [part[start : start + block] for part in parts for start in range(0, len(part), block)]
    rows = sum(len(part) for part in blocks)
    if not rows:
        return None
    hits = np.array([part.sum() for part in blocks], dtype=float)
    sizes = np.array([len(part) for part in blocks], dtype=float)
    share = float(hits.sum() / rows)
    effective = float(rows)
    if 0 < share < 1 and len(blocks) > 1:
        spread = float(((hits - share * sizes) ** 2).sum()) * len(blocks) / (len(blocks) - 1) / rows**2
        if spread > 0:
            effective = min(effective, share * (1 - share) / spread)
    return share_interval(share * effective, effective)


def episodes_interval(count: int, days: float) -> tuple[float, float] | None:
    """95 % interval of episodes a day (Poisson, exact); None of no time."""
    if days <= 0:
        return None
    low = float(chi2.ppf(_OUTSIDE / 2, 2 * count)) / 2 if count else 0.0
    return low / days, float(chi2.ppf(1 - _OUTSIDE / 2, 2 * count + 2)) / 2 / days


def precision_recall(scores: Floats, faulty: Flags) -> Precision | None:
    """Precision and recall of rows at every threshold; None where all rows are of one kind.

    Args:
        scores: Higher is more anomalous, shape [t].
        faulty: The truth, shape [t].
    """
    positive = int(faulty.sum())
    if not 0 < positive < len(faulty):
        return None
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # equal scores pass together
    found = np.cumsum(faulty[order])[ends]
    recall, precision = found / positive, found / (ends + 1)
    area = float((np.diff(recall, prepend=0.0) * precision).sum())
    places = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1.0, _POINTS)))
    return Precision(
        area=area,
        base=positive / len(faulty),
        recall=tuple(round(float(value), 4) for value in recall[places]),
        precision=tuple(round(float(value), 4) for value in precision[places]),
    )


def reliability(parts: Sequence[tuple[Floats, Flags]], prior: float) -> tuple[float | None, tuple[Bin, ...]]:
    """Whether a stated probability is honest.

    Args:
        parts: What was said and what was true, row by row, one pair a window.
        prior: Share of rows that are faulty in life; rows are weighed so that they are here.

    Returns:
        The expected calibration error and the bars it rests on; None where all rows are of one kind.
    """
    said = np.concatenate([one for one, _ in parts] or [np.zeros(0)])
    true = np.concatenate([one for _, one in parts] or [np.zeros(0, dtype=bool)])
    share = float(true.mean()) if len(true) else 0.0
    if share in (0.0, 1.0):
        return None, ()
    weight = np.where(true, prior / share, (1 - prior) / (1 - share)) / len(true)
    places = np.minimum((said * _BINS).astype(int), _BINS - 1)
    bins = []
    for place in np.unique(places):
        inside = places == place
        total = float(weight[inside].sum())
        confidence = float((said[inside] * weight[inside]).sum() / total)
        faulty = float((true[inside] * weight[inside]).sum() / total)
        bins.append(Bin(confidence=confidence, faulty=min(faulty, 1.0), weight=min(total, 1.0)))
    return sum(one.weight * abs(one.confidence - one.faulty) for one in bins), tuple(bins)


def phi(pairs: Sequence[tuple[Flags, Flags]]) -> float | None:
    """Correlation of two detectors' votes (phi coefficient), -1..1; None where one of them never changes its vote."""
    if not pairs:
        return None
    one, other = (np.concatenate([pair[side] for pair in pairs]).astype(float) for side in (0, 1))
    if not one.std() or not other.std():
        return None
    return float(np.corrcoef(one, other)[0, 1])
