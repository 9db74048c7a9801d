"""How metrics of any kind become comparable numbers, for all detectors alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from selfheal.detectors.base import WILD, measured_anew, silences
from selfheal.detectors.storage import pick
from selfheal.detectors.week import Week, proven, slot_of
from selfheal.window import Floats, MetricWindow, Times, Windows, counters, fill_gaps, increases


@dataclass(frozen=True)
class Scaling:
    """How metrics become comparable numbers; learned on training data. Of n models stacked, of shape [n, ..].

    Attributes:
        counter: Which metrics are counters, shape [m] (bool).
        centre: Usual value, shape [m].
        spread: Usual deviation, in the metric's unit, shape [m]; never zero.
        alive: Which metrics had data, shape [m] (bool); the others do not count.
        week: Shift and width of each time of the week (:class:`selfheal.detectors.week.Week`), shape [SLOTS, 2, m],
            or [0, 2, m] where nothing is proven; of stacked models end to end, since hardly any has one.
        week_at: Its first row, shape [1]; negative where there is none.
    """

    counter: Floats
    centre: Floats
    spread: Floats
    alive: Floats
    week: Floats
    week_at: Floats

    @classmethod
    def learn(cls, window: MetricWindow) -> Scaling:
        """From a training window."""
        counter = counters(window)
        values = increases(window.values, counter)
        alive = np.isfinite(values).any(axis=0)
        filled = fill_gaps(values)
        centre, spread = _moments(filled)
        week = proven((filled - centre) / spread, window)
        stored = np.zeros((0, 2, len(centre))) if week is None else np.stack(week, axis=1)
        first = np.array([-1.0 if week is None else 0.0])
        return cls(counter.astype(float), centre, spread, alive.astype(float), stored.astype(np.float32), first)

    def apply(self, window: MetricWindow | Windows, wild: float = WILD) -> Floats:
        """Scaled values, shape [t, .., m], cut at ``wild``, gaps carried forward, metrics without data 0."""
        scaled = self._plain(window)
        if silences(window):
            offset, width = measured_anew(scaled, window)
            scaled = (scaled - offset) / width
        result: Floats = np.clip(scaled, -wild, wild, out=scaled)
        result *= self.alive
        return result

    def invert(self, scaled: Floats, window: MetricWindow | Windows) -> Floats:
        """Scaled values of a window back in the metrics' units (increases for counters)."""
        if silences(window):
            offset, width = measured_anew(self._plain(window), window)
            scaled = scaled * width + offset
        return self.in_units(scaled, window.times)

    def in_units(self, scaled: Floats, times: Times) -> Floats:
        """The same where no sample was missing for long, at moments of shape [t] or [t, n]."""
        week = self._week(times)
        if week is not None:
            scaled = scaled * week.width + week.shift
        result: Floats = scaled * self.spread + self.centre
        return result

    def _plain(self, window: MetricWindow | Windows) -> Floats:
        found = fill_gaps(increases(window.values, self.counter.astype(bool)), self.centre)
        found -= self.centre
        found /= self.spread
        week = self._week(window.times)
        if week is not None:
            found -= week.shift
            found /= week.width
        return found

    def _week(self, times: Times) -> Week | None:
        """What the time of the week changes at moments of shape [t] or [t, n], each of shape [t, .., m]."""
        if (self.week_at < 0).all():
            return None
        at = self.week_at[..., 0].astype(np.intp)
        rows = self.week[np.maximum(at + slot_of(times), 0)].astype(float)
        known = (at >= 0)[..., None]
        return Week(np.where(known, rows[..., 0, :], 0.0), np.where(known, rows[..., 1, :], 1.0))

    def of(self, place: int) -> Scaling:
        """One of n stacked."""
        each = {field: array[place] for field, array in vars(self).items() if field != "week"}
        return Scaling(**each, week=self.week)

    def arrays(self) -> dict[str, Floats]:
        """For storage."""
        return dict(vars(self))


def _moments(filled: Floats) -> tuple[Floats, Floats]:
    """Usual value and deviation. Winsorised: one wild training sample must not widen the band for good."""
    low, high = np.quantile(filled, [0.002, 0.998], axis=0)
    clipped = np.clip(filled, low, high)
    centre, spread = clipped.mean(axis=0), clipped.std(axis=0)
    floor = 1e-6 * (1 + np.abs(centre)) + 0.005 * np.abs(centre)
    return centre, np.maximum(spread, floor)


def scaling_of(arrays: Mapping[str, Floats]) -> Scaling:
    """The scaling stored among a detector's arrays."""
    return Scaling(*pick(arrays, "counter", "centre", "spread", "alive", "week", "week_at"))
