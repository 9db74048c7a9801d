"""When something that grows reaches its limit."""

from __future__ import annotations

import numpy as np

from selfheal.anomaly_type import growth
from selfheal.protocol import Forecast
from selfheal.window import DAY, Floats, MetricWindow

_HORIZON = 7 * DAY  # farther ahead a straight line means nothing
_BLOCKS = 8
_ONE_SIDED_95 = 1.645  # the lower end of a 90 % interval


def exhaustion(window: MetricWindow) -> Forecast | None:
    """The nearest exhaustion of memory or storage, None where nothing grows steadily towards a known limit.

    Memory's limit is told by ``pod_memory_usage`` over ``memory_limit_ratio``; a volume's is 100 %.
    """
    found = [
        forecast
        for metric, limit in (
            ("pod_memory_usage", _memory_limit(window)),
            ("persistent_volume_usage", 100.0 if "persistent_volume_usage" in window.names else None),
        )
        if limit is not None and (forecast := _until(window, metric, limit)) is not None
    ]
    return min(found, key=lambda forecast: forecast.exhausted_in, default=None)


def _memory_limit(window: MetricWindow) -> float | None:
    if not {"pod_memory_usage", "memory_limit_ratio"} <= set(window.names):
        return None
    usage, ratio = (window.values[:, window.names.index(name)] for name in ("pod_memory_usage", "memory_limit_ratio"))
    both = np.isfinite(usage) & np.isfinite(ratio) & (ratio > 0) & (usage > 0)
    # The newest rows alone: a limit may have been raised inside the window.
    recent = (usage[both] / ratio[both] * 100)[-10:]
    return float(np.median(recent)) if recent.size else None


def _until(window: MetricWindow, metric: str, limit: float) -> Forecast | None:
    recent = growth(window.values[:, window.names.index(metric)])
    if recent is None:
        return None
    slope, error = _trend(recent)
    left = max(limit - float(recent[-1]), 0.0)
    if slope <= 0 or left > slope * _HORIZON / window.step:
        return None
    return Forecast(
        metric=metric,
        limit=limit,
        exhausted_in=left / slope * window.step,
        exhausted_in_lower=left / (slope + _ONE_SIDED_95 * error) * window.step,
    )


def _trend(values: Floats) -> tuple[float, float]:
    """Slope a sample and its standard error, from means of blocks: neighbours in time are no independent witnesses."""
    blocks = np.array_split(values, min(_BLOCKS, len(values) // 2))
    means = np.array([block.mean() for block in blocks])
    centres = np.cumsum([len(block) for block in blocks]) - np.array([len(block) for block in blocks]) / 2
    offsets = centres - centres.mean()
    slope = float(offsets @ means / (offsets @ offsets))
    rest = means - means.mean() - slope * offsets
    error = float(np.sqrt(rest @ rest / max(len(means) - 2, 1) / (offsets @ offsets)))
    return slope, error
