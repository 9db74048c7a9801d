"""``python -m bench``: build, start, end and show a cluster to try selfheal on."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench import build as builds
from bench import kafka
from bench.cluster import ApiCluster, Say
from bench.containerfiles import BY_NAME, build_images, import_to_bench, size
from bench.controlplane import ControlPlane
from bench.current import describe
from bench.images import compile_all
from bench.machine import containerd_answers, install_packages
from bench.monitoring import PROMETHEUS
from bench.node import NodeCluster, stop_node
from bench.paths import DEFAULT_STATE, State, cache
from selfheal.errors import NoData, SelfhealError, WrongUse

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)


class Tier(StrEnum):
    """Which cluster."""

    API = "api"
    NODE = "node"
    CURRENT = "current"


TierOption = Annotated[Tier, typer.Option(help="api: simulated pods, no root. node: real ones, root. current: yours.")]
StateOption = Annotated[Path, typer.Option(help="The folder that holds all of the cluster.")]


def teller(*, err: bool = False) -> Say:
    """Prints what is being done, with the seconds since the start; on stderr where stdout is for results."""
    start = time.monotonic()

    def say(text: str) -> None:
        typer.echo(f"[{time.monotonic() - start:5.1f} s] {text}", err=err)

    return say


@app.command()
def build(tier: TierOption = Tier.NODE) -> None:
    """Build a tier's programs from source; what is built already is kept in the user's cache."""
    say = teller()
    if tier is Tier.CURRENT:
        say("tier current builds nothing")
        return
    if tier is Tier.NODE and os.geteuid() == 0:
        install_packages(say)
    builds.build(tier, say)
    if tier is Tier.NODE:
        compile_all()
    else:
        kafka.fetch(say)
    say(f"everything for tier {tier} is in {cache()}")


@app.command()
def images(
    only: Annotated[list[str] | None, typer.Option(help="controller, serving, trainer; all by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Build the product's container images with podman, and give them to the node bench if one runs.

    Their names go to stdout: the one to use, and the same image under the version that chart and pipelines name.
    """
    unknown = sorted(set(only or ()) - set(BY_NAME))
    if unknown:
        raise WrongUse(f"--only {unknown[0]}: one of {', '.join(BY_NAME)}")
    say = teller(err=True)
    chosen = [BY_NAME[name] for name in only or BY_NAME]
    build_images(chosen, say)
    if containerd_answers():
        import_to_bench(chosen, say)
    facts = {one.name: {"image": one.tag, "released": one.released, "megabytes": size(one)} for one in chosen}
    lines = (f"{one['image']}  {one['released']}  {one['megabytes']} MB" for one in facts.values())
    typer.echo(json.dumps(facts, indent=1) if as_json else "\n".join(lines))


@app.command()
def up(tier: TierOption = Tier.NODE, state: StateOption = DEFAULT_STATE) -> None:
    """Start a cluster, or find it running."""
    say, folder = teller(), state.absolute()
    if tier is Tier.CURRENT:
        say(describe())
        return
    _same_tier(State(folder), tier)
    cluster = NodeCluster.start(folder, say) if tier is Tier.NODE else ApiCluster.start(folder, say)
    say(f"ready: export KUBECONFIG={cluster.kubeconfig}")
    if tier is Tier.NODE:
        say(f"Prometheus: {PROMETHEUS}")


@app.command()
def down(
    state: StateOption = DEFAULT_STATE,
    keep: Annotated[bool, typer.Option(help="Keep the folder: the next up goes on with the same objects.")] = False,
    tier: TierOption = Tier.NODE,
) -> None:
    """End a cluster and delete its folder."""
    say, folder = teller(), State(state.absolute())
    if tier is Tier.CURRENT:
        raise WrongUse("tier current is your own cluster: the bench did not start it and does not end it")
    if not folder.settings.exists():
        say(f"nothing to end: there is no cluster in {folder.root}")
        return
    started_as = _tier(folder)
    if started_as is Tier.NODE and os.geteuid() != 0:
        raise WrongUse("this is a cluster of tier node: ending it needs root, run it with sudo")
    plane = ControlPlane.load_or_create(folder, started_as)
    ended = stop_node(plane) if started_as is Tier.NODE else plane.stop()
    say(f"ended {', '.join(ended) or 'nothing: no process was left'}")
    if not keep:
        shutil.rmtree(folder.root, ignore_errors=True)


@app.command()
def status(
    state: StateOption = DEFAULT_STATE,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    tier: TierOption = Tier.NODE,
) -> None:
    """What runs: processes, addresses, the kubeconfig. Ends with 3 when nothing does."""
    if tier is Tier.CURRENT:
        typer.echo(describe())
        return
    folder = State(state.absolute())
    if not folder.settings.exists():
        raise NoData(f"no cluster in {folder.root}: python -m bench up --tier api|node")
    plane = ControlPlane.load_or_create(folder, _tier(folder))
    running = plane.processes.running()
    facts = {
        "tier": str(_tier(folder)),
        "server": plane.addresses.server,
        "kubeconfig": str(folder.kubeconfig),
        "prometheus": PROMETHEUS if "prometheus" in running else None,
        "processes": running,
    }
    typer.echo(json.dumps(facts, indent=1) if as_json else "\n".join(f"{k:12} {v}" for k, v in facts.items()))
    if not running:
        raise NoData(f"nothing of the cluster in {folder.root} runs")


def _tier(state: State) -> Tier:
    return Tier(json.loads(state.settings.read_text())["tier"])


def _same_tier(state: State, tier: Tier) -> None:
    if state.settings.exists() and _tier(state) is not tier:
        raise WrongUse(
            f"{state.root} holds a cluster of tier {_tier(state)}: end it first (python -m bench down --state "
            f"{state.root}) or name another folder with --state"
        )


def run_app(commands: typer.Typer) -> None:
    """Run a command; an error on purpose is one sentence and its exit code."""
    try:
        commands()
    except SelfhealError as error:
        typer.echo(f"bench: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    run_app(app)
