"""What comes back every week: excursions from the daily rhythm that the weeks before have proven, for all detectors.

Two weeks are little to learn a week from: a table of their means is noise for the most part. So nothing is believed but
what stood far out at the same time of every week, for an hour at the least. Everything else keeps its daily rhythm.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selfheal.detectors.base import Flags
from selfheal.window import DAY, Floats, MetricWindow, Places, Times

SLOTS = 336
"""Half hours of a week."""

MONDAY = np.datetime64("2024-01-01T00:00:00", "s")
SLOT = np.timedelta64(1800, "s")

_A_DAY = 48  # slots
_LEAST_SPAN = 10.9 * DAY  # of training: what is left of two weeks when a fifth is held back
_FAR = 4.0  # times the usual distance of a half hour from the daily rhythm
_NEAR = 1.0  # the same beside what is far
_LEAST = 1.0  # spreads of the metric: less than that is no excursion worth knowing
_SIGMA = 1.4826  # standard deviation of normal noise, by the median of its size
_SHARE = 0.75  # of the weeks seen, two at the least
_LONGEST = 16  # slots: what lasts longer is no exception, detectors have met it often enough
_CUT = 8.0  # spreads: farther off is no more wild
_WIDEST = 5.0
_WHOLE = 0.8  # of a slot's samples must be there


def slot_of(times: Times) -> Places:
    """Half hour of the week of each moment, of the same shape."""
    found: Places = ((times - MONDAY) % (SLOTS * SLOT) // SLOT).astype(np.intp)
    return found


class Week(NamedTuple):
    """What the time of the week changes; where nothing is proven that is nothing at all.

    Attributes:
        shift: Of the level, in units of each metric's spread, shape [SLOTS, m]; else 0.
        width: How many times as wild as usual the metric is then, shape [SLOTS, m]; else 1.
    """

    shift: Floats
    width: Floats


def proven(scaled: Floats, window: MetricWindow) -> Week | None:
    """What weeks before have proven of each time of the week.

    ``(scaled - shift) / width`` is what the metric would be without: on its daily rhythm, and about as calm as ever.

    Args:
        scaled: Of training, in units of each metric's spread, without gaps, shape [t, m].
        window: Where it stems from.

    Returns:
        None where nothing is proven; never anything without two weeks of history.
    """
    if window.span.total_seconds() < _LEAST_SPAN:
        return None
    days = _half_hours(scaled, window)
    daily = _median(days)
    weeks = (days - daily).reshape(-1, SLOTS, days.shape[2])
    lasts = _lasts(weeks)
    if not lasts.any():
        return None
    away = np.where(lasts, _median(weeks), 0.0)
    slots, daily = slot_of(window.times), np.tile(np.nan_to_num(daily), (7, 1))
    width = np.where(lasts, _wildness(scaled - (daily + away)[slots], slots, weeks, lasts), 1.0)
    # What is left of the level is the daily rhythm, which a width must not change.
    return Week(away + daily * (1 - width), width)


def _lasts(weeks: Floats) -> Flags:
    """Where metrics stand far from the daily rhythm every week, shape [SLOTS, m].

    Args:
        weeks: How far each half hour does, NaN where it is not known, shape [weeks, SLOTS, m].
    """
    size = np.abs(weeks).reshape(-1, _A_DAY, weeks.shape[2])
    usual = _SIGMA * np.tile(np.maximum(_median(size.reshape(-1, size.shape[2])), _median(size)), (7, 1))
    needed = np.maximum(2, np.ceil(_SHARE * np.isfinite(weeks).sum(axis=0)))
    found = np.zeros(usual.shape, dtype=bool)
    for side in (1, -1):
        far, near = (
            (side * weeks > np.maximum(times * usual, least)).sum(axis=0) >= needed
            for times, least in ((_FAR, _LEAST), (_NEAR, _LEAST / 4))
        )
        far &= np.roll(far, 1, axis=0) | np.roll(far, -1, axis=0)  # a half hour alone may be chance
        found |= _grown(far, near)
    return found & ~_long(np.logical_or.reduce(found, axis=1))[:, None]


def _long(flags: Flags) -> Flags:
    """Flags of runs longer than _LONGEST around the week, shape [SLOTS]."""
    if flags.all():
        return flags
    start = int(np.argmin(flags))  # a slot that is none: no run goes over the end from here
    edges = np.diff(np.concatenate([[0], np.roll(flags, -start).astype(int), [0]]))
    found = np.zeros_like(flags)
    for begin, end in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
        found[begin:end] = end - begin > _LONGEST
    return np.roll(found, start)


def _grown(far: Flags, near: Flags) -> Flags:
    """What is far out, and what is less far beside it, or at the same time in another metric; shape [SLOTS, m]."""
    found = far | (near & far.any(axis=1, keepdims=True))
    for _ in range(SLOTS):
        grown = found | (near & (np.roll(found, 1, axis=0) | np.roll(found, -1, axis=0)))
        if (grown == found).all():
            break
        found = grown
    return found


def _wildness(rest: Floats, slots: Places, weeks: Floats, lasts: Flags) -> Floats:
    """How many times its usual distance from the expected level a metric has where ``lasts``, shape [SLOTS, m].

    The weeks that a level was learned from are nearer to it than the next one will be: what half hours differ by from
    week to week is added.
    """
    energy: Floats = np.stack(
        [np.bincount(slots, column, SLOTS) for column in np.clip(rest, -_CUT, _CUT).T ** 2], axis=1
    )
    count: Floats = np.bincount(slots, minlength=SLOTS)[:, None].astype(float)
    usual = (energy * ~lasts).sum(axis=0) / np.maximum((count * ~lasts).sum(axis=0), 1)
    seen = np.maximum(np.isfinite(weeks).sum(axis=0), 2)
    between = np.nansum((weeks - _median(weeks)) ** 2, axis=0) / (seen - 1)
    energy, count = (_with_neighbours(part * lasts) for part in (energy + count * between * 2 / seen, count))
    found: Floats = np.sqrt(energy / np.maximum(count, 1) / np.maximum(usual, 1e-12))
    return np.clip(found, 1.0, _WIDEST)


def _with_neighbours(values: Floats) -> Floats:
    found: Floats = values + np.roll(values, 1, axis=0) + np.roll(values, -1, axis=0)
    return found


def _half_hours(scaled: Floats, window: MetricWindow) -> Floats:
    """Mean of each half hour in whole weeks, from a Monday on, NaN where samples are missing, shape [days, 48, m]."""
    place = ((window.times - MONDAY) // SLOT).astype(np.intp)
    place -= place[0] // SLOTS * SLOTS
    cells = -(-(int(place[-1]) + 1) // SLOTS) * SLOTS
    known = np.isfinite(window.values).any(axis=1)
    counts = np.bincount(place[known], minlength=cells)
    sums = np.stack([np.bincount(place[known], column[known], minlength=cells) for column in scaled.T], axis=1)
    found = sums / np.maximum(counts, 1)[:, None]
    found[counts < _WHOLE * max(1.0, float(SLOT / np.timedelta64(1, "s")) / window.step)] = np.nan
    return found.reshape(-1, _A_DAY, scaled.shape[1])


def _median(values: Floats) -> Floats:
    """Along the first axis, of the values that are there; NaN where none is."""
    count = np.isfinite(values).sum(axis=0)[None]
    ordered = np.sort(values, axis=0)  # NaN last
    low, high = (np.take_along_axis(ordered, place, axis=0)[0] for place in ((count - 1) // 2, count // 2))
    found: Floats = (low + high) / 2
    return found
