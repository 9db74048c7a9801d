"""From what Prometheus answered to windows to train on: which metrics, which workloads, and why not the others.

Nothing is dropped silently: metrics without data, queries that failed and workloads with too little history are listed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from selfheal.catalogue import BY_NAME, CATALOGUE, Scope
from selfheal.errors import InsufficientData, NoData
from selfheal.series import WindowSet
from selfheal.window import MetricWindow

__all__ = ["LEAST_ROWS", "Gathered", "gather", "halves", "mounted"]

LEAST_ROWS = 360
"""Usable samples below which a workload gets no model of its own: six hours of minutes."""

_SECRET = Path("/var/run/secrets/selfheal/prometheus")
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Gathered:
    """Windows to train on, and what is not in them.

    Attributes:
        windows: One a workload, all with the same metrics in catalogue order.
        without_data: Metrics that returned nothing for any of these workloads.
        failed: Why a query failed, by metric.
        left_out: Why a workload has no window, by workload.
    """

    windows: tuple[MetricWindow, ...]
    without_data: tuple[str, ...]
    failed: Mapping[str, str]
    left_out: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that go into the models."""
        return self.windows[0].names

    def summary(self) -> str:
        """What was found, for a log."""
        lines = [
            f"{len(self.windows)} workloads with {len(self.names)} metrics: {', '.join(self.names)}",
            f"without data, left out of the models: {', '.join(self.without_data) or 'none'}",
        ]
        lines += [f"query of {name} failed: {why}" for name, why in self.failed.items()]
        lines += [f"left out {workload}: {why}" for workload, why in self.left_out.items()]
        return "\n".join(lines)


def gather(found: WindowSet, *, namespaces: Collection[str] = (), least_rows: int = LEAST_ROWS) -> Gathered:
    """Choose metrics and workloads.

    Args:
        found: Samples of workloads, with all the metrics that were asked for.
        namespaces: Patterns (``shop``, ``team-*``) of the namespaces wanted; all by default.
        least_rows: Usable samples that a workload needs.

    Returns:
        The windows.

    Raises:
        NoData: When there is no workload in these namespaces.
        InsufficientData: When none of them has enough samples.
    """
    wanted = {name: window for name, window in found.windows.items() if _wanted(name, namespaces)}
    if not wanted:
        where = f"in namespaces {', '.join(namespaces)}" if namespaces else "at all"
        raise NoData(
            f"Prometheus knows no workloads {where} until {found.end:%Y-%m-%d %H:%M} UTC: check the namespaces, the "
            "history's end, and that kube-state-metrics is scraped (kube_pod_owner)"
        )
    names = tuple(query.name for query in CATALOGUE if query.scope is Scope.WORKLOAD and _has_data(query.name, wanted))
    windows = [_window(workload, found, names) for workload in sorted(wanted)]
    rich = tuple(window for window in windows if window.usable >= least_rows)
    if not rich:
        best = max(windows, key=lambda window: window.usable)
        raise InsufficientData(least_rows, best.usable, f"training ({best.workload} has the longest history, and it)")
    poor = {window.workload: window.usable for window in windows if window.usable < least_rows}
    asked = {name for window in wanted.values() for name in window} - found.failed.keys()
    return Gathered(
        windows=rich,
        without_data=tuple(name for name in BY_NAME if name in asked and name not in names),
        failed=dict(found.failed),
        left_out={name: f"needs {least_rows} samples of history, has {usable}" for name, usable in poor.items()},
    )


def _wanted(workload: str, namespaces: Collection[str]) -> bool:
    namespace = workload.split("/")[0]
    return not namespaces or any(fnmatchcase(namespace, pattern) for pattern in namespaces)


def _has_data(name: str, windows: Mapping[str, Mapping[str, Sequence[float | None]]]) -> bool:
    return any(value is not None for window in windows.values() for value in window.get(name, ()))


def _window(workload: str, found: WindowSet, names: Sequence[str]) -> MetricWindow:
    gap: list[float | None] = [None] * found.samples
    samples = {name: found.windows[workload].get(name, gap) for name in names}
    return MetricWindow.from_mapping(workload, np.datetime64(found.end.replace(tzinfo=None), "s"), found.step, samples)


def halves(windows: Sequence[MetricWindow]) -> tuple[list[MetricWindow], list[MetricWindow]]:
    """The older and the newer half of each window: one to calibrate on, one to judge on."""
    return (
        [window.rows(0, len(window) // 2) for window in windows],
        [window.rows(len(window) // 2) for window in windows],
    )


def mounted(given: str, name: str, url: str) -> Path | None:
    """The file with a credential for Prometheus: as given, else of the mounted secret, else of the ServiceAccount.

    Args:
        given: Path from the settings; empty when there is none.
        name: ``token`` or ``ca.crt``; on the ServiceAccount's side OpenShift's ``service-ca.crt`` comes first.
        url: Of Prometheus; a ServiceAccount's token is never sent in the clear.
    """
    if given:
        return Path(given)
    places = [_SECRET / name]
    if url.startswith("https://"):
        places += [_SERVICE_ACCOUNT / "service-ca.crt"] if name == "ca.crt" else []
        places += [_SERVICE_ACCOUNT / name]
    return next((place for place in places if place.is_file()), None)
