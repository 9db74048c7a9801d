"""Revisions that were healthy and how many replicas they had, noted while they were: when, and how it is written. Pure.

Kubernetes keeps no record of health in old ReplicaSets and ControllerRevisions. What watches tell of workloads and pods
is enough to see that a revision is well, without a call to anybody; see docs/adr/0009-healthy-revisions.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from controller.cluster.paths import Key
from controller.containers import RECENT
from controller.eviction import REVISION_LABEL, is_live, is_ready
from controller.facts import condition, count, died_at, is_observed, moment, spec_replicas, statuses
from controller.idling import SCALABLE, scaled_at
from controller.model import Resource
from controller.rollouts import WELL

KEPT = 10
"""Revisions that are remembered of a workload: as many as a Deployment keeps ReplicaSets, and as searchDepth goes."""
MOST_BYTES = 512 * 1024
"""Of all entries: half of what a ConfigMap may have."""
STEADY = timedelta(minutes=10)
"""A number of replicas is noted anew when it has stayed that long: the swings of an autoscaler cost no writes."""
_LONGEST_KEY = 253
_MOST_REPLICAS = 2**31 - 1
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")


# When a revision is healthy.


@dataclass(frozen=True, slots=True)
class PodSeen:
    """What a watch told about a pod.

    Attributes:
        revision: Name of the ReplicaSet or ControllerRevision that it was made from; empty where that is not known.
        ready: Since when it is ready; None while it is not.
        died: When a container of it ended last.
    """

    revision: str
    ready: datetime | None
    died: datetime | None


@dataclass(frozen=True, slots=True)
class WorkloadSeen:
    """What a watch told about a workload.

    Attributes:
        uid: Of it.
        wanted: Replicas, or nodes of a DaemonSet.
        complete: Whether its controller says that all of them are there, of the newest revision and available.
        scaled: When the number was written last; None for a DaemonSet, which nobody scales.
    """

    uid: str
    wanted: int
    complete: bool
    scaled: datetime | None = None


def pod_seen(key: Key, pod: Resource) -> PodSeen | None:
    """What counts of a pod of a workload; None for one on its way out."""
    if not is_live(pod):
        return None
    deaths = (died_at(status) for _, status in statuses(pod) if not _is_init(pod, status))
    since = moment(condition(pod, "Ready").get("lastTransitionTime")) if is_ready(pod) else None
    return PodSeen(_revision_of(key, pod), since, max((at for at in deaths if at is not None), default=None))


def _is_init(pod: Resource, status: Resource) -> bool:
    return any(one["name"] == status["name"] for one in (pod.get("spec") or {}).get("initContainers") or ())


def _revision_of(key: Key, pod: Resource) -> str:
    metadata = pod["metadata"]
    label = str((metadata.get("labels") or {}).get(REVISION_LABEL, ""))
    if key.kind == "Deployment":
        return next((str(one["name"]) for one in metadata.get("ownerReferences") or () if one.get("controller")), "")
    return f"{key.name}-{label}" if key.kind == "DaemonSet" and label else label


def workload_seen(resource: Resource) -> WorkloadSeen:
    """What counts of a Deployment, StatefulSet or DaemonSet."""
    if resource.get("kind") == "DaemonSet":
        wanted = count(resource, "desiredNumberScheduled")
        counts = [count(resource, name) for name in ("updatedNumberScheduled", "numberAvailable")]
    else:
        wanted = spec_replicas(resource)
        counts = [count(resource, name) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    complete = is_observed(resource) and all(one == wanted for one in counts)
    scaled = scaled_at(resource) if resource.get("kind") in SCALABLE else None
    return WorkloadSeen(resource["metadata"]["uid"], wanted, complete, scaled)


def healthy_revision(workload: WorkloadSeen, pods: Iterable[PodSeen], now: datetime) -> str:
    """The revision that is healthy now: all that is wanted has been ready for long, and nothing died; else empty."""
    found = list(pods)
    names = {one.revision for one in found}
    if not workload.complete or not workload.wanted or contradicts(workload, found):
        return ""
    well = all(one.ready is not None and now - one.ready >= WELL for one in found)
    calm = all(one.died is None or now - one.died > RECENT for one in found)
    return names.pop() if well and calm else ""


def contradicts(workload: WorkloadSeen, pods: Collection[PodSeen]) -> bool:
    """Whether a workload that is complete has other pods than it says: a watch that broke off tells no deletions."""
    return workload.complete and (len(pods) != workload.wanted or len({one.revision for one in pods}) > 1)


# How it is written down.


@dataclass(frozen=True, slots=True)
class Entry:
    """What is noted of a workload.

    Attributes:
        uid: Another workload of the same name has a history of its own.
        revisions: Names of healthy revisions, the newest note first.
        at: When it was written last, in whole seconds since 1970.
        replicas: How many the workload wanted when it was healthy; 0 where that is not known.
    """

    uid: str
    revisions: tuple[str, ...]
    at: int
    replicas: int = 0

    @property
    def text(self) -> str:
        """The value in the ConfigMap."""
        value = {"uid": self.uid, "revisions": list(self.revisions), "at": self.at}
        value |= {"replicas": self.replicas} if self.replicas else {}
        return json.dumps(value, separators=(",", ":"))


def name_of(key: Key) -> str:
    """The key in the ConfigMap; empty for a name that is too long for one."""
    text = f"{key.namespace}.{key.kind}.{key.name}"
    return text if len(text) <= _LONGEST_KEY else ""


def read(data: Mapping[str, Any]) -> dict[str, Entry]:
    """All entries that can be understood; what cannot is somebody else's, and says nothing."""
    found = ((key, _entry(value)) for key, value in data.items())
    return {key: entry for key, entry in found if entry is not None}


def _entry(text: object) -> Entry | None:
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    uid, names, at, replicas = (value.get(name) for name in ("uid", "revisions", "at", "replicas"))
    if not isinstance(uid, str) or not isinstance(names, list) or type(at) is not int:
        return None
    good = [one for one in names if isinstance(one, str) and _NAME.fullmatch(one)]
    number = replicas if type(replicas) is int and 0 < replicas <= _MOST_REPLICAS else 0
    return Entry(uid, tuple(good[:KEPT]), at, number) if good == names else None


def noted(before: Entry | None, seen: WorkloadSeen, revision: str, now: datetime) -> Entry | None:
    """The entry with what is healthy now; None where nothing is new, or only a number that has not stayed yet.

    Args:
        before: As it stands.
        seen: The workload.
        revision: Its healthy revision.
        now: Aware.
    """
    known = before if before is not None and before.uid == seen.uid else Entry(seen.uid, (), 0)
    if not _NAME.fullmatch(revision):
        return None
    rescaled = seen.scaled is not None and seen.wanted != known.replicas and now - seen.scaled >= STEADY
    if known.revisions[:1] == (revision,) and not rescaled:
        return None
    others = tuple(one for one in known.revisions if one != revision)
    replicas = 0 if seen.scaled is None else seen.wanted
    return Entry(seen.uid, (revision, *others)[:KEPT], int(now.timestamp()), replicas)


def beyond(data: Mapping[str, str], most: int = MOST_BYTES) -> list[str]:
    """Our entries that have to go so that the rest fits, the oldest first."""
    size = sum(len(key) + len(value.encode()) for key, value in data.items())
    dropped = []
    for key, _ in sorted(read(data).items(), key=lambda one: (one[1].at, one[0])):
        if size <= most:
            break
        size -= len(key) + len(data[key].encode())
        dropped.append(key)
    return dropped
