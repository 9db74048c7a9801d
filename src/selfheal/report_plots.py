"""Plots of a report, and the report as one self-contained HTML page. Matplotlib's Agg, so that no display is needed."""

from __future__ import annotations

import base64
from io import BytesIO

import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from selfheal.report import Curve, Report

__all__ = ["figures", "html"]

_BLUE, _RED, _GREY = "#1f5fa8", "#c0392b", "#8a8f98"


def figures(report: Report) -> dict[str, Figure]:
    """All plots, by file name without its ending."""
    found = {"reliability": _reliability(report), "vote_correlation": _correlation(report)}
    return found | {f"curve_{_slug(curve.workload)}": _curve(curve) for curve in report.curves}


def png(figure: Figure) -> bytes:
    """A plot as PNG, the same bytes for the same numbers."""
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def html(report: Report, verdict: str = "") -> str:
    """One page with tables and plots, without any link to the outside.

    Args:
        report: To be shown.
        verdict: What the comparison with the champion said, where it is known.
    """
    plots = {name: base64.b64encode(png(figure)).decode() for name, figure in figures(report).items()}
    loader = jinja2.PackageLoader("selfheal")
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    pages.filters |= {"percent": _percent, "number": _number}
    return pages.get_template("report.html.j2").render(report=report, plots=plots, verdict=verdict)


def _percent(value: float | None) -> str:
    return "cannot tell" if value is None else f"{100 * value:.3g} %"


def _number(value: float | None) -> str:
    return "cannot tell" if value is None else f"{value:.3g}"


def _slug(workload: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in workload)


def _blank(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="tight")
    return figure, figure.add_subplot()


def _reliability(report: Report) -> Figure:
    figure, axes = _blank(4.5, 4.2)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", label="honest")
    said, true = [one.confidence for one in report.reliability], [one.faulty for one in report.reliability]
    axes.plot(said, true, color=_BLUE, marker="o", label="measured")
    axes.set(xlabel="confidence said", ylabel="share really faulty", xlim=(0, 1), ylim=(0, 1))
    axes.set_title("Reliability" if report.ece is None else f"Reliability, calibration error {report.ece:.3f}")
    axes.legend(loc="upper left")
    return figure


def _correlation(report: Report) -> Figure:
    figure, axes = _blank(4.8, 4.2)
    names = list(report.correlation)
    cells = [[report.correlation[one][other] for other in names] for one in names]
    grid = np.array([[np.nan if cell is None else cell for cell in row] for row in cells], dtype=float)
    if names:
        axes.imshow(grid, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    for row, line in enumerate(cells):
        for column, cell in enumerate(line):
            axes.text(column, row, "-" if cell is None else f"{cell:.2f}", ha="center", va="center")
    axes.set_title("Correlation of votes")
    return figure


def _curve(curve: Curve) -> Figure:
    figure = Figure(figsize=(9, 3.6), layout="tight")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    hours = np.array(curve.hours)
    upper.plot(hours, [np.nan if value is None else value for value in curve.values], color=_BLUE, linewidth=1)
    whole = upper.get_xaxis_transform()
    upper.fill_between(hours, 0, 1, where=list(curve.faulty), transform=whole, color=_RED, alpha=0.15, linewidth=0)
    upper.set(ylabel=curve.metric, title=f"{curve.workload}, injected faults shaded")
    lower.plot(hours, curve.confidence, color=_BLUE, linewidth=1)
    lower.fill_between(hours, 0, 1, where=list(curve.anomaly), color=_RED, alpha=0.3, linewidth=0)
    lower.set(xlabel="hours", ylabel="confidence", ylim=(0, 1))
    return figure
