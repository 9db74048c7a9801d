"""What the running shop really shows, so that its made-up past joins on without a step."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import httpx
import numpy as np

from bench.history import LEVELS, NAMESPACE, Level, traffic

_BOX = f'namespace="{NAMESPACE}",container="app"'
_QUERIES = {
    "working_set": f"container_memory_working_set_bytes{{{_BOX}}}",
    "rss": f"container_memory_rss{{{_BOX}}}",
    "cpu": f"sum by (pod) (rate(container_cpu_usage_seconds_total{{{_BOX}}}[45s]))",
}


_SPAN = "45s"  # three samples of cAdvisor's
_STEADY = 1.05


def settled(prometheus: str) -> bool:
    """Whether every Deployment of the shop has run at one level for a while: caches are full, memory stands.

    Args:
        prometheus: Base URL.

    Raises:
        httpx.HTTPError: When it does not answer.
    """
    memory = _QUERIES["working_set"]
    swing = _by_deployment(prometheus, f"max_over_time({memory}[{_SPAN}]) / min_over_time({memory}[{_SPAN}])")
    samples = _by_deployment(prometheus, f"count_over_time({memory}[{_SPAN}])")
    return all(swing.get(name, math.inf) <= _STEADY and samples.get(name, 0) >= 3 for name in LEVELS)


def measure(prometheus: str) -> dict[str, Level]:
    """The levels of the shop as it runs now; constants of this repository where Prometheus does not know it yet.

    Args:
        prometheus: Base URL.

    Raises:
        httpx.HTTPError: When it does not answer.
    """
    found = {name: _by_deployment(prometheus, query) for name, query in _QUERIES.items()}
    share = float(traffic(np.array([time.time()]))[0])
    levels = {}
    for name, usual in LEVELS.items():
        levels[name] = replace(
            usual,
            working_set=found["working_set"].get(name, usual.working_set),
            rss=found["rss"].get(name, usual.rss),
            cpu=found["cpu"][name] / share if name in found["cpu"] else usual.cpu,
        )
    return levels


def _by_deployment(prometheus: str, query: str) -> dict[str, float]:
    """Mean over the pods of each Deployment."""
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=10).raise_for_status()
    pods: dict[str, list[float]] = {}
    result: list[dict[str, Any]] = answer.json()["data"]["result"]
    for series in result:
        deployment = series["metric"].get("pod", "").rsplit("-", 2)[0]
        pods.setdefault(deployment, []).append(float(series["value"][1]))
    return {name: sum(values) / len(values) for name, values in pods.items()}
