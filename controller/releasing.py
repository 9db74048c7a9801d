"""What takes an attempt back as things are now: where somebody has changed what we wrote, theirs stays. Pure.

A change that was taken back by somebody is theirs again: of what we wrote only annotations of our own that nobody has
touched are removed, and our entry in ``managedFields``, so that our name stands on no field any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controller.applied import holds, is_in_effect, object_of
from controller.model import Progress, Resource, Workload
from controller.resizing import REVERTED
from selfheal.policy import FIELD_MANAGER, GROUP
from selfheal.remediation import Operation, undo_of
from selfheal.takingback import overwrites

_OURS = f"/metadata/annotations/{GROUP}~1"
_MANAGED = "/metadata/managedFields"


def undo_now(progress: Progress) -> tuple[Operation, ...]:
    """What is still to be written to take the newest attempt back; nothing where all is taken back or let go."""
    attempts, workload = progress.remediation.status.attempts, progress.workload
    if not attempts or workload is None:
        return ()
    operations = undo_of(attempts[-1])
    if attempts[-1].reason != REVERTED:
        return operations
    return tuple(left for one in operations if (left := _left(one, workload)) is not None)


def is_restored(progress: Progress) -> bool:
    """Whether all that the newest attempt touched is as it was, or is somebody else's now."""
    workload = progress.workload
    attempts = progress.remediation.status.attempts
    return bool(attempts) and workload is not None and all(is_in_effect(one, workload) for one in undo_now(progress))


def _left(operation: Operation, workload: Workload) -> Operation | None:
    """What remains to be done of one undo: all of it where our values are still there, else only to let go."""
    live = object_of(operation, workload)
    tests = [step for step in operation.patch if step["op"] == "test"]
    ours = live is None or all(holds(live, step["path"], step.get("value")) for step in tests)
    if live is None or (ours and not overwrites(operation, live)):
        return operation
    letting_go = (*_annotations(operation, live), *(entries_of(live) if operation.verb == "Patch" else ()))
    return operation.model_copy(update={"patch": letting_go, "resource_version": ""}) if letting_go else None


def _annotations(operation: Operation, live: Resource) -> Iterator[dict[str, Any]]:
    """Steps of the undo that are about annotations of ours which are as we wrote them."""
    ours = [step for step in operation.patch if step["path"].startswith(_OURS)]
    kept = {s["path"] for s in ours if s["op"] == "test" and holds(live, s["path"], s.get("value"))}
    return (step for step in ours if step["path"] in kept)


def entries_of(live: Resource, *, of_subresources: bool = False) -> Iterator[dict[str, Any]]:
    """Steps that remove our entries from ``managedFields``, the last first, so that the places of the others stay.

    Args:
        live: The object.
        of_subresources: Whether those go too that were made through a subresource, as replicas are.
    """
    entries = list(enumerate(live["metadata"].get("managedFields") or ()))
    for place, entry in reversed(entries):
        if entry.get("manager") == FIELD_MANAGER and (of_subresources or not entry.get("subresource")):
            yield {"op": "test", "path": f"{_MANAGED}/{place}/manager", "value": FIELD_MANAGER}
            yield {"op": "remove", "path": f"{_MANAGED}/{place}"}
