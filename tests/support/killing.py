"""``kill -9`` before and after every request of a heal. The points are recorded from a heal, none is chosen by hand."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.audit import is_written
from bench.cluster import ApiCluster
from tests.support.controller import Shop
from tests.support.plots import Plot
from tests.support.proxy import Heard, Matches, Proxy
from tests.support.replicas import Replicas, wait_for

_NAMES = (
    (re.compile(r"\?.*dryRun=.*"), " (dry run)"),
    (re.compile(r"\?.*"), ""),
    (re.compile(r".*/namespaces/[^/]+/"), ""),
    (re.compile(r"^(remediations|pods)/[^/ ]+"), r"\1/NAME"),
)
_TARGETS = ("deployments", "statefulsets", "daemonsets", "pods", "horizontalpodautoscalers")
RECORD = "PATCH remediations/NAME/status"

Pair = tuple[str, str]
"""A step of the state machine, and the result of the newest attempt after it (empty without an attempt)."""


@dataclass(frozen=True)
class Point:
    """Where the controller dies.

    Attributes:
        request: As :func:`name_of` calls it.
        nth: Which of those of this name, from 1.
        moment: ``before`` or ``after``.
        pair: The step that is under way.
    """

    request: str
    nth: int
    moment: str
    pair: Pair

    @property
    def loses_a_record(self) -> bool:
        """Whether a workload is changed and the record does not say so yet."""
        resource = self.request.split(" ", 1)[1].split("/")[0]
        return self.moment == "after" and resource in _TARGETS and "dry run" not in self.request

    def __str__(self) -> str:
        return f"{self.moment} {self.request} #{self.nth}"


@dataclass(frozen=True)
class End:
    """How a heal ended, as an independent reader sees it.

    Attributes:
        remediations: How many there are.
        outcome: Of the last.
        reason: Of the last.
        writes: What was written to workloads, by the API server's audit log; what differs by name only is one.
        image: Of the workload.
    """

    remediations: int
    outcome: str
    reason: str
    writes: tuple[tuple[str, int], ...]
    image: str


@dataclass(frozen=True)
class Killed:
    """What came of one point.

    Attributes:
        point: Where.
        reached: Whether the heal came there; its requests may differ a little from run to run.
        end: How it ended.
        seconds: From the kill until the successor wrote; None where nothing was left to write.
    """

    point: Point
    reached: bool
    end: End
    seconds: float | None


def name_of(heard: Heard) -> str:
    """A request without what differs from run to run."""
    path = heard.path
    for pattern, text in _NAMES:
        path = pattern.sub(text, path)
    return f"{heard.method} {path}"


def points(heard: Sequence[Heard]) -> list[Point]:
    """All places to die in a heal: before and after each of its requests."""
    counts: Counter[str] = Counter()
    found = []
    for one, pair in zip(heard, _pairs(heard), strict=True):
        request = name_of(one)
        counts[request] += 1
        found += [Point(request, counts[request], moment, pair) for moment in ("before", "after")]
    return found


def subset(places: Sequence[Point], every: int) -> list[Point]:
    """Every N-th point, and always those after a write to a workload, whose record is then lost."""
    return [one for number, one in enumerate(places) if number % every == 0 or one.loses_a_record]


def _pairs(heard: Sequence[Heard]) -> list[Pair]:
    """The step that each request belongs to: that of the next record of the Remediation."""
    pairs: list[Pair] = []
    before: dict[str, Any] = {}
    waiting = 0
    for one in heard:
        waiting += 1
        if name_of(one) == RECORD:
            after = json.loads(one.body)[-1]["value"]
            pairs += [pair_of(before, after)] * waiting
            before, waiting = after, 0
    return pairs + [("Finish", _result(before))] * waiting


def pair_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> Pair:
    """Which step led from one status to the next."""
    old, new = _result(before), _result(after)
    if not before:
        return "Open", new
    if after.get("outcome"):
        return "Finish", new
    if len(after.get("attempts") or ()) > len(before.get("attempts") or ()):
        return "Propose", new
    conditions = {one["type"]: one for one in after.get("conditions") or ()}
    reasons = {kind: one["reason"] for kind, one in conditions.items()}
    if old != new:
        stopped = new == "Error" and conditions.get("Applied", {}).get("status") == "False"
        return ("Apply" if new == "Applied" or stopped else "Conclude"), new
    if reasons.get("Undone") == "UndoWritten" and after.get("reason") == "UndoWritten":
        return "Undo", new
    return ("Apply" if reasons.get("Applied") == "Writing" else "Wait"), new


def _result(status: Mapping[str, Any]) -> str:
    attempts = status.get("attempts") or ()
    return str(attempts[-1]["result"]) if attempts else ""


class Stage:
    """Plays plots.

    Args:
        cluster: With everything of manifests/ applied.
        replicas: Two that run.
    """

    def __init__(self, cluster: ApiCluster, replicas: Replicas) -> None:
        self._cluster = cluster
        self._replicas = replicas

    def record(self, plot: Plot) -> tuple[list[Heard], End]:
        """A heal without any kill: its requests, in order, and its end."""
        self._replicas.settle()
        found = self._record(plot)
        return self._record(plot) if self._replicas.settle() else found  # half of it went through the other proxy

    def _record(self, plot: Plot) -> tuple[list[Heard], End]:
        with self._shop(plot) as shop:
            heard = self._replicas.leader.proxy.heard
            begun, since = len(heard), self._audited()
            self._break(plot, shop, self._replicas.leader.proxy)
            self._play(plot, shop, lambda: bool(shop.outcomes()))
            end = self._end(shop, since)
            return [one for one in heard[begun:] if f"/{shop.namespace}/" in one.path], end

    def kill(self, plot: Plot, point: Point) -> Killed:
        """A heal in which the leader dies at a point."""
        self._replicas.settle()
        killed = self._kill(plot, point)
        if not killed.reached and self._replicas.settle():
            return self._kill(plot, point)  # who was to die no longer led
        return killed

    def _kill(self, plot: Plot, point: Point) -> Killed:
        with self._shop(plot) as shop:
            dying, heir = self._replicas.leader, self._replicas.standby
            died: list[float] = []

            def die() -> None:
                dying.controller.kill()
                died.append(time.monotonic())

            getattr(dying.proxy, point.moment)(_nth(point, shop.namespace), die)
            since = self._audited()
            self._break(plot, shop, dying.proxy)
            self._play(plot, shop, lambda: bool(died or shop.outcomes()))
            self._play(plot, shop, lambda: bool(shop.outcomes()))
            if not died:
                dying.proxy.before(lambda *_: False, die)
                return Killed(point, False, self._end(shop, since), None)
            self._replicas.succeed()
            here = (one.at for one in heir.proxy.heard if f"/{shop.namespace}/" in one.path and one.at > died[0])
            first = next(here, None)
            return Killed(point, True, self._end(shop, since), None if first is None else first - died[0])

    def _shop(self, plot: Plot) -> _Open:
        return _Open(self._cluster, plot)

    def _break(self, plot: Plot, shop: Shop, proxy: Proxy) -> None:
        if plot.meddles:
            words = ["label", "deployment/cart", "meddled=yes", "-n", shop.namespace, "--overwrite"]
            proxy.meddle(_first_write(shop.namespace), lambda: _quiet(self._cluster.kubectl(*words)))
        plot.break_it(shop)

    def _play(self, plot: Plot, shop: Shop, until: Callable[[], bool]) -> None:
        def holds() -> bool:
            for record in shop.remediations():
                plot.person(shop, record)
            return until()

        wait_for(holds, f"the end of {shop.namespace}")

    def _audited(self) -> int:
        return self._audit_log().stat().st_size

    def _audit_log(self) -> Path:
        return self._cluster.plane.state.logs / "audit.log"

    def _end(self, shop: Shop, since: int) -> End:
        records = shop.remediations()
        status = records[-1]["status"]
        with self._audit_log().open("rb") as log:
            log.seek(since)
            entries = [json.loads(line) for line in log if shop.namespace.encode() in line]
        writes = Counter(filter(None, (_written(one, shop.namespace) for one in entries)))
        return End(len(records), status["outcome"], status["reason"], tuple(sorted(writes.items())), shop.image("cart"))


def _quiet(_: str) -> None:
    """For what answers with text that nobody reads."""


def _written(entry: Any, namespace: str) -> str:
    """What a successful write of the controller changed about workloads; empty for anything else."""
    about = entry.get("objectRef", {})
    if not is_written(entry) or about.get("namespace") != namespace or about.get("resource") not in _TARGETS:
        return ""
    kind = "/".join(filter(None, (about["resource"], about.get("subresource"))))
    return f"{entry['verb']} {kind}"


def _nth(point: Point, namespace: str) -> Matches:
    """The request of a point; counts those of the same name."""
    counts: Iterator[int] = iter(range(1, 10_000))

    def matches(method: str, path: str) -> bool:
        heard = Heard(method, path, b"", 0.0)
        here = method != "GET" and f"/{namespace}/" in path
        return here and name_of(heard) == point.request and next(counts) == point.nth

    return matches


def _first_write(namespace: str) -> Matches:
    return lambda method, path: method == "PATCH" and f"/{namespace}/deployments/" in path and "dryRun" not in path


class _Open:
    """A namespace with a healthy shop and its policy, for the length of a block."""

    def __init__(self, cluster: ApiCluster, plot: Plot) -> None:
        self._shop, self._plot = Shop(cluster, f"kill-{uuid4().hex[:8]}"), plot

    def __enter__(self) -> Shop:
        shop = self._shop
        shop.cluster.kubectl("create", "namespace", shop.namespace)
        shop.deploy("cart")
        wait_for(lambda: shop.healthy("cart"), "a healthy cart")
        shop.opt_in()
        shop.policy(**self._plot.policy)
        return shop

    def __exit__(self, *_: object) -> None:
        self._shop.cluster.kubectl("delete", "namespace", self._shop.namespace, "--wait=false")
