"""A model of very many workloads, cheaply: a few are trained, all others are copies of them under other names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bench.speed.workloads import history
from selfheal.ensemble import Ensemble
from selfheal.window import MetricWindow

_TRAINED = 4
_DAYS = 3.0  # Prophet needs two, and a fifth is held back


def trained(seed: int = 0) -> tuple[Ensemble, list[MetricWindow]]:
    """An ensemble of a few workloads, and their history."""
    windows = [history(number, _DAYS, seed) for number in range(_TRAINED)]
    return Ensemble.fit(windows, seed=seed), windows


def crowd(few: Ensemble, names: Iterable[str]) -> Ensemble:
    """The same models for as many workloads as wanted, under their own names."""
    origin = {name: few.workloads[place % len(few.workloads)] for place, name in enumerate(names)}
    members = {
        detector: replace(
            member,
            models={new: member.models[old] for new, old in origin.items() if old in member.models},
            silent={new: member.silent[old] for new, old in origin.items() if old in member.silent},
            trained={new: member.trained[old] for new, old in origin.items() if old in member.trained},
        )
        for detector, member in few.members.items()
    }
    others = {key: found for key, found in few.references.items() if key not in few.workloads}
    references = {new: few.references[old] for new, old in origin.items()}
    calibrated = {new: few.calibrated[old] for new, old in origin.items()}
    return replace(few, workloads=tuple(origin), members=members, references=references | others, calibrated=calibrated)


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
