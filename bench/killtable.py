"""``python -m bench.killtable``: kill the controller before and after every request of a heal, and see how it ends.

Every plot is healed once undisturbed; what the controller sent then are the points. At each of them the replica that
leads gets ``kill -9``, and the other one has to finish: one Remediation, nothing written twice, the same end.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench.cluster import ApiCluster
from tests.support.killing import End, Killed, Stage, points, subset
from tests.support.plots import API, PLOTS
from tests.support.replicas import TooSlow, replicas

MANIFESTS = Path(__file__).parents[1] / "manifests"
ROOMY = {"budget": {"maxConcurrent": 100, "maxPerHour": 10_000, "maxPerNamespacePerHour": 1000}}
DEFAULT_LEASE = {
    "SELFHEAL_LEASE_SECONDS": "15",
    "SELFHEAL_RENEW_DEADLINE_SECONDS": "10",
    "SELFHEAL_LEASE_RETRY_SECONDS": "2",
}


def main(
    plot: Annotated[list[str] | None, typer.Option(help="Only these plots.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Every N-th point, and all after a write to a workload.")] = 1,
    only: Annotated[str, typer.Option(help="Only points whose request contains this text.")] = "",
    default_lease: Annotated[bool, typer.Option(help="With the Lease of production, 15/10/2 s.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All points as JSON lines.")] = False,
) -> None:
    """Kill the controller at every request of a heal; exit 1 when one heal ends otherwise than undisturbed."""
    console, good = Console(), True
    with TemporaryDirectory() as folder, stage(Path(folder), default_lease) as found:
        table = Table("plot", "points", "reached", "as undisturbed", "successor wrote after", title="kill -9")
        for name in plot or PLOTS:
            heard, end = found.record(PLOTS[name])
            chosen = [one for one in subset(points(heard), every) if only in str(one)]
            rows = []
            for point in chosen:
                rows.append(found.kill(PLOTS[name], point))
                _show(console, name, rows[-1], end, as_json=as_json)
            table.add_row(name, *_summary(rows, end))
            good = good and all(is_same(row, end) for row in rows)
        console.print(table)
    sys.exit(0 if good else 1)


@contextmanager
def stage(folder: Path, default_lease: bool = False) -> Iterator[Stage]:
    """A cluster of its own with two replicas."""
    (folder / "replicas").mkdir()
    with ApiCluster.start(folder / "cluster") as cluster:
        cluster.kubectl("apply", "--server-side", "-k", str(MANIFESTS))
        crds = [f"crd/{file.stem}.aiops.example.com" for file in (MANIFESTS / "crds").glob("*.yaml")]
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *crds)
        cluster.apply({"apiVersion": API, "kind": "HealingConfig", "metadata": {"name": "cluster"}, "spec": ROOMY})
        account = cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
        env = DEFAULT_LEASE if default_lease else None
        with replicas(account, folder / "replicas", env) as pair:
            yield Stage(cluster, pair)


def is_same(row: Killed, end: End) -> bool:
    """Whether a heal with a kill ended as the undisturbed one."""
    return row.end == end


def _show(console: Console, name: str, row: Killed, end: End, *, as_json: bool) -> None:
    if as_json:
        console.print_json(json.dumps({"plot": name, "same": is_same(row, end)} | asdict(row)), indent=None)
    else:
        console.print(_line(name, row, end), soft_wrap=True)


def _line(name: str, row: Killed, end: End) -> str:
    state = "not reached" if not row.reached else "ok" if is_same(row, end) else f"WRONG: {row.end}, not {end}"
    took = "" if row.seconds is None else f" (successor wrote after {row.seconds:.1f} s)"
    return f"{name}: {row.point}: {state}{took}"


def _summary(rows: Sequence[Killed], end: End) -> list[str]:
    times = [row.seconds for row in rows if row.seconds is not None]
    took = f"median {statistics.median(times):.1f} s, at most {max(times):.1f} s" if times else "-"
    counts = (len(rows), sum(row.reached for row in rows), sum(is_same(row, end) for row in rows))
    return [*map(str, counts), took]


if __name__ == "__main__":
    try:
        typer.run(main)
    except TooSlow as error:
        sys.exit(str(error))
