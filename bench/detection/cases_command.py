"""``python -m bench.detection cases``: the article's three cases, told and drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.detection.cases import Story, correlated, leak_world, leaks, mondays
from bench.detection.cases_plot import plot_correlated, plot_leaks, plot_mondays
from bench.detection.typing_faults import Injected


def cases(
    out: Annotated[Path, typer.Option(help="Where the drawings go.")] = Path("cases"),
    seed: Annotated[int, typer.Option(help="Of data and training.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Play a slow leak, a correlated failure and a Monday's peak; draw them, and print what was found when."""
    leaking = leaks(leak_world(seed))
    plot_leaks(out / "leak.svg", leaking)
    failing, calm, sigmas = correlated(seed)
    plot_correlated(out / "correlated.svg", failing, sigmas)
    usual, missing = mondays(seed)
    plot_mondays(out / "monday.svg", usual, missing)
    facts = {f"leak in {name}": leak_facts(*found) for name, found in leaking.items()}
    facts["correlated failure"] = correlated_facts(failing, calm, sigmas)
    facts["Monday, the peak comes"] = monday_facts(usual)
    facts["Monday, the peak is missing"] = monday_facts(missing)
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    for title, found in facts.items():
        typer.echo(title)
        typer.echo("\n".join(f"  {key}: {value}" for key, value in found.items()))
    typer.echo(f"drawn in {out}")


def leak_facts(leak: Story, calm: Story, injected: Injected) -> dict[str, Any]:
    """How long after its start, and how long before exhaustion, a leak was an anomaly, a leak, and had a forecast."""
    step, start = leak.window.step, injected.start
    end = injected.exhaustion if injected.exhaustion is not None else float("nan")
    found: dict[str, Any] = {"hours from start to exhaustion": round((end - start * step) / 3600, 1)}
    for title, kind in (("anomaly", None), ("MemoryLeak", "MemoryLeak")):
        index = leak.first(kind)
        row = None if index is None else leak.rows[index]
        found[f"minutes to {title}"] = None if row is None else round((row - start) * step / 60)
        found[f"hours from {title} to exhaustion"] = None if row is None else round((end - row * step) / 3600, 1)
    after = [(row, one) for row, one in zip(leak.rows, leak.answers, strict=True) if row >= start]
    forecasts = [(row, one.forecast) for row, one in after if one.forecast is not None]
    if forecasts:
        row, first = forecasts[0]
        found["minutes to the first forecast"] = round((row - start) * step / 60)
        found["that forecast, hours (near end)"] = (
            f"{first.exhausted_in / 3600:.1f} ({first.exhausted_in_lower / 3600:.1f})"
        )
        found["and the truth then"] = round((end - row * step) / 3600, 1)
    found["called MemoryLeak after the start"] = (
        f"{sum(a.anomaly_type == 'MemoryLeak' for _, a in after)} of {len(after)}"
    )
    found["called MemoryLeak without the leak"] = (
        f"{sum(a.anomaly_type == 'MemoryLeak' for a in calm.answers)} of {len(calm.answers)}"
    )
    found["anomaly without the leak"] = f"{int(calm.alarmed.sum())} of {len(calm.answers)}"
    return found


def correlated_facts(failing: Story, calm: Story, sigmas: Any) -> dict[str, Any]:
    """How far any metric ever was from its usual value, and how often the endpoint said anomaly."""
    inside = inside_of(failing)
    off = np.abs(sigmas[failing.start : failing.stop])
    index = failing.first()
    return {
        "largest deviation of any metric, sigmas": round(float(np.nanmax(off)), 2),
        "minutes to anomaly": None if index is None else _minutes(failing, failing.rows[index]),
        "anomaly during the failure": f"{int(failing.alarmed[inside].sum())} of {int(inside.sum())}",
        "anomaly at the same time without it": f"{int(calm.alarmed[inside].sum())} of {int(inside.sum())}",
        "anomaly before": f"{int(failing.alarmed[~inside].sum())} of {int((~inside).sum())}",
    }


def monday_facts(story: Story) -> dict[str, Any]:
    """How often the endpoint said anomaly between nine and eleven, and who voted."""
    inside = inside_of(story)
    index = story.first()
    voted = {
        name: sum(a.votes.get(name, False) for a, here in zip(story.answers, inside, strict=True) if here)
        for name in story.answers[-1].votes
    }
    return {
        "anomaly from nine to eleven": f"{int(story.alarmed[inside].sum())} of {int(inside.sum())}",
        "minutes to anomaly": None if index is None else _minutes(story, story.rows[index]),
        "votes from nine to eleven": voted,
        "anomaly before nine": f"{int(story.alarmed[np.array(story.rows) < (story.start or 0)].sum())}",
    }


def inside_of(story: Story) -> Any:
    """Which answers fall into the fault, shape [asked] (bool)."""
    rows = np.array(story.rows)
    return (rows >= (story.start or 0)) & (rows < (story.stop or len(story.window)))


def _minutes(story: Story, row: int) -> int:
    return round((row - (story.start or 0)) * story.window.step / 60)
