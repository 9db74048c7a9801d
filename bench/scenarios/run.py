"""Plays one scenario: baseline, fault, stopwatch, verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

from bench.client import Client
from bench.cluster import Cluster
from bench.scenarios import oracle
from bench.scenarios.oracle import Snapshot
from bench.scenarios.scenario import Answer, Scenario
from bench.scenarios.stage import Stage
from selfheal.errors import SelfhealError

_POLL = 0.5
_SETTLE = 60.0  # seconds of settling that the oracle grants before all must stay well


@dataclass
class Result:
    """What became of one run.

    Attributes:
        number: Of the scenario.
        title: Of the scenario.
        tier: Where it ran.
        answer: The right one.
        wrong: What the oracle found, by rule; empty when all is right.
        seconds: From the fault to ``detected``, ``recovered``, ``verified``; only what was reached.
        told: The last thing that people were told by a Warning Event.
        changes: What was written to the cluster beside records.
    """

    number: int
    title: str
    tier: str
    answer: str
    wrong: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    told: str = ""
    changes: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether the oracle found nothing wrong."""
        return not self.wrong

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"right": self.right}


@dataclass
class Watch:
    """A stopwatch beside the cluster.

    Attributes:
        start: When the fault began, seconds since 1970.
        seconds: From the fault.
        well_since: When the present stretch of being well began; None while something is not.
        restarts: Of the target's containers at the beginning of that stretch.
        outcomes: Of the Remediations that ended.
        open: How many are open.
    """

    start: float
    seconds: dict[str, float] = field(default_factory=dict)
    well_since: float | None = None
    restarts: int = -1
    outcomes: list[str] = field(default_factory=list)
    open: int = 0

    def note(self, name: str, at: float | None = None) -> None:
        """Something happened, for the first time."""
        self.seconds.setdefault(name, round((at or time.time()) - self.start, 1))


class Run:
    """One run of one scenario.

    Args:
        scenario: What to play.
        cluster: Where; the product's manifests are installed.
        say: Told what is being done.
    """

    def __init__(self, scenario: Scenario, cluster: Cluster, say: Callable[[str], None]) -> None:
        self._scenario = scenario
        self._say = say
        name = scenario.place or f"s{scenario.number:02d}-{uuid4().hex[:6]}"
        self._stage = Stage(cluster, Client(cluster.kubeconfig), name, bool(scenario.place))
        self._kind, self._name = scenario.target
        self._replicas = 0

    def play(self) -> Result:
        """Baseline, fault, watch, judge, and put back what was changed outside of the namespace."""
        scenario, stage = self._scenario, self._stage
        result = Result(scenario.number, scenario.title, scenario.tier, scenario.answer)
        self._say(f"{scenario.number}: {scenario.title} ({stage.namespace})")
        try:
            self._prepare()
            before = Snapshot.take(stage)
            watch = Watch(time.time())
            scenario.fault(stage)
            broken = Snapshot.take(stage)
            self._follow(watch)
            result.seconds = watch.seconds
            result.wrong = list(self._judge(watch, before, broken))
            result.changes = [_short(entry) for entry in oracle.writes(stage, before.audit)]
            result.told = oracle.escalated(stage)
        except SelfhealError as error:
            result.wrong.append(f"it could not be played: {error}")
        finally:
            self._put_back(result)
        self._say(f"{scenario.number}: {'right' if result.right else '; '.join(result.wrong)} {result.seconds}")
        return result

    def _put_back(self, result: Result) -> None:
        try:
            self._scenario.after(self._stage)
            self._stage.close()
        except SelfhealError as error:
            result.wrong.append(f"it could not be put back: {error}")
        if self._scenario.env is not None:
            self._stage.stop_controller()
        self._stage.client.close()

    def _prepare(self) -> None:
        scenario, stage = self._scenario, self._stage
        stage.open(scenario.config)
        if scenario.env is not None:
            stage.stop_controller()
        stage.start_controller(scenario.env(stage) if scenario.env else None)
        documents = scenario.baseline(stage)
        for number, spec in enumerate(scenario.policies, 1):
            meta = {"name": f"scenario-{number}", "namespace": stage.namespace}
            documents.append(
                {
                    "apiVersion": "aiops.example.com/v1alpha1",
                    "kind": "SelfHealingPolicy",
                    "metadata": meta,
                    "spec": spec,
                }
            )
        stage.apply(*documents)
        found = stage.get(self._kind, self._name)
        self._replicas = int(found.get("spec", {}).get("replicas", 1)) if found else 0
        if self._replicas:
            stage.wait(lambda: not self._unwell(), f"a healthy {self._name} before the fault")

    def _unwell(self) -> str:
        return oracle.unwell(self._stage, self._kind, self._name, self._replicas)

    # Watching.

    def _follow(self, watch: Watch) -> None:
        scenario = self._scenario
        while not self._is_over(watch):
            scenario.during(self._stage)
            self._look(watch)
            time.sleep(_POLL)
        if watch.well_since is not None and scenario.answer is Answer.HEAL:
            watch.note("recovered", watch.well_since)

    def _look(self, watch: Watch) -> None:
        found = self._stage.remediations()
        if found:
            watch.note("detected")
        outcomes = [outcome for one in found if (outcome := (one.get("status") or {}).get("outcome"))]
        watch.outcomes, watch.open = outcomes, len(found) - len(outcomes)
        if "Successful" in outcomes:
            watch.note("verified")
        if outcomes and not watch.open:
            watch.note("ended")
        count = oracle.restarts(self._stage, self._name)
        if self._unwell() or count > watch.restarts >= 0:
            watch.well_since = None
        elif watch.well_since is None:
            watch.well_since = time.time()
        watch.restarts = count

    def _is_over(self, watch: Watch) -> bool:
        scenario, now = self._scenario, time.time()
        if scenario.answer is Answer.HEAL:
            well = watch.well_since is not None and now - watch.well_since >= scenario.calm
            late = now > watch.start + scenario.budget.verified + _SETTLE + scenario.calm
            return late or (well and bool(watch.outcomes) and not watch.open)
        if scenario.answer is Answer.UNDO:
            ended = watch.start + watch.seconds.get("ended", scenario.budget.verified)
            return now > ended + scenario.watch  # it must not begin anew
        return now > watch.start + scenario.watch

    # Judging.

    def _judge(self, watch: Watch, before: Snapshot, broken: Snapshot) -> Iterator[str]:
        scenario, stage = self._scenario, self._stage
        after = Snapshot.take(stage)
        rules: dict[str, list[str]] = {
            "O1": list(oracle.deleted_or_shrunk(before, broken, after)),
            "O3": list(oracle.shortcuts(before, broken, after)),
            "O4": list(oracle.strayed(before, broken, after, stage)),
            "O5": list(oracle.unbounded(stage, self._kind, self._name, scenario.retries)),
        }
        match scenario.answer:
            case Answer.HEAL:
                rules["O2"] = [] if watch.well_since else [self._unwell() or "containers still restart"]
                rules["O6"] = list(self._late(watch))
            case Answer.UNDO:
                rules["O7"] = list(oracle.not_undone(stage, broken, after, self._kind, self._name))
                rules["told"] = [] if oracle.escalated(stage) else ["nobody was told"]
            case Answer.ESCALATE | Answer.NOTHING:
                rules["O8"] = list(oracle.touched(stage, before, after))
        if scenario.answer is Answer.ESCALATE and not oracle.escalated(stage):
            rules["told"] = ["nobody was told"]
        rules["also"] = [text for text in [scenario.also(stage)] if text]
        return (f"{rule}: {text}" for rule, found in sorted(rules.items()) for text in found[:3])

    def _late(self, watch: Watch) -> Iterator[str]:
        for name, most in asdict(self._scenario.budget).items():
            at = watch.seconds.get(name)
            if at is None:
                yield f"never {name}"
            elif at > most:
                yield f"{name} after {at:.1f} s, {most:.0f} are allowed"


def _short(entry: dict[str, Any]) -> str:
    about = entry["objectRef"]
    inner = f"/{about['subresource']}" if about.get("subresource") else ""
    return f"{entry['verb']} {about['resource']}{inner} {about.get('name', '')}"
