"""Made-up workloads for the detection tests."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from selfheal.protocol import Instance
from selfheal.window import DAY, Floats, MetricWindow, grid

STEP = 600.0
SOURCES = {"PYTHONPATH": str(Path(__file__).parents[3] / "src"), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
"""Environment of a subprocess that runs this tree's code."""

MONDAY = np.datetime64("2024-01-01T00:00:00", "s")


def daily(
    names: tuple[str, ...], days: float, *, seed: int = 0, step: float = STEP, workload: str = "a/b/c"
) -> MetricWindow:
    """Metrics with a daily rhythm, each at its own level, and a little noise."""
    random = np.random.default_rng(seed)
    rows = round(days * DAY / step)
    phase = np.sin(2 * np.pi * np.arange(rows) * step / DAY)[:, None]
    level = 100.0 * (1 + np.arange(len(names)))
    values = level * (1 + 0.1 * phase + 0.02 * random.standard_normal((rows, len(names))))
    return MetricWindow(workload, grid(MONDAY, rows, step, first=True), values, names, step)


SHOP = ("pod_memory_usage", "memory_limit_ratio", "pod_cpu_usage", "cpu_throttled_ratio", "persistent_volume_usage")


def shop(days: float, *, seed: int = 0, workload: str = "shop/Deployment/cart") -> MetricWindow:
    """A workload that uses a fifth of its memory limit."""
    window = daily(SHOP, days, seed=seed, workload=workload)
    window.values[:, 1] = window.values[:, 0] / 5  # percent of a limit of 500
    return window


def changed(window: MetricWindow, start: int, columns: Mapping[str, Floats | float]) -> MetricWindow:
    """The window with metrics multiplied from a row on."""
    values = window.values.copy()
    for name, factor in columns.items():
        values[start:, window.names.index(name)] *= factor
    return window.with_values(values)


def instance(window: MetricWindow, **changes: object) -> Instance:
    """The window as a client sends it."""
    samples = {
        name: [float(value) if np.isfinite(value) else None for value in window.values[:, column]]
        for column, name in enumerate(window.names)
    }
    end = datetime.fromisoformat(str(window.times[-1])).replace(tzinfo=UTC)
    content = {"workload": window.workload, "end": end, "step": window.step, "window": samples}
    return Instance.model_validate(content | changes)
