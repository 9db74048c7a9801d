"""Whether a metric grows, how fast, and how sure that is: told from one window, robustly and without a model.

What looks like growth and is none: a step, a level reached and held, the rising edges of a garbage collector's teeth.
What hides growth: restarts, noise, teeth. Growth is only told where it goes on until the newest sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from selfheal.window import Floats

Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

LEAST = 10
"""Samples of growth without which none is told."""

LEAST_RISE = 0.02
"""Share of its level by which a metric must have risen, unless the caller says."""

_MOST_BLOCKS = 40
_LEAST_TEETH = 3
_RESET, _SURE_RESET = 0.3, 0.6  # a lone drop by this share of the level is a new process even where none was counted
_TOOTH = 0.03  # of the level; smaller drops are noise
_NOISES = 6.0  # or by so many times the usual change between neighbours
_SURE = 4.0  # slope over its standard error
_CLEAR = 0.8  # share of the movement since the growth began that it explains
_NEVER = 0.04  # of the slope: a straight line through a living service is never better known than that
_LEAST_CLEAR = 0.5  # share of the movement of the whole window that a flat line with a ramp at its end explains
_STILL = 0.5  # of the slope must be left in the newest half of the growth
_TIMES = np.array([np.nan, 6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81])
"""One-sided 95 % quantile of Student's t by degrees of freedom; 1.7 beyond."""


@dataclass(frozen=True)
class Trend:
    """Steady growth that goes on at the newest sample.

    Attributes:
        slope: Units a row.
        least: Slope at the low end of its 90 % interval.
        most: Slope at the high end.
        level: Where the growth stands now; of a saw-tooth, the height of its peaks.
        since: Row at which it began, or of the oldest sample that shows it.
    """

    slope: float
    least: float
    most: float
    level: float
    since: int


def growth(values: Floats, restarts: Floats | None = None, *, least: float = LEAST_RISE) -> Trend | None:
    """The growth of one metric up to its newest sample, None where there is none or nobody can tell.

    Args:
        values: Shape [t], NaN for a gap.
        restarts: Restart counts on the same rows, where known: a drop at a restart is a new process, any other one may
            be the garbage collector.
        least: Rise, as a share of the level, that is worth the name.
    """
    rows = np.flatnonzero(np.isfinite(values))
    if len(rows) < LEAST:
        return None
    known = values[rows]
    if known[-1] <= known.min() + least * abs(known[-1]):  # the cheap way out, taken by nearly all
        return None
    first, teeth = _teeth(known, None if restarts is None else restarts[rows])
    rows, known = rows[first:], known[first:]
    if len(known) < LEAST:
        return None
    return _of_teeth(rows, known, teeth - first, least) if teeth.size else _of_line(rows, known, least)


def flat(values: Floats, *, least: float = LEAST_RISE) -> Flags:
    """Where :func:`growth` would surely find none, told for many metrics at once, shape [n].

    Args:
        values: Shape [t, n], NaN for a gap; of what has gaps or falls sharply nothing is told.
        least: As for ``growth``.
    """
    rows, count = values.shape
    size, whole, fewest = _blocks(rows)
    if rows < LEAST or whole // size < fewest:
        return np.full(count, rows < LEAST)
    whole_columns = np.isfinite(values).all(axis=0)
    values = np.where(whole_columns, values, 0.0)
    low = values[-1] <= values.min(axis=0) + least * np.abs(values[-1])
    steps = np.diff(values, axis=0)
    noise = np.partition(np.abs(steps), len(steps) // 2, axis=0)[len(steps) // 2]
    falls = (steps < -np.maximum(_TOOTH * np.abs(values[:-1]), _NOISES * noise)).any(axis=0)
    _, clear = _hinged(np.median(values[-whole:].reshape(-1, size, count), axis=1).T, fewest)
    found: Flags = whole_columns & (low | ~(falls | clear))
    return found


def _teeth(known: Floats, restarts: Floats | None) -> tuple[int, Rows]:
    """Where the life of the newest process begins, and the first rows of its saw-tooth's teeth."""
    steps = known[1:] - known[:-1]
    noise = _middle(np.abs(steps))
    drops = np.flatnonzero(steps < -np.maximum(_TOOTH * np.abs(known[:-1]), _NOISES * noise)) + 1
    if not drops.size:
        return 0, drops
    first: int = 0
    if restarts is not None and np.isfinite(restarts).any():
        counted = np.flatnonzero(np.diff(restarts) > 0) + 1
        # The count is scraped apart from the memory, and memory may fall a scrape before the container is back.
        near = [drop for drop in drops if np.any(np.abs(counted - drop) <= 2)]
        first = int(near[-1]) if near else 0
    drops = drops[drops > first]
    if len(drops) == 1 and _new_process(known[first:], int(drops[0]) - first):
        return int(drops[0]), drops[:0]
    return first, drops


def _new_process(known: Floats, drop: int) -> bool:
    """Whether a lone drop is a new process; a climb's end is rather a collection, unless nearly all was given back."""
    kept = float(known[drop] / known[drop - 1]) if known[drop - 1] > 0 else 1.0
    if kept > 1 - _RESET or kept <= 1 - _SURE_RESET:
        return kept <= 1 - _SURE_RESET
    return _of_line(np.arange(drop), known[:drop], LEAST_RISE) is None


def _of_teeth(rows: Rows, known: Floats, starts: Rows, least: float) -> Trend | None:
    """Growth of what is left after each collection: the floor of the teeth, not their rising edges."""
    ends = np.r_[starts[1:], len(known)].astype(int)
    teeth = [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if b - a >= 3]
    if len(teeth) < _LEAST_TEETH:
        return None
    lows = [float(known[a:b].min()) for a, b in (teeth[0], teeth[-1])]
    if lows[1] <= lows[0] + least / 2 * abs(lows[0]):  # the cheap way out once more
        return None
    floors = np.array([_foot(known[a:b]) for a, b in teeth])
    moments = np.array([float(rows[a]) for a, _ in teeth])
    slope, error = _fit(moments, floors)
    if _stepped(floors - floors.mean()) >= slope**2 * float(np.sum((moments - moments.mean()) ** 2)):
        return None
    wide = _student(len(floors) - 2) * np.hypot(error, _NEVER * slope)
    start = float(np.median(floors - slope * moments))
    over = known - (start + slope * rows)
    height = float(np.median([over[a:b].max() for a, b in teeth[:-1]]))
    if slope <= wide or slope * (moments[-1] - moments[0]) < max(least * abs(float(floors[0])), 0.25 * height):
        return None
    level = start + slope * float(rows[-1]) + height
    return Trend(slope, slope - wide, slope + wide, level, int(rows[teeth[0][0]]))


def _foot(tooth: Floats) -> float:
    """Where a tooth begins, by the line through its first half."""
    half = tooth[: max(3, len(tooth) // 2)]
    offsets = np.arange(len(half)) - (len(half) - 1) / 2
    slope = float(offsets @ half / (offsets @ offsets))
    return float(half.sum()) / len(half) - slope * (len(half) - 1) / 2


def _blocks(rows: int) -> tuple[int, int, int]:
    """Rows of a block, rows of all blocks, and the fewest blocks that can show growth."""
    size = max(1, rows // _MOST_BLOCKS)
    return size, rows // size * size, max(-(-LEAST // size), 5)


def _of_line(rows: Rows, known: Floats, least: float) -> Trend | None:
    """A level that begins to grow somewhere in the window, or grew all along."""
    size, whole, fewest = _blocks(len(known))
    blocks = np.median(known[-whole:].reshape(-1, size), axis=1)
    moments = rows[-whole:].reshape(-1, size).mean(axis=1)
    begin = _knee(blocks, fewest)
    if begin is None:
        return None
    y, x = blocks[begin:], moments[begin:]
    slope, error = _robust(x, y)
    newer = len(y) // 2
    older, _ = _robust(x[: newer + 1], y[: newer + 1])
    late, unsure = _robust(x[newer:], y[newer:])
    rise = slope * (x[-1] - x[0])
    rest = y - y.mean() - slope * (x - x.mean())
    unexplained = float(rest @ rest) / max(float(np.sum((y - y.mean()) ** 2)), 1e-300)
    if slope <= _SURE * error or rise < least * abs(float(np.median(known))) or unexplained > 1 - _CLEAR:
        return None
    if late + unsure < _STILL * slope:
        return None
    wide = _student(len(y) - 2) * np.hypot(error, np.hypot(abs(late - older) / 2, _NEVER * slope))
    now = float(np.median(y - slope * x)) + slope * float(rows[-1])
    return Trend(slope, slope - wide, slope + wide, now, int(x[0]))


@lru_cache(maxsize=64)
def _hinges(count: int, least: int) -> tuple[Floats, Floats]:
    """Flat until k, then a ramp, for each k: centred, shape [k, count], and their squares."""
    ramps = np.maximum(np.arange(count)[None, :] - np.arange(max(count - least + 1, 1))[:, None], 0.0)
    ramps -= ramps.mean(axis=1, keepdims=True)
    return ramps, (ramps**2).sum(axis=1)


def _knee(blocks: Floats, least: int) -> int | None:
    """The block where growth begins; None where a step tells the story better, or nothing grows."""
    if len(blocks) < least:
        return None
    explained, clear = _hinged(blocks, least)
    return int(np.argmax(explained)) if clear else None


def _hinged(blocks: Floats, least: int) -> tuple[Floats, Flags]:
    """How much growth from each block on explains, shape [.., k], and whether the best place is clear, shape [..]."""
    centred = blocks - blocks.mean(axis=-1, keepdims=True)
    ramps, squares = _hinges(blocks.shape[-1], least)
    along = centred @ ramps.T
    explained = np.where(along > 0, along**2 / squares, 0.0)
    best = explained.max(axis=-1)
    clear: Flags = (best >= _LEAST_CLEAR * (centred**2).sum(axis=-1)) & (best > _stepped(centred))
    return explained, clear


def _stepped(centred: Floats) -> Floats:
    """How much of a centred series the best single step explains, as a sum of squares, shape [..] of [.., t]."""
    size = centred.shape[-1]
    count = np.arange(1, size)
    sums = np.cumsum(centred, axis=-1)[..., :-1]
    found: Floats = (sums**2 * size / (count * (size - count))).max(axis=-1)
    return found


def _robust(x: Floats, y: Floats) -> tuple[float, float]:
    """Theil-Sen's slope, and a standard error that knows that neighbours in time are no independent witnesses."""
    one, other = _pairs(len(x))
    slope = _middle((y[other] - y[one]) / (x[other] - x[one]))
    return slope, _error(x, y, slope)


@lru_cache(maxsize=64)
def _pairs(count: int) -> tuple[Rows, Rows]:
    one, other = np.triu_indices(count, 1)
    return one, other


def _middle(values: Floats) -> float:
    """The upper median; numpy's own costs ten times as much on so few values."""
    half = len(values) // 2
    return float(np.partition(values, half)[half])


def _fit(x: Floats, y: Floats) -> tuple[float, float]:
    """Least squares: slope and its standard error."""
    offsets = x - x.sum() / len(x)
    slope = float(offsets @ y / (offsets @ offsets))
    return slope, _error(x, y, slope)


def _error(x: Floats, y: Floats, slope: float) -> float:
    offsets = x - x.sum() / len(x)
    rest = y - y.sum() / len(y) - slope * offsets
    power = float(rest @ rest)
    memory = float(rest[1:] @ rest[:-1]) / power if power > 0 else 0.0
    memory = min(max(memory, 0.0), 0.9)
    spread = power / max(len(x) - 2, 1) / float(offsets @ offsets)
    return float(np.sqrt(spread * (1 + memory) / (1 - memory)))


def _student(freedom: int) -> float:
    return float(_TIMES[freedom]) if 0 < freedom < len(_TIMES) else 1.75
