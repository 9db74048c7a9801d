"""Plots of a report, and the report as one self-contained HTML page. Matplotlib's Agg, so that no display is needed."""

from __future__ import annotations

import re
from io import BytesIO, StringIO
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from selfheal.comparison import MARGINS, changes, contents, in_words
from selfheal.modelcard import LIMITS, Context, limits, worst_first
from selfheal.report import Curve, Interval, Report

__all__ = ["figures", "html", "png", "svg"]

_INK = "#1b2533"  # the page writes it in the colour of its text, light or dark
_BLUE, _RED, _GREY = "#3b7dd8", "#d2453d", "#8a93a0"
_COLOURS = ("#d9822b", "#2f9e6e", "#9a63c4", "#c2527f")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "selfheal",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}


def figures(report: Report) -> dict[str, Figure]:
    """All plots, by file name without its ending."""
    with mpl.rc_context(_STYLE):
        found = {
            "precision_recall": _precision(report),
            "reliability": _reliability(report),
            "false_alarms": _false_alarms(report),
            "vote_correlation": _correlation(report),
        }
        return found | {f"curve_{_slug(curve.workload)}": _curve(curve) for curve in report.curves}


def png(figure: Figure) -> bytes:
    """A plot as PNG, the same bytes for the same numbers."""
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """A plot as an SVG element that takes the colour of the text around it, the same for the same numbers."""
    buffer = StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    found = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>| xmlns(:xlink)?=\"[^\"]*\"", "", buffer.getvalue(), flags=re.DOTALL
    )
    return found[found.index("<svg") :].replace(_INK, "currentColor")


def html(report: Report, context: Context | None = None) -> str:
    """One page with tables and plots, without any link to the outside.

    Args:
        report: To be shown.
        context: Champion, verdict and origin, where they are known.
    """
    beside = context or Context()
    plots = {name: svg(figure) for name, figure in figures(report).items() if name != "vote_correlation"}
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("selfheal"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    pages.filters |= {"percent": _percent, "number": _number, "interval": _interval, "shade": _shade}
    found = changes(report, beside.champion)
    return pages.get_template("report.html.j2").render(
        report=report,
        context=beside,
        changes=found,
        sentence=in_words(found),
        contents=contents(report, beside.champion),
        margins=MARGINS.in_words(),
        limits=[*limits(report), *LIMITS],
        workloads=worst_first(report.workloads),
        plots=plots,
    )


def _percent(value: float | None) -> str:
    return "cannot tell" if value is None else f"{100 * value:.3g} %"


def _number(value: float | None) -> str:
    return "cannot tell" if value is None else f"{value:.3g}"


def _interval(value: Interval | None, scale: float = 1.0) -> str:
    return "" if value is None else f"{scale * value[0]:.3g} to {scale * value[1]:.3g}"


def _shade(value: float | None) -> str:
    """Share of colour for a correlation's cell, 0..60 %."""
    return f"{60 * min(abs(value or 0.0), 1.0):.0f}%"


def _slug(workload: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in workload)


def _blank(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="tight")
    return figure, figure.add_subplot()


def _precision(report: Report) -> Figure:
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    colours = dict(zip(sorted(set(report.precision) - {"ensemble"}), _COLOURS, strict=False))
    for name, curve in report.precision.items():
        ours = name == "ensemble"
        label = f"{'two of four' if ours else name} {curve.area:.2f}"
        colour = _BLUE if ours else colours.get(name, _GREY)
        axes.step(
            curve.recall, curve.precision, where="post", color=colour, linewidth=2.4 if ours else 1.2, label=label
        )
    for curve in list(report.precision.values())[:1]:
        axes.axhline(curve.base, color=_GREY, linestyle=":", label=f"by chance {curve.base:.2f}")
    axes.set(xlabel="recall (rows)", ylabel="precision (rows)", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title("Precision and recall, average precision", fontsize=10)
    if report.precision:
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _reliability(report: Report) -> Figure:
    figure, axes = _blank(4.6, 4.6)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", label="honest")
    said, true = [one.confidence for one in report.reliability], [one.faulty for one in report.reliability]
    axes.plot(said, true, color=_BLUE, label="measured")
    weight = [30 + 300 * one.weight for one in report.reliability]
    axes.scatter(said, true, weight, color=_BLUE, alpha=0.6, linewidths=0)
    axes.set(xlabel="confidence said", ylabel="share really faulty", xlim=(0, 1), ylim=(-0.03, 1.03))
    title = "Reliability" if report.ece is None else f"Reliability, calibration error {report.ece:.3f}"
    axes.set_title(title, fontsize=10)
    axes.legend(loc="upper left", fontsize=8)
    return figure


def _false_alarms(report: Report) -> Figure:
    """Realised by nominal rate, a logarithmic scale; nothing at all stands at the left edge."""
    figure, axes = _blank(5.2, 2.6)
    rows = [*report.rates.items(), ("two of four", report.vote)]
    axes.axvline(1.0, color=_GREY, linestyle="--")
    axes.axvspan(1 / 3, 3, color=_GREY, alpha=0.15, linewidth=0)
    for place, (name, rate) in enumerate(reversed(rows)):
        colour = _BLUE if name == "two of four" else _INK
        if rate.interval is not None and rate.nominal:
            low, high = (max(end / rate.nominal, 0.01) for end in rate.interval)
            axes.plot([low, high], [place, place], color=colour, linewidth=2, alpha=0.5)
        if rate.ratio is not None:
            axes.plot([max(rate.ratio, 0.01)], [place], marker="o", color=colour)
    axes.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
    axes.set(
        xscale="log", xlim=(0.01, 100), xlabel="realised by nominal false-alarm rate", ylim=(-0.6, len(rows) - 0.4)
    )
    axes.set_xticks([0.01, 0.1, 1 / 3, 1, 3, 10, 100], ["0", "0.1", "1/3", "1", "3", "10", "100"])
    axes.minorticks_off()
    return figure


def _correlation(report: Report) -> Figure:
    figure = Figure(figsize=(9, 4.2), layout="tight")
    parts = (("normal data", report.correlation_normal), ("data with faults", report.correlation))
    for axes, (title, matrix) in zip(figure.subplots(1, 2), parts, strict=True):
        names = list(matrix)
        cells = [[matrix[one][other] for other in names] for one in names]
        if names:
            shown = [[np.nan if cell is None else cell for cell in row] for row in cells]
            axes.imshow(np.array(shown, dtype=float), vmin=-1, vmax=1, cmap="RdBu_r", alpha=0.7)
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.set_yticks(range(len(names)), names)
        for row, line in enumerate(cells):
            for column, cell in enumerate(line):
                axes.text(column, row, "-" if cell is None else f"{cell:.2f}", ha="center", va="center")
        axes.set_title(f"Correlation of votes (phi), {title}", fontsize=10)
    return figure


def _curve(curve: Curve) -> Figure:
    figure = Figure(figsize=(6.4, 3.4), layout="tight")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    hours = np.array(curve.hours)
    upper.plot(hours, [np.nan if value is None else value for value in curve.values], color=_BLUE, linewidth=1)
    whole = upper.get_xaxis_transform()
    upper.fill_between(hours, 0, 1, where=list(curve.faulty), transform=whole, color=_RED, alpha=0.18, linewidth=0)
    upper.set_ylabel(curve.metric, fontsize=8)
    upper.set_title(f"{curve.workload}, injected faults shaded", fontsize=9)
    lower.plot(hours, curve.confidence, color=_BLUE, linewidth=1)
    lower.fill_between(hours, 0, 1, where=list(curve.anomaly), color=_RED, alpha=0.3, linewidth=0)
    lower.set(xlabel="hours (alarms shaded)", ylabel="confidence", ylim=(0, 1))
    return figure
