"""Prophet for each metric: the level that a time of day and a day of the week should have.

The prophet package's model on a thinned series, solved exactly (:mod:`selfheal.prophet_season`), kept as a table of a
week. A slow level follows drift between two trainings, so that a threshold is not stuck on for good.
"""

from __future__ import annotations

import logging
from typing import ClassVar

import numpy as np

from selfheal.detectors.base import WILD
from selfheal.detectors.residual import ResidualDetector
from selfheal.detectors.week import MONDAY, SLOT, SLOTS, slot_of
from selfheal.window import DAY, Floats, MetricWindow, Windows, grid

_FIT_POINTS = 700  # what a fit looks at; a daily and a weekly shape need no more
_MOST_FITS = 24  # metrics with the strongest rhythm; the rest has a level and no shape
_DAILY_ORDER = 6
_WEEKLY_ORDER = 20  # resolves a peak of a few hours on one day of the week
_HALFLIFE = 7 * DAY  # of the level: slow enough that an incident of a day still shows, fast enough for a new release
_START = 10  # rows of a window that say where its level is today

# Before prophet is imported, by whoever does: it calls it an error that plotly is not there.
logging.getLogger("prophet.plot").setLevel(logging.CRITICAL)


class ProphetDetector(ResidualDetector):
    """Catches breaks of season: a peak that is missing, or one at the wrong time."""

    name: ClassVar[str] = "prophet"
    seasonal: ClassVar[bool] = True
    wild: ClassVar[float] = 100 * WILD  # where a window begins beyond WILD, a leak must still be seen to grow

    def _needed(self, window: MetricWindow, /) -> int:
        return max(100, round(2 * DAY / window.step))

    def _learn(self, scaled: Floats, window: MetricWindow, /) -> dict[str, Floats]:
        strength = _rhythm(scaled, window)
        chosen = [int(i) for i in np.argsort(-strength)[:_MOST_FITS] if strength[i] > 0.05]
        table = np.repeat(scaled.mean(axis=0)[None, :], SLOTS, axis=0)
        if chosen:
            table[:, chosen] = _fit_weeks(scaled[:, chosen], window)
        return {"table": table.astype(np.float32), "halflife": np.array([_HALFLIFE / window.step])}

    def _forecast(self, scaled: Floats, window: MetricWindow | Windows, /) -> Floats:
        table, slots = self._arrays["table"], slot_of(window.times)
        season = (table[slots] if slots.ndim == 1 else table[np.arange(len(table)), slots]).astype(float)
        return season + _drift(scaled - season, self._arrays["halflife"])


def _drift(rest: Floats, halflife: Floats) -> Floats:
    """The slow level of what the season leaves over, from earlier rows alone.

    Each sample pulls by at most one spread, so that an incident of an hour does not become the new normal.
    """
    rate = 3.0 * (1 - 0.5 ** (1 / np.maximum(halflife, 2.0)))
    level = np.median(rest[:_START], axis=0) if len(rest) else np.zeros(rest.shape[1:])
    found, pull = np.empty_like(rest), np.empty(rest.shape[1:])
    for i, row in enumerate(rest):
        found[i] = level
        np.subtract(row, level, out=pull)
        np.maximum(pull, -1.0, out=pull)
        np.minimum(pull, 1.0, out=pull)
        pull *= rate
        level += pull
    return found


def _rhythm(scaled: Floats, window: MetricWindow) -> Floats:
    """Share of each metric's variance that the time of day explains, shape [m]."""
    slots = slot_of(window.times) % 48
    counts = np.maximum(np.bincount(slots, minlength=48), 1)
    total = scaled.var(axis=0) + 1e-12
    means = np.array([np.bincount(slots, column, 48) / counts for column in scaled.T]).reshape(-1, 48)
    explained: Floats = means[:, slots].var(axis=1) / total
    return explained


def _fit_weeks(columns: Floats, window: MetricWindow) -> Floats:
    """Prophet's season of each column over one week, shape [SLOTS, m]."""
    from selfheal.prophet_season import seasons

    block = max(1, len(columns) // _FIT_POINTS)
    whole = len(columns) // block * block
    thinned = np.clip(columns[:whole], -8, 8).reshape(-1, block, columns.shape[1]).mean(axis=1)
    weekly = window.span.total_seconds() >= 14 * DAY * 0.98
    week = grid(MONDAY + SLOT // 2, SLOTS, 1800.0, first=True)
    order = _WEEKLY_ORDER if weekly else False
    return seasons(thinned, window.times[:whole:block], week, daily=_DAILY_ORDER, weekly=order)
