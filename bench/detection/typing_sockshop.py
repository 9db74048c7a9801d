"""``python -m bench.detection sockshop``: does an explanation name the metric family that Sock-Shop's chaos broke?

A report on data of others, never to tune on: the set's labels choose nothing here. Its metrics are cAdvisor's, so types
beyond MetricAnomaly cannot be told; only ``topMetrics`` can.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from bench.detection.typing_measure import SAMPLES, instance
from selfheal.backtest import Series
from selfheal.ensemble import Ensemble
from selfheal.errors import NoData, WrongUse
from selfheal.protocol import Prediction
from selfheal.window import read_table

FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"cpu-stress": ("cpu",), "memory-stress": ("memory",), "network-delay": ("network", "net_in", "net_out")}
)
"""Parts of the names of the metrics that a kind of chaos is about."""

_AFTER = 7  # minutes from a fault's start that are asked about: it lasts five


def sockshop(
    data: Annotated[Path, typer.Option(help="The folder of the set, with faults.csv.")],
    seed: Annotated[int, typer.Option(help="Of training.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Ask about every fault in its own pod, and count how often the right family of metrics is named."""
    if not (data / "faults.csv").exists():
        raise WrongUse(f"--data {data}: no faults.csv there; name the folder of the Sock-Shop set itself")
    faults = pd.read_csv(data / "faults.csv", parse_dates=["timestamp"])
    if faults.empty:
        raise NoData(f"{data / 'faults.csv'} lists no faults")
    said: dict[str, list[Prediction]] = defaultdict(list)
    for target, found in faults.groupby("target"):
        for kind, answers in _asked(data / f"{target}.parquet", found, seed):
            said[kind] += answers
    figures = {kind: _figures(answers, FAMILIES[kind]) for kind, answers in said.items()}
    if as_json:
        typer.echo(json.dumps(figures, indent=1))
    else:
        for kind, facts in figures.items():
            typer.echo(f"{kind}: " + ", ".join(f"{name} {value}" for name, value in facts.items()))


def _asked(file: Path, faults: pd.DataFrame, seed: int) -> Iterator[tuple[str, list[Prediction]]]:
    series = Series.read(read_table(file), file.stem)
    ensemble = Ensemble.fit([series.training], seed=seed)
    for moment, kind in zip(faults["timestamp"], faults["fault-type"], strict=True):
        start = int(np.searchsorted(series.whole.times, np.datetime64(moment)))
        rows = range(start, min(start + _AFTER, len(series.whole)))
        windows = [series.whole.rows(max(row + 1 - SAMPLES, 0), row + 1) for row in rows]
        yield str(kind), ensemble.predict([instance(window) for window in windows])


def _figures(answers: list[Prediction], family: tuple[str, ...]) -> dict[str, Any]:
    """Shares of the answers with a vote, and of those with an anomaly, that name the family."""
    found: dict[str, Any] = {"asks": len(answers)}
    for title, chosen in (
        ("voted", [one for one in answers if one.top_metrics]),
        ("anomaly", [one for one in answers if one.anomaly]),
    ):
        first = [_of(one.top_metrics[0].name, family) for one in chosen if one.top_metrics]
        among = [any(_of(metric.name, family) for metric in one.top_metrics[:3]) for one in chosen]
        found[title] = len(chosen)
        found[f"{title}, named first"] = round(float(np.mean(first)), 3) if first else None
        found[f"{title}, among three"] = round(float(np.mean(among)), 3) if among else None
    return found


def _of(name: str, family: tuple[str, ...]) -> bool:
    return any(part in name for part in family)
