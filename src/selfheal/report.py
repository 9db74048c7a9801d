"""What an evaluation found, as data: JSON round trip, no numpy, no mlflow.

A figure that cannot be told (no events, no quiet rows, a detector that never votes) is None and never 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import AwareDatetime, BaseModel, ConfigDict

__all__ = [
    "REPORT_FILE",
    "Bin",
    "Curve",
    "Data",
    "Interval",
    "Matrix",
    "Precision",
    "Rate",
    "Report",
    "SetRow",
    "WorkloadRow",
]

REPORT_FILE = "report.json"
"""Where it lies among a run's artifacts."""

Interval = tuple[float, float]
"""Near and far end, 95 %."""

Matrix = dict[str, dict[str, float | None]]
"""By pair of detectors."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Data(_Part):
    """Which samples something rests on.

    Attributes:
        start: Moment of the first sample.
        end: Moment of the last one.
        workloads: How many there are.
        rows: Of all workloads together.
        digest: SHA-256 over all windows.
    """

    start: AwareDatetime
    end: AwareDatetime
    workloads: int
    rows: int
    digest: str


class Rate(_Part):
    """How often normal data raises something.

    Attributes:
        nominal: Share of rows that should pass the level.
        realised: Share of rows that did; None without rows.
        voted: Share of rows with a raised vote (after persistence and hysteresis).
        rows: That the shares rest on.
        interval: Of ``realised``; None without rows, and in reports older than it.
    """

    nominal: float
    realised: float | None
    voted: float | None
    rows: int
    interval: Interval | None = None

    @property
    def ratio(self) -> float | None:
        """Realised by nominal; 1 is as promised."""
        return None if self.realised is None or not self.nominal else self.realised / self.nominal


class Precision(_Part):
    """Precision and recall of rows, over all thresholds of one score.

    Attributes:
        area: Average precision.
        base: Share of rows that are faulty: what a score without knowledge reaches.
        recall: Of the curve's points, rising.
        precision: At each of them.
    """

    area: float
    base: float
    recall: tuple[float, ...]
    precision: tuple[float, ...]


class Bin(_Part):
    """One bar of the reliability diagram.

    Attributes:
        confidence: Mean of the confidences in the bin.
        faulty: Share of rows that were faulty.
        weight: Share of all rows that are in the bin.
    """

    confidence: float
    faulty: float
    weight: float


class WorkloadRow(_Part):
    """One workload's line in the table.

    Attributes:
        workload: ``namespace/Kind/name``.
        days: Of normal data judged.
        voters: Detectors able to vote; with fewer than two nothing can be told.
        false_episodes: Alarms that began on normal data.
        alarmed: Share of normal rows under alarm.
        events: Faults injected.
        found: Of them, those with an alarm inside.
        delay: Median seconds from a fault's start to its first alarm.
        realised: Share of normal rows at which two of four pass their level.
        area: Average precision of the ensemble's score on rows with faults.
        basis: The workload's own models, or the pooled ones.
        abstained: Why, by detector.
        without: Why it has no models of its own, by detector; empty where it has.
    """

    workload: str
    days: float
    voters: int
    false_episodes: int
    alarmed: float | None
    events: int
    found: int
    delay: float | None
    realised: float | None = None
    area: float | None = None
    basis: str = "workload"
    abstained: dict[str, str] = {}
    without: dict[str, str] = {}

    @property
    def recall(self) -> float | None:
        """Share of its faults found."""
        return self.found / self.events if self.events else None

    @property
    def false_episodes_per_day(self) -> float | None:
        """Of normal data; None where nothing could be judged."""
        return None if self.alarmed is None or not self.days else self.false_episodes / self.days


class SetRow(_Part):
    """A part of the held-back data: normal as it was lived, one draw of faults, or one namespace.

    Attributes:
        name: For people.
        workloads: Judged in it.
        days: Of all of them together.
        false_episodes_per_day: Of one workload, on average; None in a set with faults, where nobody could tell.
        realised: Share of normal rows at which two of four pass their level.
        events: Faults injected.
        recall: Share of them found.
        delay: Median seconds from a fault's start to its first alarm.
        area: Average precision of the ensemble's score.
        gain: Of ``area`` over that of the best single detector.
    """

    name: str
    workloads: int
    days: float
    false_episodes_per_day: float | None = None
    realised: float | None = None
    events: int = 0
    recall: float | None = None
    delay: float | None = None
    area: float | None = None
    gain: float | None = None


class Curve(_Part):
    """An example: one workload's held-back data with injected faults, thinned for a plot.

    Attributes:
        workload: ``namespace/Kind/name``.
        metric: The one that moved most, in its own unit.
        hours: Since the curve's start.
        values: Of the metric; None is a gap.
        confidence: Of the ensemble.
        faulty: Whether a fault was injected.
        anomaly: Whether the vote was raised.
    """

    workload: str
    metric: str
    hours: tuple[float, ...]
    values: tuple[float | None, ...]
    confidence: tuple[float, ...]
    faulty: tuple[bool, ...]
    anomaly: tuple[bool, ...]


class Report(_Part):
    """What one model did on held-back data.

    Attributes:
        metrics: Names, in the model's order.
        step: Seconds between samples.
        catalogue: Hash of the feature contract.
        held_back: The data judged on.
        training: The data trained on, where it is known.
        rates: On normal data, by detector.
        vote: The same for two votes of four; nominal as if the detectors were independent.
        false_episodes_per_day: Of one workload, on average.
        events: Faults injected.
        recall: Share of them found.
        delay: Median seconds from a fault's start to its first alarm.
        ece: Expected calibration error of ``confidence``.
        reliability: The bars it rests on.
        correlation: Of the votes on data with faults (phi coefficient).
        workloads: One line each.
        curves: Examples.
        notes: What a reader must know: workloads that could not be judged, and the like.
        correlation_normal: The same on normal data: how far false alarms come together.
        precision: On data with faults, of the ensemble's score and of each detector's.
        sets: One line each.
        false_interval: Of ``false_episodes_per_day``.
        recall_interval: Of ``recall``.
        seed: Of the injected faults.
    """

    metrics: tuple[str, ...]
    step: float
    catalogue: str
    held_back: Data
    training: Data | None = None
    rates: dict[str, Rate]
    vote: Rate
    false_episodes_per_day: float | None
    events: int
    recall: float | None
    delay: float | None
    ece: float | None
    reliability: tuple[Bin, ...] = ()
    correlation: Matrix
    workloads: tuple[WorkloadRow, ...]
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()
    correlation_normal: Matrix = {}
    precision: dict[str, Precision] = {}
    sets: tuple[SetRow, ...] = ()
    false_interval: Interval | None = None
    recall_interval: Interval | None = None
    seed: int | None = None

    def figures(self) -> dict[str, float]:
        """The numbers that a registry can sort and compare by; unknown ones are left out."""
        return {name: value for name, value in self._figures() if value is not None}

    def _figures(self) -> Iterator[tuple[str, float | None]]:
        yield "false_episodes_per_day", self.false_episodes_per_day
        yield "recall", self.recall
        yield "delay_seconds", self.delay
        yield "ece", self.ece
        yield "events", float(self.events)
        yield "workloads", float(len(self.workloads))
        for name, rate in [*self.rates.items(), ("vote", self.vote)]:
            yield f"{name}_false_alarm_rate", rate.realised
            yield f"{name}_alarmed_share", rate.voted
        for name, curve in self.precision.items():
            yield f"{name}_average_precision", curve.area
        for row in self.sets:
            for figure in ("false_episodes_per_day", "realised", "recall", "delay", "area", "gain"):
                yield f"sets/{row.name}/{figure}", getattr(row, figure)
