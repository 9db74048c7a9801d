"""Faults of known type, metric and moment of exhaustion, for services of :mod:`bench.detection.synthetic`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from bench.detection.synthetic import HOUR, MEMORY, SERVICES
from selfheal.window import Floats, MetricWindow

CPU = ("pod_cpu_usage", "alt_cpu_usage")
RESTARTS = ("container_restart_count", "container_restart_rate_1h", "deployment_unavailable")


@dataclass(frozen=True)
class Injected:
    """A window with one fault in it.

    Attributes:
        window: With the fault.
        start: Its first row.
        stop: The row after its last one (exhaustion, or the end of what is looked at).
        metrics: Those that the fault is about; a right explanation names one of them first.
        exhaustion: Seconds from row 0 until the limit is reached; None where nothing runs out.
    """

    window: MetricWindow
    start: int
    stop: int
    metrics: tuple[str, ...]
    exhaustion: float | None = None


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        types: Which answers are right. Without any alarm is right too where the empty string stands.
        inject: Puts it into a copy, from a row on, for at most so many rows.
        everywhere: Whether all services have what it breaks; else only those with a volume.
    """

    types: tuple[str, ...]
    inject: Callable[[MetricWindow, int, int, np.random.Generator], Injected]
    everywhere: bool = True


def _changed(window: MetricWindow, changes: Mapping[str, Callable[[Floats], Floats]], rows: slice) -> MetricWindow:
    values = window.values.copy()
    for name, change in changes.items():
        column = window.names.index(name)
        values[rows, column] = change(values[rows, column])
    return window.with_values(values)


def _on_memory(window: MetricWindow, added: Floats, rows: slice) -> MetricWindow:
    """Bytes on top, in all three metrics that show them."""
    percent = 100 / SERVICES[window.workload].limit
    changes: dict[str, Callable[[Floats], Floats]] = dict.fromkeys(MEMORY, lambda v: v + added)
    changes["memory_limit_ratio"] = lambda v: v + percent * added
    return _changed(window, changes, rows)


def leak(window: MetricWindow, start: int, length: int, random: np.random.Generator) -> Injected:
    """Memory grows by 5 to 60 % of its level an hour, on top of whatever it does anyway."""
    return leak_at(window, start, length, float(np.exp(random.uniform(np.log(0.05), np.log(0.6)))))


def leak_at(window: MetricWindow, start: int, length: int, rate: float) -> Injected:
    """Memory grows by a share of its level an hour, until the limit."""
    service, rows = SERVICES[window.workload], slice(start, len(window))
    hours = np.arange(len(window) - start) * window.step / HOUR
    # It goes on in secret after what is looked at: the truth is when the limit is met, noise, teeth, traffic and all.
    added = np.asarray(rate * service.memory * hours)
    found = _on_memory(window, added, rows)
    over = np.flatnonzero(found.values[rows, window.names.index("pod_memory_usage")] >= service.limit)
    left = len(window) - start if not over.size else int(over[0])
    exhaustion = (start + left) * window.step if over.size else None
    return Injected(found, start, start + min(left, length), MEMORY, exhaustion)


def throttling(window: MetricWindow, start: int, length: int, random: np.random.Generator) -> Injected:
    """The quota of processor time is too small: periods are throttled, requests wait."""
    throttled, slower = random.uniform(15, 80), random.uniform(1.2, 4.0)
    rows = slice(start, min(start + length, len(window)))
    noise = random.normal(0, 3, rows.stop - start)
    changes = {
        "cpu_throttled_ratio": lambda v: np.clip(throttled + v + noise, 0, 100),
        "http_request_duration": lambda v: v * slower,
        "pod_cpu_usage": lambda v: v * 1.15,
        "alt_cpu_usage": lambda v: v * 1.15,
    }
    return Injected(_changed(window, changes, rows), start, rows.stop, ("cpu_throttled_ratio",))


def storage(window: MetricWindow, start: int, length: int, random: np.random.Generator) -> Injected:
    """A volume fills by 2 to 40 percent points an hour."""
    rate = float(np.exp(random.uniform(np.log(2), np.log(40))))
    stop = min(start + length, len(window))
    column = window.names.index("persistent_volume_usage")
    added = rate * np.arange(stop - start) * window.step / HOUR
    found = _changed(window, {"persistent_volume_usage": lambda v: np.minimum(v + added, 100)}, slice(start, stop))
    full = np.flatnonzero(found.values[start:stop, column] >= 100)
    exhaustion = start * window.step + (100 - window.values[start, column]) / rate * HOUR
    end = start + int(full[0]) if full.size else stop
    return Injected(found, start, end, ("persistent_volume_usage",), exhaustion)


def latency(window: MetricWindow, start: int, length: int, random: np.random.Generator) -> Injected:
    """Requests take 2 to 6 times as long."""
    rows, slower = slice(start, min(start + length, len(window))), random.uniform(2, 6)
    found = _changed(window, {"http_request_duration": lambda v: v * slower}, rows)
    return Injected(found, start, rows.stop, ("http_request_duration",))


def hog(window: MetricWindow, start: int, length: int, random: np.random.Generator) -> Injected:
    """A loop eats 1 to 3 times the peak's processor time; nothing throttles it."""
    rows = slice(start, min(start + length, len(window)))
    more = random.uniform(1, 3) * SERVICES[window.workload].cores
    changes: dict[str, Callable[[Floats], Floats]] = {name: lambda v: v + more for name in CPU}
    changes["http_request_duration"] = lambda v: v * 1.15
    return Injected(_changed(window, changes, rows), start, rows.stop, CPU)


def memory_step(window: MetricWindow, start: int, length: int, random: np.random.Generator) -> Injected:
    """A cache is filled: 25 to 70 % more memory within minutes, and no more after."""
    rows = slice(start, min(start + length, len(window)))
    filled: Floats = 1 - np.exp(-np.arange(rows.stop - start) * window.step / random.uniform(60, 400))
    added: Floats = random.uniform(0.25, 0.7) * SERVICES[window.workload].memory * filled
    return Injected(_on_memory(window, added, rows), start, rows.stop, MEMORY)


def crash_loop(window: MetricWindow, start: int, length: int, random: np.random.Generator) -> Injected:
    """The process dies every few minutes; each life warms up from a third of the usual memory."""
    rows = slice(start, min(start + length, len(window)))
    life = int(random.integers(4, 8))
    age = np.arange(rows.stop - start)
    usual = SERVICES[window.workload].memory
    missing: Floats = -0.65 * usual * np.exp(-(age % life) / 2.0)
    found = _on_memory(window, missing, rows)
    deaths = 1.0 + age // life
    hour = max(round(HOUR / window.step), 1)
    late = deaths - np.r_[np.zeros(min(hour, len(deaths))), deaths[:-hour]][: len(deaths)]
    changes = {
        "container_restart_count": lambda v: v + deaths,
        "container_restart_rate_1h": lambda v: v + late,
        "deployment_unavailable": lambda v: v + (age % life < 2),
    }
    return Injected(_changed(found, changes, rows), start, rows.stop, (*RESTARTS, *MEMORY))


def collector(window: MetricWindow, start: int, length: int, random: np.random.Generator) -> Injected:
    """The garbage collector is told to wait longer: teeth of 25 to 60 % of the memory, 15 to 50 minutes each."""
    rows = slice(start, min(start + length, len(window)))
    age = np.arange(rows.stop - start) * window.step
    height = random.uniform(0.25, 0.6) * SERVICES[window.workload].memory
    teeth = np.asarray(height * (age / random.uniform(900, 3000) % 1.0))
    return Injected(_on_memory(window, teeth, rows), start, rows.stop, MEMORY)


def nothing(window: MetricWindow, start: int, length: int, random: np.random.Generator) -> Injected:
    """No fault."""
    del random
    return Injected(window, start, min(start + length, len(window)), ())


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "leak": Fault(("MemoryLeak",), leak),
        "throttling": Fault(("CPUThrottling",), throttling),
        "storage": Fault(("StorageExhaustion",), storage, everywhere=False),
        "latency": Fault(("MetricAnomaly",), latency),
        "hog": Fault(("MetricAnomaly",), hog),
        "memory step": Fault(("MetricAnomaly",), memory_step),
        "crash loop": Fault(("MetricAnomaly",), crash_loop),
        "GC saw-tooth": Fault(("MetricAnomaly", ""), collector),
        "no fault": Fault(("",), nothing),
    }
)
"""By name; the last two are what must not be called a leak, and what must not be called anything."""
