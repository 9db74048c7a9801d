"""Watches a heal from outside: what Kubernetes says, what the Remediation says, and whether the service is well."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.client import GROUP, Client, Resource
from bench.faults import DEPLOYMENTS, PODS, Fault

EVENTS = "/apis/events.k8s.io/v1/namespaces/shop/events"
REMEDIATIONS = f"{GROUP}/namespaces/shop/remediations"
_POLL = 0.5


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        name: fault, reported, detected, applied, recovered, verified, undone, ended.
        seconds: Since the fault, by this process' clock.
        text: For people.
    """

    name: str
    seconds: float
    text: str


@dataclass
class Heal:
    """One fault and what became of it.

    Attributes:
        fault: Name of the fault.
        start: Seconds since 1970 of the fault.
        events: In the order seen.
        outcome: Of the Remediation; empty while it is open or when there is none.
        remediations: All of this incident as the API server has them at the end.
        healed: Whether the outcome is Successful and the service is well, seen from outside.
    """

    fault: str
    start: float
    events: list[Event] = field(default_factory=list)
    outcome: str = ""
    remediations: list[Resource] = field(default_factory=list)
    healed: bool = False

    def at(self, name: str) -> float | None:
        """Seconds from the fault to an event; None when it never came."""
        return next((event.seconds for event in self.events if event.name == name), None)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


Tell = Callable[[Event], None]


class Watcher:
    """Follows one fault until its Remediation is complete.

    Args:
        client: To the API server, as administrator.
        fault: What was broken.
        tell: Told every event at once.
    """

    def __init__(self, client: Client, fault: Fault, tell: Tell) -> None:
        self._client, self._fault, self._tell = client, fault, tell
        self._known = {r["metadata"]["uid"] for r in client.items(REMEDIATIONS)}
        self._well_since: float | None = None

    def follow(self) -> Heal:
        """Inject the fault and watch until it is healed or patience ends."""
        self._heal = Heal(self._fault.name, time.time())
        self._fault.inject(self._client)
        self._note("fault", self._fault.story)
        while time.time() < self._heal.start + self._fault.patience and not self._heal.outcome:
            self._look()
            time.sleep(_POLL)
        self._heal.remediations = self._ours()
        self._heal.healed = self._heal.outcome == "Successful" and self._is_well()
        if not self._heal.outcome:
            self._note("ended", f"no remediation was completed within {self._fault.patience:.0f} s{self._refusal()}")
        return self._heal

    def _note(self, name: str, text: str, at: float | None = None) -> None:
        if self._heal.at(name) is None:
            event = Event(name, round((at or time.time()) - self._heal.start, 1), text)
            self._heal.events.append(event)
            self._tell(event)

    def _refusal(self) -> str:
        """Why the controller held back, as its newest Event about the workload says; empty when there is none."""
        notes = [
            (event["metadata"]["creationTimestamp"], f": {event.get('reason')}, {event.get('note')}")
            for event in self._client.items(EVENTS)
            if event.get("action") == "Refuse" and event["regarding"].get("name") == self._fault.deployment
        ]
        return max(notes, default=("", ""))[1]

    def _look(self) -> None:
        if self._heal.at("reported") is None and (report := _report(self._pods())):
            self._note("reported", f"Kubernetes says: {report}")
        for remediation in self._ours():
            self._read(remediation)

    def _ours(self) -> list[Resource]:
        return [
            remediation
            for remediation in self._client.items(REMEDIATIONS)
            if remediation["metadata"]["uid"] not in self._known
            and remediation["spec"]["target"]["name"] == self._fault.deployment
        ]

    def _read(self, remediation: Resource) -> None:
        self._note("detected", _describe_verdict(remediation["spec"]))
        status = remediation.get("status") or {}
        for number, attempt in enumerate(status.get("attempts") or [], 1):
            if attempt.get("result") in ("Planned", "Refused"):
                continue
            change = attempt.get("change") or {}
            name = "applied" if number == 1 else f"applied {number}"
            self._note(name, f"{attempt['action']}: {change.get('diff') or attempt.get('message', '')}".strip())
        if self._heal.at("applied") is not None:
            self._track_health()
        if (outcome := status.get("outcome")) and not self._heal.outcome:
            if outcome == "Successful":
                self._note("recovered", "all replicas ready, nothing restarts", self._well_since)
                self._note("verified", _evidence(status))
            else:
                self._note("ended", f"{outcome}: {status.get('message', '')}")
            self._heal.outcome = outcome

    def _track_health(self) -> None:
        well = self._is_well()
        if not well:
            self._well_since = None
        elif self._well_since is None:
            self._well_since = time.time()

    def _pods(self) -> list[Resource]:
        return self._client.items(PODS, labelSelector=f"app.kubernetes.io/name={self._fault.deployment}")

    def _is_well(self) -> bool:
        deployment = self._client.get(f"{DEPLOYMENTS}/{self._fault.deployment}")
        return rolled_out(deployment) and all(_ready(pod) for pod in self._pods() if _counts(pod))


def rolled_out(deployment: Resource) -> bool:
    """Whether every replica is of the newest revision and available."""
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
    return counts == {wanted} and status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]


def _counts(pod: Resource) -> bool:
    return not pod["metadata"].get("deletionTimestamp")


def _ready(pod: Resource) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _report(pods: list[Resource]) -> str:
    """What Kubernetes says is wrong with the pods; empty when nothing."""
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses") or []:
            for state in (container.get("state") or {}, container.get("lastState") or {}):
                reason = (state.get("waiting") or state.get("terminated") or {}).get("reason", "")
                if reason in ("CrashLoopBackOff", "OOMKilled", "Error"):
                    return f"{reason}, pod {pod['metadata']['name']}"
    return ""


def _describe_verdict(spec: Resource) -> str:
    verdict, anomaly = spec.get("verdict") or {}, spec.get("anomaly") or {}
    votes = verdict.get("votes") or []
    for_it = [vote["detector"] for vote in votes if vote.get("vote")]
    told = f"{len(for_it)} of {len(votes)} detectors vote for it ({', '.join(for_it)})" if for_it else ""
    source = {"Symptom": "a fact that Kubernetes reports"}.get(str(verdict.get("source")), told)
    return f"{anomaly.get('type')}, confidence {verdict.get('confidence', 0):.2f}, {source or told}"


def _evidence(status: Resource) -> str:
    attempts = status.get("attempts") or [{}]
    lines = attempts[-1].get("evidence") or [status.get("message", "")]
    return "; ".join(lines)
