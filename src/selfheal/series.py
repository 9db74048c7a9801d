"""From Prometheus series to samples by workload, on one grid. Pure: no I/O, no numpy.

Replicas of one workload become one series by the query's ``aggregate`` rule, and the pod that was worst at the newest
sample is remembered. Metrics of a namespace, a node or the cluster describe entities of their own
(``shop/Namespace/shop``, ``cluster/Node/10.0.0.7``, ``cluster/Cluster/cluster``), so that they can never drive an
action on one workload.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, overload

from selfheal.catalogue import BY_NAME, Query, Scope

_FEWEST_SCRAPES = 3  # so that it can be said how far apart they usually are
_TOO_LONG = 2.5  # times as far apart: one lost scrape does no harm
_WINDOW = re.compile(r"\[(\d+)m\]")

_MOST_POINTS = 10_000  # Prometheus refuses more than 11,000 points a series in one range query


class Samples(Sequence[float | None]):
    """Values on a grid, the newest last, None for a gap; gaps until they are set.

    Eight bytes each: an hour of a thousand workloads is a million samples, which as a list take 32 MB.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self._values = array("d", [math.nan]) * size

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, place: int) -> float | None: ...
    @overload
    def __getitem__(self, place: slice) -> list[float | None]: ...
    def __getitem__(self, place: int | slice) -> float | list[float | None] | None:
        if isinstance(place, slice):
            return [_known(value) for value in self._values[place]]
        return _known(self._values[place])

    def __setitem__(self, place: int, value: float) -> None:
        self._values[place] = value

    def __iter__(self) -> Iterator[float | None]:
        return map(_known, self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        raise TypeError("samples change: take a tuple of them")


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class WindowSet:
    """Samples of many workloads on one grid.

    Attributes:
        end: Time of the newest sample (UTC).
        step: Seconds between samples.
        samples: How many there are of every metric.
        windows: ``workload -> metric -> samples``, the newest last; every workload has every metric asked for.
        worst: ``workload -> metric -> pod`` that had the highest value at the newest sample.
        forms: The PromQL that answered, by metric; metrics without data are absent.
        failed: Why a query failed, by metric. Its samples are gaps, never zeros.
    """

    end: datetime
    step: float
    samples: int
    windows: Mapping[str, Mapping[str, Sequence[float | None]]]
    worst: dict[str, dict[str, str]] = field(default_factory=dict)
    forms: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grid:
    """Evenly spaced moments: ``samples`` of them, ``step`` seconds apart, the last one at ``end``."""

    end: datetime
    samples: int
    step: float

    @property
    def span(self) -> float:
        """Seconds from the first moment to the last."""
        return (self.samples - 1) * self.step

    def chunks(self) -> Iterator[tuple[datetime, datetime]]:
        """Ranges of at most _MOST_POINTS points that cover the grid without overlap."""
        first = self.end - timedelta(seconds=self.span)
        for index in range(0, self.samples, _MOST_POINTS):
            last = min(index + _MOST_POINTS, self.samples) - 1
            yield first + timedelta(seconds=index * self.step), first + timedelta(seconds=last * self.step)

    def place(self, timestamp: float) -> int:
        """Index of a moment, which may lie outside."""
        return self.samples - 1 - round((self.end.timestamp() - timestamp) / self.step)


@dataclass(frozen=True, slots=True)
class Owners:
    """Who owns a pod or a volume claim, and which pods are gone.

    Attributes:
        pods: ``(namespace, pod)`` to ``namespace/Kind/name``.
        claims: The same for volume claims.
        gone: When kube-state-metrics last knew a pod that is gone (seconds since the epoch). cAdvisor's samples carry
            their own timestamps, so Prometheus goes on repeating a gone pod's last one for five minutes, and "the worst
            pod" would be one that does not exist.
    """

    pods: Mapping[tuple[str, str], str]
    claims: Mapping[tuple[str, str], str]
    gone: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        pods: Iterable[Mapping[str, str]],
        replica_sets: Iterable[Mapping[str, str]],
        jobs: Iterable[Mapping[str, str]],
        claims: Iterable[Mapping[str, str]],
        gone: Mapping[tuple[str, str], float] | None = None,
    ) -> Owners:
        """Read the label sets of kube-state-metrics' owner metrics, and when it last knew the pods that are gone."""
        above = {("ReplicaSet", s.get("namespace", ""), s.get("replicaset", "")): s for s in replica_sets}
        above |= {("Job", s.get("namespace", ""), s.get("job_name", "")): s for s in jobs}
        owner: dict[tuple[str, str], str] = {}
        for series in pods:
            namespace, kind, name = (series.get(k, "") for k in ("namespace", "owner_kind", "owner_name"))
            parent = above.get((kind, namespace, name), {})
            if parent.get("owner_name") not in (None, "", "<none>"):
                kind, name = parent["owner_kind"], parent["owner_name"]
            if name not in ("", "<none>"):  # a bare pod has nobody to heal it
                owner[namespace, series.get("pod", "")] = f"{namespace}/{kind}/{name}"
        held = ((s.get("namespace", ""), s.get("pod", ""), s.get("persistentvolumeclaim", "")) for s in claims)
        return cls(owner, {(ns, claim): owner[ns, pod] for ns, pod, claim in held if (ns, pod) in owner}, gone or {})

    def entity(self, scope: Scope, labels: Mapping[str, str]) -> str | None:
        """Whom a series describes; None where nobody is known to own it."""
        namespace = labels.get("namespace", "")
        match scope:
            case Scope.CLUSTER:
                return "cluster/Cluster/cluster"
            case Scope.NODE:
                return f"cluster/Node/{labels.get('node') or labels.get('instance', 'unknown').rpartition(':')[0]}"
            case Scope.NAMESPACE:
                return f"{namespace}/Namespace/{namespace}" if namespace else None
        if deployment := labels.get("deployment"):
            return f"{namespace}/Deployment/{deployment}"
        if claim := labels.get("persistentvolumeclaim"):
            return self.claims.get((namespace, claim))
        return self.pods.get((namespace, labels.get("pod", "")))

    def until(self, labels: Mapping[str, str]) -> float:
        """The time after which a series of a pod is an echo; infinite while the pod lives, and for all else."""
        return self.gone.get((labels.get("namespace", ""), labels.get("pod", "")), math.inf)


@dataclass(frozen=True, slots=True)
class Silences:
    """When an exporter was not scraped, as times (seconds since the epoch) between two samples too far apart.

    Prometheus bridges such a time: a gauge's last value is repeated for five minutes, and a rate whose window begins in
    the silence is worked out from what is left of it, at a third of the truth or less. Neither is an observation.

    Attributes:
        spans: Last sample before the silence, first one after it; infinite where it lasts.
        usual: Seconds between two samples as a rule.
    """

    spans: tuple[tuple[float, float], ...] = ()
    usual: float = 0.0

    @classmethod
    def read(cls, heard: Iterable[float], end: float, every: float = 0.0) -> Silences:
        """From the moments just before which an exporter was scraped.

        Args:
            heard: Seconds since the epoch, growing.
            end: The last moment that was asked about.
            every: Seconds before such a moment in which the sample lies.
        """
        times = sorted(set(heard))
        if len(times) < _FEWEST_SCRAPES:
            return cls()
        usual = statistics.median(later - earlier for earlier, later in itertools.pairwise(times))
        pairs = itertools.pairwise([*times, math.inf] if end - times[-1] > _TOO_LONG * usual else times)
        return cls(tuple((a - every, b) for a, b in pairs if b - a > _TOO_LONG * usual), usual)

    def hide(self, moment: float, lookback: float) -> bool:
        """Whether a value at a moment rests on a silence.

        Args:
            moment: Seconds since the epoch.
            lookback: Seconds that the value looks back; 0 for a gauge.
        """
        return any(last + self.usual < moment < first + lookback for last, first in self.spans)

    def heard(self, samples: list[Any], lookback: float) -> list[Any]:
        """Those of a series' samples that rest on no silence; all of them, as they stand, where there was none."""
        return [one for one in samples if not self.hide(float(one[0]), lookback)] if self.spans else samples


class Collected:
    """Series as they arrive, put on the grid."""

    def __init__(self, grid: Grid, queries: Collection[Query], workloads: Collection[str] | None) -> None:
        self._grid = grid
        self._names = [query.name for query in queries]
        self._wanted = None if workloads is None else set(workloads)
        self._windows: dict[str, dict[str, Samples]] = {name: {} for name in workloads or ()}
        self._worst: dict[str, dict[str, str]] = {}
        self._peak: dict[tuple[str, str], float] = {}
        self._forms: dict[str, str] = {}
        self._failed: dict[str, str] = {}

    def add(
        self,
        query: Query,
        series: Iterable[Any],
        form: str,
        error: str,
        owners: Owners,
        silences: Silences = Silences(),
    ) -> None:
        """Take the series that one query returned.

        Args:
            query: The query.
            series: What came.
            form: The PromQL that gave them; empty without data.
            error: Why forms failed.
            owners: Who owns what.
            silences: Of the exporter; what rests on one is a gap.
        """
        if form:
            self._forms[query.name] = form
        if error:
            self._failed[query.name] = error
        behind = lookback(form)
        for one in series:
            entity = owners.entity(query.scope, one["metric"])
            if entity is not None and (self._wanted is None or entity in self._wanted):
                heard = silences.heard(one["values"], behind)
                self._put(query, entity, one | {"values": heard}, owners.until(one["metric"]))

    def _put(self, query: Query, entity: str, series: Any, until: float) -> None:
        window = self._windows.setdefault(entity, {})
        samples = window.setdefault(query.name, Samples(self._grid.samples))
        place, newest = 0, None
        for timestamp, text in series["values"]:
            if float(timestamp) > until:
                break
            place, value = self._grid.place(float(timestamp)), _number(text)
            if value is not None and 0 <= place < len(samples):
                samples[place] = _join(query.aggregate, samples[place], value)
                newest = value
        pod = series["metric"].get("pod", "")
        if pod and newest is not None and place == self._grid.samples - 1:
            self._remember_worst(query.name, entity, pod, newest)

    def _remember_worst(self, metric: str, entity: str, pod: str, value: float) -> None:
        if value >= self._peak.get((entity, metric), -math.inf):
            self._peak[entity, metric] = value
            self._worst.setdefault(entity, {})[metric] = pod

    def result(self) -> WindowSet:
        """Everything collected, gaps included."""
        gap = Samples(self._grid.samples)
        return WindowSet(
            end=self._grid.end,
            step=self._grid.step,
            samples=self._grid.samples,
            windows={
                entity: {name: window.get(name, gap) for name in self._names_of(entity, window)}
                for entity, window in sorted(self._windows.items())
            },
            worst=self._worst,
            forms=self._forms,
            failed=self._failed,
        )

    def _names_of(self, entity: str, window: Mapping[str, Samples]) -> list[str]:
        """All metrics asked for whose scope fits the entity, so that entities of one kind have equal windows."""
        scopes = {BY_NAME[name].scope for name in window} or {_scope_of(entity)}
        return [name for name in self._names if BY_NAME[name].scope in scopes]


def _scope_of(entity: str) -> Scope:
    kind = entity.split("/")[1] if entity.count("/") == 2 else ""
    return {"Namespace": Scope.NAMESPACE, "Node": Scope.NODE, "Cluster": Scope.CLUSTER}.get(kind, Scope.WORKLOAD)


def lookback(form: str) -> float:
    """Seconds that a PromQL form of the catalogue looks back: the longest of its range windows; 0 without one."""
    return max((60.0 * int(minutes) for minutes in _WINDOW.findall(form)), default=0.0)


def _join(rule: str, old: float | None, new: float) -> float:
    if old is None:
        return new
    return old + new if rule == "sum" else max(old, new)


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
