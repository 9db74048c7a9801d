"""adjust-resources: a higher memory or CPU limit, in place first, then in the template."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from controller.eviction import is_live, name_of, phase
from controller.leaks import kills, leaked_before
from controller.leave import advice, lender, may_change
from controller.model import PlanRequest, Resource, Workload
from controller.owners import Owner, autoscalers, owner_of
from controller.patching import Edit, Path, edit, edit_workload, line, look, patch_of, undo_of
from controller.quantities import (
    MEBI,
    Ceiling,
    ResourceName,
    absolute,
    is_guaranteed,
    limit_of,
    limit_range_ceilings,
    node_ceilings,
    quota_ceilings,
    render,
    rounded,
)
from selfheal.errors import Refused
from selfheal.policy import Action, AdjustResourcesParameters, AnomalyType, parse_quantity
from selfheal.remediation import Change, Operation, OutOfMemory

LEAST_FACTOR = Decimal("1.2")
LEAST_MORE: dict[ResourceName, Decimal] = {"memory": 100 * MEBI, "cpu": Decimal("0.1")}
"""A raise is at least this much: a few per cent of a small limit would not be felt."""
TEMPLATE: Path = ("spec", "template", "spec")
_OF_METRIC: dict[str, ResourceName] = {
    "pod_memory_usage": "memory",
    "alt_memory_usage": "memory",
    "memory_limit_ratio": "memory",
    "pod_cpu_usage": "cpu",
    "alt_cpu_usage": "cpu",
    "cpu_throttled_ratio": "cpu",
}


@dataclass(frozen=True, slots=True)
class _Raise:
    """What is to grow, where, and how far.

    Attributes:
        resource: Memory or CPU.
        list: ``containers`` or ``initContainers``.
        container: Its name.
        pods: Whose container of that name shows the trouble.
        in_template: Whether the template gets it too.
        new: Bytes or cores.
    """

    resource: ResourceName
    list: str
    container: str
    pods: tuple[Resource, ...]
    in_template: bool
    new: Decimal = Decimal(0)


class AdjustResources:
    """Never down, never over a ceiling; the QoS class stays what it is."""

    name: Action = Action.ADJUST_RESOURCES
    rights: tuple[tuple[str, str, str], ...] = (
        ("", "pods/resize", "patch"),
        ("apps", "deployments", "patch"),
        ("apps", "statefulsets", "patch"),
        ("apps", "daemonsets", "patch"),
    )

    def plan(self, request: PlanRequest) -> Change:
        """Resizes of the pods in trouble, then the same limit in the template.

        Raises:
            Refused: ``NotAdjustable``, ``NothingToAdjust``, ``UnknownContainer``, ``NoLimit``, ``NoPod``,
                ``OwnedByVPA``, ``UnboundedLeak``, ``AtMaximum``, ``OverLimitRange``, ``OverQuota`` or ``OverNode``.
        """
        _refuse_strangers(request.workload)
        owner = owner_of(request.workload.resource)
        wanted = _find(request, in_template=may_change(request.workload))
        killed = _kill(request, wanted)
        old = _limit_now(request.workload, wanted)
        wanted = replace(wanted, new=_new_limit(request, wanted, old))
        return _change(request, wanted, owner).model_copy(update={"out_of_memory": killed})


def _kill(request: PlanRequest, wanted: _Raise) -> OutOfMemory | None:
    """The kill that more memory is to prevent; the longest life of all pods, for others may have been cut short."""
    if wanted.resource != "memory":
        return None
    killed = max(kills(request.workload.pods, wanted.container), key=lambda one: one.seconds, default=None)
    leak = leaked_before((*request.before, *request.earlier), killed)
    if leak:
        raise Refused("UnboundedLeak", f"{leak}: its maker has to mend that")
    return killed


def _refuse_strangers(workload: Workload) -> None:
    if workload.ref.kind not in ("Deployment", "StatefulSet", "DaemonSet"):
        raise Refused(
            "NotAdjustable", f"the pods of a {workload.ref.kind} are made from a template that must not change"
        )
    for found in autoscalers(workload, "VerticalPodAutoscaler"):
        if (found["spec"].get("updatePolicy") or {}).get("updateMode", "Auto") != "Off":
            name = found["metadata"]["name"]
            raise Refused(
                "OwnedByVPA", f"VerticalPodAutoscaler {name} decides about the resources: change its maxAllowed"
            )


def _find(request: PlanRequest, *, in_template: bool) -> _Raise:
    """Which limit is in the way, and which pods feel it."""
    workload = request.workload
    resource = _resource(request)
    running = tuple(pod for pod in workload.pods if is_live(pod) and phase(pod) == "Running")
    spec = look(workload.resource, TEMPLATE)
    name = _container(request, resource, running)
    kind = next((kind for kind in ("containers", "initContainers") if _has(spec, kind, name)), "")
    if not kind:
        raise Refused("UnknownContainer", f"{workload.ref.workload} has no container {name} in its template any more")
    # Init containers are over when the pod runs, and cannot be resized before.
    sick = () if kind == "initContainers" else _sick(request, running, name)
    if not in_template and not sick:
        raise Refused(
            "NoPod",
            f"no pod of {workload.ref.workload} can be resized in place, and its template is not ours to change. "
            f"{advice(workload, Action.ADJUST_RESOURCES)}",
        )
    return _Raise(resource, kind, name, sick, in_template)


def _resource(request: PlanRequest) -> ResourceName:
    kind = request.anomaly_type
    if kind in (AnomalyType.OOM_KILLED, AnomalyType.MEMORY_LEAK):
        return "memory"
    if kind is AnomalyType.CPU_THROTTLING:
        return "cpu"
    if any(_was_oom_killed(status) for pod in request.workload.pods for status in _statuses(pod)):
        return "memory"
    for top in request.prediction.top_metrics if request.prediction else ():
        if top.name in _OF_METRIC:
            return _OF_METRIC[top.name]
    raise Refused(
        "NothingToAdjust", f"nothing says that {kind} comes from a memory or CPU limit: fix it with a rollout"
    )


def _statuses(pod: Resource) -> list[Resource]:
    status = pod.get("status", {})
    return [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]


def _was_oom_killed(status: Resource) -> bool:
    states = (status.get("state") or {}, status.get("lastState") or {})
    return any((state.get("terminated") or {}).get("reason") == "OOMKilled" for state in states)


def _container(request: PlanRequest, resource: ResourceName, running: tuple[Resource, ...]) -> str:
    """The container that the symptom names, else the only one that was killed or that has such a limit."""
    if request.symptom is not None and request.symptom.container:
        return request.symptom.container
    killed = {one["name"] for pod in request.workload.pods for one in _statuses(pod) if _was_oom_killed(one)}
    if resource == "memory" and len(killed) == 1:
        return str(killed.pop())
    specs = [look(request.workload.resource, TEMPLATE), *(pod["spec"] for pod in running)]
    limited = {one["name"] for spec in specs for one in spec["containers"] if limit_of(one, resource) is not None}
    if not limited:
        raise Refused("NoLimit", f"no container of {request.workload.ref.workload} has a {resource} limit to raise")
    if len(limited) > 1:
        names = ", ".join(sorted(limited))
        raise Refused("UnknownContainer", f"cannot tell which of the containers {names} needs more {resource}")
    return str(limited.pop())


def _sick(request: PlanRequest, running: tuple[Resource, ...], name: str) -> tuple[Resource, ...]:
    """The pods that show the trouble; all that run where it cannot be told from a single pod."""
    named = request.symptom.pod if request.symptom else ""
    having = [pod for pod in running if _has(pod["spec"], "containers", name)]
    marked = [
        pod
        for pod in having
        if name_of(pod) == named or any(_was_oom_killed(one) and one["name"] == name for one in _statuses(pod))
    ]
    return tuple(sorted(filter(_can_resize, marked or having), key=name_of))


def _can_resize(pod: Resource) -> bool:
    """Whether the API server would take a resize: not where the node's kubelet reports no resources of what runs."""
    return not any("running" in (one.get("state") or {}) and "resources" not in one for one in _statuses(pod))


def _has(spec: Resource, kind: str, name: str) -> bool:
    return any(one["name"] == name for one in spec.get(kind) or ())


def _own(spec: Resource, wanted: _Raise) -> Resource:
    """The container of that name in a pod's or a template's spec."""
    return next(one for one in spec[wanted.list] if one["name"] == wanted.container)


def _limit_now(workload: Workload, wanted: _Raise) -> Decimal:
    """The largest limit in force: a pod may have been resized before."""
    specs = [look(workload.resource, TEMPLATE), *(pod["spec"] for pod in wanted.pods)]
    limits = [limit for spec in specs if (limit := limit_of(_own(spec, wanted), wanted.resource)) is not None]
    if not limits:
        where = f"container {wanted.container} of {workload.ref.workload}"
        raise Refused("NoLimit", f"{where} has no {wanted.resource} limit to raise")
    return max(limits)


def _new_limit(request: PlanRequest, wanted: _Raise, old: Decimal) -> Decimal:
    """The old limit plus a step that doubles with each raise that was written, cut at the lowest ceiling."""
    parameters = request.parameters.adjust_resources
    least = max(old * max(LEAST_FACTOR, Decimal(parameters.factor)), old + LEAST_MORE[wanted.resource]) - old
    aim = rounded(wanted.resource, old + least * 2 ** len(request.earlier), up=True)
    lowest = min(_ceilings(request.workload, parameters, wanted, old), key=lambda ceiling: ceiling.value)
    new = min(aim, rounded(wanted.resource, lowest.value, up=False))
    if new < old * LEAST_FACTOR:
        at_least = render(wanted.resource, rounded(wanted.resource, old * LEAST_FACTOR, up=True))
        raise Refused(
            lowest.reason,
            f"{wanted.resource} limit of {wanted.container} is {render(wanted.resource, old)} and would need at least "
            f"{at_least}, but {lowest.source}",
        )
    return new


def _ceilings(
    workload: Workload, parameters: AdjustResourcesParameters, wanted: _Raise, old: Decimal
) -> Iterator[Ceiling]:
    name = wanted.resource
    key, text = ("maxMemory", parameters.max_memory) if name == "memory" else ("maxCpu", parameters.max_cpu)
    yield Ceiling(parse_quantity(text), "AtMaximum", f"{key} of the policy is {text}")
    template = look(workload.resource, TEMPLATE)
    specs = [*(pod["spec"] for pod in wanted.pods), *([template] if wanted.in_template else [])]
    follows = any(_request_follows(spec, wanted) for spec in specs)
    for spec in specs:
        own = _own(spec, wanted)
        yield from limit_range_ceilings(
            workload.limit_ranges, spec, own, name, raises_request=_request_follows(spec, wanted)
        )
    bases = {f"limits.{name}": old} | ({f"requests.{name}": old, name: old} if follows else {})
    pods, surge = _pods_to_come(workload) if wanted.in_template else (len(wanted.pods), 0)
    yield from quota_ceilings(workload.quotas, bases, name, pods, surge)
    nodes = frozenset(pod["spec"]["nodeName"] for pod in wanted.pods if "nodeName" in pod["spec"])
    yield from node_ceilings(workload.nodes, nodes, name)


def _pods_to_come(workload: Workload) -> tuple[int, int]:
    """How many pods get the new template, and how many more a rollout starts before old ones go."""
    spec, status = workload.resource["spec"], workload.resource.get("status") or {}
    if workload.ref.kind == "DaemonSet":
        return max(1, int(status.get("desiredNumberScheduled", 1))), 0
    replicas = max(1, int(spec.get("replicas", 1)))
    strategy = spec.get("strategy") or {}
    if workload.ref.kind == "StatefulSet" or strategy.get("type") == "Recreate":
        return replicas, 0
    return replicas, absolute((strategy.get("rollingUpdate") or {}).get("maxSurge", "25%"), replicas)


def _request_follows(spec: Resource, wanted: _Raise) -> bool:
    """Whether the request grows with the limit: written so for Guaranteed pods, by default where none is given."""
    given = (_own(spec, wanted).get("resources") or {}).get("requests") or {}
    return wanted.resource not in given or is_guaranteed(spec)


def _values(spec: Resource, at: Path, wanted: _Raise) -> dict[Path, str]:
    """What to set in one spec: the limit, and the request of a Guaranteed pod, which must stay equal to it."""
    own, text = _own(spec, wanted), render(wanted.resource, wanted.new)
    where: Path = (*at, wanted.list, spec[wanted.list].index(own), "resources")
    values: dict[Path, str] = {(*where, "limits", wanted.resource): text}
    given = (own.get("resources") or {}).get("requests") or {}
    if wanted.resource in given and is_guaranteed(spec):
        values[(*where, "requests", wanted.resource)] = text
    return values


def _change(request: PlanRequest, wanted: _Raise, owner: Owner | None) -> Change:
    workload = request.workload
    resizes = [_resize(pod, wanted) for pod in wanted.pods]
    template = _template(request, wanted) if wanted.in_template else None
    lines = _lines(workload.resource, TEMPLATE, wanted) if template else []
    for pod in wanted.pods:
        lines += [text for text in _lines(pod, ("spec",), wanted) if text not in lines]
    return Change(
        operations=(*(write for write, _ in resizes), *([patch_of(workload, template)] if template else [])),
        diff="\n".join(lines),
        undo=(*([undo_of(workload, template)] if template else []), *(back for _, back in resizes)),
        note=_note(workload, wanted, owner),
        expected=template.expected if template else {},
        lent=tuple(line.partition(": ")[0] for line in lines) if template and lender(workload) else (),
    )


def _resize(pod: Resource, wanted: _Raise) -> tuple[Operation, Operation]:
    """The resize of one pod and what takes it back; a pod that is gone by then needs nothing."""
    made = edit(pod, dict(_values(pod["spec"], ("spec",), wanted)), [_name_path(pod["spec"], ("spec",), wanted)])
    metadata = pod["metadata"]
    write = Operation(
        verb="Resize",
        api_version="v1",
        kind="Pod",
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        patch=made.patch,
    )
    return write, write.model_copy(update={"patch": made.undo})


def _template(request: PlanRequest, wanted: _Raise) -> Edit:
    spec = look(request.workload.resource, TEMPLATE)
    return edit_workload(request, dict(_values(spec, TEMPLATE, wanted)), [_name_path(spec, TEMPLATE, wanted)])


def _name_path(spec: Resource, at: Path, wanted: _Raise) -> Path:
    return (*at, wanted.list, spec[wanted.list].index(_own(spec, wanted)), "name")


def _lines(resource: Resource, at: Path, wanted: _Raise) -> list[str]:
    names = {"limits": "limit", "requests": "request"}
    return [
        line(f"{wanted.resource} {names[str(path[-2])]} of {wanted.container}", look(resource, path), value)
        for path, value in _values(look(resource, at), at, wanted).items()
    ]


def _note(workload: Workload, wanted: _Raise, owner: Owner | None) -> str:
    sentences = []
    if wanted.pods:
        sentences.append(f"In place in {', '.join(map(name_of, wanted.pods))}.")
        if any(_restarts_for(_own(pod["spec"], wanted), wanted.resource) for pod in wanted.pods):
            sentences.append(f"Container {wanted.container} restarts for it (its resizePolicy is RestartContainer).")
    if wanted.in_template:
        sentences.append(
            "Then in the template, so that new pods have it: a rollout by the workload's own strategy follows."
        )
        if who := lender(workload):
            sentences.append(f"Lent by {who}, until Git moves on: put it into the repository.")
    else:
        sentences.append(f"{owner} owns the template: the size lasts as long as the pods, put it into the repository.")
    if owner is not None and not owner.reverts:
        sentences.append(f"The next `helm upgrade` of {owner.name} sets it back: put it into its values.")
    return " ".join(sentences)


def _restarts_for(container: Resource, resource: ResourceName) -> bool:
    policies = container.get("resizePolicy") or ()
    return any(
        one.get("resourceName") == resource and one.get("restartPolicy") == "RestartContainer" for one in policies
    )
