"""Workloads without replicas: whether that is a mistake, and how many there were. Pure.

Zero is a mistake only where evidence says that the workload was not made so, and nobody else explains or wants it: no
autoscaler, no operator, no annotation of a tool that idles workloads. Without evidence of the number nothing is said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from controller.facts import created, moment, spec_replicas
from controller.model import Resource, Symptom, Workload
from controller.owners import autoscalers
from controller.revisions import DESIRED, REVISION
from selfheal.policy import GROUP, OPT_IN_LABEL, AnomalyType

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SETTLING = timedelta(seconds=5)
"""Who scales down and up again to restart a program is left this time."""

_EXPLAINED = (
    f"{GROUP}/scaled-to-zero",
    "idling.alpha.openshift.io/",
    "autoscaling.keda.sh/paused",
    "downscaler/",
)
"""Beginnings of annotations that explain zero replicas."""


def may_be_zero_by_mistake(resource: Resource) -> bool:
    """Whether a Deployment or StatefulSet deserves a closer look for its zero replicas; cheap, from it alone."""
    if resource.get("kind") not in ("Deployment", "StatefulSet") or spec_replicas(resource) or _is_wanted(resource):
        return False
    annotations = _annotations(resource)
    applied = _applied(annotations)
    return applied > 0 if applied is not None else annotations.get(REVISION, "1") != "1"


def scaled_to_zero(workload: Workload, now: datetime) -> Iterator[Symptom]:
    """The symptom of a workload that somebody scaled to zero by mistake."""
    resource = workload.resource
    if not may_be_zero_by_mistake(resource) or _has_scaler(workload):
        return
    found = replicas_before(workload)
    since = _scaled_at(resource)
    if found is None or now - since < SETTLING:
        return
    number, source = found
    replicas = "1 replica" if number == 1 else f"{number} replicas"
    yield Symptom(
        type=AnomalyType.METRIC_ANOMALY,
        cause="ScaledToZero",
        message=f"{workload.ref.name} has no replicas, and {source} says {replicas}; nothing says that zero is wanted",
        since=since,
    )


def replicas_before(workload: Workload) -> tuple[int, str] | None:
    """How many replicas a workload without any had, and who says so; None where nothing does.

    What was applied counts more than what older revisions remember: the Deployment controller writes the zero into
    the current ReplicaSet, and a manifest with zero replicas wants them.
    """
    applied = _applied(workload.annotations)
    named = _applied(workload.annotations, default=None)
    if applied is not None and named is not None:
        return (named, "the manifest that was applied") if named > 0 else None
    for revision in workload.revisions:
        text = _annotations(revision).get(DESIRED, "")
        if text.isdecimal() and int(text) > 0:
            return int(text), f"ReplicaSet {revision['metadata']['name']}"
    return (applied, "the manifest that was applied, which leaves the number out,") if applied else None


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


def _is_wanted(resource: Resource) -> bool:
    """Whether something about the object itself says that zero replicas are no mistake."""
    meta, annotations = resource["metadata"], _annotations(resource)
    marked = any(name.startswith(_EXPLAINED) for name in annotations)
    out = annotations.get(OPT_IN_LABEL) == "disabled"
    return bool(meta.get("deletionTimestamp")) or marked or out or _is_controlled(resource)


def _is_controlled(resource: Resource) -> bool:
    meta = resource["metadata"]
    labels = meta.get("labels") or {}
    managed = any(label == "olm.owner" or label.startswith("olm.owner.") for label in labels)
    return managed or any(one.get("controller") for one in meta.get("ownerReferences") or ())


def _has_scaler(workload: Workload) -> bool:
    return any(autoscalers(workload, kind) for kind in ("HorizontalPodAutoscaler", "ScaledObject"))


def _scaled_at(resource: Resource) -> datetime:
    """When the number of replicas was written last, as far as managedFields tell; else the object's birth."""
    writes = [
        moment(entry.get("time"))
        for entry in resource["metadata"].get("managedFields") or ()
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return max((at for at in writes if at is not None), default=created(resource))
