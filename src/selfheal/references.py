"""What is usual for the detectors' scores before a model has judged anything: learned from held-back data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selfheal.calibration import Reference
from selfheal.members import Members, chunks
from selfheal.window import MetricWindow

LEAST = 20
"""Rows of held-back data without which a p-value would be invented."""

_MOST_CHUNKS = 48


def own(members: Sequence[Members], window: MetricWindow) -> dict[str, Reference]:
    """By detector, those with a model of the window's workload and enough data."""
    found = {}
    for member in members:
        model = member.models.get(window.workload)
        if model is not None and window.usable >= model.warmup + LEAST:
            found[member.detector] = Reference.learn(model.score(window)[model.warmup :])
    return found


def pooled(members: Sequence[Members], windows: Sequence[MetricWindow]) -> dict[str, Reference]:
    """By detector, for the models of strangers."""
    found = {}
    parts = [part for window in windows for part in chunks(window)][:_MOST_CHUNKS]
    for member in members:
        model = member.pooled
        if model is None:
            continue
        scores = [model.score(part)[model.warmup :] for part in parts if part.usable > model.warmup]
        if sum(map(len, scores)) >= LEAST:
            found[member.detector] = Reference.learn(np.concatenate(scores))
    return found


def why_none(members: Sequence[Members], windows: Sequence[MetricWindow]) -> str:
    """Why no workload has enough history, in a few words."""
    reasons = [f"{m.detector} for {w}: {why}" for m in members for w, why in m.silent.items()]
    longest = max((len(window) for window in windows), default=0)
    return "; ".join(reasons[:4]) or f"{longest} rows held back, {LEAST} needed"
