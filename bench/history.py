"""A past for the demo shop: synthetic metrics of the days before it was started, at the levels the real shop shows.

A cluster that is a minute old has no history to learn from. This module writes one as OpenMetrics text, which
``promtool`` turns into blocks (:func:`bench.monitoring.add_history`). Every series carries ``synthetic="true"``, and
the pods in it have names that no live pod has, so made-up data can always be told from real data.

What is drawn: traffic with the shape that ``bench/shop/main.go`` follows (day, night, weekend), processor time that
follows it, memory that hardly does, a saw-tooth of garbage collection, several deploys a day
that replace pods, a rare restart. No faults: it is what normal looks like.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DAYS = 2.75  # Prophet needs two days to know the time of day, and a fifth is held back from training
STEP = 10  # as the bench's controller asks; a leak is a trend only after a dozen samples
NAMESPACE = "shop"
CPU_RULE = "node_namespace_pod_container:container_cpu_usage_seconds_total:sum_irate"
_MIB = float(1 << 20)
_OWNER_EVERY = 240  # seconds between samples of what hardly changes; Prometheus looks back five minutes
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own alphabet of random names


@dataclass(frozen=True)
class Level:
    """What one Deployment of the shop shows when all is well.

    Attributes:
        working_set: Bytes a pod.
        rss: Bytes a pod.
        cpu: Cores a pod at the peak of the traffic.
        limit: Memory limit in bytes.
        replicas: Number of pods.
        claim: Its volume claim; empty when it has none.
    """

    working_set: float
    rss: float
    cpu: float
    limit: float
    replicas: int = 1
    claim: str = ""


# Measured on the bench (2 cores); a running shop's own figures go before these, see bench/levels.py.
LEVELS: Mapping[str, Level] = {
    "frontend": Level(53.0e6, 52.2e6, 0.0080, 128 * _MIB, replicas=2),
    "catalogue": Level(44.3e6, 43.6e6, 0.0075, 128 * _MIB),
    "cart": Level(70.1e6, 69.2e6, 0.0110, 160 * _MIB),
    "orders": Level(61.0e6, 60.2e6, 0.0075, 384 * _MIB, claim="orders"),
    "customers": Level(28.6e6, 27.8e6, 0.0060, 64 * _MIB),
}
_NOT_READY = 3.0  # seconds from a pod's start to its first good probe, measured on the shop
_IDLE = 0.0006  # cores of a pod that only answers probes


def traffic(times: Floats) -> Floats:
    """Share of the peak traffic at moments (seconds since 1970), as ``shape`` in bench/shop/main.go has it."""
    hour = (times / 3600) % 24
    weekday = (times // 86400 + 3) % 7  # 1970 began on a Thursday; 0 is Monday
    return (0.55 - 0.45 * np.cos(2 * math.pi * (hour - 2) / 24)) * np.where(weekday >= 5, 0.9, 1.0)


@dataclass(frozen=True)
class Life:
    """One revision of a Deployment: rows ``first`` to ``last`` of the grid (the last not included)."""

    deployment: str
    replica_set: str
    pods: tuple[str, ...]
    first: int
    last: int


def write_history(
    file: Path, end: float, *, days: float = DAYS, step: int = STEP, seed: int = 0, levels: Mapping[str, Level] = LEVELS
) -> int:
    """Write the shop's past as OpenMetrics text.

    Args:
        file: Where to.
        end: Seconds since 1970 of the newest sample; before the live shop started.
        days: How long.
        step: Seconds between samples.
        seed: Of all that is random.
        levels: What each Deployment shows.

    Returns:
        The number of samples.
    """
    times = np.arange(end - days * 86400, end, step).round(0)
    samples = 0
    with file.open("w") as out:
        for metric, group in itertools.groupby(sorted(_series(times, step, seed, levels), key=_metric), key=_metric):
            out.write(f"# HELP {metric} Synthetic history of the demo shop, drawn by bench/history.py.\n")
            for _, labels, rows, values in group:
                name = f'{metric}{{{labels},synthetic="true"}}'
                pairs = zip(times[rows].tolist(), values.tolist(), strict=True)
                out.write("".join([f"{name} {value:.9g} {moment:.0f}\n" for moment, value in pairs]))
                samples += len(values)
        out.write("# EOF\n")
    return samples


Series = tuple[str, str, npt.NDArray[np.int64], Floats]
"""Metric, labels, rows of the grid, values at them."""


def _metric(series: Series) -> str:
    return series[0]


def _series(times: Floats, step: int, seed: int, levels: Mapping[str, Level]) -> Iterator[Series]:
    load = traffic(times)
    # One shop: when customers come in a crowd, all services feel it.
    crowd = load * np.exp(_wander(np.random.default_rng(seed), len(times), hold=1200 // step, spread=0.05))
    for number, (name, level) in enumerate(levels.items()):
        rng = np.random.default_rng([seed, number])
        lives = list(_lives(rng, name, level.replicas, times, step))
        for life in lives:
            for pod in life.pods:
                yield from _pod(rng, life, pod, level, crowd, step)
        yield from _deployment(rng, name, level, lives, len(times), step)


def _lives(rng: np.random.Generator, name: str, replicas: int, times: Floats, step: int) -> Iterator[Life]:
    """A team that delivers all the time: a deploy every two to fourteen hours, so that new pods are a normal sight."""
    first = 0
    while first < len(times):
        last = min(first + int(rng.uniform(2, 14) * 3600 / step), len(times))
        digest = hashlib.sha256(f"{name}{first}".encode()).hexdigest()[:8]
        pods = tuple(f"{name}-{digest}-{''.join(rng.choice(list(_LETTERS), 5))}" for _ in range(replicas))
        yield Life(name, f"{name}-{digest}", pods, first, last)
        first = last


def _pod(rng: np.random.Generator, life: Life, pod: str, level: Level, crowd: Floats, step: int) -> Iterator[Series]:
    rows = np.arange(life.first, life.last)
    count, load = len(rows), crowd[life.first : life.last]
    usage = (_IDLE + (level.cpu - _IDLE) * load) * np.exp(rng.normal(0, 0.12, count) + rng.normal(0, 0.03))
    memory = _memory(rng, level, load, step)
    labels = f'namespace="{NAMESPACE}",pod="{pod}",container="app"'
    image = f'{labels},image="selfheal.bench/shop:1",node="bench"'
    busy = np.cumsum(np.minimum(10.0, 2 + 400 * usage) * step).round()  # scheduler periods in which it ran
    # None of late: what is held back to judge a model should be what normal looks like.
    restarts = np.cumsum((rng.random(count) < step / (3 * 86400.0)) & (rows < 0.6 * len(crowd)))
    yield "container_memory_working_set_bytes", image, rows, memory.round()
    yield "container_memory_rss", image, rows, (memory - (level.working_set - level.rss)).round()
    yield "container_cpu_usage_seconds_total", f'{image},cpu="total"', rows, np.cumsum(usage * step)
    yield CPU_RULE, labels, rows, usage * np.exp(rng.normal(0, 0.15, count))  # two scrapes differ more than a minute
    yield "container_cpu_cfs_periods_total", image, rows, busy
    yield "container_cpu_cfs_throttled_periods_total", image, rows, np.zeros(count)
    yield "kube_pod_container_status_restarts_total", labels, rows, restarts.astype(float)
    sparse = np.union1d(rows[:: max(1, _OWNER_EVERY // step)], rows[-1:])  # a pod lives as long as it has an owner
    limit = np.full(len(sparse), level.limit)
    yield "kube_pod_container_resource_limits", f'{labels},resource="memory",unit="byte"', sparse, limit
    owner = f'namespace="{NAMESPACE}",pod="{pod}",owner_kind="ReplicaSet",owner_name="{life.replica_set}"'
    yield "kube_pod_owner", owner, sparse, np.ones(len(sparse))
    if level.claim:
        held = f'namespace="{NAMESPACE}",pod="{pod}",volume="data",persistentvolumeclaim="{level.claim}"'
        yield "kube_pod_spec_volumes_persistentvolumeclaims_info", held, sparse, np.ones(len(sparse))


def _memory(rng: np.random.Generator, level: Level, load: Floats, step: int) -> Floats:
    """Bytes: a level reached within minutes, a little that follows the traffic, drift, a small saw-tooth."""
    ages = np.arange(len(load)) * float(step)
    # A Go program's own few megabytes come and go whatever the size of the service.
    level_of_life = level.working_set * (1 + rng.uniform(-0.003, 0.003)) + rng.uniform(-0.1e6, 0.1e6)
    settling = -rng.uniform(0.1e6, 0.9e6) * np.exp(-ages / 180)
    drift = level.working_set * _wander(rng, len(load), hold=3600 // step, spread=0.003)
    sawtooth = level.working_set * 0.008 * (ages / rng.uniform(400, 1200) % 1)
    noise = rng.normal(0, 0.01 * level.working_set + 0.25e6, len(load))
    result: Floats = level_of_life + settling + drift + sawtooth + noise + 0.004 * level.working_set * (load - 0.5)
    return result


def _wander(rng: np.random.Generator, count: int, hold: int, spread: float) -> Floats:
    """Noise that remembers itself for about ``hold`` samples, with a given standard deviation."""
    keep = math.exp(-1 / hold)
    steps = rng.normal(0, spread * math.sqrt(1 - keep * keep), count)
    value, out = rng.normal(0, spread), np.empty(count)
    for place, change in enumerate(steps):
        value = keep * value + change
        out[place] = value
    return out


def _deployment(
    rng: np.random.Generator, name: str, level: Level, lives: list[Life], count: int, step: int
) -> Iterator[Series]:
    rows = np.arange(count)
    unavailable = np.zeros(count)
    for life in lives[1:]:
        # A rollout's new pod is ready after some three seconds: most grids do not see that it was not.
        unavailable[life.first] = float(rng.random() < _NOT_READY / step)
    labels = f'namespace="{NAMESPACE}",deployment="{name}"'
    yield "kube_deployment_status_replicas_unavailable", labels, rows, unavailable
    for life in lives:
        sparse = np.arange(life.first, life.last, max(1, _OWNER_EVERY // step))
        owner = f'namespace="{NAMESPACE}",replicaset="{life.replica_set}",owner_kind="Deployment",owner_name="{name}"'
        yield "kube_replicaset_owner", owner, sparse, np.ones(len(sparse))
    if level.claim:
        claim = f'namespace="{NAMESPACE}",persistentvolumeclaim="{level.claim}",node="bench"'
        yield "kubelet_volume_stats_used_bytes", claim, rows, np.full(count, 12 * _MIB)
        yield "kubelet_volume_stats_capacity_bytes", claim, rows, np.full(count, 64 * _MIB)
