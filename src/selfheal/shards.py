"""Workloads in shards: what one task trains, and how the parts become one again.

A shard is a folder of windows below the folder of all of them. Shards follow each other in the order of the workloads,
and nothing that is learned for a workload depends on its shard, so that the merged models are those that one task
would have trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from selfheal.errors import BadModel, WrongUse
from selfheal.members import Members
from selfheal.window import MetricWindow, load_windows, save_windows

__all__ = ["cut", "load_all", "load_shard", "merge", "save_shards"]


def cut(count: int, most: int) -> list[slice]:
    """As few shards of at most ``most`` workloads as possible, all of nearly the same size.

    Raises:
        WrongUse: When a shard may not hold a single workload.
    """
    if most < 1:
        raise WrongUse(f"a shard of {most} workloads trains nothing: shard_size must be at least 1")
    shards = max(1, -(-count // most))
    edges = [count * number // shards for number in range(shards + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def save_shards(folder: Path, windows: Sequence[MetricWindow], most: int) -> list[str]:
    """Write windows in shards of at most ``most`` workloads; returns the shards' names, in order."""
    parts = cut(len(windows), most)
    names = [f"s{number:04d}" for number in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        save_windows(folder / name, windows[part])
    return names


def load_shard(folder: Path, shard: str) -> tuple[list[MetricWindow], list[MetricWindow]]:
    """Read what one task trains.

    Returns:
        The shard's windows, and those that the pooled models learn from: all workloads' for the first shard, none for
        the others, so that only one task ever holds all windows.

    Raises:
        WrongUse: When there is no such shard, or it is damaged.
    """
    names = _names(folder)
    if shard not in names:
        raise WrongUse(f"{folder} has no shard {shard!r}: there are {', '.join(names) or 'none'}")
    own = load_windows(folder / shard)
    if shard != names[0]:
        return own, []
    return own, [*own, *(window for name in names[1:] for window in load_windows(folder / name))]


def load_all(folder: Path) -> list[MetricWindow]:
    """The windows of all shards, in the order in which they were cut; or those of a folder that was not cut."""
    names = _names(folder)
    return [window for name in names for window in load_windows(folder / name)] if names else load_windows(folder)


def merge(parts: Sequence[Members], order: Sequence[str]) -> Members:
    """One detector's models of all shards.

    Args:
        parts: Of one detector, in any order: a server need not keep it. At most one has pooled models.
        order: All workloads, in the order in which they were cut.

    Raises:
        BadModel: When the parts do not belong together.
    """
    rank = {workload: place for place, workload in enumerate(order)}
    parts = sorted(parts, key=lambda part: min((rank.get(one, len(rank)) for one in part.trained), default=len(rank)))
    first = parts[0]
    if any((part.detector, part.names, part.step) != (first.detector, first.names, first.step) for part in parts):
        raise BadModel("shards differ in detector, metrics or step: train all of them in one run")
    pooled = [part.pooled for part in parts if part.pooled]
    workloads = [workload for part in parts for workload in part.trained]
    if len(pooled) > 1 or len(set(workloads)) < len(workloads):
        raise BadModel("shards overlap: train all of them in one run")
    return replace(
        first,
        models={workload: model for part in parts for workload, model in part.models.items()},
        silent={workload: why for part in parts for workload, why in part.silent.items()},
        trained={workload: span for part in parts for workload, span in part.trained.items()},
        pooled=pooled[0] if pooled else None,
    )


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("s*") if path.is_dir())
