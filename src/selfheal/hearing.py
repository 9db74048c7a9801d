"""What detectors say of every row of one window, and which of these rows tell what is usual.

Votes are measured by what was usual lately, so that every detector keeps its rate of false alarms while a workload
changes: a daily recalibration adds the history since training, without the rows that were alarmed. An alarm of half a
day is taken for a new state (docs/adr/0007-recalibration.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from selfheal.calibration import Flags, Reference
from selfheal.injection import clear_of
from selfheal.window import Floats, Times

NEW_STATE = 43_200.0
"""Seconds after which what is alarmed is taken for a new state: an incident of a night is still one in the morning."""

_HELD_OUT = 21_600.0  # seconds
_LEAST_HELD_OUT = 180  # rows: fewer have no room for faults that tell what a model finds

_ONE_INCIDENT = 21_600.0  # seconds between two alarms about the same state


@dataclass(frozen=True)
class Hearing:
    """Raw scores of one window.

    Attributes:
        workload: Whose window it is.
        times: Of the rows, ``datetime64[s]``, shape [t].
        raw: By detector, those that did not abstain, shape [t].
        warmup: First rows with a neutral score, by detector.
        abstained: Why, by detector.
    """

    workload: str
    times: Times
    raw: Mapping[str, Floats]
    warmup: Mapping[str, int]
    abstained: Mapping[str, str]

    def until(self, row: int) -> Hearing:
        """What was known before a row."""
        raw = {name: scores[:row] for name, scores in self.raw.items()}
        return Hearing(self.workload, self.times[:row], raw, self.warmup, self.abstained)

    def known(self, detector: str) -> Flags:
        """Rows with a score, shape [t]."""
        return np.arange(len(self.times)) >= self.warmup[detector]

    def surprises(self, references: Mapping[str, Reference]) -> dict[str, Floats]:
        """-log10 of the p-value by detector, each of shape [t]."""
        return {name: references[name].surprise(raw) * self.known(name) for name, raw in self.raw.items()}

    def learn(self, rows: Flags, least: int) -> dict[str, Reference]:
        """What is usual in some rows, shape [t]; nothing of a detector that has fewer than ``least`` of them."""
        chosen = {name: raw[rows & self.known(name)] for name, raw in self.raw.items()}
        return {name: Reference.learn(raw) for name, raw in chosen.items() if len(raw) >= least}


@dataclass(frozen=True)
class Trace:
    """Row by row over one window, all arrays of shape [t].

    Attributes:
        anomaly: At least two votes; all False where fewer than two detectors could vote.
        score: Second largest of ``scores``; 0 where fewer than two could vote.
        confidence: Calibrated probability that the row is anomalous.
        votes: By detector, those that did not abstain.
        scores: One minus the p-value, by detector.
        abstained: Why, by detector.
    """

    anomaly: Flags
    score: Floats
    confidence: Floats
    votes: Mapping[str, Flags]
    scores: Mapping[str, Floats]
    abstained: Mapping[str, str]


def held_out(step: float) -> int:
    """Newest rows that a calibration leaves out, so that what comes of it can be judged on them.

    Args:
        step: Seconds between rows.
    """
    return max(round(_HELD_OUT / step), _LEAST_HELD_OUT)


def usual(alarmed: Flags, step: float) -> Flags:
    """Which rows tell what is usual: those without an alarm, clear of its aftermath, or in a new state; shape [t].

    Args:
        alarmed: Rows with an alarm, shape [t].
        step: Seconds between rows.
    """
    incident = alarmed.copy()
    for begin, end in _incidents(alarmed, _ONE_INCIDENT / step):
        incident[min(begin + int(NEW_STATE / step), end) : end] = False
    return clear_of(incident) & ~incident


def _incidents(alarmed: Flags, gap: float) -> Iterator[tuple[int, int]]:
    """First row and row after the last of each."""
    rows = np.flatnonzero(alarmed)
    if rows.size:
        cuts = np.flatnonzero(np.diff(rows) > gap)
        yield from zip(rows[np.r_[0, cuts + 1]].tolist(), (rows[np.r_[cuts, -1]] + 1).tolist(), strict=True)
