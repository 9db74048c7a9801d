"""``python -m bench.detection ablations``: what each lever is worth, scored by the referee."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, pstdev
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.detection.series import names_of
from selfheal import ensemble as ensembles
from selfheal import hearing
from selfheal.backtest import Series, scores
from selfheal.calibration import VoteSettings
from selfheal.detectors import DETECTORS, base
from selfheal.detectors.base import Flags
from selfheal.detectors.residual import ResidualDetector
from selfheal.ensemble import Ensemble, split
from selfheal.errors import WrongUse
from selfheal.hearing import Hearing
from selfheal.members import Members
from selfheal.window import read_table

FIGURES = ("vus_pr", "f1", "event_recall", "false_episodes_per_day", "false_alarm_rate", "ece")
HEADS = ("VUS-PR", "F1", "ev.rec", "false/d", "FAR", "ECE")
BASE = "as it is"
_AN_AGE = 1e12  # seconds


@dataclass(frozen=True)
class Lever:
    """One thing changed.

    Attributes:
        votes: Changes how surprise becomes votes.
        without: A detector left out.
        patched: Changes what the code does.
        again: Whether that changes scores, so that the ensemble must be calibrated under it.
    """

    votes: Callable[[VoteSettings], VoteSettings] = lambda settings: settings
    without: str = ""
    patched: Callable[[], AbstractContextManager[object]] = nullcontext
    again: bool = False


def _votes(**changes: Any) -> Lever:
    return Lever(votes=lambda settings: replace(settings, **changes))


def _scores(patched: Callable[[], AbstractContextManager[object]]) -> Lever:
    return Lever(patched=patched, again=True)


def _unsmoothed() -> AbstractContextManager[object]:
    stack = ExitStack()
    for kind in DETECTORS.values():
        if issubclass(kind, ResidualDetector):
            stack.enter_context(patch.object(kind, "memory", 0.01))
    return stack


def _unchanged(ensemble: Ensemble, _: Sequence[Hearing]) -> Ensemble:
    return ensemble


def _all(alarmed: Flags, _: float) -> Flags:
    return np.ones_like(alarmed)


LEVERS: Mapping[str, Lever] = {
    BASE: Lever(),
    "level 0.005": _votes(level=0.005, release=0.005),
    "level 0.02": _votes(level=0.02, release=0.02),
    "no persistence": _votes(needed=1, among=1),
    "release at 0.02": _votes(release=0.02),
    "release at 0.05": _votes(release=0.05),
    "not calibrated again": Lever(patched=lambda: patch.object(Ensemble, "recalibrated", _unchanged)),
    "calibrated with alarms": Lever(patched=lambda: patch.object(ensembles, "usual", _all)),
    "no alarm is a new state": Lever(patched=lambda: patch.object(hearing, "NEW_STATE", _AN_AGE)),
    "not measured anew after silence": _scores(lambda: patch.object(base, "SILENCE", math.inf)),
    "no knee": _scores(lambda: patch.object(base, "KNEE", base.WILD)),
    "no smoothing": _scores(_unsmoothed),
    **{f"without {name}": Lever(without=name) for name in DETECTORS},
}


def judge(file: Path, name: str, seed: int, out: Path) -> str:
    """Train on one series and write what each variant says of it, in the referee's layout below ``out/VARIANT``."""
    series = Series.read(read_table(file), name)
    training, held_back = split([series.training])
    members = [Members.fit(detector, training, seed=seed) for detector in DETECTORS]
    usual: Ensemble | None = None
    for lever_name, lever in LEVERS.items():
        with lever.patched():
            if usual is None or lever.again:
                ensemble = Ensemble.assemble(members, held_back, seed=seed)
                usual = usual or ensemble
            else:
                ensemble = usual
            target = out / lever_name.replace(" ", "-") / f"{name}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            scores(_changed(ensemble, lever), series).to_parquet(target, index=False)
    return name


def _changed(ensemble: Ensemble, lever: Lever) -> Ensemble:
    kept = {name: members for name, members in ensemble.members.items() if name != lever.without}
    return replace(ensemble, settings=lever.votes(ensemble.settings), members=kept)


def _score(referee: Path, python: Path, data: Path, found: Path) -> dict[str, dict[str, Any]]:
    """The referee's figures by set, and for all."""
    table = found.parent / f"{found.name}.json"
    command = [str(python), str(referee), "score", "--data", str(data), "--scores", str(found), "--json", str(table)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongUse(f"the referee refuses {found}: {done.stderr.strip()[-400:]}")
    read = json.loads(table.read_text())
    return {**read["sets"], "all": read["all"]}


def summary(figures: Sequence[Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> list[dict[str, Any]]:
    """Mean and spread over seeds of each variant, set and figure.

    Args:
        figures: For each seed, by variant and set, what the referee said.

    Returns:
        One row for each set and variant: ``set``, ``lever`` and, by figure, ``mean``, ``spread`` and ``change`` against
        the variant as it is; None where the referee has no figure.
    """
    rows = []
    for group in figures[0][BASE]:
        for lever in figures[0]:
            row: dict[str, Any] = {"set": group, "lever": lever}
            for figure in FIGURES:
                values = [one[lever][group][figure] for one in figures]
                usual = [one[BASE][group][figure] for one in figures]
                known = all(value is not None for value in values)
                row[figure] = (
                    {"mean": mean(values), "spread": pstdev(values), "change": mean(values) - mean(usual)}
                    if known
                    else None
                )
            rows.append(row)
    return rows


def _show(rows: Sequence[Mapping[str, Any]], seeds: int, console: Console) -> None:
    for group in dict.fromkeys(row["set"] for row in rows):
        table = Table("lever", *HEADS, title=f"{group}, mean of {seeds} seeds (change)", title_justify="left")
        for row in (row for row in rows if row["set"] == group):
            table.add_row(row["lever"], *(_cell(row[figure], row["lever"] == BASE) for figure in FIGURES))
        console.print(table)


def _cell(value: Mapping[str, float] | None, usual: bool) -> str:
    if value is None:
        return "-"
    spread = f" ±{value['spread']:.3f}" if value["spread"] >= 0.0005 else ""
    return f"{value['mean']:.3f}{spread}" + ("" if usual else f" ({value['change']:+.3f})")


def ablations(
    data: Annotated[Path, typer.Option(help="Folder of labelled SET/SERIES.parquet files.")],
    referee: Annotated[Path, typer.Option(help="referee.py.")],
    python: Annotated[Path, typer.Option(help="The referee's own python (setup.sh made it).")],
    out: Annotated[Path, typer.Option(help="Where scores go.")] = Path(".bench/ablations"),
    sets: Annotated[str, typer.Option(help="Sets with commas between them; all by default.")] = "",
    limit: Annotated[int, typer.Option(help="Only the first N series of each set.")] = 0,
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 3,
    jobs: Annotated[int, typer.Option(help="Series at a time.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Switch each lever of detection off, one at a time, and have the referee score it."""
    names, console = names_of(data, sets, limit), Console(stderr=True)
    figures = []
    for seed in range(seeds):
        folder = out.absolute() / f"seed{seed}"
        with ProcessPoolExecutor(jobs) as workers:
            work = workers.map(_one, ((data / f"{name}.parquet", name, seed, folder) for name in names))
            list(track(work, f"seed {seed}", total=len(names), console=console))
        folders = [folder / lever.replace(" ", "-") for lever in LEVERS]
        with ThreadPoolExecutor(jobs) as pool:  # each waits for a process of the referee
            found = pool.map(partial(_score, referee, python, data), folders)
            figures.append(dict(zip(LEVERS, track(found, "referee", total=len(LEVERS), console=console), strict=True)))
    rows = summary(figures)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        _show(rows, seeds, Console(width=None if sys.stdout.isatty() else 140))


def _one(work: tuple[Path, str, int, Path]) -> str:
    return judge(*work)
