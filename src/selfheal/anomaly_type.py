"""Which of the ensemble's four types an anomaly is, told by the metrics that carry it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from selfheal.trend import growth
from selfheal.window import Floats, MetricWindow

RESTARTS = "container_restart_count"
MEMORY = ("pod_memory_usage", "alt_memory_usage", "memory_limit_ratio")
CARRIERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "MemoryLeak": MEMORY,
        "CPUThrottling": ("cpu_throttled_ratio",),
        "StorageExhaustion": ("persistent_volume_usage",),
    }
)
"""Metrics that carry each type; whatever else carries an anomaly makes it a MetricAnomaly."""

_THROTTLED = 5.0  # percent of periods; less is what every limited container shows at times
_MANY_TIMES = 10.0  # or so many times what was expected
_LEAST_SHARE = 0.2  # of the evidence; CPU usage and latency share a throttled container's anomaly


def anomaly_type(window: MetricWindow, shares: Mapping[str, float], expected: Mapping[str, float]) -> str:
    """Name the type.

    Args:
        window: What the detectors saw.
        shares: Of the evidence, by metric; they sum to one.
        expected: What the newest sample should have been, by metric.

    Returns:
        MemoryLeak, CPUThrottling, StorageExhaustion or MetricAnomaly.
    """
    weights = {
        kind: sum(shares.get(name, 0.0) for name in names if _above(window, name, expected.get(name)))
        for kind, names in CARRIERS.items()
    }
    for kind in sorted(weights, key=lambda kind: -weights[kind]):
        if weights[kind] < _LEAST_SHARE:
            break
        if kind != "MemoryLeak" or _memory_rises(window):
            return kind
    return "MetricAnomaly"


def _above(window: MetricWindow, name: str, expected: float | None) -> bool:
    """Whether the newest known sample of a metric lies above expectation, by enough to be worth a name."""
    values = column(window, name)
    known = values[np.isfinite(values)] if values is not None else np.zeros(0)
    if not known.size or expected is None or not known[-1] > expected:
        return False
    return name not in CARRIERS["CPUThrottling"] or known[-1] >= min(_THROTTLED, _MANY_TIMES * max(expected, 0.0))


def _memory_rises(window: MetricWindow) -> bool:
    restarts = column(window, RESTARTS)
    series = (column(window, name) for name in MEMORY)
    return any(values is not None and growth(values, restarts) is not None for values in series)


def column(window: MetricWindow, name: str) -> Floats | None:
    """One metric's samples, None where the window does not have it."""
    return window.values[:, window.names.index(name)] if name in window.names else None
