"""Workloads without replicas: whether that is a mistake, and how many there were. Pure.

Zero is a mistake only where evidence says that the workload was not made so, and nobody else explains or wants it: no
autoscaler, no operator, no annotation of a tool that idles workloads. Without evidence of the number nothing is said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from controller.facts import created, moment, spec_replicas
from controller.model import Resource, Symptom, Workload
from controller.owners import autoscalers
from controller.revisions import DESIRED, REVISION
from selfheal.policy import GROUP, OPT_IN_LABEL, AnomalyType

SCALED_TO_ZERO = f"{GROUP}/scaled-to-zero"
"""Annotation on a workload: ``intended`` says that zero replicas are no mistake."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SCALABLE = ("Deployment", "StatefulSet")
SETTLING = timedelta(seconds=5)
"""Who scales down and up again to restart a program is left this time, and who takes the mark off to wake one."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_EXPLAINED = (
    SCALED_TO_ZERO,
    "idling.alpha.openshift.io/",
    "autoscaling.keda.sh/paused",
    "downscaler/",
)
"""Beginnings of annotations that explain zero replicas."""


def may_be_zero_by_mistake(resource: Resource, remembered: int = 0) -> bool:
    """Whether a Deployment or StatefulSet deserves a closer look for its zero replicas; cheap, from it alone.

    Args:
        resource: The workload.
        remembered: Replicas that it had earlier, by a watch or a note; 0 for none.
    """
    if resource.get("kind") not in SCALABLE or spec_replicas(resource) or _is_wanted(resource):
        return False
    annotations = _annotations(resource)
    applied = _applied(annotations)
    if applied is not None:
        return applied > 0
    return bool(remembered) or annotations.get(REVISION, "1") != "1"


def scaled_to_zero(workload: Workload, now: datetime) -> Iterator[Symptom]:
    """The symptom of a workload that somebody scaled to zero by mistake."""
    resource = workload.resource
    if not may_be_zero_by_mistake(resource, workload.remembered or workload.noted) or _has_scaler(workload):
        return
    found = replicas_before(workload)
    if found is None or not _has_settled(workload, now):
        return
    number, source = found
    replicas = "1 replica" if number == 1 else f"{number} replicas"
    yield Symptom(
        type=AnomalyType.METRIC_ANOMALY,
        cause="ScaledToZero",
        message=f"{workload.ref.name} has no replicas, and {source} says {replicas}; nothing says that zero is wanted",
        since=scaled_at(resource),
    )


def rests(workload: Workload, now: datetime) -> bool:
    """Whether time alone changes nothing about a workload without replicas, so that nobody need look again."""
    resource = workload.resource
    idle = resource.get("kind") in SCALABLE and not spec_replicas(resource) and not workload.pods
    leaves = bool(resource["metadata"].get("deletionTimestamp"))
    return idle and not leaves and _has_settled(workload, now)


def replicas_before(workload: Workload) -> tuple[int, str] | None:
    """How many replicas a workload without any had, and who says so; None where nothing does.

    A manifest with zero replicas wants them. Else what was seen last counts more than what was applied once, and that
    more than what older revisions remember: the Deployment controller writes the zero into the current ReplicaSet.
    """
    named = _applied(workload.annotations, default=None)
    if named == 0 or _is_server_side(workload.resource):
        return None
    sources = (
        *_of_revisions(workload.revisions[:1]),
        (workload.remembered, "a watch that saw it before"),
        (workload.noted, "a note from when it was healthy"),
        (named or 0, "the manifest that was applied"),
        *_of_revisions(workload.revisions[1:]),
        (_applied(workload.annotations) or 0, "the manifest that was applied, which leaves the number out,"),
    )
    return next(((number, source) for number, source in sources if number > 0), None)


def _of_revisions(revisions: Iterable[Resource]) -> Iterator[tuple[int, str]]:
    for revision in revisions:
        text = _annotations(revision).get(DESIRED, "")
        yield (int(text) if text.isdecimal() else 0), f"ReplicaSet {revision['metadata']['name']}"


def _applied(annotations: Mapping[str, str], default: int | None = 1) -> int | None:
    """The replicas of the manifest that was applied.

    Args:
        annotations: Of the workload.
        default: For a manifest that leaves them out.

    Returns:
        None where there is no such manifest, or none that can be read: anybody may write annotations.
    """
    try:
        spec = json.loads(annotations[LAST_APPLIED])["spec"]
        found = spec.get("replicas", default)
        return None if found is None else int(found)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _annotations(resource: Resource) -> Mapping[str, str]:
    return resource["metadata"].get("annotations") or {}


def explained(resource: Resource) -> str:
    """The annotation that says that zero replicas are no mistake, with its value; the empty text without one."""
    marks = (f"{name}: {value}" for name, value in _annotations(resource).items() if name.startswith(_EXPLAINED))
    return next(marks, "")


def _is_wanted(resource: Resource) -> bool:
    """Whether something about the object itself says that zero replicas are no mistake."""
    out = _annotations(resource).get(OPT_IN_LABEL) == "disabled"
    leaving = bool(resource["metadata"].get("deletionTimestamp"))
    return leaving or out or bool(explained(resource)) or _is_controlled(resource) or _is_server_side(resource)


def _is_controlled(resource: Resource) -> bool:
    meta = resource["metadata"]
    labels = meta.get("labels") or {}
    managed = any(label == "olm.owner" or label.startswith("olm.owner.") for label in labels)
    return managed or any(one.get("controller") for one in meta.get("ownerReferences") or ())


def _has_scaler(workload: Workload) -> bool:
    return any(autoscalers(workload, kind) for kind in ("HorizontalPodAutoscaler", "ScaledObject"))


def _has_settled(workload: Workload, now: datetime) -> bool:
    """Whether nobody can be in the middle of it: an explanation that goes leaves no time in the object."""
    return now - max(scaled_at(workload.resource), workload.bare_since or _NEVER) >= SETTLING


def scaled_at(resource: Resource) -> datetime:
    """When the number of replicas was written last, as far as managedFields tell; else the object's birth."""
    writes = [moment(entry.get("time")) for entry in _managers_of_replicas(resource)]
    return max((at for at in writes if at is not None), default=created(resource))


def _managers_of_replicas(resource: Resource) -> list[Resource]:
    """Who wrote the number that stands there: entries of managedFields."""
    found = resource["metadata"].get("managedFields") or ()
    return [entry for entry in found if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})]


def _is_server_side(resource: Resource) -> bool:
    """Whether a manifest that was applied server-side names the number as it stands: who scales takes it over."""
    return any(entry.get("operation") == "Apply" for entry in _managers_of_replicas(resource))
