"""``python -m bench.detection clean``: how often a level cries wolf where there is no fault."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.detection.series import names_of
from selfheal.backtest import Series
from selfheal.calibration import VoteSettings
from selfheal.collection import halves
from selfheal.detectors import DETECTORS
from selfheal.ensemble import Ensemble, split
from selfheal.errors import NoData
from selfheal.members import Members
from selfheal.window import DAY, read_table

LEVELS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
AT_MOST = 2.0
"""False alarms a day and workload that design/detection.md allows at the most (smd)."""


@dataclass(frozen=True)
class Quiet:
    """What was alarmed on clean rows at one level.

    Attributes:
        level: Of the vote.
        episodes: Stretches of alarm.
        rows: Alarmed rows.
        of: All rows.
        days: They span.
        votes: Share of rows with a vote, by detector.
    """

    level: float
    episodes: int
    rows: int
    of: int
    days: float
    votes: Mapping[str, float]


def listen(file: Path, name: str) -> list[Quiet]:
    """Train on the older part of the *train* rows, calibrate on half of what is held back, listen to the other half.

    Labels and test rows are not read.
    """
    series = Series.read(read_table(file), name)
    training, held_back = split([series.training])
    calibration, judged = halves(held_back)
    members = [Members.fit(detector, training) for detector in DETECTORS]
    try:
        ensemble = Ensemble.assemble(members, calibration)
    except NoData:
        return []
    rows = len(judged[0])
    return [_at(ensemble, series, rows, level) for level in LEVELS] if rows else []


def _at(ensemble: Ensemble, series: Series, rows: int, level: float) -> Quiet:
    usual = VoteSettings.for_step(ensemble.step)
    changed = replace(usual, level=level, release=level * usual.release / usual.level)
    trace = replace(ensemble, settings=changed).trace(series.training)
    alarm = trace.anomaly[-rows:]
    return Quiet(
        level=level,
        episodes=int((np.diff(alarm.astype(int), prepend=0) > 0).sum()),
        rows=int(alarm.sum()),
        of=rows,
        days=rows * ensemble.step / DAY,
        votes={detector: float(votes[-rows:].mean()) for detector, votes in trace.votes.items()},
    )


def summary(found: Sequence[Quiet]) -> list[dict[str, Any]]:
    """By level: false alarms a day and workload, share of rows alarmed, realised over nominal rate of votes."""
    rows = []
    for level in LEVELS:
        ours = [one for one in found if one.level == level]
        votes = [one.votes for one in ours]
        rows.append(
            {
                "level": level,
                "falseAlarmsPerDay": sum(one.episodes for one in ours) / sum(one.days for one in ours),
                "alarmedShare": sum(one.rows for one in ours) / sum(one.of for one in ours),
                "realisedOverNominal": {
                    name: median(known) / level if (known := [one[name] for one in votes if name in one]) else None
                    for name in DETECTORS
                },
            }
        )
    return rows


def chosen(rows: Sequence[Mapping[str, Any]]) -> float:
    """The largest level that alarms at most AT_MOST times a day."""
    return max((row["level"] for row in rows if row["falseAlarmsPerDay"] <= AT_MOST), default=LEVELS[0])


def clean(
    data: Annotated[Path, typer.Option(help="Folder of SET/SERIES.parquet files; labels are not read.")],
    sets: Annotated[str, typer.Option(help="Sets with commas between them; all by default.")] = "",
    limit: Annotated[int, typer.Option(help="Only the first N series of each set.")] = 0,
    jobs: Annotated[int, typer.Option(help="Series at a time.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Count false alarms by level on clean history, without labels: this is where the level of the vote comes from."""
    names = names_of(data, sets, limit)
    with ProcessPoolExecutor(jobs) as pool:
        work = pool.map(listen, [data / f"{name}.parquet" for name in names], names)
        found = [one for many in track(work, "listen", total=len(names), console=Console(stderr=True)) for one in many]
    if not found:
        raise NoData("no series is long enough to hold something back: give longer ones")
    rows = summary(found)
    if as_json:
        typer.echo(json.dumps({"rows": rows, "chosen": chosen(rows)}, indent=1))
        return
    table = Table("level", "false alarms/d", "rows alarmed", *(f"{name} x" for name in DETECTORS))
    for row in rows:
        known = row["realisedOverNominal"]
        ratios = ("-" if known[name] is None else f"{known[name]:.1f}" for name in DETECTORS)
        table.add_row(f"{row['level']:g}", f"{row['falseAlarmsPerDay']:.2f}", f"{row['alarmedShare']:.2%}", *ratios)
    console = Console()
    console.print(table)
    console.print(
        f"Largest level with at most {AT_MOST:g} false alarms a day and workload: {chosen(rows):g} "
        f"(in use: {VoteSettings().level:g}). x: realised over nominal rate of votes, median series."
    )
