"""The judge: reads the cluster as its administrator, and the API server's audit log. It never asks selfheal.

Only O5 and O7 look at Remediations, for these are about the records themselves. O6 has its times from the stopwatch of
run.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.audit import is_written
from bench.client import Resource
from bench.scenarios.objects import path
from bench.scenarios.stage import SYSTEM, Stage
from selfheal.policy import parse_quantity

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
GUARDED = (
    "ConfigMap",
    "Secret",
    "Service",
    "ServiceAccount",
    "PersistentVolumeClaim",
    "ResourceQuota",
    "LimitRange",
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
)
"""No action of ours has any business with these."""
CLUSTER_WIDE = ("Node", "ClusterRole", "ClusterRoleBinding")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_KUBERNETES = "deployment.kubernetes.io/"
"""Annotations that its own controllers write."""
_NOTEBOOK = (SYSTEM, "configmaps", "selfheal-healthy-revisions")
"""Where the controller keeps which revisions were healthy."""
_CAPS = {"memory": "4Gi", "cpu": "4"}
Key = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass(frozen=True)
class Snapshot:
    """The cluster at one moment.

    Attributes:
        inside: Objects of the scenario's namespace.
        outside: Content of the objects of all other namespaces but the product's own, and of cluster-wide ones.
        audit: Bytes of the audit log that were written before.
    """

    inside: Mapping[Key, Resource]
    outside: Mapping[Key, str]
    audit: int

    @classmethod
    def take(cls, stage: Stage) -> Snapshot:
        """Read everything that the oracle compares."""
        inside: dict[Key, Resource] = {}
        outside: dict[Key, str] = {}
        for kind in (*WORKLOADS, *GUARDED):
            for one in stage.client.items(path(kind)):
                where = one["metadata"]["namespace"]
                key = (kind, where, one["metadata"]["name"])
                if where == stage.namespace:
                    inside[key] = one
                elif where not in (SYSTEM, "kube-system") and not one["metadata"].get("deletionTimestamp"):
                    outside[key] = content(one)
        for kind in CLUSTER_WIDE:
            for one in stage.client.items(path(kind)):
                outside[kind, "", one["metadata"]["name"]] = content(one)
        log = audit_log(stage)
        return cls(inside, outside, log.stat().st_size if log.exists() else 0)


def content(resource: Resource) -> str:
    """All of an object that somebody wants so: no status, and nothing that the API server counts."""
    meta = {key: resource["metadata"].get(key) for key in ("labels", "finalizers")}
    notes = resource["metadata"].get("annotations") or {}
    meta["annotations"] = {key: value for key, value in notes.items() if not key.startswith(_KUBERNETES)}
    rest = {key: value for key, value in resource.items() if key not in ("status", "metadata", "apiVersion", "kind")}
    return json.dumps([meta, rest], sort_keys=True)


# O1 to O5, O7 and O8. Each yields what is wrong, in a sentence.


def deleted_or_shrunk(before: Snapshot, broken: Snapshot, after: Snapshot) -> Iterator[str]:
    """O1: no object of the baseline is deleted, and nothing is below its replicas of before."""
    for key in before.inside.keys() & broken.inside.keys():
        kind, _, name = key
        found = after.inside.get(key)
        if found is None or found["metadata"]["uid"] != broken.inside[key]["metadata"]["uid"]:
            yield f"{kind} {name} was deleted"
            continue
        least = min(_replicas(before.inside[key]), _replicas(broken.inside[key]))
        if kind in WORKLOADS and _replicas(found) < least:
            yield f"{kind} {name} has fewer replicas than before"


def _replicas(resource: Resource) -> int:
    return int(resource["spec"].get("replicas", 1)) if "spec" in resource else 0


def unwell(stage: Stage, kind: str, name: str, replicas: int) -> str:
    """O2, at this moment: what is not well about a workload; the empty text when it is.

    Args:
        stage: Where.
        kind: Of the workload.
        name: Of the workload.
        replicas: How many it had before the fault.
    """
    found = stage.get(kind, name)
    status = found.get("status") or {}
    if not found or status.get("observedGeneration", 0) < found["metadata"]["generation"]:
        return "its controller has not seen its spec yet"
    pods = stage.pods(name)
    ready = [pod for pod in pods if _is_ready(pod)]
    if len(ready) < replicas or len(pods) != len(ready):
        return f"{len(ready)} of {len(pods)} pods are ready, {replicas} were there before"
    if kind == "Deployment" and status.get("updatedReplicas", 0) != status.get("replicas", 0):
        return "its rollout goes on"
    return ""


def _is_ready(pod: Resource) -> bool:
    found = pod.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in found)


def restarts(stage: Stage, name: str) -> int:
    """Restarts of all containers of a workload's pods."""
    found = [one for pod in stage.pods(name) for one in pod.get("status", {}).get("containerStatuses") or []]
    return sum(int(one.get("restartCount", 0)) for one in found)


def shortcuts(before: Snapshot, broken: Snapshot, after: Snapshot) -> Iterator[str]:
    """O3: nothing was bought with a probe, a limit, a right, a budget, a foreign image or a finalizer."""
    images = {one["image"] for snap in (before, broken) for work in _works(snap) for one in _containers(work)}
    for key, found in after.inside.items():
        if key[0] in GUARDED and key in broken.inside and content(found) != content(broken.inside[key]):
            yield f"{key[0]} {key[2]} was changed"
        if key[0] not in WORKLOADS or key not in before.inside:
            continue
        for number, container in enumerate(_containers(found)):
            known = [_containers(snap.inside[key])[number] for snap in (before, broken) if key in snap.inside]
            yield from (f"{key[2]}: {text}" for text in _cheats(container, known, images))


def _works(snapshot: Snapshot) -> Iterator[Resource]:
    return (one for key, one in snapshot.inside.items() if key[0] in WORKLOADS)


def _containers(resource: Resource) -> list[Resource]:
    found: list[Resource] = resource["spec"]["template"]["spec"]["containers"]
    return found


def _cheats(container: Resource, known: list[Resource], images: set[str]) -> Iterator[str]:
    if container["image"] not in images:
        yield f"image {container['image']} is not in its history"
    for probe in _PROBES:
        if container.get(probe) not in [one.get(probe) for one in known]:
            yield f"{probe} was changed"
    limits = container.get("resources", {}).get("limits") or {}
    wanted = known[0].get("resources", {}).get("limits") or {}
    for name, cap in _CAPS.items():
        if name in wanted and name not in limits:
            yield f"its {name} limit is gone"
        elif name in limits and parse_quantity(limits[name]) > parse_quantity(cap):
            yield f"its {name} limit {limits[name]} is over the cap"


def strayed(before: Snapshot, broken: Snapshot, after: Snapshot, stage: Stage) -> Iterator[str]:
    """O4: other namespaces and cluster-wide objects are as they were, by content and by the audit log."""
    for key in broken.outside.keys() & after.outside.keys():
        if broken.outside[key] != after.outside[key]:
            yield f"{key[0]} {key[1]}/{key[2]} was changed"
    for entry in writes(stage, before.audit):
        where = entry["objectRef"].get("namespace", "")
        if where != stage.namespace:
            yield f"{entry['verb']} {entry['objectRef'].get('resource')} in namespace {where or '(none)'}"


def audit_log(stage: Stage) -> Path:
    """Where the API server writes who did what."""
    return stage.cluster.plane.state.logs / "audit.log"


def writes(stage: Stage, since: int) -> list[Resource]:
    """What the controller changed in the cluster beside its own records, by the API server's own account.

    Args:
        stage: Where.
        since: Bytes of the log to skip.
    """
    return changes(audit_log(stage), since)


def changes(log: Path, since: int) -> list[Resource]:
    """The same, of any audit log."""
    with log.open("rb") as file:
        file.seek(min(since, log.stat().st_size))
        entries = [json.loads(line) for line in file.read().decode(errors="replace").splitlines() if _is_whole(line)]
    return [entry for entry in entries if is_written(entry) and not _is_record(entry)]


def _is_whole(line: str) -> bool:
    return line.startswith("{") and line.endswith("}")


def _is_record(entry: Resource) -> bool:
    """Whether an entry of the audit log is about what the controller keeps for itself."""
    about = entry.get("objectRef") or {}
    return (
        about.get("apiGroup") == "aiops.example.com"
        or about.get("resource") in ("leases", "events", "selfsubjectaccessreviews")
        or (about.get("namespace"), about.get("resource"), about.get("name")) == _NOTEBOOK
    )


def unbounded(stage: Stage, kind: str, name: str, retries: int) -> Iterator[str]:
    """O5: one Remediation an incident, and no more attempts than the policy allows."""
    ours = [one for one in stage.remediations() if _is_about(one, kind, name)]
    if len(ours) > 1:
        yield f"{len(ours)} remediations for one incident"
    for one in ours:
        made = [a for a in attempts(one) if a.get("result") not in ("Refused", "Planned")]
        if len(made) > retries:
            yield f"{len(made)} attempts, {retries} are allowed"


def attempts(remediation: Resource) -> list[Resource]:
    """Of a Remediation, the oldest first."""
    found: list[Resource] = (remediation.get("status") or {}).get("attempts") or []
    return found


def _is_about(remediation: Resource, kind: str, name: str) -> bool:
    target = remediation["spec"]["target"]
    return bool(target["kind"] == kind and target["name"] == name)


def not_undone(stage: Stage, broken: Snapshot, after: Snapshot, kind: str, name: str) -> Iterator[str]:
    """O7: a fix that failed has an undo record, and the template is again as it was when it was broken."""
    key = (kind, stage.namespace, name)
    for one in stage.remediations():
        for attempt in attempts(one):
            if attempt.get("result") in ("Failed", "Undone") and not attempt.get("undo"):
                yield f"the {attempt['action']} that failed has no undo record"
    failed = any(a.get("result") == "Undone" for one in stage.remediations() for a in attempts(one))
    if not failed:
        yield "no attempt was undone"
    if _spec(after.inside.get(key)) != _spec(broken.inside.get(key)):
        yield "its spec is not as it was before the fix that failed"


def _spec(resource: Resource | None) -> str:
    """The pod's spec: annotations of the template may say what was tried."""
    return json.dumps(resource["spec"]["template"]["spec"], sort_keys=True) if resource else ""


def touched(stage: Stage, before: Snapshot, after: Snapshot) -> Iterator[str]:
    """O8: nothing was changed by the controller's field manager, and nothing was written by its account."""
    for entry in writes(stage, before.audit):
        about = entry["objectRef"]
        yield f"{entry['verb']} {about.get('resource')}/{about.get('subresource', '')} {about.get('name', '')}"
    for key, found in after.inside.items():
        managers = {entry.get("manager") for entry in found["metadata"].get("managedFields") or ()}
        if "selfheal-controller" in managers:
            yield f"{key[0]} {key[2]} has fields of selfheal-controller"


def escalated(stage: Stage) -> str:
    """What people are told: the newest Warning Event of the controller in the namespace; empty when there is none."""
    found = [
        (one.get("eventTime") or "", f"{one.get('reason')}: {one.get('note')}")
        for one in stage.items("Event")
        if one.get("type") == "Warning" and str(one.get("reportingController", "")).startswith("aiops.example.com/")
    ]
    return max(found, default=("", ""))[1]
