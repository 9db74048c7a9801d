"""What an evaluation found, as data: JSON round trip, no numpy, no mlflow.

A figure that cannot be told (no events, no quiet rows, a detector that never votes) is None and never 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import AwareDatetime, BaseModel, ConfigDict

__all__ = ["Bin", "Curve", "Data", "Rate", "Report", "WorkloadRow"]


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
    """

    nominal: float
    realised: float | None
    voted: float | None
    rows: int


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
    """

    workload: str
    days: float
    voters: int
    false_episodes: int
    alarmed: float | None
    events: int
    found: int
    delay: float | None


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
        correlation: Of the votes on data with faults, by pair of detectors.
        workloads: One line each.
        curves: Examples.
        notes: What a reader must know: workloads that could not be judged, and the like.
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
    correlation: dict[str, dict[str, float | None]]
    workloads: tuple[WorkloadRow, ...]
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()

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
