"""The tables of a report as CSV, which MLflow's artifact viewer draws and everybody else can sort."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from selfheal.comparison import changes
from selfheal.modelcard import worst_first
from selfheal.report import Report, SetRow

__all__ = ["tables"]


def tables(report: Report, champion: Report | None) -> dict[str, str]:
    """By file name. A cell is empty where nobody can tell.

    Args:
        report: Of the new model.
        champion: Of the one in service.
    """
    sets = [[getattr(row, name) for name in SetRow.model_fields] for row in report.sets]
    compared = [(one.label, one.mine, one.theirs, one.difference) for one in changes(report, champion)]
    return {
        "tables/comparison.csv": _csv(("figure", "this model", "champion", "difference"), compared),
        "tables/false_alarms.csv": _csv(
            ("detector", "nominal", "realised", "lower", "upper", "under_a_vote", "rows"), _rates(report)
        ),
        "tables/sets.csv": _csv(list(SetRow.model_fields), sets),
        "tables/workloads.csv": _csv(_COLUMNS, _workloads(report)),
    }


_COLUMNS = (
    "workload", "models", "days", "voters", "false_episodes_per_day", "alarmed", "realised", "events", "recall",
    "delay", "average_precision", "abstained", "no_own_model",
)  # fmt: skip


def _rates(report: Report) -> Iterable[Sequence[object]]:
    for name, rate in [*report.rates.items(), ("two of four", report.vote)]:
        lower, upper = rate.interval or (None, None)
        yield name, rate.nominal, rate.realised, lower, upper, rate.voted, rate.rows


def _workloads(report: Report) -> Iterable[Sequence[object]]:
    for row in worst_first(report.workloads):
        reasons = ["; ".join(f"{name}: {why}" for name, why in found.items()) for found in (row.abstained, row.without)]
        own = "own" if row.basis == "workload" else "pooled"
        judged = (row.false_episodes_per_day, row.alarmed, row.realised, row.events, row.recall, row.delay, row.area)
        yield row.workload, own, row.days, row.voters, *judged, *reasons


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    buffer = StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    writer.writerows([["" if cell is None else cell for cell in row] for row in rows])
    return buffer.getvalue()
