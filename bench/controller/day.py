"""A healthy day, in minutes: everything that a cluster does when all is well, and a controller that must do nothing.

Metrics are those of bench/history.py, whose last day plays while the controller looks (bench/controller/timeshift.py);
what Kubernetes shows is done to a real API server. Endpoint, model and Prometheus are real.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.client import Client, Resource
from bench.cluster import ApiCluster, Say
from bench.controller.shop import CONFIDENCE, NAMESPACE, STEP, TICK, Day, Servers
from bench.controller.timeshift import Answer, TimeShift, shifted
from bench.history import DAYS, LEVELS
from bench.scenarios.objects import path
from bench.scenarios.oracle import changes

_DAY = 86_400.0


@dataclass
class Findings:
    """What the day brought.

    Attributes:
        events: What was done to the cluster, and how often.
        answers: Of the endpoint.
        readings: Moments of the day that were asked about.
        unanswered: Requests that nobody took while something was down.
        mutations: What the controller changed; must be empty.
        remediations: What it opened; must be empty.
    """

    events: Counter[str] = field(default_factory=Counter)
    answers: list[Answer] = field(default_factory=list)
    readings: int = 0
    unanswered: int = 0
    mutations: list[str] = field(default_factory=list)
    remediations: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """What should not have been, in sentences; empty after a good day."""
        found = [f"the cluster was changed: {text}" for text in self.mutations]
        found += [f"a remediation was opened: {text}" for text in self.remediations]
        judged = {one.workload for one in self.answers if one.anomaly is not None}
        missing = sorted({f"{NAMESPACE}/Deployment/{name}" for name in LEVELS} - judged)
        if missing:
            found.append(f"nothing was shown: the endpoint never judged {', '.join(missing)}")
        return found

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "events": dict(self.events),
            "readings": self.readings,
            "answers": len(self.answers),
            "anomalies": sum(one.anomaly is True for one in self.answers),
            "above threshold": sum(self._is_believed(one) for one in self.answers),
            "unanswered": self.unanswered,
            "mutations": self.mutations,
            "remediations": self.remediations,
            "wrong": self.wrong,
        }

    def _is_believed(self, answer: Answer) -> bool:
        return answer.anomaly is True and answer.confidence >= CONFIDENCE

    def show(self, console: Console) -> None:
        """A table for people."""
        done = Table("done to the cluster", "times", title="A healthy day")
        for name, times in sorted(self.events.items()):
            done.add_row(name, str(times))
        console.print(done)
        told = Table("what the controller did", "")
        told.add_row("moments of the day that it read", str(self.readings))
        told.add_row("answers of the endpoint about a workload", str(len(self.answers)))
        told.add_row("of these an anomaly", str(sum(one.anomaly is True for one in self.answers)))
        told.add_row(f"of these with confidence {CONFIDENCE:g} or more", str(sum(map(self._is_believed, self.answers))))
        told.add_row("requests that nobody took (something was down)", str(self.unanswered))
        told.add_row("remediations opened", str(len(self.remediations)))
        told.add_row("changes of the cluster", str(len(self.mutations)))
        console.print(told)
        for text in self.wrong:
            console.print(f"WRONG: {text}", markup=False)


Happening = tuple[float, str, Callable[[], None]]
"""Hour of the day, what it is called, how it is done."""


def plan(day: Day, servers: Servers, shift: TimeShift) -> list[Happening]:
    """What happens in the course of a healthy day, by the hour."""
    found: list[Happening] = [
        (0.5, "workload sent to sleep, annotated", partial(day.night_off, 0)),
        (3.0, "nightly job", day.nightly_job),
        (7.0, "workload woken", partial(day.night_off, 1)),
        (10.0, "restart of Prometheus", servers.restart_prometheus),
        (12.5, "restart of one container", partial(day.restart_once, "cart")),
        (15.0, "restart of the endpoint", partial(servers.restart_endpoint, shift)),
        (22.0, "nightly job", day.nightly_job),
    ]
    found += [(hour, "autoscaler's swing", partial(day.swing, to)) for hour, to in _SWINGS]
    found += [(hour, "rollout", partial(day.rollout, name)) for hour, name in _ROLLOUTS]
    found += [(hour, "lost pod", partial(day.lose_a_pod, name)) for hour, name in _LOSSES]
    found += [(hour, "changed ConfigMap", day.configure) for hour in (6.0, 18.0)]
    return sorted(found, key=lambda one: one[0])


_SWINGS = ((8.0, 4), (11.0, 6), (13.5, 5), (17.0, 7), (20.0, 4), (23.0, 2))
_ROLLOUTS = ((4.0, "catalogue"), (9.0, "frontend"), (9.2, "cart"), (14.0, "orders"), (16.0, "frontend"), (19.0, "cart"))
_LOSSES = ((2.5, "orders"), (5.0, "frontend"), (12.0, "catalogue"), (18.5, "customers"), (21.0, "frontend"))


def live(folder: Path, say: Say, *, minutes: float, seed: int = 0) -> Findings:
    """Let a day pass.

    Args:
        folder: For the cluster and all files.
        say: Told what happens.
        minutes: How long the day takes.
        seed: Of the metrics.
    """
    start = (time.time() - _DAY) // STEP * STEP
    with (
        ApiCluster.start(folder / "cluster", say) as cluster,
        Client(cluster.kubeconfig) as admin,
        ExitStack() as stack,
    ):
        day = Day(cluster, admin, folder, say, minutes, start)
        say("a shop, an autoscaler, a nightly job and twelve policies")
        day.furnish()
        say(f"{DAYS + 1:g} days of metrics, the last one with gaps")
        servers = Servers(day, day.database(day.past(seed)), folder / "model")
        servers.begin_prometheus()
        say("training")
        servers.model = day.learn(servers.prometheus)
        stack.callback(servers.stop)
        shift = TimeShift(day.moment, STEP, servers.prometheus, servers.begin_endpoint())
        url = stack.enter_context(shifted(shift))
        day.until(lambda: len(day.pods("app")) >= 7, "the shop's pods")
        log = cluster.plane.state.logs / "audit.log"
        since = log.stat().st_size
        day.control(url)
        _pass(day, plan(day, servers, shift))
        found = Findings(day.events, shift.answers, shift.readings, shift.unanswered)
        found.remediations = [_name(one) for one in admin.items(path("Remediation"))]
        found.mutations = [_change(entry) for entry in changes(log, since)]
    return found


def _pass(day: Day, happenings: Sequence[Happening]) -> None:
    day.begun = time.monotonic()
    for hour, name, act in happenings:
        while day.hour() < hour:
            time.sleep(0.1)
        day.say(f"{int(hour):02d}:{int(hour % 1 * 60):02d}  {name}")
        act()
        day.events[name] += 1
    while day.hour() < 24:
        time.sleep(0.1)
    time.sleep(3 * TICK)  # what was seen last may still lead to something


def _name(remediation: Resource) -> str:
    spec = remediation["spec"]
    target = f"{spec['target']['kind']}/{spec['target']['name']}"
    return f"{target}: {spec['anomaly']['type']}, {spec['anomaly'].get('message', '')}"[:200]


def _change(entry: Resource) -> str:
    about = entry["objectRef"]
    inner = f"/{about['subresource']}" if about.get("subresource") else ""
    return f"{entry['verb']} {about['resource']}{inner} {about.get('namespace', '')}/{about.get('name', '')}"
