"""Pods that are never made, and Jobs that failed. Pure.

For a ReplicaSet Kubernetes says in a condition that the API server refuses its pods. For a StatefulSet, a DaemonSet and
a Job it says so in Events alone, which the controller may not read; there the quotas and limit ranges are compared with
what the missing pods need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from controller.eviction import is_live, is_ready
from controller.facts import condition, count, created, quoted, since, spec_replicas
from controller.model import Resource, Symptom, Workload
from controller.quantities import limit_of, pod_needs, quantity, quota_shortage, render, request_of
from controller.rollouts import Rollout
from selfheal.policy import AnomalyType

ROOM_GRACE = timedelta(seconds=10)
"""How long a pod may be missing, or without a node: both are settled at once, or Kubernetes says why not."""

_JOB_CAUSES = {
    "BackoffLimitExceeded": "BackoffLimitExceeded",
    "DeadlineExceeded": "JobDeadlineExceeded",
    "PodFailurePolicy": "PodFailurePolicy",
}


def not_created(workload: Workload, rollout: Rollout, now: datetime) -> Iterator[Symptom]:
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
    yield from _by_arithmetic(workload, rollout, now)


def _is_newest(owner: Resource, rollout: Rollout) -> bool:
    newest = rollout.newest
    return owner["kind"] != "ReplicaSet" or (newest is not None and owner["metadata"]["name"] == newest.name)


def _by_arithmetic(workload: Workload, rollout: Rollout, now: datetime) -> Iterator[Symptom]:
    owner = _newest_job(workload) if workload.ref.kind == "CronJob" else workload.resource
    if owner is None or owner["kind"] not in ("StatefulSet", "DaemonSet", "Job") or _is_busy(workload, owner, now):
        return
    missing = missing_pods(owner, sum(is_live(pod) for pod in workload.pods))
    if missing <= 0:
        return
    spec = owner["spec"]["template"]["spec"]
    shortage = quota_shortage(workload.quotas, pod_needs(spec, 1))
    refused = shortage or next(_refusals(workload.limit_ranges, spec), "")
    if not refused:
        return
    yield Symptom(
        type=AnomalyType.POD_PENDING,
        cause="QuotaExceeded" if shortage else "AdmissionDenied",
        message=f"{missing} pods of {owner['metadata']['name']} are missing and cannot be created: {quoted(refused)}",
        since=created(owner),
        by_rollout=bool(rollout.older) and not shortage,
    )


def _is_busy(workload: Workload, owner: Resource, now: datetime) -> bool:
    """Whether pods may be missing for a while without any harm: they come, go, or wait for those before them."""
    if any(pod["metadata"].get("deletionTimestamp") for pod in workload.pods):
        return True
    live = [pod for pod in workload.pods if is_live(pod)]
    ordered = owner["kind"] == "StatefulSet" and owner["spec"].get("podManagementPolicy") != "Parallel"
    newest = max([created(owner), *map(created, live)])
    return now - newest <= ROOM_GRACE or (ordered and not all(map(is_ready, live)))


def missing_pods(owner: Resource, live: int) -> int:
    """How many pods a StatefulSet, DaemonSet or Job lacks; for one that has ended or is suspended none."""
    if owner["kind"] == "DaemonSet":
        return count(owner, "desiredNumberScheduled") - live
    if owner["kind"] != "Job":
        return spec_replicas(owner) - live
    spec = owner.get("spec") or {}
    ended = any(condition(owner, one).get("status") == "True" for one in ("Complete", "Failed", "SuccessCriteriaMet"))
    if ended or spec.get("suspend"):
        return 0
    parallel = int(spec.get("parallelism", 1))
    left = int(spec.get("completions") or parallel) - count(owner, "succeeded")
    return min(parallel, left) - max(live, count(owner, "active"))


def _refusals(ranges: Iterable[Resource], pod_spec: Resource) -> Iterator[str]:
    """What LimitRanges say against the containers as they are written."""
    for limit_range in ranges:
        who = f"LimitRange {limit_range['metadata']['name']}"
        for item in limit_range["spec"].get("limits") or ():
            if item.get("type") == "Container":
                yield from (f"{who} {text}" for one in pod_spec["containers"] for text in _outside(item, one))


def _outside(item: Resource, container: Resource) -> Iterator[str]:
    name = container["name"]
    for resource in ("memory", "cpu"):
        top, bottom = quantity(item.get("max"), resource), quantity(item.get("min"), resource)
        limit, request = limit_of(container, resource), request_of(container, resource)
        if top is not None and limit is not None and limit > top:
            yield f"allows a container {render(resource, top)} {resource}, {name} has {render(resource, limit)}"
        if bottom is not None and request is not None and request < bottom:
            yield f"asks for {render(resource, bottom)} {resource} at least, {name} has {render(resource, request)}"


def failed_jobs(workload: Workload) -> Iterator[Symptom]:
    """A Job that failed; of a CronJob's the newest: an older failure is over when a newer Job runs."""
    job = workload.resource if workload.ref.kind == "Job" else _newest_job(workload)
    failed = condition(job, "Failed") if job is not None else {}
    if job is None or failed.get("status") != "True":
        return
    reason = str(failed.get("reason", ""))
    yield Symptom(
        type=AnomalyType.JOB_FAILED,
        cause=_JOB_CAUSES.get(reason, "JobFailed"),
        message=f"Job {job['metadata']['name']} failed: {quoted(reason)}: {quoted(failed.get('message'))}",
        since=since(failed, created(job)),
    )


def _newest_job(workload: Workload) -> Resource | None:
    found = workload.revisions if workload.ref.kind == "CronJob" else ()
    return max(found, key=created, default=None)
