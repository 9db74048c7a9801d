"""The cluster of a soak: furnishes it, breaks its workloads, repairs them and reads it, all as administrator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from bench.client import Client, Resource
from bench.controller.soak_plan import CRASH, IMAGE, NAMES, OOM, POD, POLICIES, ZERO
from bench.scenarios.objects import FAULT, opt_in, path, thing

REPLICAS = 2
_IMAGE = "registry.example/shop"
_LIMITS = {"limits": {"memory": "64Mi", "cpu": "100m"}, "requests": {"memory": "32Mi", "cpu": "50m"}}
_OPTED_OUT = "aiops.example.com/self-healing"
CONFIG: Mapping[str, Any] = MappingProxyType(
    {
        "budget": {"maxConcurrent": 100, "maxPerHour": 10_000, "maxPerNamespacePerHour": 5_000},
        "storm": {"maxUnhealthyPercent": 100},
        "approvalTimeout": "30s",
    }
)
Key = tuple[str, str]
"""Namespace and name of a workload."""


class Field:
    """What a soak plays on.

    Args:
        client: Of the administrator.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._versions = itertools.count(1)
        self._break: Mapping[str, Callable[[str, str], None]] = {
            CRASH: lambda space, name: self._roll_out(space, name, "crashloop"),
            IMAGE: lambda space, name: self._roll_out(space, name, "image"),
            OOM: lambda space, name: self._fail_one(space, name, "OOMKilled", 137),
            POD: lambda space, name: self._fail_one(space, name, "Error", 1),
            ZERO: lambda space, name: self._merge(space, name, {"spec": {"replicas": 0}}),
        }

    def furnish(self, wait: Callable[[Callable[[], bool], str], None]) -> None:
        """Workloads with two good revisions in namespaces, which are opted in when all is well, as people would.

        Args:
            wait: Waits until something holds; the text says what.
        """
        self._create("HealingConfig", "", thing("HealingConfig", "cluster", spec=dict(CONFIG)))
        places = [(space, name) for space in POLICIES for name in NAMES]
        for space in POLICIES:
            self._create("Namespace", "", thing("Namespace", space))
        for space, name in places:
            self._create("Deployment", space, _deployment(name))
        wait(self.is_well, "the workloads to be well")
        for space, name in places:
            self._roll_out(space, name, None)
        wait(self.is_well, "a second revision to be well")
        for space in POLICIES:
            namespace, binding = opt_in(space)
            self._client.merge(path("Namespace", "", space), {"metadata": {"labels": namespace["metadata"]["labels"]}})
            self._create("RoleBinding", space, binding)
            for name in POLICIES[space]:
                self.renew(space, name)

    def is_well(self) -> bool:
        """Whether all workloads are."""
        found = self.workloads().values()
        return len(found) == len(POLICIES) * len(NAMES) and all(map(is_well, found))

    def _create(self, kind: str, space: str, body: Resource) -> None:
        self._client.post(path(kind, space), body).raise_for_status()

    def break_it(self, kind: str, key: Key) -> None:
        """Inject a fault."""
        self._break[kind](*key)

    def repair(self, key: Key) -> None:
        """What people do in the end: a good revision, all replicas, the memory of before, healing as everywhere."""
        self._roll_out(*key, None)
        self._merge(*key, {"spec": {"replicas": REPLICAS}, "metadata": {"annotations": {_OPTED_OUT: None}}})

    def opt_out(self, key: Key) -> None:
        """Take a workload out of healing."""
        self._merge(*key, {"metadata": {"annotations": {_OPTED_OUT: "disabled"}}})

    def _roll_out(self, space: str, name: str, fault: str | None) -> None:
        container = {"name": "app", "image": f"{_IMAGE}:v{next(self._versions)}", "resources": _LIMITS}
        template = {"metadata": {"annotations": {FAULT: fault}}, "spec": {"containers": [container]}}
        self._merge(space, name, {"spec": {"template": template}})

    def _merge(self, space: str, name: str, patch: Resource) -> None:
        self._client.merge(path("Deployment", space, name), patch, strategic=True)

    def _fail_one(self, space: str, name: str, reason: str, code: int) -> None:
        pods = self._client.items(path("Pod", space), labelSelector=f"app={name}")
        pod = min((one for one in pods if one["status"].get("startTime")), key=lambda one: str(one["metadata"]["name"]))
        now = pod["status"]["startTime"]
        end = {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
        status = {"name": "app", "ready": False, "started": False, "restartCount": 3}
        status |= {"state": {"waiting": waiting, "running": None}, "lastState": {"terminated": end}}
        ready = {"lastTransitionTime": now, "status": "False", "reason": "ContainersNotReady"}
        conditions = [{"type": kind} | ready for kind in ("Ready", "ContainersReady")]
        body = {"status": {"containerStatuses": [status], "conditions": conditions}}
        self._client.merge(f"{path('Pod', space, pod['metadata']['name'])}/status", body, strategic=True)

    def renew(self, space: str, name: str) -> None:
        """Make a policy."""
        self._create("SelfHealingPolicy", space, thing("SelfHealingPolicy", name, spec=POLICIES[space][name]))

    def delete(self, space: str, name: str) -> None:
        """Delete a policy."""
        self._client.delete(path("SelfHealingPolicy", space, name))

    def edit(self, space: str, name: str, lot: int) -> None:
        """Change something of a policy; nothing where it is deleted just now."""
        where = path("SelfHealingPolicy", space, name)
        if self._client.get(where):
            self._client.merge(where, {"spec": {"cooldownPeriod": f"{2 + lot % 7}s"}})

    def suspend(self, suspended: bool) -> None:
        """The kill switch, on or off."""
        self._client.merge(path("HealingConfig", "", "cluster"), {"spec": {"suspended": suspended}})

    def decide(self, record: Resource, decision: str) -> None:
        """Answer for or against a plan."""
        name, space = record["metadata"]["name"], record["metadata"]["namespace"]
        spec = {"remediationName": name, "decision": decision, "approver": "admin"}
        self._create("RemediationApproval", space, thing("RemediationApproval", name, spec=spec))

    def workloads(self) -> dict[Key, Resource]:
        """All Deployments."""
        found = self._client.items(path("Deployment"), labelSelector="soak=yes")
        return {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in found}

    def records(self) -> list[Resource]:
        """All Remediations."""
        return self._client.items(path("Remediation"))

    def events(self, key: Key) -> list[Resource]:
        """What the controller told about a workload."""
        found = self._client.items(f"/api/v1/namespaces/{key[0]}/events", fieldSelector=f"involvedObject.name={key[1]}")
        return [one for one in found if "aiops.example.com" in str(one.get("reportingComponent"))]

    def lease_transitions(self) -> int:
        """How often the Lease went to another holder."""
        found = self._client.items("/apis/coordination.k8s.io/v1/namespaces/selfheal-system/leases")
        return sum(int(one["spec"].get("leaseTransitions") or 0) for one in found)


def _deployment(name: str) -> Resource:
    labels = {"app": name}
    container = {"name": "app", "image": f"{_IMAGE}:v0", "resources": _LIMITS}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": template}
    found = thing("Deployment", name, spec=spec | {"revisionHistoryLimit": 4})
    found["metadata"]["labels"] = labels | {"soak": "yes"}
    return found


def is_well(workload: Resource) -> bool:
    """Whether all replicas of the newest revision are available, as Kubernetes says."""
    status = workload.get("status") or {}
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    seen = status.get("observedGeneration") == workload["metadata"]["generation"]
    return bool(seen) and workload["spec"]["replicas"] == REPLICAS and counts == [REPLICAS] * 3
