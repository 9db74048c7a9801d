"""Pods: which are ready, which are the worst, and which may be evicted. Pure; the rules are the Eviction API's own."""

from __future__ import annotations

from collections.abc import Iterable

from controller.model import Resource, Workload
from selfheal.errors import Refused
from selfheal.remediation import Operation

REVISION_LABEL = "controller-revision-hash"
_UNCHECKED = frozenset({"Pending", "Succeeded", "Failed"})
"""Phases in which the Eviction API asks no PodDisruptionBudget."""


def is_ready(pod: Resource) -> bool:
    """Whether the pod's Ready condition is true."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(found.get("type") == "Ready" and found.get("status") == "True" for found in conditions)


def is_live(pod: Resource) -> bool:
    """Whether the pod is neither on its way out nor finished."""
    return not pod["metadata"].get("deletionTimestamp") and phase(pod) not in ("Succeeded", "Failed")


def phase(pod: Resource) -> str:
    """``status.phase``, or the empty text."""
    return str(pod.get("status", {}).get("phase", ""))


def restarts(pod: Resource) -> int:
    """Restarts of all containers together."""
    return sum(found.get("restartCount", 0) for found in pod.get("status", {}).get("containerStatuses") or ())


def name_of(resource: Resource) -> str:
    """``metadata.name``."""
    return str(resource["metadata"]["name"])


def evict(pod: Resource) -> Operation:
    """The eviction of exactly this pod: another one of the same name (StatefulSet) is not touched."""
    metadata = pod["metadata"]
    return Operation(
        verb="Evict",
        api_version="v1",
        kind="Pod",
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
    )


def check_budgets(pod: Resource, budgets: Iterable[Resource]) -> None:
    """Refuse what the Eviction API would refuse.

    Args:
        pod: To be evicted.
        budgets: The PodDisruptionBudgets that select it.

    Raises:
        Refused: ``DisruptionBudget``.
    """
    found = list(budgets)
    if phase(pod) in _UNCHECKED or not found:
        return
    if len(found) > 1:
        names = ", ".join(sorted(map(name_of, found)))
        raise Refused(
            "DisruptionBudget",
            f"pod {name_of(pod)} is selected by several PodDisruptionBudgets ({names}), and Kubernetes then evicts "
            "nothing: leave one",
        )
    if not _allows(found[0], pod):
        status = found[0].get("status", {})
        healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        raise Refused(
            "DisruptionBudget",
            f"PodDisruptionBudget {name_of(found[0])} allows no eviction of pod {name_of(pod)} now ({healthy} healthy, "
            f"{desired} wanted): {_advice(pod)}",
        )


def _allows(budget: Resource, pod: Resource) -> bool:
    status = budget.get("status", {})
    if not is_ready(pod):
        if budget.get("spec", {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
            return True
        desired = status.get("desiredHealthy", 0)
        if desired > 0 and status.get("currentHealthy", 0) >= desired:
            return True
    return bool(status.get("disruptionsAllowed", 0) > 0)


def _advice(pod: Resource) -> str:
    if is_ready(pod):
        return "wait until more pods are ready"
    return "with `unhealthyPodEvictionPolicy: AlwaysAllow` pods that are not ready could be evicted"


def waits_for_pods(workload: Workload) -> bool:
    """Whether the controller replaces no pod before all are ready, or replaces none by itself.

    A StatefulSet in order waits for a broken pod for ever, even when its template is right again (Kubernetes calls
    the way out a forced rollback); ``OnDelete`` leaves all pods to people.
    """
    spec = workload.resource.get("spec", {})
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return True
    return workload.ref.kind == "StatefulSet" and spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"


def broken_pods(workload: Workload, but_of: frozenset[str] = frozenset()) -> tuple[Resource, ...]:
    """Live pods that are not ready and would keep a rollout waiting; none where the controller replaces them itself.

    Args:
        workload: The target.
        but_of: Values of the revision label whose pods may stay.

    Raises:
        Refused: ``DisruptionBudget``, where one of them may not be evicted.
    """
    if not waits_for_pods(workload):
        return ()
    found = [pod for pod in workload.pods if is_live(pod) and not is_ready(pod)]
    found = [pod for pod in found if (pod["metadata"].get("labels") or {}).get(REVISION_LABEL) not in but_of]
    for pod in found:
        check_budgets(pod, workload.disruption_budgets)
    return tuple(sorted(found, key=name_of))
