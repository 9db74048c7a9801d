"""scale: more replicas, or those back that somebody took away by mistake."""

from __future__ import annotations

from controller.idling import explained, replicas_before
from controller.leave import advice, lender
from controller.model import PlanRequest, Resource, Workload
from controller.owners import autoscalers, owner_of
from controller.patching import edit, line, pointer
from controller.quantities import pod_needs, quota_shortage
from selfheal.errors import Refused
from selfheal.policy import Action, ScaleParameters
from selfheal.remediation import Change, Operation

MAX_REPLICAS = ("spec", "maxReplicas")


class Scale:
    """Through the scale subresource; where a HorizontalPodAutoscaler owns the number, by raising its maximum."""

    name: Action = Action.SCALE
    rights: tuple[tuple[str, str, str], ...] = (
        ("apps", "deployments/scale", "patch"),
        ("apps", "statefulsets/scale", "patch"),
        ("autoscaling", "horizontalpodautoscalers", "patch"),
    )

    def plan(self, request: PlanRequest) -> Change:
        """More replicas, at most ``maxReplicas``.

        Raises:
            Refused: ``NotScalable``, ``OwnedByKEDA``, ``OwnedByHPA``, ``ScaledToZeroOnPurpose``, ``ReplicasUnknown``,
                ``AtMaximum`` or ``OverQuota``; ``OwnedByArgoCD`` and ``OwnedByFlux`` of an autoscaler.
        """
        workload, parameters = request.workload, request.parameters.scale
        _refuse_strangers(workload)
        replicas = int(workload.resource["spec"].get("replicas", 1))
        hpas = autoscalers(workload, "HorizontalPodAutoscaler")
        if hpas:
            return _raise_maximum(workload, hpas, replicas, parameters)
        if replicas == 0:
            return _restore(workload, parameters)
        if replicas >= parameters.max_replicas:
            raise Refused("AtMaximum", f"{replicas} replicas are no fewer than maxReplicas ({parameters.max_replicas})")
        return _scale(workload, replicas, min(replicas + parameters.step, parameters.max_replicas), "")


def _refuse_strangers(workload: Workload) -> None:
    """Refuse where replicas are no number that we may set."""
    if workload.ref.kind not in ("Deployment", "StatefulSet"):
        raise Refused(
            "NotScalable", f"a {workload.ref.kind} has no replicas: scale works for Deployment and StatefulSet"
        )
    if autoscalers(workload, "ScaledObject"):
        raise Refused("OwnedByKEDA", "a KEDA ScaledObject decides about the replicas: change its maxReplicaCount")


def _raise_maximum(
    workload: Workload, hpas: tuple[Resource, ...], replicas: int, parameters: ScaleParameters
) -> Change:
    """Give an autoscaler that stands at its maximum more room."""
    hpa = hpas[0]
    name, most = hpa["metadata"]["name"], int(hpa["spec"]["maxReplicas"])
    owner = owner_of(hpa)
    if any(reference.get("kind") == "ScaledObject" for reference in hpa["metadata"].get("ownerReferences") or ()):
        raise Refused(
            "OwnedByKEDA", f"KEDA owns HorizontalPodAutoscaler {name}: change the ScaledObject's maxReplicaCount"
        )
    if owner is not None and owner.reverts:
        raise Refused(owner.reason, f"{owner} would set HorizontalPodAutoscaler {name} back: change its repository")
    if len(hpas) > 1 or replicas == 0 or int(hpa.get("status", {}).get("desiredReplicas", replicas)) < most:
        raise Refused(
            "OwnedByHPA",
            f"HorizontalPodAutoscaler {name} decides about the replicas ({replicas} now, at most {most}): it is not at "
            "its maximum, so that more room would change nothing",
        )
    if most >= parameters.max_replicas:
        raise Refused(
            "AtMaximum",
            f"HorizontalPodAutoscaler {name} may go to {most} replicas, maxReplicas allows {parameters.max_replicas}",
        )
    more = min(most + parameters.step, parameters.max_replicas)
    _refuse_shortage(workload, more - most)
    made = edit(hpa, {MAX_REPLICAS: more})
    write = Operation(
        verb="Patch",
        api_version="autoscaling/v2",
        kind="HorizontalPodAutoscaler",
        namespace=workload.ref.namespace,
        name=name,
        uid=hpa["metadata"]["uid"],
        patch=made.patch,
    )
    return Change(
        operations=(write,),
        diff=line(f"maxReplicas of HorizontalPodAutoscaler {name}", most, more),
        undo=(write.model_copy(update={"patch": made.undo}),),
        note=f"HorizontalPodAutoscaler {name} stood at its maximum and decides by itself how much of the room it uses.",
    )


def _refuse_shortage(workload: Workload, pods: int) -> None:
    shortage = quota_shortage(workload.quotas, pod_needs(workload.resource["spec"]["template"]["spec"], pods))
    if shortage:
        raise Refused("OverQuota", f"{pods} more pods do not fit: {shortage}")


def _restore(workload: Workload, parameters: ScaleParameters) -> Change:
    """Bring a target back that somebody scaled to zero."""
    if mark := explained(workload.resource):
        raise Refused("ScaledToZeroOnPurpose", f"annotation {mark} says that zero replicas are wanted")
    found = replicas_before(workload)
    if found is None:
        raise Refused("ReplicasUnknown", "nothing says how many replicas it had: scale it up by hand")
    before, source = found
    replicas = min(before, parameters.max_replicas)
    note = f"It was scaled to zero; {source} says {before}."
    if replicas < before:
        note += f" maxReplicas allows {replicas} of {before}."
    return _scale(workload, 0, replicas, note)


def _scale(workload: Workload, old: int, new: int, note: str) -> Change:
    _refuse_shortage(workload, new - old)
    path, reference = pointer(("spec", "replicas")), workload.ref
    # The Scale object leaves out replicas where they are zero, so zero cannot be tested; resourceVersion stands in.
    before = [{"op": "test", "path": path, "value": old}] if old else []
    write = Operation(
        verb="Scale",
        api_version=reference.api_version,
        kind=reference.kind,
        namespace=reference.namespace,
        name=reference.name,
        uid=reference.uid,
        resource_version=str(workload.resource["metadata"].get("resourceVersion", "")),
        patch=(*before, {"op": "replace" if old else "add", "path": path, "value": new}),
    )
    restore = {"op": "replace", "path": path, "value": old} if old else {"op": "remove", "path": path}
    back = ({"op": "test", "path": path, "value": new}, restore)
    return Change(
        operations=(write,),
        diff=line("replicas", old, new),
        undo=(write.model_copy(update={"patch": back, "resource_version": ""}),),
        note=f"{note} {_owners(workload)}".strip(),
        expected={path: new},
        lent=("replicas",) if lender(workload) else (),
    )


def _owners(workload: Workload) -> str:
    """What the owner of the number makes of it, for people."""
    owner = owner_of(workload.resource)
    if owner is not None and not owner.reverts:
        return f"The next `helm upgrade` of {owner.name} may set the replicas back."
    who = lender(workload)
    return f"Lent by {who}, until Git moves on." if who else advice(workload, Action.SCALE)
