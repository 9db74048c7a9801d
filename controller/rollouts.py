"""Where a workload stands in its history: which pods are of the newest revision, and whether trouble came with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.containers import WAITING_REASONS
from controller.eviction import REVISION_LABEL, is_live, is_ready, waits_for_pods
from controller.facts import (
    LONG_AGO,
    condition,
    count,
    created,
    death_before,
    died_at,
    is_observed,
    last_death,
    lifetime,
    moment,
    since,
    spec_replicas,
    state,
    statuses,
)
from controller.model import Resource, Symptom, Workload
from controller.revisions import Health, Revision, history, is_current

SUSPECT_FOR = timedelta(hours=1)
"""Trouble that begins this soon after a rollout is taken as the rollout's."""
WELL = timedelta(minutes=2)
"""Who did well for so long with a revision was not broken by it, unless something had to fill first."""
STEADY, STEADIER = timedelta(seconds=30), 10
"""Who ran for so long once its rollout was complete, and so many times as long as it lives now, lacks something that it
had: a program with a fault of its own dies at the same age each time."""
FEW = 3
SLOWEST = timedelta(minutes=5)
LONGEST_BACK_OFF = timedelta(minutes=6)
"""A container in back-off is started again at least this often: 5 minutes and a little life."""
TOGETHER = timedelta(seconds=10)
"""Pods of one revision that were made so close together are in the same trouble."""
ROLLING_KINDS = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


@dataclass(frozen=True, slots=True)
class Rollout:
    """A workload's revisions.

    Attributes:
        newest: What it asks for now; None while its controller has not made it a revision yet.
        older: The others.
        completed: When the rollout of the newest was completed, where Kubernetes says so.
    """

    newest: Revision | None = None
    older: tuple[Revision, ...] = ()
    completed: datetime | None = None

    @classmethod
    def of(cls, workload: Workload) -> Rollout:
        """Read them; empty for a kind that keeps none."""
        if workload.ref.kind not in ROLLING_KINDS:
            return cls()
        revisions = history(workload)
        newest = next((one for one in revisions if is_current(workload, one)), None)
        older = tuple(one for one in revisions if one is not newest)
        return cls(newest, older, _completed(workload.resource))

    def is_newest(self, pod: Resource) -> bool:
        """Whether a pod is of the newest revision; without revisions every pod counts as such."""
        if self.newest is None:
            return not self.older
        return not self.newest.labels.isdisjoint(_revision_names(pod))

    def came_with_newest(self, failing: Sequence[Resource], now: datetime, *, grows: bool = False) -> bool:
        """Whether the trouble is in the newest revision only, and an older one was healthy as far as can be told.

        Strong evidence: pods of an older revision are ready; then, that the newest itself was noted as healthy. Else
        the failing pods must have failed from their start, or soon after it, and nothing may speak against an older
        revision.

        Args:
            failing: Pods with the trouble.
            now: Aware.
            grows: Whether the trouble is of a kind that has to grow first, so that having lived well says nothing.
        """
        if not self.older or not all(self.is_newest(pod) for pod in failing):
            return False
        if any(one.serves for one in self.older):
            return True
        best = max(one.health for one in self.older)
        if self.newest is not None and self.newest.recorded and not grows:
            return False
        if best is Health.BAD or not all(_soon(pod, now) for pod in failing):
            return False
        return grows or not any(self._lived_well(pod, now) for pod in failing)

    def _lived_well(self, pod: Resource, now: datetime) -> bool:
        """Whether the newest revision did well for a while before this pod failed: what broke it came later."""
        born = created(pod)
        if self.completed is not None and born - self.completed > WELL:
            return True
        return min(trouble_began(pod), now) - born > WELL or self._lacks_something(pod)

    def _lacks_something(self, pod: Resource) -> bool:
        """Whether this pod ran steadily after its rollout was complete, and has died at once ever since.

        With each restart it is less certain when the first one was, so only the first few tell.
        """
        dying = [status for _, status in statuses(pod) if last_death(status).get("exitCode")]
        if self.completed is None or not dying or any(int(one.get("restartCount") or 0) > FEW for one in dying):
            return False
        completed = self.completed
        return all(_ran(status, completed) >= max(STEADY, STEADIER * lifetime(last_death(status))) for status in dying)

    def usual_start(self, pods: Iterable[Resource]) -> timedelta | None:
        """How long ready pods of older revisions took from their start to being ready, the longest; None without any.

        A pod that lost its readiness later seems slower than it was, so at most :data:`SLOWEST` is believed.
        """
        took = [_start_took(pod) for pod in pods if not self.is_newest(pod) and is_ready(pod)]
        known = [one for one in took if one is not None]
        return min(max(known), SLOWEST) if known else None


def _completed(resource: Resource) -> datetime | None:
    """When a Deployment's newest rollout was completed; other kinds do not say."""
    progressing = condition(resource, "Progressing")
    done = progressing.get("reason") == "NewReplicaSetAvailable" and is_observed(resource)
    return moment(progressing.get("lastUpdateTime")) if done else None


def _start_took(pod: Resource) -> timedelta | None:
    started = [moment(state(status, "running").get("startedAt")) for _, status in statuses(pod)]
    ready, known = moment(condition(pod, "Ready").get("lastTransitionTime")), [one for one in started if one]
    return max(ready - max(known), timedelta(0)) if ready and known else None


def trouble_began(pod: Resource) -> datetime:
    """The earliest moment at which the trouble of a pod can have begun, as far as its status tells; else its birth.

    A container that dies again and again does so at the pace of Kubernetes' back-off, so the number of its restarts
    says how long that can have been going on. One that was ready and is not says itself since when.
    """
    found = [status for _, status in statuses(pod)]
    dying = [_first_death(status) for status in found if last_death(status)]
    if dying:
        return max(min(dying), created(pod))
    ready = condition(pod, "Ready")
    started = [at for status in found if (at := moment(state(status, "running").get("startedAt")))]
    if ready.get("status") == "False" and started and len(started) == len(found):
        return max(since(ready, created(pod)), created(pod))
    return created(pod)


def _ran(status: Resource, since: datetime) -> timedelta:
    """How long a container ran before it died first; the kubelet starts it again at once after that."""
    return _first_death(status, at_once=1) - since


def _first_death(status: Resource, at_once: int = 0) -> datetime:
    """The earliest moment of a container's first death, from its last one and the number of its restarts.

    Args:
        status: Of the container.
        at_once: How many of the restarts were not held back.
    """
    death, restarts = last_death(status), int(status.get("restartCount") or 0)
    ended = died_at(status) or LONG_AGO
    life = max(ended - (moment(death.get("startedAt")) or ended), timedelta(0))
    deaths_before = restarts - (1 if not state(status, "terminated") and state(status, "running") else 0)
    waits = sum(min(10.0 * 2**number, 300.0) for number in range(min(max(deaths_before - at_once, 0), 64)))
    return ended - timedelta(seconds=waits) - life * max(deaths_before, 0)


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
        return _updates(resource)
    return count(resource, "updatedNumberScheduled") < count(resource, "desiredNumberScheduled")


def _updates(stateful_set: Resource) -> bool:
    """Whether a StatefulSet is being updated; a partition keeps two revisions for as long as people want."""
    status = stateful_set.get("status") or {}
    rolling = ((stateful_set.get("spec") or {}).get("updateStrategy") or {}).get("rollingUpdate") or {}
    kept = int(rolling.get("partition") or 0)
    done = kept > 0 and count(stateful_set, "updatedReplicas") >= spec_replicas(stateful_set) - kept
    differ = status.get("currentRevision") != status.get("updateRevision")
    return bool(status.get("updateRevision") and differ and not done)


def moves(workload: Workload, known: Sequence[Symptom] = ()) -> bool:
    """Whether a rollout is under way and gets on by itself; one whose new pods all fail stands.

    Args:
        workload: The target.
        known: What is known to be wrong with it.
    """
    if not in_progress(workload):
        return False
    new = newest_pods(workload)
    if not new:
        held = waits_for_pods(workload) and any(_fails(pod) for pod in workload.pods if is_live(pod))
        return not held and not any(one.by_rollout for one in known)
    unready = [pod for pod in new if not is_ready(pod)]
    return not unready or bool(coming(unready, known))


def newest_pods(workload: Workload) -> list[Resource]:
    """Live pods of the newest revision."""
    rollout = Rollout.of(workload)
    return [pod for pod in workload.pods if is_live(pod) and rollout.is_newest(pod)]


def coming(pods: Iterable[Resource], known: Sequence[Symptom] = ()) -> list[Resource]:
    """Those of some pods that are not ready yet, and of which nothing says that they will not be."""
    found = [pod for pod in pods if not is_ready(pod) and not _fails(pod)]
    names = {one.pod for one in known}
    named = [created(pod) for pod in found if pod["metadata"]["name"] in names]
    return [pod for pod in found if not any(abs(created(pod) - one) <= TOGETHER for one in named)]


def _fails(pod: Resource) -> bool:
    """Whether a pod shows a fault; init containers end by design."""
    if condition(pod, "PodScheduled").get("reason") == "Unschedulable":
        return True
    found = [status for _, status in statuses(pod)]
    waits = any(state(status, "waiting").get("reason") in WAITING_REASONS for status in found)
    died = any(map(death_before, found))
    return waits or died or any(state(status, "terminated").get("exitCode") for status in found)
