"""Where a workload stands in its history: which pods are of the newest revision, and whether trouble came with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.eviction import REVISION_LABEL
from controller.facts import condition, count, created, is_observed, spec_replicas, statuses
from controller.model import Resource, Workload
from controller.revisions import Health, Revision, history, is_current

SUSPECT_FOR = timedelta(hours=1)
"""Trouble that begins this soon after a rollout is taken as the rollout's."""
LONGEST_BACK_OFF = timedelta(minutes=6)
"""A container in back-off is started again at least this often: 5 minutes and a little life."""
ROLLING_KINDS = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


@dataclass(frozen=True, slots=True)
class Rollout:
    """A workload's revisions.

    Attributes:
        newest: What it asks for now; None while its controller has not made it a revision yet.
        older: The others.
    """

    newest: Revision | None = None
    older: tuple[Revision, ...] = ()

    @classmethod
    def of(cls, workload: Workload) -> Rollout:
        """Read them; empty for a kind that keeps none."""
        if workload.ref.kind not in ROLLING_KINDS:
            return cls()
        revisions = history(workload)
        newest = next((one for one in revisions if is_current(workload, one)), None)
        return cls(newest, tuple(one for one in revisions if one is not newest))

    def is_newest(self, pod: Resource) -> bool:
        """Whether a pod is of the newest revision; without revisions every pod counts as such."""
        if self.newest is None:
            return not self.older
        return not self.newest.labels.isdisjoint(_revision_names(pod))

    def came_with_newest(self, failing: Sequence[Resource], now: datetime) -> bool:
        """Whether the trouble is in the newest revision only, and an older one was healthy as far as can be told.

        Strong evidence: pods of an older revision are ready. Else the failing pods must have failed from their start,
        or soon after it, and nothing may speak against an older revision.
        """
        if not self.older or not all(self.is_newest(pod) for pod in failing):
            return False
        best = max(one.health for one in self.older)
        if best is Health.PROVEN:
            return True
        return best > Health.BAD and all(_soon(pod, now) for pod in failing)


def _revision_names(pod: Resource) -> set[str]:
    """What a pod says about its revision: the ReplicaSet that owns it, or its revision label."""
    metadata = pod["metadata"]
    owners = {one["name"] for one in metadata.get("ownerReferences") or () if one.get("controller")}
    label = (metadata.get("labels") or {}).get(REVISION_LABEL)
    return {label} if label else owners


def _soon(pod: Resource, now: datetime) -> bool:
    """Whether a failing pod is young, or cannot have lived well for long.

    A pod that fails from its start on is started again at the latest every :data:`LONGEST_BACK_OFF`, so few restarts
    in a long life mean that it was well for most of it.
    """
    age = now - created(pod)
    if age <= SUSPECT_FOR:
        return True
    found = [status for _, status in statuses(pod)]
    never_ran = all(not status.get("lastState") and not status.get("restartCount") for status in found)
    if never_ran and not any(status.get("ready") for status in found):
        return True
    restarts = max((int(status.get("restartCount") or 0) for status in found), default=0)
    return restarts * LONGEST_BACK_OFF + SUSPECT_FOR >= age


def in_progress(workload: Workload) -> bool:
    """Whether a rollout is under way and Kubernetes has not called it failed."""
    resource = workload.resource
    if workload.ref.kind not in ROLLING_KINDS:
        return False
    if not is_observed(resource):
        return True
    if workload.ref.kind == "Deployment":
        progressing = condition(resource, "Progressing")
        underway = count(resource, "updatedReplicas") < spec_replicas(resource) or count(resource, "replicas") > count(
            resource, "updatedReplicas"
        )
        return underway and progressing.get("status") != "False"
    if workload.ref.kind == "StatefulSet":
        status = resource.get("status") or {}
        return bool(status.get("updateRevision") and status.get("currentRevision") != status.get("updateRevision"))
    return count(resource, "updatedNumberScheduled") < count(resource, "desiredNumberScheduled")
