"""Judges an ensemble without labels, and decides between champion and challenger.

Held-back normal data tells how often it cries wolf; faults injected into that data (:mod:`selfheal.injection`) tell
what it finds, how late, and whether its confidence is honest. Labels of evaluation sets are never seen here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import comb
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from selfheal.catalogue import catalogue_hash
from selfheal.errors import NoData
from selfheal.injection import inject
from selfheal.report import Bin, Curve, Data, Rate, Report, WorkloadRow
from selfheal.vote import QUORUM
from selfheal.window import DAY, Floats, MetricWindow

if TYPE_CHECKING:
    from selfheal.ensemble import Ensemble, Progress, Trace

__all__ = ["MARGINS", "Margins", "Report", "better", "describe", "evaluate"]

Flags = npt.NDArray[np.bool_]

ROUNDS = 3  # how often each workload gets other faults; one round of a short window holds too few to count
ANOMALOUS = 0.05  # share of faulty rows that confidence is calibrated for; injected faults are more frequent

_BINS = 10
_CURVES, _CURVE_POINTS = 12, 400


@dataclass(frozen=True)
class Margins:
    """When a challenger is refused.

    Attributes:
        false_rise: False episodes a day and workload that it may add.
        recall_fall: Share of injected faults that it may lose.
        most_false: False episodes a day and workload that nobody may exceed, champion or not.
        least_recall: Share of injected faults that everybody must find.
        most_ece: Calibration error that nobody may exceed.
    """

    false_rise: float = 0.25
    recall_fall: float = 0.05
    most_false: float = 6.0
    least_recall: float = 0.4
    most_ece: float = 0.25


MARGINS = Margins()


def evaluate(
    ensemble: Ensemble,
    held_back: Sequence[MetricWindow],
    *,
    training: Data | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Judge an ensemble on normal data that it has not seen.

    Args:
        ensemble: To be judged.
        held_back: Normal windows, one or more a workload.
        training: What it was trained on, to be kept in the report.
        seed: Of the faults' chance; the same seed gives the same faults.
        progress: Told after every window.

    Returns:
        The report.

    Raises:
        NoData: Without any row.
        MetricMismatch: When the windows' metrics are not the ensemble's.
    """
    windows = [window for window in held_back if len(window)]
    if not windows:
        raise NoData("no held-back data to judge the model on: collect a longer history")
    tally = _Tally(ensemble.settings.level)
    for index, window in enumerate(windows):
        tally.add(ensemble, window, [np.random.default_rng([seed, index, turn]) for turn in range(ROUNDS)])
        if progress:
            progress("evaluate", index + 1, len(windows))
    return tally.report(ensemble, describe(windows), training)


def describe(windows: Sequence[MetricWindow]) -> Data:
    """Which samples a set of windows holds.

    Raises:
        NoData: Without any row.
    """
    filled = [window for window in windows if len(window)]
    if not filled:
        raise NoData("there are no samples: collect a history first")
    digest = hashlib.sha256("".join(f"{w.workload}={w.digest()}\n" for w in filled).encode()).hexdigest()
    return Data(
        start=_moment(min(window.times[0] for window in filled)),
        end=_moment(max(window.times[-1] for window in filled)),
        workloads=len({window.workload for window in filled}),
        rows=sum(len(window) for window in filled),
        digest=f"sha256:{digest}",
    )


def _moment(time: np.datetime64) -> datetime:
    return datetime.fromtimestamp(int(time.astype("datetime64[s]").astype("int64")), UTC)


@dataclass
class _Tally:
    """What is counted window by window."""

    level: float
    rows: list[WorkloadRow] = field(default_factory=list)
    quiet: list[tuple[Mapping[str, Floats], Mapping[str, Flags], Flags]] = field(default_factory=list)
    sick: list[tuple[Mapping[str, Flags], Floats, Flags]] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def add(self, ensemble: Ensemble, window: MetricWindow, chances: Sequence[np.random.Generator]) -> None:
        """Judge one window, once as it is and once with each set of faults."""
        calm = ensemble.trace(window)
        if len(calm.votes) < QUORUM:
            self.rows.append(_row(window, len(calm.votes), None, []))
            return
        self.quiet.append((calm.scores, calm.votes, calm.anomaly))
        waits: list[float | None] = []
        for chance in chances:
            ill, faulty = inject(window, chance)
            found = ensemble.trace(ill)
            self.sick.append((found.votes, found.confidence, faulty))
            waits += _waits(faulty, found.anomaly, window.step)
            if chance is chances[0] and len(self.curves) < _CURVES:
                self.curves.append(_curve(window, ill, faulty, found))
        self.rows.append(_row(window, len(calm.votes), calm.anomaly, waits))
        self.delays += [wait for wait in waits if wait is not None]

    def report(self, ensemble: Ensemble, data: Data, training: Data | None) -> Report:
        """All of it together."""
        judged = [row for row in self.rows if row.alarmed is not None]
        days, events = sum(row.days for row in judged), sum(row.events for row in judged)
        ece, bins = self._reliability()
        return Report(
            metrics=ensemble.names,
            step=ensemble.step,
            catalogue=catalogue_hash(ensemble.names),
            held_back=data,
            training=training,
            rates=self._rates(),
            vote=self._vote_rate(),
            false_episodes_per_day=sum(row.false_episodes for row in judged) / days if days else None,
            events=events,
            recall=sum(row.found for row in judged) / events if events else None,
            delay=float(np.median(self.delays)) if self.delays else None,
            ece=ece,
            reliability=bins,
            correlation=self._correlation(),
            workloads=tuple(sorted(self.rows, key=lambda row: row.workload)),
            curves=tuple(self.curves),
            notes=_notes(self.rows, events),
        )

    def _rates(self) -> dict[str, Rate]:
        names = sorted({name for scores, _, _ in self.quiet for name in scores})
        return {name: self._rate(name) for name in names}

    def _rate(self, name: str) -> Rate:
        scores = np.concatenate([scores[name] for scores, _, _ in self.quiet if name in scores])
        votes = np.concatenate([votes[name] for _, votes, _ in self.quiet if name in votes])
        passed = scores >= 1 - self.level
        return Rate(nominal=self.level, realised=_mean(passed), voted=_mean(votes), rows=len(scores))

    def _vote_rate(self) -> Rate:
        passed = [
            sum((score >= 1 - self.level).astype(int) for score in scores.values()) for scores, _, _ in self.quiet
        ]
        alarmed = [anomaly for _, _, anomaly in self.quiet]
        return Rate(
            nominal=_at_least(QUORUM, 4, self.level),
            realised=_mean(np.concatenate(passed) >= QUORUM) if passed else None,
            voted=_mean(np.concatenate(alarmed)) if alarmed else None,
            rows=sum(len(part) for part in alarmed),
        )

    def _reliability(self) -> tuple[float | None, tuple[Bin, ...]]:
        if not self.sick:
            return None, ()
        confidence = np.concatenate([part for _, part, _ in self.sick])
        faulty = np.concatenate([part for _, _, part in self.sick])
        share = float(faulty.mean())
        if share in (0.0, 1.0):
            return None, ()
        weight = np.where(faulty, ANOMALOUS / share, (1 - ANOMALOUS) / (1 - share)) / len(faulty)
        bins = _bins(confidence, faulty, weight)
        return sum(one.weight * abs(one.confidence - one.faulty) for one in bins), bins

    def _correlation(self) -> dict[str, dict[str, float | None]]:
        names = sorted({name for votes, _, _ in self.sick for name in votes})
        return {one: {other: self._pair(one, other) for other in names} for one in names}

    def _pair(self, one: str, other: str) -> float | None:
        both = [(votes[one], votes[other]) for votes, _, _ in self.sick if one in votes and other in votes]
        if not both:
            return None
        a, b = (np.concatenate([pair[side] for pair in both]).astype(float) for side in (0, 1))
        if not a.std() or not b.std():
            return None
        return float(np.corrcoef(a, b)[0, 1])


def _row(window: MetricWindow, voters: int, calm: Flags | None, waits: Sequence[float | None]) -> WorkloadRow:
    known = [wait for wait in waits if wait is not None]
    return WorkloadRow(
        workload=window.workload,
        days=len(window) * window.step / DAY,
        voters=voters,
        false_episodes=len(_stretches(calm)) if calm is not None else 0,
        alarmed=_mean(calm) if calm is not None else None,
        events=len(waits),
        found=len(known),
        delay=float(np.median(known)) if known else None,
    )


def _stretches(flags: Flags) -> list[tuple[int, int]]:
    """Start and end (exclusive) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _waits(faulty: Flags, anomaly: Flags, step: float) -> list[float | None]:
    """Seconds from each fault's start to the first alarm inside it, None for a fault that was not found."""
    found: list[float | None] = []
    for start, stop in _stretches(faulty):
        hits = np.flatnonzero(anomaly[start:stop])
        found.append(float(hits[0]) * step if hits.size else None)
    return found


def _bins(confidence: Floats, faulty: Flags, weight: Floats) -> tuple[Bin, ...]:
    places = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    found = []
    for place in range(_BINS):
        inside = places == place
        total = float(weight[inside].sum())
        if total:
            mean = float((confidence[inside] * weight[inside]).sum() / total)
            share = float((faulty[inside] * weight[inside]).sum() / total)
            found.append(Bin(confidence=mean, faulty=min(share, 1.0), weight=min(total, 1.0)))
    return tuple(found)


def _curve(window: MetricWindow, ill: MetricWindow, faulty: Flags, trace: Trace) -> Curve:
    """The metric that the faults moved most, thinned."""
    known = np.nan_to_num(window.values)
    moved = np.nan_to_num(np.abs(ill.values - window.values)).max(axis=0)
    width = known.max(axis=0) - known.min(axis=0)
    column = int(np.argmax(moved / np.where(width > 0, width, np.inf)))
    rows = slice(None, None, max(1, -(-len(window) // _CURVE_POINTS)))
    values = ill.values[rows, column]
    return Curve(
        workload=window.workload,
        metric=window.names[column],
        hours=tuple(round(float(hour), 3) for hour in (np.arange(len(window)) * window.step / 3600)[rows]),
        values=tuple(float(value) if np.isfinite(value) else None for value in values),
        confidence=tuple(round(float(value), 4) for value in trace.confidence[rows]),
        faulty=tuple(bool(flag) for flag in faulty[rows]),
        anomaly=tuple(bool(flag) for flag in trace.anomaly[rows]),
    )


def _mean(flags: Flags) -> float | None:
    return float(flags.mean()) if len(flags) else None


def _at_least(needed: int, of: int, level: float) -> float:
    """Chance that at least ``needed`` of ``of`` independent detectors pass a level."""
    return sum(comb(of, k) * level**k * (1 - level) ** (of - k) for k in range(needed, of + 1))


def _notes(rows: Sequence[WorkloadRow], events: int) -> tuple[str, ...]:
    blind = sorted(row.workload for row in rows if row.alarmed is None)
    found = []
    if blind:
        found.append(f"could not be judged, fewer than two detectors can vote: {', '.join(blind)}")
    if not events:
        found.append("no fault could be injected: the held-back windows are too short or nothing in them moves")
    return tuple(found)


def better(challenger: Report, champion: Report | None, margins: Margins = MARGINS) -> tuple[bool, str]:
    """Whether a challenger may replace the champion.

    Both should have been made on the same held-back data; false episodes count before recall, because a healer that
    acts on healthy workloads does harm.

    Args:
        challenger: The new model's report.
        champion: The report of the model in service, None when there is none (or none that fits this data).
        margins: How much worse is too much.

    Returns:
        The decision, and a sentence that says why.
    """
    if challenger.false_episodes_per_day is None or challenger.recall is None:
        return False, "Refused: the challenger could not be judged on this data, collect a longer history."
    false, recall = challenger.false_episodes_per_day, challenger.recall
    found = f"{false:.2f} false episodes a day and workload, {recall:.0%} of the injected faults found"
    if broken := _out_of_bounds(false, recall, challenger.ece, margins):
        return False, f"Refused: {broken} ({found})."
    if champion is None or champion.false_episodes_per_day is None or champion.recall is None:
        return True, f"Accepted: no champion to compare with, and within the absolute bounds ({found})."
    before = f"the champion has {champion.false_episodes_per_day:.2f} and {champion.recall:.0%}"
    if false - champion.false_episodes_per_day > margins.false_rise:
        return False, f"Refused: false episodes rise by more than {margins.false_rise:g} a day ({found}; {before})."
    if champion.recall - recall > margins.recall_fall:
        return False, f"Refused: recall falls by more than {margins.recall_fall:.0%} ({found}; {before})."
    return True, f"Accepted: not worse than the champion within the margins ({found}; {before})."


def _out_of_bounds(false: float, recall: float, ece: float | None, margins: Margins) -> str:
    if false > margins.most_false:
        return f"more than {margins.most_false:g} false episodes a day and workload"
    if recall < margins.least_recall:
        return f"less than {margins.least_recall:.0%} of the injected faults found"
    if ece is not None and ece > margins.most_ece:
        return f"its confidence is off by {ece:.2f}, more than {margins.most_ece:g}"
    return ""
