"""The faults of a soak while they are open: who has answered them, whether they are healed, and when it is too late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bench.client import Resource
from bench.controller.soak_field import Key, is_well

PATIENCE = 180.0
"""Seconds after which a fault that nobody answered is lost, and one that nobody healed unwell; over twice what waits
for a verification of 60 s, an approval of 30 s and a successor of the leader take together."""
_REST = 12.0
"""Seconds between a repair and the next fault of a workload: a cooldown ends, an incident clears."""


@dataclass
class Case:
    """One fault.

    Attributes:
        kind: Of the fault.
        key: The workload.
        begun: Monotonic seconds.
        moment: The same by the clock of the cluster.
        due: Whether it has to be healed.
        is_sick: Whether it was seen unwell.
        is_healed: Whether it was seen well again.
        answer: The first one: ``healed``, ``record`` or ``event``; empty before.
        why: For one that is not due: what took it out.
        done: When it was repaired, in monotonic seconds.
    """

    kind: str
    key: Key
    begun: float
    moment: datetime
    due: bool
    is_sick: bool = False
    is_healed: bool = False
    answer: str = ""
    why: str = ""
    done: float | None = None

    def __str__(self) -> str:
        return f"{self.kind} of {'/'.join(self.key)} at {self.moment:%H:%M:%S}"

    def excuse(self, why: str) -> None:
        """It need not be healed any more."""
        if self.due:
            self.due, self.why = False, why

    def look(self, workload: Resource, records: Iterable[Resource]) -> None:
        """Read on. What was sick and healed between two looks is known from its record."""
        well, mine = is_well(workload), [one for one in records if is_open(one) or _opened(one) >= self.moment]
        self.is_sick = self.is_sick or not well or bool(mine)
        self.is_healed = self.is_sick and well
        self.answer = self.answer or ("record" if mine else "healed" if self.is_healed else "")
        if any((one.get("status") or {}).get("reason") == "SuspendedTooLong" for one in mine):
            self.excuse("suspended for too long")

    def is_over(self, now: float, has_open: bool) -> bool:
        """Whether nothing more is to come, or it came too late."""
        age = now - self.begun
        settled = bool(self.answer) and not has_open and (self.is_healed if self.due else age > 25)
        return settled or age > PATIENCE


def is_open(record: Resource) -> bool:
    """Whether a Remediation has not ended."""
    return not (record.get("status") or {}).get("outcome")


def _opened(record: Resource) -> datetime:
    found = datetime.fromisoformat(record["metadata"]["creationTimestamp"])
    return found + timedelta(seconds=1)  # whole seconds are all that the API server tells


def about(records: Iterable[Resource]) -> dict[Key, list[Resource]]:
    """Remediations by workload."""
    found: dict[Key, list[Resource]] = {}
    for one in records:
        found.setdefault((one["metadata"]["namespace"], one["spec"]["target"]["name"]), []).append(one)
    return found


@dataclass
class Ward:
    """All workloads with a fault.

    Attributes:
        cases: The open ones, and those that rest after a repair.
        injected: By kind.
        answers: By kind of the answer.
        put_off: Faults that found no workload free.
        lost: Faults that nobody answered.
        unwell: Faults that were to be healed and were not.
        never_sick: Faults that Kubernetes never showed: a mistake of the soak.
    """

    cases: dict[Key, Case] = field(default_factory=dict)
    injected: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    put_off: int = 0
    lost: list[str] = field(default_factory=list)
    unwell: list[str] = field(default_factory=list)
    never_sick: list[str] = field(default_factory=list)

    @property
    def sick(self) -> list[Case]:
        """What is not repaired yet."""
        return [case for case in self.cases.values() if case.done is None]

    def admit(self, case: Case) -> None:
        """A fault was injected."""
        self.cases[case.key] = case
        self.injected[case.kind] += 1

    def look(self, workloads: Mapping[Key, Resource], records: Mapping[Key, list[Resource]]) -> None:
        """Read on about all."""
        for case in self.sick:
            case.look(workloads[case.key], records.get(case.key, ()))

    def close(self, case: Case, now: float, trace: str) -> None:
        """A fault is over: judge it."""
        case.done = now
        self.answers[case.answer or "nothing"] += 1
        if not case.answer:
            self.lost.append(f"{case}")
        if not case.is_sick:
            self.never_sick.append(f"{case}")
        if case.due and not case.is_healed:
            self.unwell.append(f"{case}: {trace or 'no record'}")

    def discharge(self, now: float, workloads: Mapping[Key, Resource], records: Mapping[Key, list[Resource]]) -> None:
        """What was repaired, is well and has rested may break again."""
        for key, case in list(self.cases.items()):
            rested = case.done is not None and now - case.done > _REST
            if rested and is_well(workloads[key]) and not any(map(is_open, records.get(key, ()))):
                del self.cases[key]
