"""Random faults for as long as one likes, and a reader that looks at it: nothing lost, nothing twice, memory flat."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.client import Client, Resource
from bench.cluster import ApiCluster, Say
from bench.controller.ledger import Fault, Ledger, Memory, Written, audit
from bench.scenarios.objects import FAULT, opt_in, path, policy, thing, workload
from bench.scenarios.stage import ACCOUNT, SYSTEM, install
from bench.speed.memory import resident
from selfheal.errors import SelfhealError
from tests.support.replicas import Replicas, replicas

_TOWNS = ("amber", "birch", "coral", "delta", "ember", "fjord")
_SHOPS = 5
_ROOMY = {"maxConcurrent": 100, "maxPerHour": 10_000, "maxPerNamespacePerHour": 1000}
_QUICK = {"verification": {"stabilizationPeriod": "3s", "timeout": "30s"}, "cooldownPeriod": "5s"}
_POLICIES = (
    ("CrashLoopBackOff", "rollback"),
    ("ImagePullBackOff", "rollback"),
    ("ConfigError", "rollback"),
    ("OOMKilled", "adjust-resources"),
    ("MetricAnomaly", "scale"),
)
_MODES = {"ember": "Approve", "fjord": "Observe"}
"""The others act by themselves."""
_KINDS = ("crashloop", "image", "config", "oom", "zero")
_PAUSE = (2.0, 6.0)
"""Seconds between two faults, drawn evenly."""
_MEND_AFTER = 75.0
"""Seconds after which a person repairs what is still broken, so that there is always something to break."""
_SETTLE = 150.0
_SAMPLE = 5.0
_TELL = 30.0
_GROWTH = 15.0
"""MiB that a warm process may grow in a soak, whose Remediations all stay in its memory, as in the cluster."""


@dataclass
class Soak:
    """A cluster, two controllers, and what is done to them.

    Attributes:
        cluster: Whose pods kwok plays.
        client: As administrator.
        pair: The controllers.
        seed: Of everything that is drawn.
        say: Told what happens.
        until: Monotonic seconds at which faults end.
        kills_until: The same for kills: the controllers of the rest live long enough for their memory to tell.
    """

    cluster: ApiCluster
    client: Client
    pair: Replicas
    seed: int
    say: Say
    until: float
    kills_until: float
    ledger: Ledger = field(default_factory=Ledger)
    memory: Memory = field(default_factory=Memory)
    ours: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Draws are the same for a seed; when they come depends on the machine."""
        self._random = random.Random(self.seed)
        self._sampled = self._said = 0.0

    def run(self) -> None:
        """Until the time is over."""
        while time.monotonic() < self.until:
            act = self._own_fault() if self._random.random() < 0.25 else self._break_one
            with suppress(SelfhealError):  # the API server may be away because of us
                act()
            self._progress()
            self._wait(self._random.uniform(*_PAUSE))
        self.say("no more faults: everything has to come to its end")
        self._patch_config(suspended=False)
        end = time.monotonic() + _SETTLE
        while time.monotonic() < end and (self._open() or self.ledger.waiting()):
            self._wait(2.0)

    def _progress(self) -> None:
        if time.monotonic() - self._said >= _TELL:
            self._said = time.monotonic()
            over = sum(one.ended is not None for one in self.ledger.faults)
            left = max(0.0, self.until - time.monotonic()) / 60
            self.say(f"{len(self.ledger.faults)} workloads broken, {over} well again; {left:.0f} minutes to go")

    # Faults of workloads.

    def _break_one(self) -> None:
        well = [(town, shop) for town in _TOWNS for shop in _shops() if not self.ledger.is_broken(town, shop)]
        if not well:
            return
        town, shop = self._random.choice(well)
        kind = self._random.choice(_KINDS)
        where = path("Deployment", town, shop)
        before = self.client.get(where)
        if kind == "zero":
            self.client.merge(f"{where}/scale", {"spec": {"replicas": 0}})
        else:
            image = f"registry.example/shop:{kind}-{self._random.randrange(10**6)}"
            pod = {"containers": [{"name": "app", "image": image}]}
            template = {"metadata": {"annotations": {FAULT: kind}}, "spec": pod}
            self.client.merge(where, {"spec": {"template": template}}, strategic=True)
        self.ledger.faults.append(Fault(town, shop, kind, time.time(), before["spec"]))

    def tend(self) -> None:
        """What people do all the time: answer plans, and repair what was not healed."""
        for record in self.client.items(path("Remediation", "ember")):
            status = record.get("status") or {}
            if status.get("reason") == "WaitingForApproval" and record["metadata"]["name"] not in self.ledger.answered:
                self._answer(record)
        for fault in self.ledger.open():
            found = self.client.get(path("Deployment", fault.town, fault.shop))
            events = self.client.items(path("Event", fault.town))
            self.ledger.look(fault, found, self.client.items(path("Remediation", fault.town)), events, time.time())
            if fault.ended is None and time.time() - fault.at > _MEND_AFTER and fault.told is not None:
                self._mend(fault)

    def _answer(self, record: Resource) -> None:
        name = record["metadata"]["name"]
        decision = self._random.choice(["Approve", "Approve", "Approve", "Deny"])
        spec = {"remediationName": name, "decision": decision, "approver": "admin", "reason": "the soak says so"}
        approval = thing("RemediationApproval", f"{name}-{self._random.randrange(10**6)}", spec=spec)
        self.cluster.kubectl("apply", "-n", "ember", "-f", "-", stdin=_json(approval))
        self.ledger.answered.add(name)
        self.ours[f"plan answered: {decision}"] += 1

    def _mend(self, fault: Fault) -> None:
        where = path("Deployment", fault.town, fault.shop)
        self.client.replace(where, "/spec", fault.before)
        fault.ended, fault.how = time.time(), "mended by people"

    # Faults of our own.

    def _own_fault(self) -> Callable[[], None]:
        acts = [self._cut, self._restart_api, self._suspend, self._edit, self._opt_out]
        if time.monotonic() < self.kills_until:
            acts += [self._kill, self._kill]
        act = self._random.choice(acts)
        self.ours[act.__name__.strip("_").replace("_", " ")] += 1
        return act

    def _kill(self) -> None:
        self.pair.settle()
        self.pair.leader.controller.kill()
        self.pair.succeed()

    def _cut(self) -> None:
        """The leader does not reach the API server for a while."""
        cut = self.pair.leader.proxy.is_cut
        cut.set()
        try:
            self._wait(self._random.uniform(1, 8))
        finally:
            cut.clear()

    def _restart_api(self) -> None:
        plane = self.cluster.plane
        plane.processes.stop("kube-apiserver", seconds=20)
        plane.start()

    def _suspend(self) -> None:
        self._patch_config(suspended=True)
        self._wait(self._random.uniform(2, 8))
        self._patch_config(suspended=False)

    def _patch_config(self, *, suspended: bool) -> None:
        self.client.merge(path("HealingConfig", "", "cluster"), {"spec": {"suspended": suspended}})

    def _edit(self) -> None:
        """A policy is deleted in the middle, and comes back."""
        town, (kind, action) = self._random.choice(_TOWNS), self._random.choice(_POLICIES)
        self.client.delete(path("SelfHealingPolicy", town, kind.lower()))
        self._wait(self._random.uniform(1, 4))
        self._apply(town, _policy(town, kind, action))

    def _opt_out(self) -> None:
        """A team takes a workload out, and back in."""
        town, shop = self._random.choice(_TOWNS), self._random.choice(_shops())
        where = path("Deployment", town, shop)
        for mark in ("disabled", None):
            self.client.merge(where, {"metadata": {"annotations": {"aiops.example.com/self-healing": mark}}})
            self._wait(self._random.uniform(1, 4))

    # Beside.

    def furnish(self) -> None:
        """Six namespaces with five shops and five policies each."""
        config = {"budget": _ROOMY, "storm": {"maxUnhealthyPercent": 100, "cooldown": "1s"}, "approvalTimeout": "30s"}
        self.cluster.apply(thing("HealingConfig", "cluster", spec=config))
        for town in _TOWNS:
            self.cluster.apply(*opt_in(town))
            self._apply(town, *(workload(shop) for shop in _shops()))
            self._apply(town, *(_policy(town, kind, action) for kind, action in _POLICIES))
        time.sleep(5)

    def _apply(self, town: str, *documents: Resource) -> None:
        everything = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.cluster.kubectl("apply", "-n", town, "-f", "-", stdin=_json(everything))

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(SelfhealError):
                self.tend()
            self._sample()
            time.sleep(0.5)

    def _sample(self) -> None:
        if time.monotonic() - self._sampled < _SAMPLE:
            return
        self._sampled = time.monotonic()
        for one in (self.pair.leader.controller, self.pair.standby.controller):
            with suppress(OSError):
                self.memory.note(one.pid, time.monotonic(), resident(one.pid))

    def _open(self) -> list[str]:
        found = self.client.items(path("Remediation"))
        return [one["metadata"]["name"] for one in found if not (one.get("status") or {}).get("outcome")]


def _json(document: Resource) -> str:
    return json.dumps(document)


def _shops() -> Sequence[str]:
    return [f"shop-{number}" for number in range(_SHOPS)]


def _policy(town: str, kind: str, action: str) -> Resource:
    spec = policy(kind, action, mode=_MODES.get(town, "Auto"), remediationHistoryLimit=1000, **_QUICK)
    return thing("SelfHealingPolicy", kind.lower(), spec=spec)


@contextmanager
def stage(folder: Path, say: Say, minutes: float, seed: int) -> Iterator[Soak]:
    """A cluster of its own with two controllers."""
    (folder / "replicas").mkdir()
    with ApiCluster.start(folder / "cluster", say) as cluster, Client(cluster.kubeconfig) as client:
        install(cluster)
        account = cluster.service_account_kubeconfig(SYSTEM, ACCOUNT, duration="8h")
        with replicas(account, folder / "replicas") as pair:
            now = time.monotonic()
            end = now + 60 * minutes
            soak = Soak(cluster, client, pair, seed, say, end, now + 20 * minutes)
            soak.furnish()
            yield soak


@dataclass(frozen=True)
class Findings:
    """What a soak brought.

    Attributes:
        minutes: Of faults.
        faults: By kind.
        ours: What was done to the controllers and their world.
        ends: How faults ended.
        outcomes: Of the Remediations.
        lost: Faults that nobody answered.
        endless: Remediations that never ended.
        written: By the audit log.
        slopes: As in Memory.
    """

    minutes: float
    faults: Counter[str]
    ours: Counter[str]
    ends: Counter[str]
    outcomes: Counter[str]
    lost: list[str]
    endless: list[str]
    written: Written
    slopes: list[tuple[float, float, float]]

    @property
    def wrong(self) -> list[str]:
        """What should not have been; empty when all is well."""
        found = [f"never answered: {text}" for text in self.lost]
        found += [f"never ended: remediation {name}" for name in self.endless]
        found += [f"written more often than planned: {text}" for text in self.written.twice]
        found += [f"written without a record: {text}" for text in self.written.unrecorded]
        found += [
            f"memory grew from {first:.0f} to {last:.0f} MiB ({slope:+.0f} MiB an hour)"
            for first, last, slope in self.slopes
            if last - first > _GROWTH
        ]
        return found if sum(self.faults.values()) else ["nothing was broken: nothing was shown"]

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self) | {"wrong": self.wrong}

    def show(self, console: Console) -> None:
        """A table for people."""
        table = Table("what", "how often", title=f"{self.minutes:g} minutes of random faults")
        for title, counts in (
            ("workload broken", self.faults),
            ("done to the controllers", self.ours),
            ("ended", self.ends),
            ("remediation", self.outcomes),
        ):
            for name, count in sorted(counts.items()):
                table.add_row(f"{title}: {name}", str(count))
            table.add_section()
        table.add_row(
            "writes of the controllers a minute, records, Events and Lease included",
            f"{self.written.calls / self.minutes:.0f}",
        )
        table.add_row("writes to workloads", str(self.written.writes))
        table.add_row("of these more than planned", str(len(self.written.twice)))
        table.add_row("of these without a record stored before", str(len(self.written.unrecorded)))
        table.add_row("faults that nobody answered", str(len(self.lost)))
        table.add_row("remediations that never ended", str(len(self.endless)))
        for first, last, slope in self.slopes:
            table.add_row("memory of a controller", f"{first:.0f} to {last:.0f} MiB, {slope:+.1f} MiB an hour")
        console.print(table)
        for text in self.wrong:
            console.print(f"WRONG: {text}", markup=False)


def soak(folder: Path, say: Say, *, minutes: float, seed: int) -> Findings:
    """Break things at random, and read afterwards what became of it.

    Args:
        folder: For the cluster and all files.
        say: Told what happens.
        minutes: Of faults; the end takes up to three more.
        seed: Of what is drawn.
    """
    with stage(folder, say, minutes, seed) as found:
        log = found.cluster.plane.state.logs / "audit.log"
        since = log.stat().st_size
        found.run()
        records = found.client.items(path("Remediation"))
        faults = found.ledger.faults
        return Findings(
            minutes=minutes,
            faults=Counter(one.kind for one in faults),
            ours=found.ours,
            ends=Counter(one.how or "still broken" for one in faults),
            outcomes=Counter(str((one.get("status") or {}).get("outcome") or "open") for one in records),
            lost=[f"{one.kind} of {one.town}/{one.shop}" for one in found.ledger.waiting()],
            endless=[one["metadata"]["name"] for one in records if not (one.get("status") or {}).get("outcome")],
            written=audit(log, since, records),
            slopes=found.memory.slopes(),
        )
