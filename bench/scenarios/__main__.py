"""``python -m bench.scenarios``: break a cluster in every way of the catalogue, and judge each heal from outside."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.__main__ import run_app
from bench.cluster import ApiCluster, Cluster
from bench.node import NodeCluster
from bench.paths import DEFAULT_STATE
from bench.product import Product
from bench.scenarios.catalogue import CATALOGUE
from bench.scenarios.run import Result, Run
from bench.scenarios.scenario import Scenario, Tier
from bench.scenarios.stage import install
from bench.scenarios.table import summarise, table
from selfheal.errors import SelfhealError, WrongUse


def choose(only: str, tier: Tier | None, *, model: bool) -> list[Scenario]:
    """The scenarios that are asked for.

    Raises:
        WrongUse: For a number that is not in the catalogue.
    """
    numbers = [int(one) for one in only.split(",") if one.strip().isdecimal()]
    unknown = set(numbers) - {one.number for one in CATALOGUE}
    if unknown or (only and not numbers):
        known = ", ".join(str(one.number) for one in CATALOGUE)
        raise WrongUse(f"--only {only}: the catalogue has {known}")
    found = [one for one in CATALOGUE if (not numbers or one.number in numbers) and (tier is None or one.tier is tier)]
    return [one for one in found if model or not one.model or one.number in numbers]


@contextmanager
def cluster_of(tier: Tier, state: Path, console: Console, *, model: bool) -> Iterator[Cluster]:
    """A cluster with the product's manifests: a new one of simulated pods, or the node bench, which stays."""
    start = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - start:6.1f} s[/dim]  {text}", highlight=False)

    if tier is Tier.API:
        with tempfile.TemporaryDirectory(prefix="selfheal-") as folder, ApiCluster.start(Path(folder), say) as found:
            install(found)
            yield found
        return
    node = NodeCluster.start(state.absolute(), say)
    if model:
        Product(node, say).deploy()
        node.plane.processes.stop("controller", seconds=30)
    install(node)
    yield node
    node.plane.processes.stop("controller", seconds=30)


def play(scenarios: Sequence[Scenario], cluster: Cluster, console: Console) -> list[Result]:
    """Play them one after the other."""

    def say(text: str) -> None:
        console.print(f"  {text}", markup=False, highlight=False)

    return [Run(scenario, cluster, say).play() for scenario in scenarios]


def main(
    only: Annotated[str, typer.Option(help="Numbers of the catalogue, separated by commas; all by default.")] = "",
    tier: Annotated[
        Tier | None, typer.Option(help="api: simulated pods. node: real ones, root. Both by default.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="How often each is played.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; the table is left out.")] = False,
    state: Annotated[Path, typer.Option(help="The node bench's folder.")] = DEFAULT_STATE,
    model: Annotated[bool, typer.Option(help="Also those that need the trained ensemble and live metrics.")] = False,
) -> None:
    """Play scenarios and show what an independent reader makes of each. Ends with 1 when one is wrong."""
    console = Console(width=None if sys.stdout.isatty() else 160, stderr=as_json)
    chosen = choose(only, tier, model=model)
    results: list[Result] = []
    for where in Tier:
        ours = [one for one in chosen if one.tier is where]
        if not ours:
            continue
        with cluster_of(where, state, console, model=any(one.model for one in ours)) as cluster:
            results += play([one for one in ours for _ in range(runs)], cluster, console)
    rows = summarise(results)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        console.print(table(rows))
    if not all(one.right for one in results):
        wrong = ", ".join(str(row["number"]) for row in rows if row["right"] < row["runs"])
        raise SelfhealError(f"the oracle found something wrong in scenario {wrong}")


if __name__ == "__main__":
    commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    commands.command()(main)
    run_app(commands)
