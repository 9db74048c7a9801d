"""The demo's report: one HTML file that needs nothing else, for phone and desk, light and dark."""

from __future__ import annotations

import html
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.drawing import style
from bench.faults import Fault
from bench.watch import Event, Heal

_MARKS = ("fault", "reported", "detected", "applied", "recovered", "verified", "ended")

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --page: #fff; --box: #f6f8fa; --line: #d1d9e0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --page: #0d1117; --box: #151b23;
  --line: #3d444d; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto; padding: 1rem;
  max-width: 760px; }
section { background: var(--box); border: 1px solid var(--line); border-radius: 8px; padding: .5rem 1rem 1rem;
  margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; display: block; overflow-x: auto; }
td, th { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; }
td:first-child { white-space: nowrap; font-variant-numeric: tabular-nums; color: var(--soft); }
pre { overflow-x: auto; font-size: .85rem; background: var(--page); padding: .5rem; border: 1px solid var(--line); }
svg { width: 100%; height: auto; }
.soft { color: var(--soft); font-size: .9rem; }
"""


@dataclass(frozen=True)
class Curve:
    """A metric around one heal.

    Attributes:
        seconds: Since the fault.
        values: At those moments.
        limit: A line not to be crossed; one value a moment, empty without one.
        expected: What was expected; None when nobody said.
    """

    seconds: tuple[float, ...]
    values: tuple[float, ...]
    limit: tuple[float, ...] = ()
    expected: float | None = None


@dataclass(frozen=True)
class Chapter:
    """One fault, its heal and its curve."""

    fault: Fault
    heal: Heal
    curve: Curve


def write_report(file: Path, chapters: list[Chapter], facts: dict[str, str]) -> None:
    """Write the report and, beside it, ``timeline.json`` with the same numbers.

    Args:
        file: Of the report.
        chapters: In the order of the demo.
        facts: About model and machine, for the foot of the page.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    body = "".join(_section(chapter) for chapter in chapters)
    healed = sum(chapter.heal.healed for chapter in chapters)
    foot = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in facts.items())
    file.write_text(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'><title>selfheal: one demo</title>"
        f"<style>{_STYLE}</style></head><body><h1>{healed} of {len(chapters)} faults healed</h1>"
        "<p class='soft'>Times are seconds from the fault, by a process that watched the cluster from outside. The "
        "shop's past before the demo is synthetic; what the curves show is measured.</p>"
        f"{body}<section><h2>About this run</h2><table>{foot}</table></section></body></html>\n"
    )
    timeline = {"faults": [_timeline(chapter) for chapter in chapters], "facts": facts}
    (file.parent / "timeline.json").write_text(json.dumps(timeline, indent=1) + "\n")


def _timeline(chapter: Chapter) -> dict[str, Any]:
    fault = {name: getattr(chapter.fault, name) for name in ("title", "deployment", "anomaly", "action", "metric")}
    return fault | chapter.heal.as_json() | {"curve": vars(chapter.curve)}


def _section(chapter: Chapter) -> str:
    heal, fault = chapter.heal, chapter.fault
    rows = "".join(
        f"<tr><td>+ {event.seconds:.1f} s</td><td><b>{html.escape(event.name)}</b></td>"
        f"<td>{html.escape(event.text)}</td></tr>"
        for event in heal.events
    )
    return (
        f"<section><h2>{html.escape(fault.title)}: {'healed' if heal.healed else 'not healed'}</h2>"
        f"<p>{html.escape(fault.story)} Right answer: <b>{fault.action}</b>.</p>"
        f"{_plot(chapter)}<table>{rows}</table>{_details(heal)}</section>"
    )


def _details(heal: Heal) -> str:
    """The change and the undo record, as stored before anything was written."""
    parts = []
    for remediation in heal.remediations:
        for attempt in (remediation.get("status") or {}).get("attempts") or []:
            diff = (attempt.get("change") or {}).get("diff", "")
            undo = json.dumps(attempt.get("undo") or (attempt.get("change") or {}).get("undo") or [], indent=1)
            parts.append(
                f"<details><summary>{attempt['action']}: change and undo record</summary>"
                f"<pre>{html.escape(diff)}</pre><pre>{html.escape(undo[:4000])}</pre></details>"
            )
    return "".join(parts)


def _plot(chapter: Chapter) -> str:
    """The curve as inline SVG; its greys and colours are readable on white and on black."""
    curve = chapter.curve
    if not curve.values:
        return "<p class='soft'>Prometheus has no samples of this metric.</p>"
    with style():
        figure = Figure(figsize=(7.2, 2.9), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(curve.seconds, curve.values, color="#2f81f7", linewidth=2, label="measured")
        if curve.limit:
            axes.plot(curve.seconds, curve.limit, color="#e5534b", linestyle="--", label="limit")
        if curve.expected is not None:
            axes.axhline(curve.expected, color="#2da44e", linestyle=":", label="expected")
        axes.set(xlabel="seconds from the fault", ylabel=chapter.fault.unit, xmargin=0)
        axes.set_ylim(0, max(*curve.values, *curve.limit, curve.expected or 0.0, 1.0) * 1.08)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="best")
        _mark(axes, chapter)
        out = io.StringIO()
        figure.savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    label = html.escape(f"{chapter.fault.unit} over time, with the moments of the heal")
    drawing = out.getvalue()
    return f"<div role='img' aria-label='{label}'>{drawing[drawing.index('<svg') :]}</div>"


def _mark(axes: Axes, chapter: Chapter) -> None:
    """The moments of the heal above the plot; those too near for words of their own share one place."""
    curve, groups = chapter.curve, list[list[Event]]()
    near = (curve.seconds[-1] - curve.seconds[0]) / 12
    for event in (event for event in chapter.heal.events if event.name in _MARKS):
        if event.seconds <= curve.seconds[-1]:
            axes.axvline(event.seconds, color="#9a6700", linewidth=0.8)
        if groups and event.seconds - groups[-1][0].seconds < near:
            groups[-1].append(event)
        else:
            groups.append([event])
    for group in groups:
        place = min(group[0].seconds, curve.seconds[-1])
        side = "right" if place > curve.seconds[-1] - near else "left"
        text = "\n".join(event.name for event in group)
        above = axes.get_xaxis_transform()
        axes.text(place, 1.02, text, transform=above, ha=side, va="bottom", fontsize=8, color="#9a6700")
