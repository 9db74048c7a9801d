"""The article's three cases as SVG, readable on white and on black."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.detection.cases import TOGETHER, Story
from bench.detection.synthetic import SERVICES
from bench.detection.typing_faults import Injected
from bench.drawing import GREY, style
from selfheal.window import Floats

_BLUE, _RED, _GREEN, _OCHRE = "#2f81f7", "#e5534b", "#2da44e", "#9a6700"
_MIB = float(1 << 20)


@contextmanager
def _drawn(file: Path, rows: int, height: float) -> Iterator[list[Axes]]:
    """A figure of ``rows`` plots below each other, written when the block ends."""
    with style(salt="selfheal"):
        figure = Figure(figsize=(7.2, height), layout="constrained")
        axes = [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]
        yield axes
        for one in axes:
            one.spines[["top", "right"]].set_visible(False)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})


def _hours(story: Story, rows: npt.ArrayLike) -> Floats:
    """Hours since the fault's start, or since the first row asked."""
    zero = story.rows[0] if story.start is None else story.start
    found: Floats = (np.asarray(rows, dtype=float) - zero) * story.window.step / 3600
    return found


def _alarms(axes: Axes, story: Story, colour: str, label: str) -> None:
    """A band at the foot of a plot wherever the endpoint said anomaly."""
    places = _hours(story, story.rows)
    above = axes.get_xaxis_transform()
    axes.fill_between(
        places, 0, 0.04, where=story.alarmed.tolist(), transform=above, color=colour, step="post", label=label
    )


def _line(axes: Axes, story: Story, metric: str, colour: str, label: str, unit: float = 1.0) -> None:
    first, last = story.rows[0], story.rows[-1] + 1
    values = story.window.values[first:last, story.window.names.index(metric)] / unit
    axes.plot(_hours(story, np.arange(first, last)), values, color=colour, linewidth=1, label=label)


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)


def plot_leaks(file: Path, found: dict[str, tuple[Story, Story, Injected]]) -> None:
    """One plot a service: memory with and without the leak, the limit, when it was called a leak."""
    with _drawn(file, len(found), 5.4) as plots:
        for axes, (name, (leak, calm, _)) in zip(plots, found.items(), strict=True):
            _line(axes, leak, "pod_memory_usage", _BLUE, "leaks 10 % an hour", _MIB)
            _line(axes, calm, "pod_memory_usage", GREY, "the same day without the leak", _MIB)
            axes.axhline(SERVICES[name].limit / _MIB, color=_RED, linestyle="--", label="limit")
            _alarms(axes, leak, _OCHRE, "anomaly")
            told = leak.first("MemoryLeak")
            if told is not None:
                axes.axvline(float(_hours(leak, [leak.rows[told]])[0]), color=_OCHRE, label="called MemoryLeak")
            axes.set(ylabel=f"{name}\nMiB", xlabel="hours since the leak began")
            _legend(axes)


def plot_correlated(file: Path, failing: Story, sigmas: Floats) -> None:
    """How many of its own sigmas each metric is off, and where the endpoint said anomaly."""
    with _drawn(file, 1, 3.4) as (axes,):
        first, last = failing.rows[0], failing.rows[-1] + 1
        places = _hours(failing, np.arange(first, last))
        for number, name in enumerate(TOGETHER):
            column = sigmas[first:last, failing.window.names.index(name)]
            axes.plot(places, column, linewidth=0.8, alpha=0.8, color=f"C{number}", label=name)
        for side in (-3, 3):
            axes.axhline(side, color=_RED, linestyle="--", linewidth=1)
        _alarms(axes, failing, _OCHRE, "anomaly")
        axes.set(ylabel="sigmas off the usual", xlabel="hours since the failure began", ylim=(-5, 5))
        _legend(axes)


def plot_mondays(file: Path, usual: Story, missing: Story) -> None:
    """The third Monday with its peak, and without."""
    with _drawn(file, 2, 5.0) as plots:
        for axes, story, title in zip(plots, (usual, missing), ("the peak comes", "the peak is missing"), strict=True):
            _line(axes, story, "alt_cpu_usage", _BLUE, "alt_cpu_usage")
            expected = [
                next((m.expected for m in a.top_metrics if m.name == "alt_cpu_usage"), None) for a in story.answers
            ]
            known = [(row, value) for row, value in zip(story.rows, expected, strict=True) if value is not None]
            if known:
                rows, values = zip(*known, strict=True)
                axes.plot(_hours(story, rows), values, ".", markersize=3, color=_GREEN, label="expected, as answered")
            _alarms(axes, story, _OCHRE, "anomaly")
            axes.set(ylabel=f"{title}\ncores", xlabel="hours since Monday, 09:00 UTC")
            _legend(axes)
