"""``python -m bench.controller COMMAND``: what the controller costs, and what it leaves alone."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Protocol

import typer
from rich.console import Console

from bench.__main__ import run_app, teller
from selfheal.errors import SelfhealError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)


class _Findings(Protocol):
    def to_json(self) -> object: ...

    def show(self, console: Console) -> None: ...


def _tell(found: _Findings, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        found.show(Console(width=None if sys.stdout.isatty() else 150))


@app.command()
def scale(
    sizes: Annotated[str, typer.Option(help="Numbers of workloads, growing, with commas between them.")] = "100,1000",
    policies: Annotated[int, typer.Option(min=1, help="Policies at the largest size.")] = 100,
    ticks: Annotated[int, typer.Option(min=1, help="Measured one by one, for each size.")] = 5,
    breaks: Annotated[int, typer.Option(min=0, help="Workloads broken one after the other.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Memory, processor, calls and queries of a tick by number of workloads; time from a symptom to a Remediation.

    A real API server, Prometheus and endpoint; kwok plays the pods. No root.
    """
    from bench.controller.scale import measure

    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            Path(folder, "cluster"),
            sizes=[int(size) for size in sizes.split(",")],
            policies=policies,
            ticks=ticks,
            breaks=breaks,
            say=teller(err=True),
        )
    _tell(found, as_json)


@app.command()
def day(
    minutes: Annotated[float, typer.Option(min=1, help="How long the day takes.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Of the metrics.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """A healthy day in minutes: nothing may be changed. Ends with 1 when something was.

    A real API server, Prometheus and endpoint; kwok plays the pods. No root.
    """
    from bench.controller.day import live

    with tempfile.TemporaryDirectory(prefix="selfheal-") as folder:
        found = live(Path(folder), teller(err=True), minutes=minutes, seed=seed)
    _tell(found, as_json)
    if found.wrong:
        raise SelfhealError(f"{len(found.wrong)} things should not have been on a healthy day")


@app.command("soak")
def soak_command(
    minutes: Annotated[float, typer.Option(min=1, help="Of faults.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Random faults of workloads, controllers and API server: nothing lost, nothing twice, memory flat.

    Two controllers on a real API server; kwok plays the pods. No root. Ends with 1 when something is wrong.
    """
    from bench.controller.soak import soak

    with tempfile.TemporaryDirectory(prefix="selfheal-") as folder:
        found = soak(Path(folder), teller(err=True), minutes=minutes, seed=seed)
    _tell(found, as_json)
    if found.wrong:
        raise SelfhealError(f"{len(found.wrong)} things should not have been")


if __name__ == "__main__":
    run_app(app)
