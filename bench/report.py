"""The demo's report: one HTML file that needs nothing else, for phone and desk, light and dark."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.faults import Fault
from bench.watch import Heal

_WIDTH, _HEIGHT = 720.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 30.0, 28.0
_MARKS = ("fault", "reported", "detected", "applied", "recovered", "verified", "ended")

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --page: #fff; --box: #f6f8fa; --line: #d1d9e0;
  --curve: #0b62c4; --limit: #c62f2f; --expected: #1a7f37; --mark: #7a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --page: #0d1117; --box: #151b23;
  --line: #3d444d; --curve: #6cb6ff; --limit: #ff7b72; --expected: #56d364; --mark: #e3b341; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto; padding: 1rem;
  max-width: 760px; }
section { background: var(--box); border: 1px solid var(--line); border-radius: 8px; padding: .5rem 1rem 1rem;
  margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; display: block; overflow-x: auto; }
td, th { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; }
td:first-child { white-space: nowrap; font-variant-numeric: tabular-nums; color: var(--soft); }
pre { overflow-x: auto; font-size: .85rem; background: var(--page); padding: .5rem; border: 1px solid var(--line); }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.curve { fill: none; stroke: var(--curve); stroke-width: 2; } .axis { stroke: var(--line); }
.limit { stroke: var(--limit); stroke-dasharray: 6 4; } .expected { stroke: var(--expected); stroke-dasharray: 2 3;
  stroke-width: 1.5; } .mark { stroke: var(--mark); } svg .marktext { fill: var(--mark); }
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
    curve = chapter.curve
    if not curve.values:
        return "<p class='soft'>Prometheus has no samples of this metric.</p>"
    lows = [0.0, *curve.values]
    highs = [*curve.values, *curve.limit, *([curve.expected] if curve.expected is not None else []), 1.0]
    x = _scale(curve.seconds[0], curve.seconds[-1], _LEFT, _WIDTH - _RIGHT)
    y = _scale(min(lows), max(highs) * 1.05, _HEIGHT - _BOTTOM, _TOP)
    parts = [_axes(chapter, x, y, max(highs))]
    if curve.limit:
        parts.append(_line("limit", curve.seconds, curve.limit, x, y))
    if curve.expected is not None:
        ends = (curve.seconds[0], curve.seconds[-1])
        parts.append(_line("expected", ends, (curve.expected, curve.expected), x, y))
    parts.append(_line("curve", curve.seconds, curve.values, x, y))
    parts += [_mark(row, event.name, event.seconds, x) for row, event in enumerate(_marked(chapter.heal))]
    label = html.escape(f"{chapter.fault.unit} over time, with the moments of the heal")
    return f"<svg viewBox='0 0 {_WIDTH:g} {_HEIGHT:g}' role='img' aria-label='{label}'>{''.join(parts)}</svg>"


@dataclass(frozen=True)
class _Scale:
    low: float
    factor: float
    start: float

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) * self.factor, 1)


def _scale(low: float, high: float, start: float, end: float) -> _Scale:
    return _Scale(low, (end - start) / ((high - low) or 1.0), start)


def _line(kind: str, xs: tuple[float, ...], ys: tuple[float, ...], x: _Scale, y: _Scale) -> str:
    points = " ".join(f"{x(a)},{y(b)}" for a, b in zip(xs, ys, strict=True))
    return f"<polyline class='{kind}' fill='none' points='{points}'/>"


def _axes(chapter: Chapter, x: _Scale, y: _Scale, top: float) -> str:
    floor = _HEIGHT - _BOTTOM
    legend = chapter.fault.unit + (", red: limit" if chapter.curve.limit else "")
    legend += ", green: expected" if chapter.curve.expected is not None else ""
    ticks = [
        f"<text x='{x(second)}' y='{floor + 16}' text-anchor='middle'>{second:g} s</text>"
        for second in range(int(chapter.curve.seconds[0] // 60) * 60, int(chapter.curve.seconds[-1]) + 1, 60)
        if second >= chapter.curve.seconds[0]
    ]
    levels = [f"<text x='{_LEFT - 6}' y='{y(v) + 4}' text-anchor='end'>{v:.3g}</text>" for v in (0.0, top / 2, top)]
    return (
        f"<line class='axis' x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{floor}' y2='{floor}'/>"
        f"<text x='{_LEFT}' y='{_HEIGHT - 2}'>{html.escape(legend)}</text>{''.join(ticks)}{''.join(levels)}"
    )


def _marked(heal: Heal) -> list[Any]:
    return [event for event in heal.events if event.name in _MARKS]


def _mark(row: int, name: str, seconds: float, x: _Scale) -> str:
    place, height = x(seconds), 11 + 10 * (row % 2)
    return (
        f"<line class='mark' x1='{place}' x2='{place}' y1='{height + 2}' y2='{_HEIGHT - _BOTTOM}'/>"
        f"<text class='marktext' x='{place + 2}' y='{height}'>{html.escape(name)}</text>"
    )
