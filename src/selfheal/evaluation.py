"""Judges an ensemble without labels.

Held-back normal data tells how often it cries wolf; faults injected into that data (:mod:`selfheal.injection`) tell
what it finds, how late, and whether its confidence is honest. Labels of evaluation sets are never seen here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import comb
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from selfheal.catalogue import catalogue_hash
from selfheal.comparison import MARGINS, Margins, better
from selfheal.errors import NoData
from selfheal.injection import clear_of, inject
from selfheal.measures import episodes_interval, mean, phi, precision_recall, rate_interval, reliability, share_interval
from selfheal.report import Curve, Data, Matrix, Precision, Rate, Report, SetRow, WorkloadRow
from selfheal.vote import QUORUM
from selfheal.window import DAY, Floats, MetricWindow

if TYPE_CHECKING:
    from selfheal.ensemble import Ensemble, Progress, Trace

__all__ = ["MARGINS", "Margins", "Report", "better", "describe", "evaluate"]

Flags = npt.NDArray[np.bool_]

ROUNDS = 3  # how often each workload gets other faults; one round of a short window holds too few to count
ANOMALOUS = 0.05  # share of faulty rows that confidence is calibrated for; injected faults are more frequent

ENSEMBLE = "ensemble"  # beside the detectors' names

_CLUMP = 3600.0  # seconds in which rows may hang together
_CURVES, _CURVE_POINTS = 12, 400


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
    tally = _Tally(ensemble)
    for index, window in enumerate(windows):
        tally.add(window, [np.random.default_rng([seed, index, turn]) for turn in range(ROUNDS)])
        if progress:
            progress("evaluate", index + 1, len(windows))
    return tally.report(describe(windows), training, seed)


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


@dataclass(frozen=True)
class _Calm:
    """A window of normal data, judged."""

    workload: str
    days: float
    trace: Trace
    passed: Flags

    @property
    def episodes(self) -> int:
        """Alarms in it, all of them false."""
        return len(_stretches(self.trace.anomaly))


@dataclass(frozen=True)
class _Ill:
    """The same window with faults, judged."""

    workload: str
    draw: int
    days: float
    trace: Trace
    faulty: Flags
    waits: tuple[float | None, ...]

    @property
    def delays(self) -> list[float]:
        """Of the faults that were found."""
        return [wait for wait in self.waits if wait is not None]


@dataclass
class _Tally:
    """What is counted window by window."""

    ensemble: Ensemble
    rows: list[WorkloadRow] = field(default_factory=list)
    calm: list[_Calm] = field(default_factory=list)
    ill: list[_Ill] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def add(self, window: MetricWindow, chances: Sequence[np.random.Generator]) -> None:
        """Judge one window, once as it is and once with each set of faults."""
        trace = self.ensemble.trace(window)
        days = len(window) * window.step / DAY
        if len(trace.votes) < QUORUM:
            self.rows.append(self._row(window, trace, None, []))
            return
        calm = _Calm(window.workload, days, trace, self._passed(trace))
        ill = [self._spoil(window, draw, chance) for draw, chance in enumerate(chances, start=1)]
        self.calm.append(calm)
        self.ill += ill
        self.rows.append(self._row(window, trace, calm, ill))

    def _passed(self, trace: Trace) -> Flags:
        """Whether two pass the level, of the rows at which two can."""
        level = self.ensemble.settings.level
        passed: Flags = np.sum([score >= 1 - level for score in trace.scores.values()], axis=0) >= QUORUM
        return passed[sorted(map(_start, trace.scores.values()))[QUORUM - 1] :]

    def _spoil(self, window: MetricWindow, draw: int, chance: np.random.Generator) -> _Ill:
        ill, faulty = inject(window, chance)
        trace = self.ensemble.trace(ill)
        if draw == 1 and len(self.curves) < _CURVES:
            self.curves.append(_curve(window, ill, faulty, trace))
        waits = tuple(_waits(faulty, trace.anomaly, window.step))
        return _Ill(window.workload, draw, len(window) * window.step / DAY, trace, faulty, waits)

    def _row(self, window: MetricWindow, trace: Trace, calm: _Calm | None, ill: Sequence[_Ill]) -> WorkloadRow:
        waits, delays = [wait for one in ill for wait in one.waits], [wait for one in ill for wait in one.delays]
        curve = _precision(ill, lambda one: one.score)
        return WorkloadRow(
            workload=window.workload,
            days=len(window) * window.step / DAY,
            voters=len(trace.votes),
            false_episodes=calm.episodes if calm else 0,
            alarmed=mean(calm.trace.anomaly) if calm else None,
            events=len(waits),
            found=len(delays),
            delay=_median(delays),
            realised=mean(calm.passed) if calm else None,
            area=curve.area if curve else None,
            basis="workload" if window.workload in self.ensemble.workloads else "pooled",
            abstained=dict(trace.abstained),
            without=_without(self.ensemble, window.workload),
        )

    def report(self, data: Data, training: Data | None, seed: int) -> Report:
        """All of it together."""
        days, false = sum(one.days for one in self.calm), sum(one.episodes for one in self.calm)
        waits, delays = [w for one in self.ill for w in one.waits], [w for one in self.ill for w in one.delays]
        told = [(one, clear_of(one.faulty)) for one in self.ill]
        ece, bins = reliability([(one.trace.confidence[rows], one.faulty[rows]) for one, rows in told], ANOMALOUS)
        return Report(
            metrics=self.ensemble.names,
            step=self.ensemble.step,
            catalogue=catalogue_hash(self.ensemble.names),
            held_back=data,
            training=training,
            rates={name: self._rate(name) for name in _detectors(self.calm)},
            vote=self._vote_rate(),
            false_episodes_per_day=false / days if days else None,
            false_interval=episodes_interval(false, days),
            events=len(waits),
            recall=len(delays) / len(waits) if waits else None,
            recall_interval=share_interval(len(delays), len(waits)),
            delay=_median(delays),
            ece=ece,
            reliability=bins,
            correlation=_correlation(self.ill),
            correlation_normal=_correlation(self.calm),
            precision=_curves(self.ill),
            sets=_sets(self.calm, self.ill),
            workloads=tuple(sorted(self.rows, key=lambda row: row.workload)),
            curves=tuple(self.curves),
            notes=_notes(self.rows, len(waits)),
            seed=seed,
        )

    def _rate(self, name: str) -> Rate:
        level = self.ensemble.settings.level
        judged = [one.trace for one in self.calm if name in one.trace.scores]
        passed = [trace.scores[name][_start(trace.scores[name]) :] >= 1 - level for trace in judged]
        return self._told(level, passed, [trace.votes[name] for trace in judged])

    def _vote_rate(self) -> Rate:
        nominal = _at_least(QUORUM, 4, self.ensemble.settings.level)
        return self._told(nominal, [one.passed for one in self.calm], [one.trace.anomaly for one in self.calm])

    def _told(self, nominal: float, passed: Sequence[Flags], voted: Sequence[Flags]) -> Rate:
        rows = sum(len(part) for part in passed)
        return Rate(
            nominal=nominal,
            realised=mean(np.concatenate(passed)) if rows else None,
            voted=mean(np.concatenate(voted)) if voted else None,
            rows=rows,
            interval=rate_interval(passed, max(1, round(_CLUMP / self.ensemble.step))),
        )


def _without(ensemble: Ensemble, workload: str) -> dict[str, str]:
    """Why a workload has no models of its own, by detector; empty where it has."""
    if workload in ensemble.workloads:
        return {}
    short, strange = "too little held-back history to be calibrated", "not among the workloads trained on"
    return {
        name: member.silent.get(workload, short if workload in member.models else strange)
        for name, member in ensemble.members.items()
    }


def _start(scores: Floats) -> int:
    """Rows of warm-up, at which a detector says nothing: they would make it look quieter than it is."""
    return int(np.argmax(scores > 0)) if (scores > 0).any() else len(scores)


def _detectors(judged: Sequence[_Calm | _Ill]) -> list[str]:
    return sorted({name for one in judged for name in one.trace.votes})


def _correlation(judged: Sequence[_Calm | _Ill]) -> Matrix:
    names, votes = _detectors(judged), [one.trace.votes for one in judged]
    return {
        one: {other: phi([(v[one], v[other]) for v in votes if one in v and other in v]) for other in names}
        for one in names
    }


def _precision(ill: Sequence[_Ill], score: Callable[[Trace], Floats | None]) -> Precision | None:
    """Of one score, over the windows that have it."""
    known = [(found, one.faulty) for one in ill if (found := score(one.trace)) is not None]
    if not known:
        return None
    return precision_recall(np.concatenate([one for one, _ in known]), np.concatenate([faulty for _, faulty in known]))


def _curves(ill: Sequence[_Ill]) -> dict[str, Precision]:
    """Of the ensemble and of each detector, as far as they can be told."""
    found = {ENSEMBLE: _precision(ill, lambda one: one.score)}
    for name in _detectors(ill):
        found[name] = _precision(ill, _scores_of(name))
    return {name: curve for name, curve in found.items() if curve is not None}


def _scores_of(detector: str) -> Callable[[Trace], Floats | None]:
    return lambda one: one.scores.get(detector)


def _sets(calm: Sequence[_Calm], ill: Sequence[_Ill]) -> tuple[SetRow, ...]:
    """Normal data, every draw of faults, and where there are several, every namespace."""
    found = [_set("normal", calm, [])] if calm else []
    draws = sorted({one.draw for one in ill})
    found += [_set(f"faults {draw}", [], [one for one in ill if one.draw == draw]) for draw in draws]
    spaces = sorted({_namespace(one.workload) for one in calm})
    for space in spaces if len(spaces) > 1 else []:
        theirs = [one for one in calm if _namespace(one.workload) == space]
        found.append(_set(f"namespace {space}", theirs, [one for one in ill if _namespace(one.workload) == space]))
    return tuple(found)


def _set(name: str, calm: Sequence[_Calm], ill: Sequence[_Ill]) -> SetRow:
    days = sum(one.days for one in calm)
    waits, delays = [w for one in ill for w in one.waits], [w for one in ill for w in one.delays]
    curve = _precision(ill, lambda one: one.score)
    return SetRow(
        name=name,
        workloads=len({one.workload for one in calm} | {one.workload for one in ill}),
        days=days or sum(one.days for one in ill),
        false_episodes_per_day=sum(one.episodes for one in calm) / days if days else None,
        realised=mean(np.concatenate([one.passed for one in calm])) if calm else None,
        events=len(waits),
        recall=len(delays) / len(waits) if waits else None,
        delay=_median(delays),
        area=curve.area if curve else None,
        gain=_gain(ill),
    )


def _gain(ill: Sequence[_Ill]) -> float | None:
    """By how much the vote ranks rows better than the best detector, each on the windows where that can vote."""
    gains = []
    for name in _detectors(ill):
        judged = [one for one in ill if name in one.trace.scores]
        ours, theirs = _precision(judged, lambda one: one.score), _precision(judged, _scores_of(name))
        if ours and theirs:
            gains.append(ours.area - theirs.area)
    return min(gains, default=None)


def _namespace(workload: str) -> str:
    return workload.partition("/")[0]


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


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
