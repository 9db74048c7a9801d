"""``make demo``: a cluster, a shop, a trained ensemble, a controller - and three faults that heal by themselves."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from bench import mttr
from bench.client import Client
from bench.faults import DEPLOYMENTS, FAULTS, Fault
from bench.monitoring import PROMETHEUS
from bench.node import NodeCluster
from bench.offline import replay
from bench.paths import DEFAULT_STATE
from bench.product import SHOP, Product
from bench.report import Chapter, Curve, write_report
from bench.watch import Event, Heal, Watcher, rolled_out
from selfheal.errors import SelfhealError

REPORT = Path(".demo/report.html")
_BEFORE, _AFTER, _STEP = 120.0, 20.0, 5.0  # seconds of curve around a heal
_USUAL_BUDGET = 6  # heals an hour and namespace without a HealingConfig
_CALM = 150.0  # seconds of live data before the first fault, so that the start of the shop is not part of the picture


class Demo:
    """One run on one cluster.

    Args:
        product: The deployed product.
        console: Where to tell.
    """

    def __init__(self, product: Product, console: Console) -> None:
        self.product, self.console = product, console
        self.client = Client(product.cluster.kubeconfig)

    def run(self, fault: Fault) -> Chapter:
        """Break, watch, put back what the fault changed."""
        self.settle()
        path = f"{DEPLOYMENTS}/{fault.deployment}"
        before = self.client.get(path)["spec"]["template"]
        self.console.rule(f"[bold]{fault.title}[/bold]")
        heal = Watcher(self.client, fault, self._tell).follow()
        time.sleep(_AFTER / 4)
        chapter = Chapter(fault, heal, curve(fault, heal))
        colour, word = ("green", "healed") if heal.healed else ("red", "NOT healed")
        self.console.print(f"[{colour}]{fault.name}: {word}[/{colour}]")
        self.client.replace(path, "/spec/template", before)
        return chapter

    def allow(self, heals: int) -> None:
        """Let so many heals happen within an hour: who breaks one namespace that often is no cluster in trouble."""
        self.product.cluster.apply(
            {
                "apiVersion": "aiops.example.com/v1alpha1",
                "kind": "HealingConfig",
                "metadata": {"name": "cluster"},
                "spec": {"budget": {"maxPerHour": heals, "maxPerNamespacePerHour": heals}},
            }
        )

    def _tell(self, event: Event) -> None:
        self.console.print(f"  [cyan]+{event.seconds:6.1f} s[/cyan]  [bold]{event.name:10}[/bold]", end="")
        self.console.print(event.text, highlight=False, markup=False)

    def settle(self, seconds: float = 120.0) -> None:
        """Wait until the shop is well and no Remediation is open."""
        deadline = time.monotonic() + seconds
        while not self._calm():
            if time.monotonic() > deadline:
                raise SelfhealError("the shop does not come to rest: kubectl -n shop get pods,remediations")
            time.sleep(1)
        time.sleep(6)  # longer than the cooldown of the demo's policies

    def _calm(self) -> bool:
        shop = [self.client.get(f"/apis/apps/v1/namespaces/shop/deployments/{name}") for name in SHOP]
        remediations = self.client.items("/apis/aiops.example.com/v1alpha1/namespaces/shop/remediations")
        done = all((r.get("status") or {}).get("outcome") for r in remediations)
        return done and all(rolled_out(deployment) for deployment in shop)


def curve(fault: Fault, heal: Heal) -> Curve:
    """The fault's metric around its heal, from Prometheus."""
    start, end = heal.start - _BEFORE, min(time.time(), heal.start + heal.events[-1].seconds + _AFTER)
    values = _range(fault.metric, start, end)
    limits = dict(_range(fault.limit, start, end)) if fault.limit else {}
    moments = [moment for moment, _ in values]
    return Curve(
        seconds=tuple(round(moment - heal.start, 1) for moment in moments),
        values=tuple(value for _, value in values),
        limit=tuple(limits[moment] for moment in moments) if limits and limits.keys() >= set(moments) else (),
        expected=_expected(heal),
    )


def _expected(heal: Heal) -> float | None:
    """What the ensemble expected of the memory, in MiB."""
    for remediation in heal.remediations:
        for metric in (remediation["spec"].get("verdict") or {}).get("topMetrics") or []:
            if metric["name"] == "pod_memory_usage" and metric.get("expected") is not None:
                return round(float(metric["expected"]) / (1 << 20), 1)
    return None


def _range(query: str, start: float, end: float) -> list[tuple[float, float]]:
    params: dict[str, str | float] = {"query": query, "start": start, "end": end, "step": _STEP}
    answer = httpx.get(f"{PROMETHEUS}/api/v1/query_range", params=params, timeout=10).raise_for_status().json()
    result: list[dict[str, Any]] = answer["data"]["result"]
    return [(float(moment), float(value)) for moment, value in (result[0]["values"] if result else [])]


def _facts(product: Product) -> dict[str, str]:
    trained = product.state.root / "trained.json"
    model = json.loads(trained.read_text()) if trained.exists() else {}
    return {
        "model": f"{model.get('model', '?')} version {model.get('version', '?')}",
        "verdict of the pipeline": str(model.get("reason", "")),
        "training": f"{model.get('seconds', '?')} s, on synthetic history at the levels of the running shop",
        "machine": f"{os.cpu_count()} cores, {platform.release()}",
        "finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def prepare(state: Path, console: Console) -> Demo:
    """Cluster, shop, history, training, endpoint, controller; what runs already is used."""
    start = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - start:6.1f} s[/dim]  {text}", highlight=False)

    product = Product(NodeCluster.start(state.absolute(), say), say)
    product.deploy()
    oldest = product.shop_born()
    if (wait := oldest + _CALM - time.time()) > 0:
        say(f"letting the shop run for {wait:.0f} s more, so that what is normal shows")
        time.sleep(wait)
    return Demo(product, console)


def main(
    runs: Annotated[int, typer.Option(help="Measure: each fault so many times. 0 is the demo, with its report.")] = 0,
    state: Annotated[Path, typer.Option(help="The cluster's folder.")] = DEFAULT_STATE,
    only: Annotated[str, typer.Option(help="Names of faults, separated by commas; all by default.")] = "",
) -> None:
    """Show, or measure, how three faults heal. Ends with 1 when one did not."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    if os.geteuid() != 0:
        console.print("No root here, so no real node: showing the offline part instead (sudo make demo shows all).")
        replay(REPORT.parent, console)
        return
    chosen = [fault for fault in FAULTS if not only or fault.name in only.split(",")]
    demo = prepare(state, console)
    if runs * len(chosen) > _USUAL_BUDGET:
        demo.allow(2 * runs * len(chosen))
    chapters = [demo.run(fault) for _ in range(max(runs, 1)) for fault in chosen]
    if runs:
        mttr.tell([chapter.heal for chapter in chapters], REPORT.parent / "mttr.json", console)
    else:
        write_report(REPORT, chapters, _facts(demo.product))
        console.print(f"\nReport: {REPORT.absolute()}, and timeline.json. The cluster runs on: make down ends it.")
    if not all(chapter.heal.healed for chapter in chapters):
        raise SelfhealError("not every fault was healed: the report and .bench/logs/controller.log say why")


if __name__ == "__main__":
    from bench.__main__ import run_app

    commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    commands.command()(main)
    run_app(commands)
