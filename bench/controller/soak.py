"""Random faults for as long as one likes: nothing lost, nothing twice, memory flat.

Two controllers on a real API server whose pods kwok plays. The judges are the cluster, read as administrator, and the
API server's audit log; Remediations are read only where the question is about them.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from bench.client import Client, Resource
from bench.cluster import ApiCluster, Say
from bench.controller.soak_audit import count, turns
from bench.controller.soak_cases import Case, Ward, about, is_open
from bench.controller.soak_field import Field, Key
from bench.controller.soak_findings import Findings, Memory
from bench.controller.soak_plan import (
    APPROVED,
    CUT,
    DELETE,
    EDIT,
    EDITED,
    KILL,
    MEND,
    NAMES,
    OPT_OUT,
    POLICIES,
    RENEW,
    RESTART,
    RESUME,
    SUSPEND,
    Happening,
    draw,
    is_healable,
)
from bench.scenarios.stage import ACCOUNT, SYSTEM, install
from tests.support.replicas import Replica, Replicas, replicas, wait_for

_TELL = 30.0
_LOOK = 2.0
_DRAIN = 240.0
"""Seconds after the last fault in which all must come to its end; more than the patience with one."""
_DECISIONS = ("Approve", "Approve", "Approve", "Deny", "")
"""The last one answers nothing."""


@dataclass
class Soak:
    """A cluster, two controllers, and what is done to them.

    Attributes:
        cluster: Whose pods kwok plays.
        client: Of the administrator.
        pair: The controllers.
        random: Draws what people answer.
        say: Told what happens.
    """

    cluster: ApiCluster
    client: Client
    pair: Replicas
    random: Random
    say: Say
    ward: Ward = field(default_factory=Ward)
    memory: Memory = field(default_factory=Memory)
    troubles: Counter[str] = field(default_factory=Counter)
    decided: dict[str, str] = field(default_factory=dict)
    replicas: list[Replica] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Nothing was read yet."""
        self.field = Field(self.client)
        self._know()
        self._begun = self._said = self._looked = time.monotonic()
        self._cut: Replica | None = None
        self._acts: Mapping[str, Callable[[int], None]] = {
            KILL: lambda _: self._kill(),
            RESTART: lambda _: self._restart(),
            CUT: lambda _: self._cut_leader(),
            MEND: lambda _: self._reconnect(),
            SUSPEND: lambda _: self.field.suspend(True),
            RESUME: lambda _: self.field.suspend(False),
            OPT_OUT: self._opt_out,
            EDIT: lambda lot: self.field.edit(EDITED, _policy(lot), lot),
            DELETE: lambda lot: self.field.delete(EDITED, _policy(lot)),
            RENEW: lambda lot: self.field.renew(EDITED, _policy(lot)),
        }

    def run(self, plan: list[Happening]) -> None:
        """Let everything happen, and then come to its end."""
        self._begun = time.monotonic()
        for one in plan:
            while time.monotonic() - self._begun < one.at:
                self._pause()
            self._do(one)
        self.say("no more faults: everything has to come to its end")
        end = time.monotonic() + _DRAIN
        while time.monotonic() < end and (self.ward.cases or self._open()):
            self._pause()

    def _do(self, one: Happening) -> None:
        if one.namespace:
            self._fault(one)
        else:
            self._acts[one.kind](one.lot)
            self.troubles[one.kind] += 1

    def _fault(self, one: Happening) -> None:
        free = [name for name in NAMES if (one.namespace, name) not in self.ward.cases]
        if not free:
            self.ward.put_off += 1
            return
        key = (one.namespace, free[one.lot % len(free)])
        due = is_healable(one.namespace, one.kind)
        case = Case(one.kind, key, time.monotonic(), datetime.now(UTC), due)
        self.field.break_it(one.kind, key)
        self.ward.admit(case)

    def _opt_out(self, lot: int) -> None:
        sick = self.ward.sick
        if sick:
            case = sick[lot % len(sick)]
            self.field.opt_out(case.key)
            case.excuse("opted out")

    def _kill(self) -> None:
        self.pair.settle()
        self.pair.leader.controller.kill()
        self.pair.succeed()
        self._know()

    def _know(self) -> None:
        self.replicas += [one for one in (self.pair.leader, self.pair.standby) if one not in self.replicas]

    def _restart(self) -> None:
        plane = self.cluster.plane
        plane.processes.stop("kube-apiserver", seconds=20)
        plane.start()

    def _cut_leader(self) -> None:
        self.pair.settle()
        self._cut = self.pair.leader
        self._cut.proxy.is_cut.set()

    def _reconnect(self) -> None:
        if self._cut is not None:
            self._cut.proxy.is_cut.clear()

    # What people and the judge do all the time.

    def _pause(self) -> None:
        time.sleep(0.25)
        if time.monotonic() - self._looked >= _LOOK:
            self._look()
            self._looked = time.monotonic()
            for number, one in enumerate(self.replicas, 1):
                self.memory.note(number, one.controller)
        if time.monotonic() - self._said >= _TELL:
            self._said = time.monotonic()
            self._tell()

    def _look(self) -> None:
        now, workloads, records = time.monotonic(), self.field.workloads(), about(self.field.records())
        for key, found in records.items():
            if key[0] == APPROVED:
                self._answer(key, found)
        self.ward.look(workloads, records)
        for case in self.ward.sick:
            mine = records.get(case.key, [])
            if not case.answer and now - case.begun > 20 and self._was_told(case):
                case.answer = "event"
            if case.is_over(now, any(map(is_open, mine))):
                self._close(case, now, mine)
        self.ward.discharge(now, workloads, records)

    def _close(self, case: Case, now: float, records: list[Resource]) -> None:
        last = max(records, key=lambda one: str(one["metadata"]["creationTimestamp"]), default={})
        status = last.get("status") or {}
        trace = f"{status.get('outcome')} {status.get('reason')}: {status.get('message')}" if last else ""
        before = len(self.ward.unwell) + len(self.ward.lost)
        self.ward.close(case, now, trace)
        if len(self.ward.unwell) + len(self.ward.lost) > before:
            self.say(f"WRONG: {case}: answered by {case.answer or 'nobody'}, not healed; {trace}")
        self.field.repair(case.key)

    def _was_told(self, case: Case) -> bool:
        return any(_told(one) >= case.moment for one in self.field.events(case.key))

    def _answer(self, key: Key, records: list[Resource]) -> None:
        for one in records:
            name, status = one["metadata"]["name"], one.get("status") or {}
            if status.get("reason") != "WaitingForApproval" or status.get("outcome") or name in self.decided:
                continue
            self.decided[name] = self.random.choice(_DECISIONS)
            if self.decided[name]:
                self.field.decide(one, self.decided[name])
            case = self.ward.cases.get(key)
            if case is not None and self.decided[name] != "Approve":
                case.excuse("denied" if self.decided[name] else "nobody answered")

    def _open(self) -> list[str]:
        return [one["metadata"]["name"] for one in self.field.records() if is_open(one)]

    def _tell(self) -> None:
        sizes = ", ".join(f"{size:.0f} MiB" for size in self.memory.now())
        done, sick = sum(self.ward.injected.values()), len(self.ward.sick)
        wrong = len(self.ward.lost) + len(self.ward.unwell)
        self.say(f"{done} faults, {sick} open, {wrong} wrong, {sum(self.troubles.values())} troubles; {sizes}")


def _told(event: Resource) -> datetime:
    return datetime.fromisoformat(event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _policy(lot: int) -> str:
    names = sorted(POLICIES[EDITED])
    return names[lot % len(names)]


@contextmanager
def _stage(folder: Path, say: Say, seed: int) -> Iterator[Soak]:
    (folder / "replicas").mkdir()
    with ApiCluster.start(folder / "cluster", say) as cluster, Client(cluster.kubeconfig) as client:
        install(cluster)
        account = cluster.service_account_kubeconfig(SYSTEM, ACCOUNT, duration="8h")
        with replicas(account, folder / "replicas") as pair:
            found = Soak(cluster, client, pair, Random(seed), say)
            found.field.furnish(wait_for)
            time.sleep(5)
            yield found


def soak(folder: Path, say: Say, *, minutes: float, seed: int) -> Findings:
    """Break things at random, and read afterwards what became of it.

    Args:
        folder: For the cluster and all files.
        say: Told what happens.
        minutes: Of faults; the end takes up to four more.
        seed: Of what is drawn.
    """
    with _stage(folder, say, seed) as found:
        calls, holders = sum(one.proxy.calls for one in found.replicas), found.field.lease_transitions()
        begun = time.monotonic()
        found.run(draw(seed, minutes))
        took = (time.monotonic() - begun) / 60
        return Findings(
            minutes=took,
            ward=found.ward,
            troubles=found.troubles,
            decisions=Counter(one or "no answer" for one in found.decided.values()),
            endless=found._open(),
            audit=count(_entries(found.cluster.plane.state.logs)),
            memory=found.memory,
            calls=sum(one.proxy.calls for one in found.replicas) - calls,
            writers=_turns(found, begun),
            holders=found.field.lease_transitions() - holders + 1,
        )


def _entries(folder: Path) -> Iterator[Resource]:
    """The audit log, also what the API server has put aside of it."""
    for log in folder.glob("audit*.log"):
        with log.open() as lines:
            yield from (json.loads(line) for line in lines if line.endswith("}\n"))


def _turns(found: Soak, begun: float) -> int:
    heard = [
        (one.at, str(number))
        for number, replica in enumerate(found.replicas)
        for one in replica.proxy.heard
        if one.at >= begun and _is_change(one.path)
    ]
    return turns(heard)


def _is_change(path: str) -> bool:
    here = any(part in path for part in ("/remediations", "/deployments/", "/eviction"))
    return here and "dryRun=" not in path
