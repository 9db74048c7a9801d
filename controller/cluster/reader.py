"""Reads a workload and all that belongs to it; what may not be read or does not exist is empty, with a log line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from controller import argocd
from controller.cluster.client import Api, NotFound
from controller.cluster.paths import WORKLOAD_KINDS, Key, collection, item
from controller.logs import log
from controller.model import Resource, Workload
from controller.owners import owner_of
from selfheal.errors import Forbidden
from selfheal.remediation import TargetRef

_NODES_FOR = 60.0  # seconds for which the list of nodes is used again
_ABSENT_FOR = 300.0  # seconds for which an API that is absent or forbidden is not asked again

ARGOCD_NAMESPACE = "argocd"
"""Where Argo CD is installed by default; OpenShift GitOps takes openshift-gitops."""

_AUTOSCALERS = (
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("keda.sh/v1alpha1", "ScaledObject"),
    ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler"),
)


class Reader:
    """Reads workloads.

    Args:
        api: The API server.
        clock: Seconds; tests put their own in.
        argocd_namespace: Where Argo CD keeps its settings and its Applications.
    """

    def __init__(
        self, api: Api, clock: Callable[[], float] = time.monotonic, argocd_namespace: str = ARGOCD_NAMESPACE
    ) -> None:
        self._api = api
        self._clock = clock
        self._argocd_namespace = argocd_namespace
        self._absent: dict[str, float] = {}
        self._nodes: tuple[float, dict[str, Resource]] = (float("-inf"), {})

    def workload(self, key: Key) -> Workload | None:
        """A workload with its pods, revisions, guards and nodes; None when it does not exist.

        Raises:
            Unavailable: When the API server does not answer.
            Forbidden: When the workload itself may not be read.
        """
        version = WORKLOAD_KINDS.get(key.kind)
        resource = self._api.get(item(version, key.kind, key.namespace, key.name)) if version else None
        if resource is None or version is None:
            return None
        resource = typed(resource, version, key.kind)
        revisions = self._revisions(key, resource)
        pods = self._pods(key, resource, revisions)
        return self._with_application(
            Workload(
                ref=reference(resource),
                resource=resource,
                pods=pods,
                revisions=revisions,
                namespace=self._api.get(item("v1", "Namespace", "", key.namespace)) or {},
                autoscalers=self._autoscalers(key),
                disruption_budgets=self._budgets(key.namespace, pods),
                limit_ranges=self._optional("v1", "LimitRange", key.namespace),
                quotas=self._optional("v1", "ResourceQuota", key.namespace),
                nodes=self._nodes_of(pods),
            )
        )

    def _with_application(self, workload: Workload) -> Workload:
        """With the Application that it names, where that has it: else anybody could name somebody else's."""
        owner = owner_of(workload.resource)
        if owner is None or owner.tool != "Argo CD" or not owner.name:
            return workload
        found = self._one(argocd.API_VERSION, argocd.KIND, owner.namespace or self._argocd_namespace, owner.name)
        if found is None or not argocd.owns(found, workload):
            return workload
        settings = self._one("v1", "ConfigMap", self._argocd_namespace, argocd.SETTINGS)
        return replace(workload, application=found, argocd=settings)

    def _one(self, version: str, kind: str, namespace: str, name: str) -> Resource | None:
        """An object that need not be readable."""
        path = item(version, kind, namespace, name)
        if self._absent.get(path, float("-inf")) > self._clock():
            return None
        try:
            found = self._api.get(path)
        except Forbidden as error:
            self._absent[path] = self._clock() + _ABSENT_FOR
            log("not readable, taken as unknown", level=logging.WARNING, kind=kind, name=name, cause=str(error))
            return None
        return None if found is None else typed(found, version, kind)

    def owner_of(self, pod: Resource) -> Key | None:
        """The workload that a pod belongs to, through its ReplicaSet or its Job; None for one that cannot be healed."""
        meta = pod["metadata"]
        above = controller_of(pod)
        for _ in range(3):
            if above is None or above[0] in ("Deployment", "StatefulSet", "DaemonSet", "CronJob"):
                break
            parent = self._parent(meta["namespace"], *above)
            higher = controller_of(parent) if parent else None
            if higher is None:
                break
            above = higher
        return Key(meta["namespace"], *above) if above and above[0] in WORKLOAD_KINDS else None

    def _parent(self, namespace: str, kind: str, name: str) -> Resource | None:
        version = {"ReplicaSet": "apps/v1", "Job": "batch/v1"}.get(kind)
        return self._api.get(item(version, kind, namespace, name)) if version else None

    def _revisions(self, key: Key, resource: Resource) -> tuple[Resource, ...]:
        kind = {"Deployment": "ReplicaSet", "StatefulSet": "ControllerRevision", "DaemonSet": "ControllerRevision"}
        version = "apps/v1"
        if key.kind == "CronJob":
            return self._owned("batch/v1", "Job", key.namespace, resource)
        if key.kind not in kind:
            return ()
        found = self._owned(version, kind[key.kind], key.namespace, resource, selector_of(resource))
        return tuple(sorted(found, key=revision_number, reverse=True))

    def _pods(self, key: Key, resource: Resource, revisions: Sequence[Resource]) -> tuple[Resource, ...]:
        owners = {resource["metadata"]["uid"], *(revision["metadata"]["uid"] for revision in revisions)}
        selector = "" if key.kind == "CronJob" else selector_of(resource)
        found = self._optional("v1", "Pod", key.namespace, selector)
        return tuple(pod for pod in found if _owner_uid(pod) in owners)

    def _owned(
        self, version: str, kind: str, namespace: str, owner: Resource, selector: str = ""
    ) -> tuple[Resource, ...]:
        uid = owner["metadata"]["uid"]
        return tuple(one for one in self._optional(version, kind, namespace, selector) if _owner_uid(one) == uid)

    def _autoscalers(self, key: Key) -> tuple[Resource, ...]:
        found = (one for version, kind in _AUTOSCALERS for one in self._optional(version, kind, key.namespace))
        return tuple(one for one in found if _points_at(one, key))

    def _budgets(self, namespace: str, pods: Sequence[Resource]) -> tuple[Resource, ...]:
        labels = [pod["metadata"].get("labels") or {} for pod in pods]
        found = self._optional("policy/v1", "PodDisruptionBudget", namespace)
        return tuple(budget for budget in found if any(_selects(budget, one) for one in labels))

    def _nodes_of(self, pods: Iterable[Resource]) -> tuple[Resource, ...]:
        names = {pod.get("spec", {}).get("nodeName") for pod in pods} - {None}
        if not names:
            return ()
        read, nodes = self._nodes
        if self._clock() - read > _NODES_FOR or not names <= nodes.keys():
            nodes = {node["metadata"]["name"]: node for node in self._optional("v1", "Node", "")}
            self._nodes = (self._clock(), nodes)
        return tuple(nodes[name] for name in sorted(names & nodes.keys()))

    def _optional(self, version: str, kind: str, namespace: str, selector: str = "") -> tuple[Resource, ...]:
        path = collection(version, kind, namespace)
        if self._absent.get(path, float("-inf")) > self._clock():
            return ()
        try:
            found = self._api.list(path, **({"labelSelector": selector} if selector else {}))
        except (NotFound, Forbidden) as error:
            self._absent[path] = self._clock() + _ABSENT_FOR
            level = logging.WARNING if isinstance(error, Forbidden) else logging.DEBUG
            log("not readable, taken as empty", level=level, kind=kind, namespace=namespace, cause=str(error))
            return ()
        return tuple(typed(one, version, kind) for one in found)


def typed(resource: Resource, version: str, kind: str) -> Resource:
    """With ``apiVersion`` and ``kind``, which items of a list lack."""
    return {"apiVersion": version, "kind": kind} | resource


def reference(resource: Resource) -> TargetRef:
    """The identity of an object."""
    meta = resource["metadata"]
    return TargetRef(
        api_version=resource["apiVersion"],
        kind=resource["kind"],
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
    )


def controller_of(resource: Resource) -> tuple[str, str] | None:
    """Kind and name of the owner that controls an object."""
    owner = _controlling(resource)
    return (owner["kind"], owner["name"]) if owner else None


def _owner_uid(resource: Resource) -> str:
    owner = _controlling(resource)
    return str(owner["uid"]) if owner else ""


def _controlling(resource: Resource) -> Mapping[str, str] | None:
    owners = resource["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def revision_number(revision: Resource) -> int:
    """Of a ReplicaSet (annotation) or a ControllerRevision (field); 0 when it has none."""
    if "revision" in revision:
        return int(revision["revision"])
    annotations = revision["metadata"].get("annotations") or {}
    text = annotations.get("deployment.kubernetes.io/revision", "0")
    return int(text) if text.isdigit() else 0


def selector_of(resource: Resource) -> str:
    """``spec.selector`` in the form of a query parameter."""
    selector = resource.get("spec", {}).get("selector") or {}
    exact = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    return ",".join(exact + [_expression(one) for one in selector.get("matchExpressions") or []])


def _expression(one: Resource) -> str:
    key, values = str(one["key"]), ",".join(one.get("values") or [])
    operators = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
    return operators.get(one["operator"], f"!{key}")


def _selects(budget: Resource, labels: Mapping[str, str]) -> bool:
    selector = budget.get("spec", {}).get("selector")
    if selector is None:
        return False  # policy/v1: a null selector selects nothing, an empty one everything
    exact = (selector.get("matchLabels") or {}).items()
    return all(labels.get(k) == v for k, v in exact) and all(
        _holds(one, labels) for one in selector.get("matchExpressions") or []
    )


def _holds(one: Resource, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(one["key"]), one.get("values") or []
    match one["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None


def _points_at(autoscaler: Resource, key: Key) -> bool:
    spec = autoscaler.get("spec", {})
    target = spec.get("scaleTargetRef") or spec.get("targetRef") or {}
    return target.get("kind", "Deployment") == key.kind and target.get("name") == key.name
