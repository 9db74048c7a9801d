"""From a workload and all that belongs to it to the facts that Kubernetes reports about it. Pure.

A pod on its way out is no symptom, nor is one of a ReplicaSet that is scaled down, nor one that is young, unless
Kubernetes names a definite reason. ``since`` rests on timestamps that stay where they are while the incident lasts (the
birth of the oldest failing pod, a condition's transition), so that two replicas compute the same incident.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from controller.containers import WAITING_REASONS, Sign, signs
from controller.eviction import is_live
from controller.facts import (
    condition,
    count,
    created,
    last_death,
    moment,
    quoted,
    since,
    spec_replicas,
    state,
    statuses,
)
from controller.idling import may_be_zero_by_mistake, scaled_to_zero
from controller.missing import ROOM_GRACE, failed_jobs, missing_pods, not_created
from controller.model import Resource, Symptom, Workload
from controller.rollouts import Rollout
from controller.stuck import is_held, is_leaving, stuck_rollout, stuck_terminating
from selfheal.policy import AnomalyType

ORDER = (
    AnomalyType.IMAGE_PULL_BACK_OFF,
    AnomalyType.CONFIG_ERROR,
    AnomalyType.OOM_KILLED,
    AnomalyType.POD_PENDING,
    AnomalyType.CRASH_LOOP_BACK_OFF,
    AnomalyType.PROBE_FAILURE,
    AnomalyType.ROLLOUT_STUCK,
    AnomalyType.JOB_FAILED,
    AnomalyType.METRIC_ANOMALY,
)
"""Causes before consequences."""
MOUNT_GRACE = timedelta(seconds=12)
"""How long volumes that the API server holds may take; Kubernetes names a missing one only in an Event."""
DISK_GRACE = timedelta(minutes=1)
"""The same where there are volumes that have to be attached or reached first."""
_FROM_API_SERVER = frozenset({"configMap", "secret", "projected", "downwardAPI", "emptyDir"})

_PENDING_TEXTS = (
    ("UnboundPVC", ("persistentvolumeclaim", "unbound immediate", "volume node affinity")),
    ("InsufficientCpu", ("insufficient cpu",)),
    ("InsufficientMemory", ("insufficient memory",)),
    ("InsufficientResource", ("insufficient ", "too many pods")),
    ("AntiAffinity", ("affinity rules", "topology spread")),
    ("NodeSelector", ("didn't match pod's node affinity/selector", "node selector")),
    ("Taint", ("untolerated taint", "had taint")),
    ("Cordoned", ("were unschedulable",)),
)
_GROWING = frozenset({"LimitTooLow", "NoLimit", "MemoryLimit"})
"""Causes that show only after a while although they came with the rollout: what fills has to fill first."""


def symptoms(workload: Workload, now: datetime) -> tuple[Symptom, ...]:
    """All symptoms of a workload, the most telling first.

    Args:
        workload: With its pods and revisions.
        now: Aware.

    Returns:
        One a type, cause and container; of 50 pods with the same trouble the oldest stands for all.
    """
    rollout = Rollout.of(workload)
    found = [*_of_pods(workload, rollout, now), *not_created(workload, rollout, now), *failed_jobs(workload)]
    found += scaled_to_zero(workload, now)
    found.sort(key=_rank)
    stuck = [*stuck_rollout(workload, rollout, found), *stuck_terminating(workload, now)]
    return tuple(sorted([*found, *stuck], key=_rank))


def _rank(symptom: Symptom) -> tuple[int, bool, datetime, str, str]:
    last = symptom.cause == "StuckTerminating"  # what comes tells more than what does not go
    return ORDER.index(symptom.type), last, symptom.since, symptom.container, symptom.cause


def might_be_sick(resource: Resource) -> bool:
    """Whether one object of a watch event (pod, workload) is worth a closer look; cheap, and never misses a symptom."""
    kind = resource.get("kind", "Pod")
    if is_held(resource):
        return True
    if kind == "Pod":
        return is_live(resource) and (_is_unplaced(resource) or _is_unready(resource) or _has_died(resource))
    if kind == "Job":
        return condition(resource, "Failed").get("status") == "True" or missing_pods(resource, 0) > 0
    return _has_failed(resource) or _lacks_pods(resource) or may_be_zero_by_mistake(resource)


def is_failing(resource: Resource) -> bool:
    """Whether an object shows by itself that it does not work now, and not only that it has yet to become ready; cheap.

    Of a workload that merely lacks ready pods its pods tell: they fail, or they are coming up.
    """
    if resource.get("kind", "Pod") != "Pod":
        return is_held(resource) or _has_failed(resource) or may_be_zero_by_mistake(resource)
    unready = is_live(resource) and _is_unready(resource)
    return is_held(resource) or (unready and (_is_unplaced(resource) or _cannot_run(resource) or _was_ready(resource)))


def _has_failed(resource: Resource) -> bool:
    signs = (("Progressing", "False"), ("ReplicaFailure", "True"), ("Failed", "True"))
    return any(condition(resource, kind).get("status") == status for kind, status in signs)


def _cannot_run(pod: Resource) -> bool:
    return any(
        last_death(status).get("exitCode") or state(status, "waiting").get("reason") in WAITING_REASONS
        for _, status in statuses(pod)
    )


def _was_ready(pod: Resource) -> bool:
    """Whether a pod that is not ready was it before: its condition changed after all its containers had started."""
    starts = [
        moment(state(status, "running").get("startedAt")) for status in pod["status"].get("containerStatuses") or ()
    ]
    turned = moment(condition(pod, "Ready").get("lastTransitionTime"))
    return turned is not None and bool(starts) and all(at is not None and at < turned for at in starts)


def _lacks_pods(resource: Resource) -> bool:
    if resource.get("kind") == "DaemonSet":
        return count(resource, "numberReady") < count(resource, "desiredNumberScheduled")
    if resource.get("kind") == "CronJob":
        return False  # its Jobs say it
    return count(resource, "readyReplicas") < spec_replicas(resource)


def _is_unplaced(pod: Resource) -> bool:
    return condition(pod, "PodScheduled").get("status") == "False"


def _is_unready(pod: Resource) -> bool:
    return condition(pod, "Ready").get("status") != "True" and (pod.get("status") or {}).get("phase") != "Succeeded"


def _has_died(pod: Resource) -> bool:
    return any(
        last_death(status) or state(status, "waiting").get("reason") in WAITING_REASONS for _, status in statuses(pod)
    )


# Pods.


def _of_pods(workload: Workload, rollout: Rollout, now: datetime) -> Iterator[Symptom]:
    shrinking = {one["metadata"]["uid"] for one in workload.revisions if _is_shrinking(one)}
    pods = [pod for pod in workload.pods if is_live(pod) and _owner(pod) not in shrinking]
    leaving = any(is_leaving(pod, now) for pod in workload.pods)
    usual = rollout.usual_start(workload.pods)
    found: dict[tuple[AnomalyType, str, str], list[Sign]] = {}
    for pod in pods:
        for sign in _pod_signs(pod, leaving, now, usual):
            found.setdefault((sign.type, sign.cause, sign.container), []).append(sign)
    for alike in found.values():
        yield _symptom(alike, len(pods), rollout, now)


def _owner(pod: Resource) -> str:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(one["uid"]) for one in owners if one.get("controller")), "")


def _is_shrinking(revision: Resource) -> bool:
    """Whether a ReplicaSet takes pods away: they are on their way out, their delete calls may just not be made yet."""
    return revision.get("kind") == "ReplicaSet" and spec_replicas(revision) < count(revision, "replicas")


def _pod_signs(pod: Resource, leaving: bool, now: datetime, usual: timedelta | None) -> Iterator[Sign]:
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        waited = now - since(scheduled, created(pod))
        if scheduled.get("reason") == "Unschedulable" and waited > ROOM_GRACE and not leaving:
            text = quoted(scheduled.get("message"))
            yield Sign(AnomalyType.POD_PENDING, _pending_cause(text), text, pod)
        return
    yield from _unmounted(pod, now)
    for spec, status in statuses(pod):
        yield from signs(pod, spec, status, now, usual)


def _pending_cause(text: str) -> str:
    """The cause that keeps most nodes away, for a message such as ``0/3 nodes are available: 1 node(s) had ...``."""
    lower = text.lower().split("preemption:")[0]
    found = [(_nodes(lower, words), cause) for cause, words in _PENDING_TEXTS if any(word in lower for word in words)]
    if any(cause == "UnboundPVC" for _, cause in found):
        return "UnboundPVC"
    return max(found, key=lambda one: one[0])[1] if found else "Unschedulable"


def _nodes(text: str, words: Sequence[str]) -> int:
    """How many nodes the part of the message that has one of these words speaks of."""
    parts = text.partition(": ")[2].split(", ")
    counts = [part.split()[0] for part in parts if any(word in part for word in words) and part.split()]
    return sum(int(one) for one in counts if one.isdecimal())


def _unmounted(pod: Resource, now: datetime) -> Iterator[Sign]:
    """A pod whose volumes do not come: its sandbox is not made, so no image is being pulled either."""
    sandbox = condition(pod, "PodReadyToStartContainers")
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    wanted = [name for volume in volumes if (name := _source(volume))]
    grace = MOUNT_GRACE if all(not volume.keys().isdisjoint(_FROM_API_SERVER) for volume in volumes) else DISK_GRACE
    if sandbox.get("status") == "False" and wanted and now - since(sandbox, created(pod)) > grace:
        text = f"its volumes do not come; it mounts {', '.join(wanted)}: does each of them exist?"
        yield Sign(AnomalyType.CONFIG_ERROR, "BadMount", text, pod)


def _source(volume: Resource) -> str:
    """The ConfigMap or Secret that a volume cannot do without."""
    for kind, key, field in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
        source = volume.get(key) or {}
        if source.get(field) and not source.get("optional"):
            return f"{kind} {quoted(source[field])}"
    return ""


def _symptom(alike: Sequence[Sign], pods: int, rollout: Rollout, now: datetime) -> Symptom:
    """One symptom for all pods that show the same."""
    oldest = min(alike, key=lambda sign: (_birth(sign.pod), sign.pod["metadata"]["name"]))
    failing = [sign.pod for sign in alike]
    shown = [sign.shown for sign in alike]
    past = [one for one in shown if one is not None]
    name = oldest.pod["metadata"]["name"]
    others = f" ({len(alike)} of {pods} pods)" if pods > 1 else ""
    return Symptom(
        type=oldest.type,
        cause=oldest.cause,
        message=f"pod {name}: {oldest.message}{others}",
        since=_birth(oldest.pod),
        pod=name,
        container=oldest.container,
        by_rollout=rollout.came_with_newest(failing, now, grows=oldest.cause in _GROWING),
        shown=max(past) if len(past) == len(shown) else None,
    )


def _birth(pod: Resource) -> datetime:
    """When an incident of a pod starts, for its name: later times (of deaths, of conditions) move while it lasts."""
    return created(pod)
