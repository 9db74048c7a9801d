"""What a tick costs with few and with many workloads, and how soon a symptom has its Remediation."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from bench.client import GROUP, Client, Resource
from bench.cluster import ApiCluster, Say
from bench.controller.town import STEP, Town, deployment, free_port, history, owner, prometheus
from bench.product import ACCOUNT, SYSTEM, base_env
from bench.speed.crowd import crowd
from bench.speed.endpoint import endpoint
from bench.speed.figures import Figure, Findings, machine
from bench.speed.memory import resident
from selfheal.ensemble import Ensemble
from selfheal.errors import Unavailable

TICK = 15.0
"""Seconds: a quarter of the default, so that the bench is done sooner; what is measured is for each tick."""

_TRAINED, _MINUTES = 2, 400
_POLL = 0.05
_MOST_WAIT = 60.0
_MIB = 2**20


@dataclass(frozen=True)
class Readings:
    """Counters, to be subtracted.

    Attributes:
        moment: Of a monotonic clock.
        cpu: Seconds of processor that the controller has used.
        calls: Requests to the API server, those for the Lease included.
        queries: Of ranges, to Prometheus.
    """

    moment: float
    cpu: float
    calls: float
    queries: float

    def __sub__(self, other: Readings) -> Readings:
        return Readings(
            self.moment - other.moment, self.cpu - other.cpu, self.calls - other.calls, self.queries - other.queries
        )


@dataclass(frozen=True)
class Healer:
    """The controller as a process beside the cluster, as its ServiceAccount."""

    cluster: ApiCluster
    client: Client
    prometheus: str
    metrics: str

    @classmethod
    def start(cls, cluster: ApiCluster, client: Client, prometheus_url: str, endpoint_url: str) -> Healer:
        """Start it, or start it anew with other settings."""
        account = cluster.service_account_kubeconfig(SYSTEM, ACCOUNT, duration="8h")
        port = free_port()
        settings = {
            "KUBECONFIG": str(account),
            "SELFHEAL_PROMETHEUS_URL": prometheus_url,
            "SELFHEAL_ENDPOINT_URL": endpoint_url,
            "SELFHEAL_ENDPOINT_TIMEOUT_SECONDS": "30",
            "SELFHEAL_TICK_SECONDS": f"{TICK:g}",
            "SELFHEAL_STEP_SECONDS": f"{STEP:g}",
            "SELFHEAL_METRICS_PORT": str(port),
            "SELFHEAL_LIVENESS_PORT": "0",
        }
        processes = cluster.plane.processes
        processes.stop("controller", seconds=30)
        processes.start("controller", [sys.executable, "-m", "controller"], base_env() | settings)
        found = cls(cluster, client, prometheus_url, f"http://127.0.0.1:{port}/metrics")
        processes.wait("controller", lambda: found.last_tick() > 0, seconds=180)
        return found

    @property
    def pid(self) -> int:
        """Its process.

        Raises:
            Unavailable: When it has ended.
        """
        found = self.cluster.plane.processes.pid("controller")
        if found is None:
            raise Unavailable(f"the controller has ended. {self.cluster.plane.processes.tail('controller')}")
        return found

    def last_tick(self) -> float:
        """When all targets were looked at, in seconds since 1970; 0 when never."""
        return _sample(self.metrics, "selfheal_last_observation_timestamp_seconds")

    def read(self) -> Readings:
        """All counters now."""
        own = _total(self.client, 'apiserver_flowcontrol_dispatched_requests_total{flow_schema="service-accounts"')
        asked = _sample(f"{self.prometheus}/metrics", "prometheus_http_requests_total", 'handler="/api/v1/query_range"')
        return Readings(time.monotonic(), _cpu_seconds(self.pid), own, asked)

    def ticks(self, count: int) -> None:
        """Wait until it has looked so many times more."""
        for _ in range(count):
            before, deadline = self.last_tick(), time.monotonic() + 4 * TICK + 60
            while self.last_tick() == before:
                if time.monotonic() > deadline:
                    raise Unavailable("the controller does not tick: read controller.log")
                time.sleep(0.5)


def measure(folder: Path, *, sizes: Sequence[int], policies: int, ticks: int, breaks: int, say: Say) -> Findings:
    """Grow a town through some sizes and measure each.

    Args:
        folder: For the cluster; nothing of it is left.
        sizes: Numbers of workloads, growing.
        policies: For the last size; fewer before, in proportion.
        ticks: Measured one by one, for each size.
        breaks: Workloads broken one after the other in the largest town.
        say: Told what is being done.

    Raises:
        Unavailable: When something does not get ready.
    """
    found = Findings("The controller by number of workloads", machine() | {"tick": f"{TICK:g} s", "policies": policies})
    with ApiCluster.start(folder, say) as cluster, Client(cluster.kubeconfig) as client:
        town = Town(cluster, client)
        town.install()
        for workloads in sizes:
            say(f"{workloads} workloads")
            town.grow(workloads, max(1, policies * workloads // sizes[-1]))
            pods = town.pods()
            model = cluster.plane.state.folder(f"model-{workloads}")
            _model(pods).save(model)
            asked = prometheus(cluster, pods, say)
            with endpoint(model, cluster.plane.state.logs / "endpoint.log") as server:
                healer = Healer.start(cluster, client, asked, f"http://127.0.0.1:{server.port}")
                healer.ticks(2)
                found.figures += _at_rest(healer, workloads, ticks, last=workloads == sizes[-1], say=say)
                if workloads == sizes[-1]:
                    town.allow(breaks)
                    spread = pods[:: max(1, len(pods) // max(breaks, 1))][:breaks]
                    found.figures += _when_broken(town, spread, say)
                    found.figures.append(Figure("memory afterwards", "MB", (resident(healer.pid) / _MIB,), must=150))
    return found


def _model(pods: Sequence[Resource]) -> Ensemble:
    """A few are trained, all others have the same models under their own names."""
    few = Ensemble.fit([history(pod, _MINUTES, seed) for seed, pod in enumerate(pods[:_TRAINED])])
    return crowd(few, map(owner, pods))


def _at_rest(healer: Healer, workloads: int, ticks: int, *, last: bool, say: Say) -> list[Figure]:
    """Each tick by itself."""
    rows = []
    for number in range(ticks):
        say(f"tick {number + 1} of {ticks}")
        before = healer.read()
        healer.ticks(1)
        rows.append(healer.read() - before)
    many = f"{workloads} workloads"
    return [
        Figure(f"{many}: memory", "MB", (resident(healer.pid) / _MIB,), must=150 if last else None),
        Figure(f"{many}: processor a tick", "s", tuple(row.cpu for row in rows)),
        Figure(
            f"{many}: calls to the API server a tick",
            "",
            tuple(row.calls for row in rows),
            note=f"the Lease is read and written every two seconds: {TICK:g} of them in each tick",
        ),
        Figure(f"{many}: queries to Prometheus a tick", "", tuple(row.queries for row in rows)),
    ]


def _when_broken(town: Town, pods: Sequence[Resource], say: Say) -> list[Figure]:
    """From the first moment at which a pod shows the symptom to the Remediation."""
    waits = []
    for number, pod in enumerate(pods):
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["labels"]["app"]
        say(f"breaking workload {number + 1} of {len(pods)}")
        town.cluster.apply(deployment(namespace, name, fault="crashloop"))
        shown = _wait(partial(_is_crashing, town.client, namespace, name))
        opened = _wait(partial(_is_remedied, town.client, namespace, name))
        waits.append(opened - shown)
    if not waits:
        return []
    worst = sorted(waits)[max(0, round(0.95 * len(waits)) - 1)]
    return [
        Figure("symptom to Remediation", "s", tuple(waits), must=15, reach=2, note=f"p95 {worst:.2f} s"),
    ]


def _wait(holds: Callable[[], bool]) -> float:
    """The moment at which something is first seen to hold."""
    deadline = time.monotonic() + _MOST_WAIT
    while not holds():
        if time.monotonic() > deadline:
            raise Unavailable(f"not seen within {_MOST_WAIT:.0f} s: read controller.log")
        time.sleep(_POLL)
    return time.monotonic()


def _is_crashing(client: Client, namespace: str, name: str) -> bool:
    pods = client.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"app={name}")
    statuses = [status for pod in pods for status in pod.get("status", {}).get("containerStatuses") or []]
    return any("CrashLoopBackOff" in str(status.get("state")) for status in statuses)


def _is_remedied(client: Client, namespace: str, name: str) -> bool:
    found = client.items(f"{GROUP}/namespaces/{namespace}/remediations")
    return any(one["spec"]["target"]["name"] == name for one in found)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sample(url: str, name: str, label: str = "") -> float:
    """Sum of a metric's samples on a page of metrics; 0 while nobody answers."""
    try:
        text = httpx.get(url, timeout=10).text
    except httpx.TransportError:
        return 0.0
    return _sum(text, f"{name}{{" if label else name, label)


def _total(client: Client, start: str) -> float:
    return _sum(client.text("/metrics"), start, "")


def _sum(text: str, start: str, label: str) -> float:
    lines = [line for line in text.splitlines() if line.startswith(start) and label in line]
    return sum(float(re.split(r"\s+", line.strip())[-1]) for line in lines)
