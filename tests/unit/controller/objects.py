"""Builders of Kubernetes objects as the API server returns them (dictionaries), for tests of the pure controller.

Every builder gives a healthy object with few words; what a test is about is a keyword. The clock of the tests stands
at :data:`NOW`; objects are an hour old unless told otherwise. Pods and their container statuses are in pods.py.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from controller.model import Resource, Workload
from selfheal.policy import OPT_IN_LABEL
from selfheal.remediation import TargetRef

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR_AGO = NOW - timedelta(hours=1)
NAMESPACE = "shop"


def ago(**of: float) -> datetime:
    """A moment before the tests' clock: ``ago(minutes=5)``."""
    return NOW - timedelta(**of)


def stamp(moment: datetime) -> str:
    """A time as metav1.Time is written."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def uid_of(*names: str) -> str:
    """A uid that only depends on names."""
    return str(uuid5(NAMESPACE_DNS, "/".join(names)))


def meta(kind: str, name: str, *, namespace: str = NAMESPACE, created: datetime = HOUR_AGO, **more: Any) -> Resource:
    """ObjectMeta; empty values are left out, as the API server does."""
    found = {
        "name": name,
        "namespace": namespace,
        "uid": uid_of(kind, namespace, name),
        "resourceVersion": "100",
        "generation": 1,
        "creationTimestamp": stamp(created),
    }
    return found | {key: value for key, value in more.items() if value}


def owner_reference(owner: Resource) -> Resource:
    """The controller ownerReference to an object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def container(
    name: str = "app",
    image: str = "registry.local/shop:1",
    *,
    memory: str = "",
    cpu: str = "",
    requests: dict[str, str] | None = None,
    **more: Any,
) -> Resource:
    """A container; ``memory`` and ``cpu`` are limits, and requests unless these are given."""
    limits = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    resources = {"limits": limits, "requests": limits if requests is None else requests} if limits or requests else {}
    return {"name": name, "image": image, "resources": resources, **more}


def template(
    *containers: Resource, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **spec: Any
) -> Resource:
    """A pod template."""
    metadata: Resource = {"labels": labels or {"app": "cart"}}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "metadata": metadata,
        "spec": {"containers": list(containers) or [container()], "restartPolicy": "Always", **spec},
    }


def condition(kind: str, status: str, reason: str, message: str = "", since: datetime = HOUR_AGO) -> Resource:
    """A condition of a workload, a ReplicaSet or a pod."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": stamp(since),
        "lastUpdateTime": stamp(since),
    }


def deployment(
    name: str = "cart",
    *,
    replicas: int = 2,
    ready: int | None = None,
    updated: int | None = None,
    revision: int = 1,
    pod_template: Resource | None = None,
    conditions: Sequence[Resource] = (),
    strategy: Resource | None = None,
    deadline: int = 600,
    generation: int = 1,
    observed: int | None = None,
    **metadata: Any,
) -> Resource:
    """A Deployment; healthy unless ``ready`` or ``updated`` are fewer than ``replicas``."""
    ready = replicas if ready is None else ready
    annotations = {"deployment.kubernetes.io/revision": str(revision)} | metadata.pop("annotations", {})
    body = copy.deepcopy(pod_template or template(labels={"app": name}))
    status = {
        "observedGeneration": generation if observed is None else observed,
        "replicas": replicas,
        "updatedReplicas": replicas if updated is None else updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": replicas - ready,
        "conditions": list(conditions)
        or [
            condition("Available", "True" if ready else "False", "MinimumReplicasAvailable"),
            condition("Progressing", "True", "NewReplicaSetAvailable"),
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta("Deployment", name, annotations=annotations, **metadata) | {"generation": generation},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": deadline,
            "selector": {"matchLabels": {"app": name}},
            "strategy": strategy
            or {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "template": body,
        },
        "status": {key: value for key, value in status.items() if value != 0},
    }


def replica_set(
    owner: Resource,
    revision: int = 1,
    *,
    replicas: int = 0,
    ready: int = 0,
    pod_template: Resource | None = None,
    conditions: Sequence[Resource] = (),
    created: datetime = HOUR_AGO,
    annotations: dict[str, str] | None = None,
) -> Resource:
    """A ReplicaSet of a Deployment, with the pod-template-hash ``h<revision>``."""
    name, label = f"{owner['metadata']['name']}-h{revision}", f"h{revision}"
    body = copy.deepcopy(pod_template or owner["spec"]["template"])
    body["metadata"]["labels"] = body["metadata"]["labels"] | {"pod-template-hash": label}
    notes = {
        "deployment.kubernetes.io/revision": str(revision),
        "deployment.kubernetes.io/desired-replicas": str(owner["spec"]["replicas"]),
    }
    found: Resource = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": meta(
            "ReplicaSet",
            name,
            namespace=owner["metadata"]["namespace"],
            created=created,
            annotations=notes | (annotations or {}),
            labels=body["metadata"]["labels"],
            ownerReferences=[owner_reference(owner)],
        ),
        "spec": {"replicas": replicas, "selector": {"matchLabels": body["metadata"]["labels"]}, "template": body},
        "status": {"replicas": replicas, "observedGeneration": 1, "conditions": list(conditions)},
    }
    if ready:
        found["status"] |= {"readyReplicas": ready, "availableReplicas": ready, "fullyLabeledReplicas": replicas}
    return found


def stateful_set(
    name: str = "store",
    *,
    replicas: int = 2,
    ready: int | None = None,
    updated: int | None = None,
    current_revision: int = 1,
    update_revision: int | None = None,
    pod_template: Resource | None = None,
    **metadata: Any,
) -> Resource:
    """A StatefulSet; a rollout is under way when ``update_revision`` differs from ``current_revision``."""
    ready = replicas if ready is None else ready
    newest = current_revision if update_revision is None else update_revision
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": meta("StatefulSet", name, **metadata),
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "OrderedReady",
            "selector": {"matchLabels": {"app": name}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": copy.deepcopy(pod_template or template(labels={"app": name})),
        },
        "status": {
            "observedGeneration": 1,
            "replicas": replicas,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "updatedReplicas": (replicas if newest == current_revision else 1) if updated is None else updated,
            "currentRevision": f"{name}-r{current_revision}",
            "updateRevision": f"{name}-r{newest}",
        },
    }


def daemon_set(
    name: str = "agent",
    *,
    desired: int = 2,
    ready: int | None = None,
    updated: int | None = None,
    pod_template: Resource | None = None,
    **metadata: Any,
) -> Resource:
    """A DaemonSet on ``desired`` nodes."""
    ready = desired if ready is None else ready
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": meta("DaemonSet", name, **metadata),
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "template": copy.deepcopy(pod_template or template(labels={"app": name})),
        },
        "status": {
            "observedGeneration": 1,
            "desiredNumberScheduled": desired,
            "currentNumberScheduled": desired,
            "updatedNumberScheduled": desired if updated is None else updated,
            "numberReady": ready,
            "numberAvailable": ready,
            "numberUnavailable": desired - ready,
            "numberMisscheduled": 0,
        },
    }


def controller_revision(owner: Resource, revision: int = 1, *, pod_template: Resource | None = None) -> Resource:
    """A ControllerRevision ``<name>-r<revision>`` of a StatefulSet or a DaemonSet."""
    name = f"{owner['metadata']['name']}-r{revision}"
    body = copy.deepcopy(pod_template or owner["spec"]["template"])
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": meta(
            "ControllerRevision",
            name,
            namespace=owner["metadata"]["namespace"],
            labels={"app": owner["metadata"]["name"], "controller-revision-hash": name},
            ownerReferences=[owner_reference(owner)],
        ),
        "revision": revision,
        "data": {"spec": {"template": body | {"$patch": "replace"}}},
    }


def job(
    name: str = "report", *, failed: str = "", message: str = "", since: datetime = HOUR_AGO, **metadata: Any
) -> Resource:
    """A Job; ``failed`` is the reason of its Failed condition (``BackoffLimitExceeded``)."""
    pod_template = template(labels={"job-name": name}, restartPolicy="Never")
    conditions = [condition("Failed", "True", failed, message, since)] if failed else []
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta("Job", name, **metadata),
        "spec": {"backoffLimit": 6, "completions": 1, "parallelism": 1, "template": pod_template},
        "status": {"failed": 7, "conditions": conditions} if failed else {"active": 1, "ready": 1},
    }


def namespace(name: str = NAMESPACE, *, opted_in: bool = True, **labels: str) -> Resource:
    """A Namespace, opted in unless told otherwise."""
    found = {"kubernetes.io/metadata.name": name} | labels | ({OPT_IN_LABEL: "enabled"} if opted_in else {})
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "uid": uid_of("Namespace", name), "labels": found},
        "status": {"phase": "Active"},
    }


def workload(
    resource: Resource, pods: Sequence[Resource] = (), revisions: Sequence[Resource] = (), **more: Any
) -> Workload:
    """The bundle of a target; its namespace is opted in unless given."""
    metadata = resource["metadata"]
    ref = TargetRef(
        api_version=resource["apiVersion"],
        kind=resource["kind"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
    )
    more.setdefault("namespace", namespace(metadata["namespace"]))
    return Workload(ref=ref, resource=resource, pods=tuple(pods), revisions=tuple(revisions), **more)
