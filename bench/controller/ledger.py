"""What was broken and what became of it, by an independent reader; and what the controllers held in memory."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.client import Resource
from bench.scenarios.oracle import is_change
from bench.scenarios.stage import USER

_WORKLOADS = ("deployments", "statefulsets", "daemonsets", "pods", "horizontalpodautoscalers")
_WARM = 120.0
"""Seconds after its start in which a process still fills its caches."""
_LEAST = 300.0
"""Seconds of a process' life without which its memory says nothing."""


@dataclass
class Fault:
    """A workload that was broken.

    Attributes:
        town: Its namespace.
        shop: Its name.
        kind: How.
        at: When, seconds since 1970.
        before: Its spec until then.
        told: When it was answered: by a Remediation or an Event about it; None until then.
        ended: When it was well again; None until then.
        how: Who made it so.
    """

    town: str
    shop: str
    kind: str
    at: float
    before: Resource
    told: float | None = None
    ended: float | None = None
    how: str = ""


@dataclass
class Ledger:
    """All faults, the oldest first, and the plans that people have answered."""

    faults: list[Fault] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)

    def open(self) -> list[Fault]:
        """Those that are not over."""
        return [one for one in self.faults if one.ended is None]

    def waiting(self) -> list[Fault]:
        """Those that nobody has answered."""
        return [one for one in self.faults if one.told is None and one.ended is None]

    def is_broken(self, town: str, shop: str) -> bool:
        """Whether a workload is broken now."""
        return any((one.town, one.shop) == (town, shop) for one in self.open())

    def look(
        self, fault: Fault, found: Resource, records: Iterable[Resource], events: Iterable[Resource], now: float
    ) -> None:
        """What is there now."""
        about = [one for one in records if one["spec"]["target"]["name"] == fault.shop]
        ours = [one for one in about if moment(one["metadata"]["creationTimestamp"]) >= int(fault.at)]
        told = [one for one in events if _is_about(one, fault)]
        if fault.told is None and (ours or told):
            fault.told = now
        closed = [one for one in ours if (one.get("status") or {}).get("outcome")]
        if is_well(found) and (closed or not ours):
            fault.ended, fault.how = now, "healed" if ours else "by itself"


def is_well(found: Resource) -> bool:
    """Whether a Deployment has what it should have: all pods, of its newest revision, and more than none."""
    wanted, status = int(found["spec"].get("replicas", 1)), found.get("status") or {}
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return wanted > 0 and status.get("observedGeneration") == found["metadata"]["generation"] and counts == [wanted] * 3


def _is_about(event: Resource, fault: Fault) -> bool:
    regarding = event.get("regarding") or {}
    ours = str(event.get("reportingController", "")).startswith("aiops.example.com/")
    last = (event.get("series") or {}).get("lastObservedTime") or event.get("eventTime")
    return ours and regarding.get("name") == fault.shop and last is not None and moment(last) >= int(fault.at)


def moment(text: str) -> float:
    """Seconds since 1970 of a time as Kubernetes writes it."""
    return datetime.fromisoformat(text).timestamp()


@dataclass
class Memory:
    """Resident bytes of each process, over time."""

    samples: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def note(self, pid: int, at: float, size: float) -> None:
        """A reading."""
        self.samples[pid].append((at, size))

    def slopes(self) -> list[tuple[float, float, float]]:
        """MiB when warm, MiB at the end, MiB an hour between, of each process that lived long enough."""
        found = []
        for rows in self.samples.values():
            warm = [(at, size / 2**20) for at, size in rows if at - rows[0][0] >= _WARM]
            if len(warm) > 1 and warm[-1][0] - warm[0][0] >= _LEAST:
                line = statistics.linear_regression([at for at, _ in warm], [size for _, size in warm])
                first = statistics.median(size for _, size in warm[:6])
                last = statistics.median(size for _, size in warm[-6:])
                found.append((first, last, line.slope * 3600))
        return found


@dataclass(frozen=True)
class Written:
    """What the audit log says that the controllers did to workloads, beside what the records say.

    Attributes:
        writes: Successful writes to workloads.
        twice: Workloads written more often than their records plan, with the two numbers.
        unrecorded: Writes that no record was stored for before.
        calls: Requests of the controllers of any kind.
    """

    writes: int
    twice: list[str]
    unrecorded: list[str]
    calls: int


def audit(log: Path, since: int, records: Sequence[Resource]) -> Written:
    """Compare the API server's audit log with the Remediations.

    Args:
        log: The audit log.
        since: Bytes of it to skip.
        records: All Remediations there are.
    """
    planned, names = _planned(records), _names(records)
    done: Counter[str] = Counter()
    stored: Counter[str] = Counter()
    unrecorded, calls = [], 0
    for entry in _ours(log, since):
        calls += 1
        about = entry.get("objectRef") or {}
        if about.get("resource") == "remediations" and about.get("subresource") == "status":
            stored[names.get((about["namespace"], about["name"]), "")] += 1
        elif is_change(entry) and about.get("resource") in _WORKLOADS:
            target = f"{about['namespace']}/{shop_of(about)}"
            done[target] += 1
            if not stored[target]:
                unrecorded.append(f"{entry['verb']} {about['resource']} of {target} at {entry['stageTimestamp']}")
    twice = [
        f"{name}: {count} writes, {planned[name]} planned" for name, count in done.items() if count > planned[name]
    ]
    return Written(sum(done.values()), twice, unrecorded, calls)


def shop_of(about: Resource) -> str:
    """The workload that a write is about: a pod's is in its name."""
    name = str(about.get("name", ""))
    return "-".join(name.split("-")[:2]) if about.get("resource") == "pods" else name


def _ours(log: Path, since: int) -> Iterable[Any]:
    with log.open("rb") as file:
        file.seek(since)
        for line in file:
            if line.endswith(b"}\n"):
                entry = json.loads(line)
                if entry.get("user", {}).get("username") == USER and entry.get("stage") == "ResponseComplete":
                    yield entry


def _names(records: Sequence[Resource]) -> dict[tuple[str, str], str]:
    return {(one["metadata"]["namespace"], one["metadata"]["name"]): _target(one) for one in records}


def _target(record: Resource) -> str:
    return f"{record['metadata']['namespace']}/{record['spec']['target']['name']}"


def _planned(records: Sequence[Resource]) -> Counter[str]:
    """Operations by target: of every attempt that was or may have been written, and of its undo."""
    found: Counter[str] = Counter()
    for one in records:
        target = _target(one)
        for attempt in (one.get("status") or {}).get("attempts") or ():
            if attempt.get("result") != "Refused":
                change = attempt.get("change") or {}
                found[target] += len(change.get("operations") or ()) + len(
                    attempt.get("undo") or change.get("undo") or ()
                )
    return found
