"""What was measured, and how it is shown."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        work: What was done.
        unit: Of all numbers: s, ms, MB or KB; less is better.
        runs: What each run came to.
        naive: What the naive method comes to; None where there is none.
        note: How the naive number was got, or what else must be known.
        must: The goal; None without one.
        reach: The goal beyond.
    """

    work: str
    unit: str
    runs: tuple[float, ...]
    naive: float | None = None
    note: str = ""
    must: float | None = None
    reach: float | None = None

    @property
    def median(self) -> float:
        """Of the runs."""
        return statistics.median(self.runs)

    @property
    def ratio(self) -> float | None:
        """How many times as much the naive method takes."""
        return None if self.naive is None else self.naive / self.median

    @property
    def verdict(self) -> str:
        """Against the goals."""
        if self.must is None:
            return ""
        if self.reach is not None and self.median <= self.reach:
            return "reached"
        return "met" if self.median <= self.must else "missed"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "work": self.work,
            "unit": self.unit,
            "median": self.median,
            "runs": list(self.runs),
            "naive": self.naive,
            "ratio": self.ratio,
            "must": self.must,
            "reach": self.reach,
            "verdict": self.verdict,
            "note": self.note,
        }


@dataclass
class Findings:
    """A table on its way.

    Attributes:
        title: Of the table.
        facts: About machine and settings.
        figures: In the order measured.
    """

    title: str
    facts: Mapping[str, Any]
    figures: list[Figure] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"title": self.title, "facts": dict(self.facts), "figures": [one.to_json() for one in self.figures]}

    def show(self, console: Console) -> None:
        """For people."""
        table = Table(title=self.title, title_justify="left")
        for column in ("work", "median", "min..max", "runs", "naive", "ratio", "must", "reach", ""):
            table.add_column(column, justify="left" if column in ("work", "") else "right", overflow="fold")
        for one in self.figures:
            table.add_row(*_cells(one))
        console.print(table)
        for one in self.figures:
            if one.note:
                console.print(f"{one.work}: {one.note}", highlight=False)
        console.print(", ".join(f"{key} {value}" for key, value in self.facts.items()), highlight=False)


def _cells(one: Figure) -> Sequence[str]:
    ratio = "" if one.ratio is None else f"x{number(one.ratio)}"
    return (
        f"{one.work} ({one.unit})",
        number(one.median),
        f"{number(min(one.runs))}..{number(max(one.runs))}",
        str(len(one.runs)),
        number(one.naive),
        ratio,
        number(one.must),
        number(one.reach),
        one.verdict,
    )


def number(value: float | None) -> str:
    """Three digits that matter."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """What a reader must know of the machine."""
    return {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def busy() -> float:
    """Processor seconds that this process and those it has waited for took so far: what load of others hardly moves."""
    user, system, child_user, child_system, _ = os.times()
    return user + system + child_user + child_system
