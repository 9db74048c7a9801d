"""A report with the figures that a decision rests on; all else is the same."""

from datetime import UTC, datetime

from selfheal.report import Data, Rate, Report

MOMENT = datetime(2026, 11, 23, tzinfo=UTC)


def report(false: float | None, recall: float | None = 0.9, ece: float | None = 0.05) -> Report:
    """Of one workload, with so many false episodes a day, share of faults found and calibration error."""
    rate = Rate(nominal=0.001, realised=0.001, voted=0.0, rows=100)
    return Report(
        metrics=("cpu",),
        step=60.0,
        catalogue="sha256:1",
        held_back=Data(start=MOMENT, end=MOMENT, workloads=1, rows=100, digest="sha256:2"),
        rates={"arima": rate},
        vote=rate,
        false_episodes_per_day=false,
        events=10,
        recall=recall,
        delay=60.0,
        ece=ece,
        correlation={},
        workloads=(),
    )
