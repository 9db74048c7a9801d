"""Normal weeks of made-up services, with the catalogue's names: to measure detection where the truth is known.

The shapes are those of :mod:`bench.history` (traffic of day, night and weekend, memory that hardly follows it), without
PromQL in between. Four services differ in what makes typing hard: a plain one, one whose garbage collector draws a
saw-tooth, one with a morning rise of memory, one with a volume that slowly fills.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.signal import lfilter

from bench.history import traffic
from selfheal.catalogue import CATALOGUE, Scope
from selfheal.window import Floats, MetricWindow, Times, grid

NAMES: tuple[str, ...] = tuple(query.name for query in CATALOGUE if query.scope is Scope.WORKLOAD)
"""The catalogue's metrics that describe one workload."""

MEMORY = ("pod_memory_usage", "alt_memory_usage", "memory_limit_ratio")
MONDAY = np.datetime64("2026-11-02T00:00:00", "s")
STEP = 60.0
HOUR = 3600.0
DAY = 24 * HOUR
_MIB = float(1 << 20)


@dataclass(frozen=True)
class Service:
    """What one workload looks like when all is well.

    Attributes:
        memory: Bytes of the worst pod.
        limit: Its memory limit in bytes.
        cores: Used at the peak of the traffic.
        latency: Seconds, 95 %.
        sawtooth: Height of the garbage collector's teeth, as a share of ``memory``.
        period: Seconds a tooth takes.
        follows: Share of ``memory`` that goes up and down with the traffic.
        volume: Percent full at the start; NaN without a volume.
        filling: Percent a day.
    """

    memory: float
    limit: float
    cores: float
    latency: float
    sawtooth: float = 0.008
    period: float = 800.0
    follows: float = 0.01
    volume: float = float("nan")
    filling: float = 0.0


SERVICES: Mapping[str, Service] = MappingProxyType(
    {
        "shop/Deployment/cart": Service(70 * _MIB, 160 * _MIB, 0.4, 0.030),
        "shop/Deployment/search": Service(600 * _MIB, 1400 * _MIB, 1.5, 0.120, sawtooth=0.25, period=1500.0),
        "shop/Deployment/frontend": Service(200 * _MIB, 512 * _MIB, 0.8, 0.060, follows=0.2),
        "shop/StatefulSet/orders": Service(300 * _MIB, 768 * _MIB, 0.6, 0.045, volume=35.0, filling=0.8),
    }
)


def wander(random: np.random.Generator, rows: int, hold: float, spread: float) -> Floats:
    """Noise that remembers itself for about ``hold`` rows, with a given standard deviation, shape [rows]."""
    keep = float(np.exp(-1.0 / hold))
    shocks = random.normal(0.0, spread * np.sqrt(1 - keep * keep), rows)
    found: Floats = lfilter([1.0], [1.0, -keep], shocks, zi=[keep * random.normal(0.0, spread)])[0]
    return found


def normal_weeks(
    workload: str,
    days: float,
    *,
    seed: int = 0,
    step: float = STEP,
    start: np.datetime64 = MONDAY,
    crowds: Callable[[Times], Floats] | None = None,
) -> MetricWindow:
    """Draw one service without any fault.

    Args:
        workload: One of SERVICES.
        days: How long.
        seed: Of all that is random.
        step: Seconds between samples.
        start: Moment of the first sample.
        crowds: How many times the usual traffic comes at given moments, shape [t] to [t].

    Returns:
        The window, with all of NAMES; metrics that the service does not have are gaps.
    """
    service, random = SERVICES[workload], np.random.default_rng([seed, list(SERVICES).index(workload)])
    rows = round(days * DAY / step)
    times = grid(start, rows, step, first=True)
    load = traffic(times.astype(float)) * np.exp(wander(random, rows, 1200 / step, 0.05))
    if crowds is not None:
        load = load * crowds(times)
    memory = _memory(service, random, load, step)
    cores = service.cores * (0.05 + 0.95 * load)
    # None of late: a restart among the injected faults would be a fault that nobody injected.
    restarts = np.cumsum((random.random(rows) < step / (3 * DAY)) & (np.arange(rows) < 0.6 * rows)).astype(float)
    hour = max(round(HOUR / step), 1)
    columns = {
        "pod_cpu_usage": cores * np.exp(random.normal(0, 0.12, rows)),
        "pod_memory_usage": memory,
        "alt_cpu_usage": cores * np.exp(random.normal(0, 0.05, rows)),
        "alt_memory_usage": memory - 0.03 * service.memory + random.normal(0, 0.003 * service.memory, rows),
        "container_restart_count": restarts,
        "container_restart_rate_1h": restarts - np.r_[np.zeros(min(hour, rows)), restarts[:-hour]][:rows],
        "deployment_unavailable": ((random.random(rows) < step / DAY) & (np.arange(rows) < 0.6 * rows)).astype(float),
        "persistent_volume_usage": _volume(service, random, rows, step),
        "http_request_duration": service.latency * (0.8 + 0.4 * load) * np.exp(random.normal(0, 0.08, rows)),
        "cpu_throttled_ratio": np.maximum(0.0, 6 * (load - 0.8) + random.normal(0.0, 0.4, rows)),
        "memory_limit_ratio": memory / service.limit * 100,
    }
    return MetricWindow(workload, times, np.column_stack([columns[name] for name in NAMES]), NAMES, step)


def _memory(service: Service, random: np.random.Generator, load: Floats, step: float) -> Floats:
    rows = len(load)
    # A busy service fills its heap faster: teeth are shorter by day.
    phase = np.cumsum(step / service.period * (0.5 + load) * np.exp(wander(random, rows, 1800 / step, 0.15)))
    teeth = service.sawtooth * (phase % 1.0 - 0.5)
    drift = wander(random, rows, 4 * HOUR / step, 0.004)
    slow = lfilter([step / 1800], [1, step / 1800 - 1], load, zi=[load[0] * (1 - step / 1800)])[0]
    found: Floats = service.memory * (
        1 + teeth + drift + service.follows * (slow - 0.5) + random.normal(0, 0.004, rows)
    )
    return found


def _volume(service: Service, random: np.random.Generator, rows: int, step: float) -> Floats:
    growth = service.filling * np.arange(rows) * step / DAY
    # Old logs are thrown away at midnight.
    kept = growth - service.filling * 0.7 * np.floor(np.arange(rows) * step / DAY)
    found: Floats = service.volume + kept + np.cumsum(random.normal(0, 0.002, rows))
    return found
