"""Where in-place resizes of pods stand, by what their kubelets write. Pure.

A kubelet takes a while to look at a wish, and until then it says nothing about it. So a resize is done only when the
sizes that the kubelet reports are those that were asked for; its conditions say why they are not yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from controller.eviction import is_live
from controller.facts import condition, quoted
from controller.model import Finding, Resource, Workload
from controller.patching import MISSING, look
from selfheal.policy import parse_quantity
from selfheal.remediation import Attempt, Operation

DEFERRED: Final = "ResizeDeferred"
"""The node is full for now: the kubelet tries again when pods leave."""
IN_PROGRESS: Final = "ResizeInProgress"
INFEASIBLE: Final = "ResizeInfeasible"
"""The node can never give that much."""
FAILED: Final = "ResizeFailed"
REVERTED: Final = "RevertedByOwner"
_WORST_FIRST = (REVERTED, INFEASIBLE, FAILED, DEFERRED, IN_PROGRESS)


def resizes(workload: Workload, attempt: Attempt) -> tuple[Finding, str] | None:
    """Where the resizes of an attempt stand: the worst that is to be said about any pod that is still there.

    Returns:
        A finding that does not hold, and its reason (``RevertedByOwner``, ``ResizeInfeasible``, ``ResizeFailed``,
        ``ResizeDeferred`` or ``ResizeInProgress``); None when all are done.
    """
    return resizes_of(workload, attempt.change.operations)


def resizes_of(workload: Workload, operations: Sequence[Operation]) -> tuple[Finding, str] | None:
    """The same of any resizes, those of an undo too."""
    by_uid = {pod["metadata"]["uid"]: pod for pod in workload.pods if is_live(pod)}
    writes = [one for one in operations if one.verb == "Resize" and one.uid in by_uid]
    states = [state for write in writes if (state := _state(by_uid[write.uid], write)) is not None]
    if not states:
        return None
    reason, text = min(states, key=lambda state: _WORST_FIRST.index(state[0]))
    return Finding("SpecKept", False, text), reason


def _state(pod: Resource, write: Operation) -> tuple[str, str] | None:
    name = pod["metadata"]["name"]
    wishes = list(_wishes(write))
    if any(not _same(look(pod, ("spec", *path)), value) for path, value in wishes):
        return REVERTED, f"somebody has changed the size of pod {name} since"
    pending, going = _current(pod, "PodResizePending"), _current(pod, "PodResizeInProgress")
    why = quoted(pending.get("message")) or "the node has no room"
    if pending.get("reason") == "Infeasible":
        return INFEASIBLE, f"the node can never give pod {name} that much: {why}"
    if going.get("reason") == "Error":
        return FAILED, f"the resize of pod {name} fails: {quoted(going.get('message'))}"
    if pending:
        return DEFERRED, f"the resize of pod {name} waits for room on its node: {why}"
    missing = [f"{path[-1]} {value}" for path, value in wishes if _lacks(pod, path, value)]
    if going or missing:
        return IN_PROGRESS, f"the resize of pod {name} is not done yet: {', '.join(missing) or 'it goes on'}"
    return None


def _current(pod: Resource, kind: str) -> Resource:
    """A condition that holds and is about the pod's newest spec; kubelets before 1.34 do not say about which."""
    found = condition(pod, kind)
    seen = found.get("observedGeneration") or pod["metadata"].get("generation") or 0
    is_new = int(seen) >= int(pod["metadata"].get("generation") or 0)
    return found if found.get("status") == "True" and is_new else {}


def _wishes(write: Operation) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Path below ``spec`` and value of each size that was asked for."""
    for step in write.patch:
        parts = str(step["path"]).strip("/").split("/")
        if step["op"] in ("add", "replace") and len(parts) == 6 and parts[3] == "resources":
            yield (parts[1], int(parts[2]), *parts[3:]), str(step["value"])


def _lacks(pod: Resource, path: tuple[str | int, ...], value: str) -> bool:
    """Whether the kubelet reports another limit; one that reports none is believed by its conditions.

    Requests are given together with limits, and what is reported of them has been through CPU shares and is rounded.
    """
    if path[-2] != "limits":
        return False
    name = look(pod, ("spec", *path[:2], "name"))
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    reported = next((one.get("resources") for one in statuses if one["name"] == name), None)
    return reported is not None and not _same(look(reported, path[3:]), value)


def _same(found: object, value: str) -> bool:
    return found is not MISSING and parse_quantity(str(found)) == parse_quantity(value)
