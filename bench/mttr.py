"""How long heals take: median and 95th percentile over several runs of each fault."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.watch import Heal

STEPS = ("reported", "detected", "applied", "recovered", "verified")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed (nearest rank).

    Args:
        values: At least one.
        share: 0..1.
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def summarise(heals: Sequence[Heal]) -> dict[str, dict[str, object]]:
    """By fault: how many runs, how many healed, and median and p95 of each step in seconds from the fault."""
    found: dict[str, dict[str, object]] = {}
    for name in dict.fromkeys(heal.fault for heal in heals):
        ours = [heal for heal in heals if heal.fault == name]
        steps = {step: [at for heal in ours if (at := heal.at(step)) is not None] for step in STEPS}
        found[name] = {
            "runs": len(ours),
            "healed": sum(heal.healed for heal in ours),
            "seconds": {
                step: {"median": statistics.median(values), "p95": percentile(values, 0.95), "values": values}
                for step, values in steps.items()
                if values
            },
        }
    return found


def tell(heals: Sequence[Heal], file: Path, console: Console) -> None:
    """Print a table and write the same numbers as JSON."""
    summary = summarise(heals)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(summary, indent=1) + "\n")
    table = Table(title="Seconds from the fault: median / p95", title_justify="left")
    for column in ("fault", "healed", *STEPS):
        table.add_column(column)
    for name, row in summary.items():
        seconds = row["seconds"]
        cells = [_cell(seconds.get(step)) for step in STEPS] if isinstance(seconds, dict) else []
        table.add_row(name, f"{row['healed']} of {row['runs']}", *cells)
    console.print(table)
    console.print(f"The same as JSON: {file}")


def _cell(step: dict[str, float] | None) -> str:
    return f"{step['median']:.1f} / {step['p95']:.1f}" if step else "-"
