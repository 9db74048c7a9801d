"""One row a scenario: the oracle's verdict, and how long the steps took over all runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from bench.mttr import percentile
from bench.scenarios.run import Result

STEPS = ("detected", "recovered", "verified")


def summarise(results: Sequence[Result]) -> list[dict[str, Any]]:
    """By scenario: runs, how many were right, what was wrong, median and p95 of each step in seconds from the fault."""
    rows = []
    for number in sorted({one.number for one in results}):
        ours = [one for one in results if one.number == number]
        steps = {step: [one.seconds[step] for one in ours if step in one.seconds] for step in STEPS}
        rows.append(
            {
                "number": number,
                "title": ours[0].title,
                "tier": ours[0].tier,
                "answer": ours[0].answer,
                "runs": len(ours),
                "right": sum(one.right for one in ours),
                "wrong": sorted({text for one in ours for text in one.wrong}),
                "seconds": {
                    step: {"p50": statistics.median(values), "p95": percentile(values, 0.95), "values": values}
                    for step, values in steps.items()
                    if values
                },
                "told": next((one.told for one in ours if one.told), ""),
                "changes": ours[0].changes,
            }
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """For people."""
    found = Table(title="Scenarios: seconds from the fault, p50 / p95", title_justify="left")
    for column in ("#", "fault", "tier", "right answer", "verdict", *STEPS, "what is wrong"):
        found.add_column(column, overflow="fold")
    for row in rows:
        good = row["right"] == row["runs"]
        verdict = f"[{'green' if good else 'red'}]{row['right']} of {row['runs']} right[/]"
        cells = [_cell(row["seconds"].get(step)) for step in STEPS]
        wrong = "; ".join(row["wrong"]).replace("[", "\\[")[:300]
        found.add_row(str(row["number"]), row["title"], row["tier"], row["answer"], verdict, *cells, wrong)
    return found


def _cell(step: dict[str, Any] | None) -> str:
    return f"{step['p50']:.1f} / {step['p95']:.1f}" if step else "-"
