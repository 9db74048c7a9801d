"""``python -m bench.detection typing``: types, metrics and forecasts of injected faults."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bench.detection.typing_measure import Ask, measure
from bench.detection.typing_report import as_text, summary


def typing(
    seeds: Annotated[int, typer.Option(help="How many ensembles are trained and asked.")] = 3,
    repeats: Annotated[int, typer.Option(help="Faults of each kind in each service and seed.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Inject faults of known type and metric, ask as the endpoint is asked, print what was said."""
    asks: list[Ask] = []
    for seed in range(seeds):
        found = measure(seed, repeats)
        offset = 1 + max((one.case for one in asks), default=-1)
        asks += [one.moved(offset) for one in found]
        typer.echo(f"seed {seed}: {len(found)} asks", err=True)
    figures = summary(asks)
    typer.echo(json.dumps(figures, indent=1) if as_json else as_text(figures))
