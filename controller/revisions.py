"""The history of a workload: its revisions, and what speaks for and against each of them. Pure.

Kubernetes keeps no record of health in old ReplicaSets and ControllerRevisions, so evidence is read off what it does
keep; docs/actions.md explains each kind of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from controller.eviction import REVISION_LABEL, is_live, is_ready
from controller.model import Resource, Workload
from controller.quantities import absolute
from selfheal.policy import GROUP

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
BAD_REVISIONS = f"{GROUP}/bad-revisions"
"""On a workload: names of the ReplicaSets or ControllerRevisions that we rolled back from, comma-separated."""
KEPT_BAD = 10
Evidence = tuple["Health", str, bool] | None
"""What is known, why, and whether pods that are there now say so."""


class Health(IntEnum):
    """What is known of a revision, the best last."""

    BAD = 0
    DOUBTFUL = 1
    UNKNOWN = 2
    COMPLETED = 3
    PROVEN = 4


@dataclass(frozen=True, slots=True)
class Revision:
    """One entry of a workload's history.

    Attributes:
        name: Of the ReplicaSet or ControllerRevision; it stays the same when the revision is used again.
        number: The newest is the largest.
        template: Its pod template, as it stood in the workload.
        health: What is known of it.
        evidence: Why, for people.
        labels: Values of the revision label that its pods carry.
        serves: Whether it is proven by what there is now, not by what was noted earlier.
        recorded: Whether it was noted as healthy while it was.
    """

    name: str
    number: int
    template: Resource
    health: Health = Health.UNKNOWN
    evidence: str = "nothing speaks against it"
    labels: frozenset[str] = frozenset()
    serves: bool = False
    recorded: bool = False


def bare(template: Resource) -> Resource:
    """A pod template without what the controllers and the serializer add to its copies."""
    found = {key: value for key, value in copy.deepcopy(template).items() if key != "$patch"}
    metadata = {key: value for key, value in (found.get("metadata") or {}).items() if value is not None}
    if HASH_LABEL in (metadata.get("labels") or {}):
        metadata["labels"].pop(HASH_LABEL)
    return found | {"metadata": metadata}


def history(workload: Workload) -> tuple[Revision, ...]:
    """All revisions, the newest first, with what is known of each."""
    numbered = sorted(workload.revisions, key=_number, reverse=True)
    return tuple(_judged(workload, revision) for revision in numbered)


def is_current(workload: Workload, revision: Revision) -> bool:
    """Whether a revision is what the workload asks for now."""
    return revision.template == bare(workload.resource["spec"]["template"])


def bad_names(workload: Workload) -> list[str]:
    """The revisions that we rolled back from earlier, the oldest first."""
    return [name for name in workload.annotations.get(BAD_REVISIONS, "").split(",") if name]


def with_bad(workload: Workload, names: Iterable[str]) -> str:
    """The new value of the annotation; the newest :data:`KEPT_BAD` are kept."""
    names = list(names)
    return ",".join([*(name for name in bad_names(workload) if name not in names), *names][-KEPT_BAD:])


def _number(revision: Resource) -> int:
    if "revision" in revision:
        return int(revision["revision"])
    text = (revision["metadata"].get("annotations") or {}).get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def _judged(workload: Workload, revision: Resource) -> Revision:
    name = str(revision["metadata"]["name"])
    template = revision["data"]["spec"]["template"] if "data" in revision else revision["spec"]["template"]
    label = (revision["metadata"].get("labels") or {}).get(REVISION_LABEL, name)
    labels = frozenset({name, label})
    recorded = name in workload.recorded
    judge = _of_replica_set if "data" not in revision else _of_controller_revision
    seen = judge(workload, revision, labels)
    if name in bad_names(workload):
        health, evidence = Health.BAD, "it was rolled back from before"
    elif recorded and not _speaks_louder(seen):
        health, evidence = (
            Health.PROVEN,
            "it was noted as healthy while it ran: all its pods were ready for two minutes",
        )
    else:
        health, evidence = seen[:2] if seen else (Health.UNKNOWN, "nothing speaks against it")
    serves = seen is not None and seen[0] >= Health.COMPLETED
    return Revision(name, _number(revision), bare(template), health, evidence, labels, serves, recorded)


def _speaks_louder(seen: Evidence) -> bool:
    """Whether what is seen counts more than a note: pods of it that are there now, ready or not."""
    return seen is not None and (seen[0] is Health.PROVEN or seen[2])


def _of_replica_set(workload: Workload, revision: Resource, _labels: frozenset[str]) -> Evidence:
    status = revision.get("status") or {}
    ready = max(status.get("availableReplicas", 0), status.get("readyReplicas", 0))
    if ready:
        return Health.PROVEN, f"{ready} of its pods are ready now", True
    if status.get("replicas", 0):
        return Health.BAD, f"none of its {status['replicas']} pods is ready", True
    if _was_never_available(workload, revision):
        return Health.BAD, "the workload was unavailable before it came and all the time since", False
    if _never_grew(workload, revision):
        return Health.DOUBTFUL, "its rollout never went beyond the first step", False
    return None


def _was_never_available(workload: Workload, revision: Resource) -> bool:
    """Whether the Deployment has been unavailable without a break since before the revision was made."""
    created = revision["metadata"].get("creationTimestamp")
    conditions = (workload.resource.get("status") or {}).get("conditions") or ()
    available: Resource = next((one for one in conditions if one.get("type") == "Available"), {})
    since = available.get("lastTransitionTime")
    # Both are RFC 3339 in UTC with whole seconds, as metav1.Time is always written: text sorts like time.
    return bool(created and since and available.get("status") == "False" and since < created)


def _never_grew(workload: Workload, revision: Resource) -> bool:
    """Whether the ReplicaSet's size was set twice at most: to a first step smaller than the whole, and to zero.

    The generation counts changes of its spec; a rollout that went through needs at least one more step up and one
    more down. It is a hint, not proof, and none at all where the strategy takes the whole in one step.
    """
    metadata = revision["metadata"]
    wanted = (metadata.get("annotations") or {}).get(DESIRED, "")
    if not wanted.isdecimal() or metadata.get("generation") != 2:
        return False
    strategy = workload.resource["spec"].get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    steps = (absolute(rolling.get(key, "25%"), int(wanted)) for key in ("maxSurge", "maxUnavailable"))
    return strategy.get("type") != "Recreate" and max(steps) < int(wanted)


def _of_controller_revision(workload: Workload, revision: Resource, labels: frozenset[str]) -> Evidence:
    pods = [pod for pod in workload.pods if (pod["metadata"].get("labels") or {}).get(REVISION_LABEL) in labels]
    ready = sum(is_ready(pod) and is_live(pod) for pod in pods)
    status = workload.resource.get("status") or {}
    completed = status.get("currentRevision")
    if ready:
        return Health.PROVEN, f"{ready} of its pods are ready now", True
    if revision["metadata"]["name"] == completed and completed != status.get("updateRevision"):
        return Health.COMPLETED, "it is the last one whose rollout was completed", False
    if pods:
        return Health.BAD, f"none of its {len(pods)} pods is ready", True
    return None
