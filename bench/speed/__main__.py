"""``python -m bench.speed train | serve``: how fast we are, beside the naive method in the same run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from bench.__main__ import run_app
from bench.speed.figures import Findings
from selfheal.fitting import cores

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Runs = Annotated[int, typer.Option(min=1, help="Of what is repeated; the median counts.")]
Metrics = Annotated[int, typer.Option(min=0, help="Metrics the naive ARIMA and Prophet are really run for; 0: none.")]


@app.command()
def train(
    runs: Runs = 5,
    workloads: Annotated[int, typer.Option(min=0, help="How many to train at once; 0 for none.")] = 20,
    workers: Annotated[int, typer.Option(min=0, help="Processes for that; 0 for one a core.")] = 0,
    naive_metrics: Metrics = 4,
    naive_runs: Annotated[int, typer.Option(min=0, help="Of the naive method.")] = 1,
    as_json: Json = False,
) -> None:
    """Train one workload and many: 16 metrics, 7 days at 1 min, all four detectors."""
    from bench.speed.training import measure

    found = measure(
        runs=runs,
        workloads=workloads,
        workers=workers or cores(),
        naive_metrics=naive_metrics,
        naive_runs=naive_runs,
        say=_teller(),
    )
    _show(found, as_json=as_json)


@app.command()
def serve(
    runs: Runs = 5,
    workloads: Annotated[int, typer.Option(min=1, help="Of the model, all asked about in one request.")] = 1000,
    requests: Annotated[int, typer.Option(min=100, help="About one workload, in each run.")] = 200,
    naive_metrics: Metrics = 2,
    as_json: Json = False,
) -> None:
    """Ask a real endpoint process over HTTP: one workload, a thousand, many clients, memory, start."""
    from bench.speed.serving import measure

    found = measure(runs=runs, workloads=workloads, requests=requests, naive_metrics=naive_metrics, say=_teller())
    _show(found, as_json=as_json)


def _teller() -> Callable[[str], None]:
    start = time.monotonic()

    def say(text: str) -> None:
        typer.echo(f"[{time.monotonic() - start:6.1f} s] {text}", err=True)

    return say


def _show(found: Findings, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        found.show(Console(width=150))


if __name__ == "__main__":
    run_app(app)
