"""Builders of pods and container statuses as the kubelet writes them; see objects.py for the rest."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from controller.model import Resource
from tests.unit.controller.objects import HOUR_AGO, NOW, condition, meta, owner_reference, stamp

CAUSE_OF_BACK_OFF = "back-off 5m0s restarting failed container=app pod=cart-1_shop(1)"


def status(
    name: str = "app",
    *,
    state: Resource,
    last: Resource | None = None,
    ready: bool = False,
    started: bool = False,
    restarts: int = 0,
    image: str = "registry.local/shop:1",
    **more: Any,
) -> Resource:
    """A containerStatus."""
    return {
        "name": name,
        "image": image,
        "imageID": "",
        "ready": ready,
        "started": started,
        "restartCount": restarts,
        "state": state,
        "lastState": last or {},
        **more,
    }


def terminated(exit_code: int, reason: str = "", *, at: datetime = NOW, message: str = "") -> Resource:
    """A terminated state; the reason is Error or Completed unless given."""
    found = {
        "exitCode": exit_code,
        "reason": reason or ("Error" if exit_code else "Completed"),
        "startedAt": stamp(at - timedelta(seconds=2)),
        "finishedAt": stamp(at),
    }
    return {"terminated": found | ({"message": message} if message else {})}


def running(
    name: str = "app",
    *,
    ready: bool = True,
    restarts: int = 0,
    started: datetime = HOUR_AGO,
    last: Resource | None = None,
    startup_done: bool = True,
) -> Resource:
    """A container that runs."""
    state = {"running": {"startedAt": stamp(started)}}
    return status(name, state=state, last=last, ready=ready, started=startup_done, restarts=restarts)


def waiting(name: str = "app", *, reason: str, message: str = "", **more: Any) -> Resource:
    """A container that waits for a reason."""
    return status(name, state={"waiting": {"reason": reason, "message": message}}, **more)


def crashlooping(name: str = "app", *, exit_code: int = 1, restarts: int = 4, at: datetime = NOW) -> Resource:
    """A container that keeps dying; its last death was at ``at``."""
    last = terminated(exit_code, at=at)
    return waiting(name, reason="CrashLoopBackOff", message=CAUSE_OF_BACK_OFF, last=last, restarts=restarts)


def oom(name: str = "app", *, restarts: int = 2, at: datetime = NOW, back_off: bool = True) -> Resource:
    """A container that was killed for its memory: in back-off, or started again and not yet ready."""
    last = terminated(137, "OOMKilled", at=at)
    if back_off:
        return waiting(name, reason="CrashLoopBackOff", message=CAUSE_OF_BACK_OFF, last=last, restarts=restarts)
    return running(name, ready=False, restarts=restarts, started=at + timedelta(seconds=1), last=last)


def imagepull(
    name: str = "app", *, reason: str = "ImagePullBackOff", image: str = "registry.local/shop:no"
) -> Resource:
    """A container whose image cannot be had."""
    message = f'Back-off pulling image "{image}": ErrImagePull: not found'
    return waiting(name, reason=reason, message=message, image=image)


def pod(
    owner: Resource,
    index: int = 1,
    *,
    statuses: Sequence[Resource] | None = None,
    init_statuses: Sequence[Resource] = (),
    phase: str = "Running",
    created: datetime = HOUR_AGO,
    deleted: datetime | None = None,
    unschedulable: str = "",
    node: str = "node-1",
    conditions: Sequence[Resource] = (),
    **metadata: Any,
) -> Resource:
    """A pod of a ReplicaSet, StatefulSet, DaemonSet or Job; ready exactly when all its containers are.

    Args:
        owner: Its direct owner (for a Deployment: the ReplicaSet).
        index: Makes the name.
        statuses: Of its containers; one that runs by default.
        init_statuses: Of its init containers.
        phase: As in ``status.phase``.
        created: When it came to be.
        deleted: Its deletionTimestamp.
        unschedulable: The scheduler's message; the pod then has no node and no statuses.
        node: Where it runs.
        conditions: More conditions than the four usual ones.
        metadata: More of ObjectMeta, e.g. annotations.
    """
    body = copy.deepcopy(owner["spec"]["template"])
    labels = body["metadata"]["labels"] | _revision_labels(owner)
    if deleted is not None:
        metadata |= {"deletionTimestamp": stamp(deleted), "deletionGracePeriodSeconds": 30}
    found: Resource = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta(
            "Pod",
            f"{owner['metadata']['name']}-{index}",
            namespace=owner["metadata"]["namespace"],
            created=created,
            labels=labels,
            ownerReferences=[owner_reference(owner)],
            **metadata,
        ),
        "spec": body["spec"],
    }
    if unschedulable:
        found["status"] = {
            "phase": "Pending",
            "conditions": [condition("PodScheduled", "False", "Unschedulable", unschedulable, created)],
        }
        return found
    found["spec"] = body["spec"] | {"nodeName": node}
    found["status"] = _pod_status([running()] if statuses is None else list(statuses), list(init_statuses), created)
    found["status"]["phase"] = phase
    found["status"]["conditions"] += list(conditions)
    return found


def _pod_status(statuses: list[Resource], init_statuses: list[Resource], created: datetime) -> Resource:
    ready = "True" if statuses and all(one["ready"] for one in statuses) else "False"
    why = "" if ready == "True" else "ContainersNotReady"
    found: Resource = {
        "startTime": stamp(created),
        "podIP": "10.88.0.7",
        "containerStatuses": statuses,
        "conditions": [
            condition("PodScheduled", "True", "", since=created),
            condition("Initialized", "True", "", since=created),
            condition("ContainersReady", ready, why, since=created),
            condition("Ready", ready, why, since=created),
        ],
    }
    if init_statuses:
        found["initContainerStatuses"] = init_statuses
    return found


def _revision_labels(owner: Resource) -> dict[str, str]:
    if owner["kind"] == "StatefulSet":
        return {"controller-revision-hash": owner["status"]["updateRevision"]}
    if owner["kind"] == "DaemonSet":
        return {"controller-revision-hash": f"{owner['metadata']['name']}-r1"}
    return {}
