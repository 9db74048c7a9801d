"""Which of the ensemble's four types an anomaly is, told by the metrics that carry it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

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

_LEAST_SHARE = 0.2  # of the evidence; CPU usage and latency share a throttled container's anomaly


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
    restarts = column(window, RESTARTS)
    series = (column(window, name) for name in MEMORY)
    return any(values is not None and growth(values, restarts) is not None for values in series)


def column(window: MetricWindow, name: str) -> Floats | None:
    """One metric's samples, None where the window does not have it."""
    return window.values[:, window.names.index(name)] if name in window.names else None
