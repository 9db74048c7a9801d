"""Which of the ensemble's four types an anomaly is, told by the metrics that carry it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from selfheal.window import Floats, MetricWindow

MEMORY = ("pod_memory_usage", "alt_memory_usage", "memory_limit_ratio")
CARRIERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "MemoryLeak": MEMORY,
        "CPUThrottling": ("cpu_throttled_ratio",),
        "StorageExhaustion": ("persistent_volume_usage",),
    }
)
"""Metrics that carry each type; whatever else carries an anomaly makes it a MetricAnomaly."""

_LEAST_SHARE = 0.2  # of the evidence; CPU usage and latency share a throttled container's anomaly
_RESET = 0.3  # a drop by this share of the level is a restart: what grew before it says nothing about now
_LEAST_TREND = 10  # samples
_STRAIGHT = 0.9  # correlation with time; a single step has 0.87


def since_reset(values: Floats) -> Floats:
    """The newest samples of one metric after its last sharp drop, gaps left out, shape [<= t]."""
    known: Floats = values[np.isfinite(values)]
    if len(known) < 2:
        return known
    drops = np.flatnonzero(np.diff(known) < -_RESET * np.abs(known[:-1]))
    return known[drops[-1] + 1 :] if drops.size else known


def growth(values: Floats) -> Floats | None:
    """The newest samples of one metric in which it grows steadily, None where it does not.

    Steadily: thirds in order, time explains most of it, and by more than a little. A leak may begin inside the window,
    so the whole, the newest half and the newest quarter are looked at; the straightest one counts.

    Args:
        values: Shape [t], NaN for a gap.
    """
    recent = since_reset(values)
    best, straightness = None, _STRAIGHT
    for part in (recent, recent[len(recent) // 2 :], recent[3 * len(recent) // 4 :]):
        if len(part) < _LEAST_TREND or float(np.ptp(part)) <= 0.02 * float(np.abs(part).mean()):
            continue
        correlation = float(np.corrcoef(np.arange(len(part)), part)[0, 1])
        thirds = [float(np.median(third)) for third in np.array_split(part, 3)]
        if correlation > straightness and thirds[0] < thirds[1] < thirds[2]:
            best, straightness = part, correlation
    return best


def anomaly_type(window: MetricWindow, shares: Mapping[str, float], above: Mapping[str, bool]) -> str:
    """Name the type.

    Args:
        window: What the detectors saw.
        shares: Of the evidence, by metric; they sum to one.
        above: Whether the newest sample lies above what was expected, by metric.

    Returns:
        MemoryLeak, CPUThrottling, StorageExhaustion or MetricAnomaly.
    """
    weights = {
        kind: sum(shares.get(name, 0.0) for name in names if above.get(name)) for kind, names in CARRIERS.items()
    }
    for kind in sorted(weights, key=lambda kind: -weights[kind]):
        if weights[kind] < _LEAST_SHARE:
            break
        if kind != "MemoryLeak" or _memory_rises(window):
            return kind
    return "MetricAnomaly"


def _memory_rises(window: MetricWindow) -> bool:
    return any(
        growth(window.values[:, window.names.index(name)]) is not None for name in MEMORY if name in window.names
    )
