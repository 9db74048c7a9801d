"""When something that grows reaches its limit."""

from __future__ import annotations

import numpy as np

from selfheal.anomaly_type import RESTARTS, column
from selfheal.protocol import Forecast
from selfheal.trend import Flags, Trend, flat, growth
from selfheal.window import DAY, MetricWindow, Windows

_USAGE, _RATIO, _VOLUME = "pod_memory_usage", "memory_limit_ratio", "persistent_volume_usage"
_HORIZON = 7 * DAY  # farther ahead a straight line means nothing
_LEAST_RISE = 0.003  # of the level: near a limit little growth is much; far from it _REACH asks for more
_REACH = 30.0  # nor farther than so many times the growth that was seen: a morning's rise is not a week's


def exhaustion(window: MetricWindow) -> Forecast | None:
    """The nearest exhaustion of memory or storage, None where nothing grows steadily towards a known limit.

    Memory's limit is told by ``pod_memory_usage`` over ``memory_limit_ratio``; a volume's is 100 %. A window holds the
    worst pod's and the fullest volume's samples (the catalogue's ``max``), so the nearest exhaustion of any is told.
    """
    found = [_memory(window), _volume(window)]
    return min((one for one in found if one is not None), key=lambda one: one.exhausted_in, default=None)


def may_exhaust(windows: Windows) -> Flags:
    """Which windows are worth a look by :func:`exhaustion`: in the others nothing grows, shape [n]."""
    columns = [windows.names.index(name) for name in (_USAGE, _VOLUME) if name in windows.names]
    flats = [flat(windows.values[:, :, column], least=_LEAST_RISE) for column in columns]
    found: Flags = ~np.logical_and.reduce([np.ones(windows.values.shape[1], dtype=bool), *flats])
    return found


def _memory(window: MetricWindow) -> Forecast | None:
    usage, ratio = column(window, _USAGE), column(window, _RATIO)
    if usage is None or ratio is None or (trend := growth(usage, column(window, RESTARTS), least=_LEAST_RISE)) is None:
        return None
    # The newest rows alone: a limit may have been raised inside the window.
    usage, ratio = usage[-10:], ratio[-10:]
    both = (ratio > 0) & (usage > 0)  # not so for gaps
    return _until(window, _USAGE, trend, float(np.median(usage[both] / ratio[both])) * 100) if both.any() else None


def _volume(window: MetricWindow) -> Forecast | None:
    percent = column(window, _VOLUME)
    trend = None if percent is None else growth(percent, least=_LEAST_RISE)
    return None if trend is None else _until(window, _VOLUME, trend, 100.0)


def _until(window: MetricWindow, metric: str, trend: Trend, limit: float) -> Forecast | None:
    left = max(limit - trend.level, 0.0)
    rows = left / trend.slope
    if rows * window.step > _HORIZON or rows > _REACH * (len(window) - trend.since):
        return None
    return Forecast(
        metric=metric,
        limit=limit,
        exhausted_in=rows * window.step,
        exhausted_in_lower=left / trend.most * window.step,
    )
