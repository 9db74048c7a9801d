"""Made-up workloads of the 16 core metrics: daily and weekly shapes, noise, a counter, a constant, gaps."""

from __future__ import annotations

import numpy as np

from bench.detection.synthetic import MONDAY, wander
from bench.history import traffic
from selfheal.catalogue import CORE_NAMES
from selfheal.window import DAY, Floats, MetricWindow, grid

NAMES: tuple[str, ...] = tuple(CORE_NAMES)
STEP = 60.0
DAYS = 7.0
ROWS = 60
"""Rows of a request."""

_COUNTER = NAMES.index("container_restart_count")
_CONSTANT = NAMES.index("deployment_unavailable")


def history(number: int, days: float = DAYS, seed: int = 0) -> MetricWindow:
    """The past of one workload, the same for the same number and seed.

    Args:
        number: Of the workload.
        days: How long, at a sample a minute.
        seed: Of all that is random.
    """
    random = np.random.default_rng([seed, number])
    rows = round(days * DAY / STEP)
    times = grid(MONDAY, rows, STEP, first=True)
    load = traffic(times.astype(float)) * np.exp(wander(random, rows, 20, 0.05))
    values = np.column_stack([_metric(random, load) for _ in NAMES])
    values[:, _COUNTER] = np.cumsum(random.random(rows) < STEP / DAY)
    values[:, _CONSTANT] = 0.0
    values[random.random(rows) < 0.002] = np.nan  # a scrape that failed
    return MetricWindow(name(number), times, values, NAMES, STEP)


def name(number: int) -> str:
    """The workload's name."""
    return f"speed/Deployment/w{number:05d}"


def _metric(random: np.random.Generator, load: Floats) -> Floats:
    """A level that follows the traffic more or less, with noise that remembers and noise that does not."""
    follows = random.choice([0.0, 0.1, 0.5, 0.9])
    slow = wander(random, len(load), hold=random.uniform(20, 240), spread=0.03)
    level = 10 ** random.uniform(-2, 8)
    found: Floats = level * (1 - follows + follows * load) * np.exp(slow + random.normal(0, 0.05, len(load)))
    return found
