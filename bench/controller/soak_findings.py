"""What a soak brought: counted, judged, and shown as a table."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from bench.controller.soak_audit import Counted, slope
from bench.controller.soak_cases import Ward
from bench.speed.memory import resident
from tests.support.controller import Controller

WARM = 180.0
"""Seconds after its start in which a process still fills its caches."""
_LEAST = 300.0
"""Seconds of samples without which a slope says nothing."""
_GROWTH = 0.10
"""Share of the warm size that a process may have grown at the end: more than the noise of its allocator (some MiB), far
less than a leak of one object a tick or of one record a heal would add."""


@dataclass
class Memory:
    """MiB of each process, by its number, over its age in seconds."""

    samples: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    _first: dict[int, float] = field(default_factory=dict)

    def note(self, number: int, process: Controller) -> None:
        """Read it, if it runs."""
        if process.running:
            now = time.monotonic()
            age = now - self._first.setdefault(number, now)
            self.samples[number].append((age, resident(process.pid) / 2**20))

    def now(self) -> list[float]:
        """The newest sizes, of the two youngest processes."""
        return [rows[-1][1] for _, rows in sorted(self.samples.items())][-2:]

    def warm(self) -> Mapping[int, list[tuple[float, float]]]:
        """The samples of those that lived long enough, from when they were warm."""
        found = {number: [row for row in rows if row[0] >= WARM] for number, rows in self.samples.items()}
        return {number: rows for number, rows in found.items() if rows and rows[-1][0] - rows[0][0] >= _LEAST}


def ends(rows: list[tuple[float, float]]) -> tuple[float, float]:
    """Mean of the first and of the last tenth of samples."""
    part = max(1, len(rows) // 10)
    first, last = rows[:part], rows[-part:]
    return sum(size for _, size in first) / part, sum(size for _, size in last) / part


@dataclass(frozen=True)
class Findings:
    """All that was counted.

    Attributes:
        minutes: From the first fault to the end of the last one.
        ward: The faults.
        troubles: What else was done, by kind.
        decisions: What people answered.
        endless: Remediations that did not end.
        audit: The log of the API server.
        memory: Of the controllers.
        calls: Requests of the controllers.
        writers: How often another controller than before wrote.
        holders: How many times the Lease was taken.
    """

    minutes: float
    ward: Ward
    troubles: Counter[str]
    decisions: Counter[str]
    endless: list[str]
    audit: Counted
    memory: Memory
    calls: int
    writers: int
    holders: int

    @property
    def wrong(self) -> list[str]:
        """What should not have been, in sentences."""
        found = [f"nobody answered: {text}" for text in self.ward.lost]
        found += [f"not healed: {text}" for text in self.ward.unwell]
        found += [f"Kubernetes never showed: {text}" for text in self.ward.never_sick]
        found += [f"never ended: {name}" for name in self.endless]
        found += [f"written twice: {text}" for text in self.audit.twice]
        found += [f"written without an undo record: {text}" for text in self.audit.without_undo]
        if self.writers > self.holders:
            found.append(f"the writing controller changed {self.writers} times, the Lease {self.holders} times")
        for number, rows in self.memory.warm().items():
            first, last = ends(rows)
            if last > first * (1 + _GROWTH):
                found.append(f"controller {number} grew from {first:.1f} to {last:.1f} MiB")
        if not self.ward.injected:
            found.append("nothing was shown: no fault was injected")
        return found

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {"minutes": round(self.minutes, 1)} | dict(self._rows()) | {"wrong": self.wrong}

    def show(self, console: Console) -> None:
        """A table for people."""
        table = Table("what", "count", title=f"{self.minutes:.0f} minutes of random faults")
        for name, value in self._rows():
            table.add_row(name, value)
        console.print(table)
        for text in self.wrong:
            console.print(f"WRONG: {text}", markup=False)

    def _rows(self) -> list[tuple[str, str]]:
        ward = self.ward
        found = [("faults injected", str(ward.injected.total()))]
        found += [(f"faults: {name}", str(times)) for name, times in sorted(ward.injected.items())]
        found += [("faults put off, no workload free", str(ward.put_off))]
        found += [(f"answered first by: {name}", str(times)) for name, times in sorted(ward.answers.items())]
        found += [(f"trouble: {name}", str(times)) for name, times in sorted(self.troubles.items())]
        found += [(f"plan: {name}", str(times)) for name, times in sorted(self.decisions.items())]
        found += [("Remediations opened", str(len(self.audit.records)))]
        found += [(f"Remediations: {name}", str(times)) for name, times in sorted(self.audit.outcomes.items())]
        found += [(f"writes: {name}", str(times)) for name, times in sorted(self.audit.writes.items())]
        found += [
            ("faults that nobody answered", str(len(ward.lost))),
            ("unwell though a heal was due", str(len(ward.unwell))),
            ("Remediations that never end", str(len(self.endless))),
            ("written twice for one attempt", str(len(self.audit.twice))),
            ("changed without an undo record before", str(len(self.audit.without_undo))),
            ("changes of the writer beyond those of the Lease", str(max(0, self.writers - self.holders))),
            ("API calls a minute", f"{self.calls / self.minutes:.0f}"),
        ]
        return found + [self._memory(number, rows) for number, rows in self.memory.warm().items()]

    def _memory(self, number: int, rows: list[tuple[float, float]]) -> tuple[str, str]:
        first, last = ends(rows)
        grows = slope([(age / 3600, size) for age, size in rows])
        hourly = "" if grows is None else f", {grows:+.1f} MiB an hour"
        age = (rows[-1][0] - rows[0][0]) / 60
        return f"controller {number}, {age:.0f} minutes from when it was warm", f"{first:.1f} to {last:.1f} MiB{hourly}"
