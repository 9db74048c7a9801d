"""The API server's audit log, counted: what the controller wrote to workloads, twice, or without an undo record."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.audit import is_written
from bench.client import Resource

_WORKLOADS = ("deployments", "pods")
_GROUP = "aiops.example.com"


@dataclass
class Record:
    """A Remediation, as the writes of the controller told it.

    Attributes:
        workload: Namespace and name of its target.
        status: As it was stored last.
    """

    workload: tuple[str, str]
    status: Resource = field(default_factory=dict)


@dataclass
class Counted:
    """What the log says.

    Attributes:
        records: By namespace and name.
        writes: Changes of workloads: verb and resource.
        twice: Changes that were written a second time for one attempt, in words.
        without_undo: Changes before which no undo record was stored, in words.
    """

    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    writes: Counter[str] = field(default_factory=Counter)
    twice: list[str] = field(default_factory=list)
    without_undo: list[str] = field(default_factory=list)
    _seen: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def outcomes(self) -> Counter[str]:
        """How those ended that did, and why where it is said."""
        ended = [one.status for one in self.records.values() if one.status.get("outcome")]
        return Counter(", ".join(filter(None, (one["outcome"], one.get("reason")))) for one in ended)

    def add(self, entry: Resource) -> None:
        """The next entry of the log."""
        about = entry.get("objectRef") or {}
        if about.get("apiGroup") == _GROUP and about.get("resource") == "remediations":
            self._record(entry, about)
        elif about.get("resource") in _WORKLOADS:
            self._write(entry, about)

    def _record(self, entry: Resource, about: Resource) -> None:
        body, key = entry.get("requestObject"), (about.get("namespace", ""), about.get("name", ""))
        if entry["verb"] == "create" and isinstance(body, dict):
            key = (key[0], body["metadata"]["name"])
            self.records[key] = Record((key[0], body["spec"]["target"]["name"]))
        elif key in self.records and about.get("subresource") == "status":
            self.records[key].status = stored(self.records[key].status, body)

    def _write(self, entry: Resource, about: Resource) -> None:
        what = f"{entry['verb']} {about['resource']}" + (f"/{about['subresource']}" if about.get("subresource") else "")
        self.writes[what] += 1
        text = f"{what} {about['namespace']}/{about['name']} at {entry['requestReceivedTimestamp']}"
        number, attempt = self._attempt(about)
        if attempt is None or not _can_be_undone(attempt, about):
            self.without_undo.append(text)
        body = json.dumps(_changes(entry.get("requestObject")), sort_keys=True)
        mark = (number, what, str(about["name"]), body)
        if mark in self._seen:
            self.twice.append(text)
        self._seen.add(mark)

    def _attempt(self, about: Resource) -> tuple[str, Resource | None]:
        """The newest attempt, and a name for it, of the youngest Remediation about this object."""
        mine = [(key, one) for key, one in self.records.items() if _is_about(one.workload, about)]
        if not mine:
            return "", None
        key, record = mine[-1]
        attempts = record.status.get("attempts") or []
        return f"{'/'.join(key)}#{len(attempts)}", attempts[-1] if attempts else None


def _is_about(workload: tuple[str, str], about: Resource) -> bool:
    space, name = workload
    own = str(about["name"]) if about["resource"] == "deployments" else str(about["name"]).rsplit("-", 2)[0]
    return (space, name) == (about.get("namespace"), own)


def _can_be_undone(attempt: Resource, about: Resource) -> bool:
    """Whether a record says how; for an eviction, which its workload takes back, whether it names the pod."""
    if about.get("subresource") != "eviction":
        return bool(attempt.get("undo"))
    planned = (attempt.get("change") or {}).get("operations") or []
    return any(one.get("name") == about["name"] for one in planned)


def _changes(body: Any) -> Any:
    """What a JSON patch changes, without what it demands."""
    return [one for one in body if one.get("op") != "test"] if isinstance(body, list) else body


def stored(before: Resource, body: Any) -> Resource:
    """The status after a write of it: a JSON patch or a merge patch."""
    if isinstance(body, list):
        whole: list[Resource] = [one["value"] for one in body if one.get("path") == "/status" and "value" in one]
        return whole[-1] if whole else before
    merged: Resource = before | (body or {}).get("status", {})
    return merged


def count(entries: Iterable[Resource]) -> Counted:
    """Count the entries of an audit log, in the order in which they arrived."""
    found = Counted()
    for entry in sorted(filter(is_written, entries), key=lambda one: str(one["requestReceivedTimestamp"])):
        found.add(entry)
    return found


def turns(heard: Iterable[tuple[float, str]]) -> int:
    """How often another replica than before wrote, given when who wrote; the first is a turn too."""
    writers = [who for _, who in sorted(heard)]
    return sum(before != after for before, after in zip(["", *writers], writers, strict=False))


def slope(samples: Sequence[tuple[float, float]]) -> float | None:
    """Least squares: growth in an hour, given hours and MiB; None for too few samples to say."""
    if len({at for at, _ in samples}) < 3:
        return None
    return statistics.linear_regression([at for at, _ in samples], [value for _, value in samples]).slope
