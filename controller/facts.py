"""Reads single facts off Kubernetes objects (dictionaries). Pure; knows nothing of symptoms."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from controller.model import Resource

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
QUOTED = 300
"""Characters of a text from the cluster that a message carries."""


def moment(text: object) -> datetime | None:
    """A metav1.Time; None for what is none."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def created(resource: Resource) -> datetime:
    """When an object came to be."""
    return moment(resource["metadata"].get("creationTimestamp")) or LONG_AGO


def condition(resource: Resource, kind: str) -> Resource:
    """A condition of an object; empty when it has none of that type."""
    found = (resource.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one.get("type") == kind), {})


def since(found: Resource, otherwise: datetime) -> datetime:
    """When a condition came to its status."""
    return moment(found.get("lastTransitionTime")) or otherwise


def quoted(text: object) -> str:
    """A text from the cluster as data: one line, printable, cut."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in str(text or "")).split())
    return plain if len(plain) <= QUOTED else plain[: QUOTED - 3] + "..."


def statuses(pod: Resource) -> Iterator[tuple[Resource, Resource]]:
    """Each container that has a status, with its spec: init containers first, as they run."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    for specs, found in (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses")):
        by_name = {one["name"]: one for one in spec.get(specs) or ()}
        for one in status.get(found) or ():
            yield by_name.get(one["name"], {}), one


def state(status: Resource, kind: str) -> Resource:
    """``state.waiting``, ``state.running`` or ``state.terminated``; empty when it is in another."""
    return (status.get("state") or {}).get(kind) or {}


def last_death(status: Resource) -> Resource:
    """How the container ended last: now, or before it was started again."""
    return state(status, "terminated") or death_before(status)


def death_before(status: Resource) -> Resource:
    """How the container ended before it was started last; empty where it was not started again."""
    found: Resource = (status.get("lastState") or {}).get("terminated") or {}
    return found


def lifetime(death: Resource) -> timedelta:
    """How long a container lived before a death; a day, which is long for anything here, where that is not known."""
    started, ended = moment(death.get("startedAt")), moment(death.get("finishedAt"))
    return timedelta(days=1) if started is None or ended is None else max(ended - started, timedelta(0))


def died_at(status: Resource) -> datetime | None:
    """When the container ended last."""
    return moment(last_death(status).get("finishedAt"))


def spec_replicas(resource: Resource) -> int:
    """The replicas asked for."""
    found = (resource.get("spec") or {}).get("replicas")
    return 1 if found is None else int(found)


def count(resource: Resource, field: str) -> int:
    """A number of the status; what is missing is 0, as Kubernetes leaves zeros out."""
    return int((resource.get("status") or {}).get(field) or 0)


def is_observed(resource: Resource) -> bool:
    """Whether the status is about the spec as it is now."""
    return count(resource, "observedGeneration") >= int(resource["metadata"].get("generation") or 0)
