"""The model card: what a reviewer reads in the registry before deciding."""

from __future__ import annotations

from collections.abc import Mapping

from selfheal.report import Data, Report

__all__ = ["model_card"]

_LIMITS = """\
- Trained on normal history only. A workload that was already sick then looks normal to it.
- Answers for a workload it has not seen come from the pooled model and are less sharp.
- A window with other metrics than these is refused; train again after a change of the catalogue.
- Faults in the evaluation are injected, not lived: they tell models apart, and promise nothing about one incident.
- Metrics of namespaces, nodes and the cluster are not in it: it never drives an action by them."""


def model_card(report: Report, champion: Report | None, tags: Mapping[str, str]) -> str:
    """Markdown that says what the model is, what it was measured to do, and what it cannot do.

    Args:
        report: Of the new model.
        champion: Stored report of the model in service, None when there is none.
        tags: Git sha, pipeline run and the like.
    """
    parts = [
        "## What it is",
        "Four detectors (isolation forest, ARIMA, Prophet, LSTM), two votes make an anomaly, calibrated confidence.",
        "",
        "## Data",
        *_data("Trained on", report.training),
        *_data("Judged on", report.held_back),
        f"- Metrics ({len(report.metrics)}, one sample every {report.step:g} s): {', '.join(report.metrics)}",
        f"- Catalogue: `{report.catalogue}`",
        "",
        "## Measured",
        _table(report, champion),
        "",
        "The champion's figures were measured on its own held-back data; the pipeline's compare step judges both on "
        "the same data and writes its verdict below."
        if champion
        else "There was no champion when this model was registered.",
        *(["", "## Take note", *(f"- {note}" for note in report.notes)] if report.notes else []),
        "",
        "## Limits",
        _LIMITS,
        "",
        "## Where it comes from",
        *(f"- {name}: `{value}`" for name, value in sorted(tags.items())),
    ]
    return "\n".join(parts)


def _data(label: str, data: Data | None) -> list[str]:
    if data is None:
        return [f"- {label}: not recorded"]
    span = f"{data.start:%Y-%m-%d %H:%M} to {data.end:%Y-%m-%d %H:%M} UTC"
    return [f"- {label}: {span}, {data.workloads} workloads, {data.rows} rows, `{data.digest}`"]


def _table(report: Report, champion: Report | None) -> str:
    rows = [
        ("false episodes a day and workload", "false_episodes_per_day", ".2f"),
        ("injected faults found", "recall", ".1%"),
        ("median delay, seconds", "delay_seconds", ".0f"),
        ("calibration error of confidence", "ece", ".3f"),
        ("share of normal rows under alarm", "vote_alarmed_share", ".3%"),
    ]
    mine, theirs = report.figures(), champion.figures() if champion else {}

    def cell(figures: Mapping[str, float], name: str, form: str) -> str:
        return format(figures[name], form) if name in figures else "-"

    lines = [f"| {label} | {cell(mine, key, form)} | {cell(theirs, key, form)} |" for label, key, form in rows]
    return "\n".join(["| | this model | champion |", "|---|---:|---:|", *lines])
