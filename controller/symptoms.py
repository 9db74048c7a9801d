"""From a workload and all that belongs to it to the facts that Kubernetes reports about it. Pure.

A pod on its way out is no symptom, nor is one of a ReplicaSet that is scaled down, nor one that is young, unless
Kubernetes names a definite reason. ``since`` rests on timestamps that stay where they are while the incident lasts (the
birth of the oldest failing pod, a condition's transition), so that two replicas compute the same incident.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from controller.containers import WAITING_REASONS, Sign, signs
from controller.eviction import is_live
from controller.facts import condition, count, created, last_death, quoted, since, spec_replicas, state, statuses
from controller.idling import may_be_zero_by_mistake, scaled_to_zero
from controller.model import Resource, Symptom, Workload
from controller.rollouts import Rollout
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
ROOM_GRACE = timedelta(seconds=10)
"""How long a pod may be without a node: the scheduler finds one at once, or says why not."""
MOUNT_GRACE = timedelta(minutes=1)
"""How long volumes may take; Kubernetes names a missing one only in an Event."""

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
_JOB_CAUSES = {
    "BackoffLimitExceeded": "BackoffLimitExceeded",
    "DeadlineExceeded": "JobDeadlineExceeded",
    "PodFailurePolicy": "PodFailurePolicy",
}


def symptoms(workload: Workload, now: datetime) -> tuple[Symptom, ...]:
    """All symptoms of a workload, the most telling first.

    Args:
        workload: With its pods and revisions.
        now: Aware.

    Returns:
        One a type, cause and container; of 50 pods with the same trouble the oldest stands for all.
    """
    rollout = Rollout.of(workload)
    found = [*_of_pods(workload, rollout, now), *_not_created(workload, rollout, now), *_of_jobs(workload)]
    found += scaled_to_zero(workload, now)
    found.sort(key=_rank)
    stuck = _stuck(workload, rollout, found)
    return tuple(sorted([*found, *stuck], key=_rank))


def _rank(symptom: Symptom) -> tuple[int, datetime, str, str]:
    return ORDER.index(symptom.type), symptom.since, symptom.container, symptom.cause


def might_be_sick(resource: Resource) -> bool:
    """Whether one object of a watch event (pod, workload) is worth a closer look; cheap, and never misses a symptom."""
    kind = resource.get("kind", "Pod")
    if kind == "Pod":
        return is_live(resource) and (_is_unplaced(resource) or _is_unready(resource) or _has_died(resource))
    if kind == "Job":
        return condition(resource, "Failed").get("status") == "True"
    failed = condition(resource, "Progressing").get("status") == "False"
    return (
        failed
        or condition(resource, "ReplicaFailure").get("status") == "True"
        or _lacks_pods(resource)
        or may_be_zero_by_mistake(resource)
    )


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
    leaving = any(pod["metadata"].get("deletionTimestamp") for pod in workload.pods)
    found: dict[tuple[AnomalyType, str, str], list[Sign]] = {}
    for pod in pods:
        for sign in _pod_signs(pod, leaving, now):
            found.setdefault((sign.type, sign.cause, sign.container), []).append(sign)
    for alike in found.values():
        yield _symptom(alike, len(pods), rollout, now)


def _owner(pod: Resource) -> str:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(one["uid"]) for one in owners if one.get("controller")), "")


def _is_shrinking(revision: Resource) -> bool:
    """Whether a ReplicaSet takes pods away: they are on their way out, their delete calls may just not be made yet."""
    return revision.get("kind") == "ReplicaSet" and spec_replicas(revision) < count(revision, "replicas")


def _pod_signs(pod: Resource, leaving: bool, now: datetime) -> Iterator[Sign]:
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        waited = now - since(scheduled, created(pod))
        if scheduled.get("reason") == "Unschedulable" and waited > ROOM_GRACE and not leaving:
            text = quoted(scheduled.get("message"))
            yield Sign(AnomalyType.POD_PENDING, _pending_cause(text), text, pod)
        return
    yield from _unmounted(pod, now)
    for spec, status in statuses(pod):
        yield from signs(pod, spec, status, now)


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
    wanted = [name for volume in (pod.get("spec") or {}).get("volumes") or () if (name := _source(volume))]
    if sandbox.get("status") == "False" and wanted and now - since(sandbox, created(pod)) > MOUNT_GRACE:
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
        by_rollout=rollout.came_with_newest(failing, now),
        shown=max(past) if len(past) == len(shown) else None,
    )


def _birth(pod: Resource) -> datetime:
    """When an incident of a pod starts, for its name: later times (of deaths, of conditions) move while it lasts."""
    return created(pod)


# Workloads.


def _not_created(workload: Workload, rollout: Rollout, now: datetime) -> Iterator[Symptom]:
    """Pods that the API server does not let come into being: quota or admission."""
    for owner in (workload.resource, *(one for one in workload.revisions if one.get("kind") == "ReplicaSet")):
        failure = condition(owner, "ReplicaFailure")
        if failure.get("status") != "True" or not spec_replicas(owner):
            continue
        text = quoted(failure.get("message"))
        over = "exceeded quota" in text.lower()
        yield Symptom(
            type=AnomalyType.POD_PENDING,
            cause="QuotaExceeded" if over else "AdmissionDenied",
            message=f"pods of {owner['metadata']['name']} cannot be created: {text}",
            since=since(failure, now),
            by_rollout=bool(rollout.older) and (rollout.newest is None or _is_newest(owner, rollout)),
        )
        return


def _is_newest(owner: Resource, rollout: Rollout) -> bool:
    newest = rollout.newest
    return owner["kind"] != "ReplicaSet" or (newest is not None and owner["metadata"]["name"] == newest.name)


def _of_jobs(workload: Workload) -> Iterator[Symptom]:
    jobs: Iterable[Resource] = ()
    if workload.ref.kind == "Job":
        jobs = (workload.resource,)
    elif workload.ref.kind == "CronJob" and workload.revisions:
        jobs = (max(workload.revisions, key=created),)  # an older failure is over when a newer Job runs
    for job in jobs:
        failed = condition(job, "Failed")
        if failed.get("status") == "True":
            reason = str(failed.get("reason", ""))
            yield Symptom(
                type=AnomalyType.JOB_FAILED,
                cause=_JOB_CAUSES.get(reason, "JobFailed"),
                message=f"Job {job['metadata']['name']} failed: {quoted(reason)}: {quoted(failed.get('message'))}",
                since=since(failed, created(job)),
            )


def _stuck(workload: Workload, rollout: Rollout, roots: Sequence[Symptom]) -> Iterator[Symptom]:
    """A rollout that does not go on; its cause is that of what holds it up, where that is known."""
    progressing = condition(workload.resource, "Progressing")
    if workload.ref.kind == "Deployment":
        if progressing.get("status") != "False" or progressing.get("reason") != "ProgressDeadlineExceeded":
            return
        begun, text = since(progressing, created(workload.resource)), quoted(progressing.get("message"))
        own = "DeadlineExceeded"
    else:
        failing = [root for root in roots if root.pod]
        if workload.ref.kind not in ("StatefulSet", "DaemonSet") or not failing or not _is_updating(workload):
            return
        begun, own = failing[0].since, "UpdateFailing"
        text = f"its update does not go on: {failing[0].message}"
    root = roots[0] if roots else None
    yield Symptom(
        type=AnomalyType.ROLLOUT_STUCK,
        cause=root.cause if root else own,
        message=f"{workload.ref.name}: {text}",
        since=begun,
        pod=root.pod if root else "",
        container=root.container if root else "",
        by_rollout=root.by_rollout if root else bool(rollout.older),
    )


def _is_updating(workload: Workload) -> bool:
    status = workload.resource.get("status") or {}
    if workload.ref.kind == "StatefulSet":
        return bool(status.get("updateRevision") and status.get("updateRevision") != status.get("currentRevision"))
    return count(workload.resource, "updatedNumberScheduled") < count(workload.resource, "desiredNumberScheduled")
