"""Rollouts that stand, and what does not go although it was told to. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from controller.facts import condition, count, created, is_observed, moment, quoted, since
from controller.model import Resource, Symptom, Workload
from controller.rollouts import Rollout
from selfheal.policy import AnomalyType

OVERDUE = timedelta(seconds=30)
"""Beyond its grace period, which is part of ``deletionTimestamp``, an object may take this long to go."""

_GOING_ON = frozenset({"NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetUpdated"})
"""Reasons of a Deployment's Progressing condition while its rollout is neither completed nor given up."""
_BOOKKEEPING = frozenset({"batch.kubernetes.io/job-tracking", "foregroundDeletion", "orphan"})
"""Finalizers of Kubernetes' own, which it takes off by itself."""
_MAY_PASS = frozenset({"RegistryUnavailable", "QuotaExceeded", "ScaledToZero"})
_LASTING = frozenset({"AntiAffinity", "NodeSelector", "AdmissionDenied"})
"""Causes of pods without a node that no patience helps against; room may still be made."""


def stuck_rollout(workload: Workload, rollout: Rollout, roots: Sequence[Symptom]) -> Iterator[Symptom]:
    """A rollout that does not go on; its cause is that of what holds it up, where that is known.

    Args:
        workload: The target.
        rollout: Its revisions.
        roots: Its other symptoms, the most telling first.
    """
    if workload.ref.kind == "Deployment":
        yield from _stuck_deployment(workload, rollout, roots)
        return
    failing = [root for root in roots if root.pod]
    if workload.ref.kind in ("StatefulSet", "DaemonSet") and failing and _is_updating(workload):
        text = f"its update does not go on: {failing[0].message}"
        yield _stuck(workload, rollout, roots[0], failing[0].since, text, "UpdateFailing")


def _stuck_deployment(workload: Workload, rollout: Rollout, roots: Sequence[Symptom]) -> Iterator[Symptom]:
    """After its deadline, or before it as soon as the new pods have a fault that does not pass."""
    progressing = condition(workload.resource, "Progressing")
    root = roots[0] if roots else None
    if progressing.get("status") == "False" and progressing.get("reason") == "ProgressDeadlineExceeded":
        begun, text = since(progressing, created(workload.resource)), quoted(progressing.get("message"))
        yield _stuck(workload, rollout, root, begun, text, "DeadlineExceeded")
        return
    definite = next((one for one in roots if one.by_rollout and _is_definite(one)), None)
    if definite is not None and progressing.get("reason") in _GOING_ON and is_observed(workload.resource):
        text = f"its rollout does not go on: {definite.message}"
        yield _stuck(workload, rollout, definite, definite.since, text, "UpdateFailing")


def _is_definite(symptom: Symptom) -> bool:
    if symptom.type is AnomalyType.POD_PENDING:
        return symptom.cause in _LASTING
    return symptom.cause not in _MAY_PASS


def _stuck(workload: Workload, rollout: Rollout, root: Symptom | None, begun: datetime, text: str, own: str) -> Symptom:
    return Symptom(
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


# What does not go.


def is_held(resource: Resource) -> bool:
    """Whether an object was told to go, and somebody's finalizer may hold it; cheap, from it alone."""
    meta = resource["metadata"]
    return bool(meta.get("deletionTimestamp")) and not _BOOKKEEPING.issuperset(meta.get("finalizers") or ())


def is_leaving(resource: Resource, now: datetime) -> bool:
    """Whether an object is on its way out and may still get there."""
    return bool(resource["metadata"].get("deletionTimestamp")) and not _is_overdue(resource, now)


def _is_overdue(resource: Resource, now: datetime) -> bool:
    deleted = moment(resource["metadata"].get("deletionTimestamp"))
    return deleted is not None and now - deleted > OVERDUE


def stuck_terminating(workload: Workload, now: datetime) -> Iterator[Symptom]:
    """The workload itself or pods of it that should have gone, and did not. Nobody but their owner may force that."""
    held = workload.resource
    if _is_overdue(held, now) and is_held(held):
        yield _not_gone(held, f"{workload.ref.kind} {workload.ref.name}", "")
    pods = [pod for pod in workload.pods if _is_overdue(pod, now)]
    if pods:
        oldest = min(pods, key=lambda pod: (pod["metadata"]["deletionTimestamp"], pod["metadata"]["name"]))
        name = oldest["metadata"]["name"]
        others = f" (and {len(pods) - 1} more)" if len(pods) > 1 else ""
        yield _not_gone(oldest, f"pod {name}{others}", name)


def _not_gone(resource: Resource, what: str, pod: str) -> Symptom:
    meta = resource["metadata"]
    names = ", ".join(quoted(one) for one in meta.get("finalizers") or ())
    why = f"held by finalizers {names}" if names else "with no finalizer: its node may be gone"
    return Symptom(
        type=AnomalyType.ROLLOUT_STUCK,
        cause="StuckTerminating",
        message=f"{what} should have gone by {quoted(meta['deletionTimestamp'])}, {why}",
        since=moment(meta["deletionTimestamp"]) or created(resource),
        pod=pod,
    )
