"""JSON patches (RFC 6902) that can be taken back exactly, and the operations that carry them.

An edit knows its own undo. The undo tests that our values are still there, so that it never overwrites what somebody
wrote after us, and restores the values that we found; what was missing before is removed again. (An annotations map
that did not exist before stays behind empty: the API server does not store empty maps, and to remove the whole map
would take along what others have put there since.)
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from jsonpointer import JsonPointer

from controller.model import PlanRequest, Resource, Workload
from selfheal.errors import Refused
from selfheal.policy import REMEDIATION_ANNOTATION
from selfheal.remediation import Operation

Path = tuple[str | int, ...]
PatchSteps = tuple[dict[str, Any], ...]

MISSING: Final = object()
"""What :func:`look` finds where there is nothing: None is a value."""
MARK: Final[Path] = ("metadata", "annotations", REMEDIATION_ANNOTATION)
"""Where the remediation annotation stands on a workload."""
SHOWN = 120
"""Characters of a value that a diff shows: commands can be whole scripts."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What an edit of one object comes to.

    Attributes:
        patch: Makes it; tests the values that it replaces.
        undo: Takes it back; tests that our values are still there.
        expected: JSON pointer -> value, as the object reads after the patch.
    """

    patch: PatchSteps
    undo: PatchSteps
    expected: dict[str, Any]


def pointer(path: Path) -> str:
    """The JSON pointer of a path, escaped: ``a/b`` becomes ``a~1b``."""
    return str(JsonPointer.from_parts(list(path)).path)


def look(document: Any, path: Path) -> Any:
    """The value at a path, or :data:`MISSING`."""
    for part in path:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return document


def edit(document: Resource, values: Mapping[Path, Any], unchanged: Iterable[Path] = ()) -> Edit:
    """Set values in an object.

    Args:
        document: As the API server returned it; stays as it is.
        values: What to set where. Missing maps on the way are made.
        unchanged: Paths whose values both the patch and its undo test, such as the name of a container
            that is addressed by its index.

    Returns:
        The edit; values that the object has already are left out.
    """
    after = copy.deepcopy(document)
    guards = [_step("test", path, look(document, path)) for path in unchanged]
    patch, ours, restores = list(guards), list(guards), []
    expected: dict[str, Any] = {}
    for path, value in values.items():
        old = look(after, path)
        expected[pointer(path)] = value
        if _same(old, value):
            continue
        patch += _parents(after, path) if old is MISSING else [_step("test", path, old)]
        patch.append(_step("add" if old is MISSING else "replace", path, value))
        ours.append(_step("test", path, value))
        restores.append(_step("remove", path) if old is MISSING else _step("replace", path, old))
        look(after, path[:-1])[path[-1]] = copy.deepcopy(value)
    return Edit(tuple(patch), (*ours, *restores[::-1]), expected)


def _same(old: Any, value: Any) -> bool:
    """Whether two values are one in JSON, where false is not 0 as it is in Python."""
    return old is not MISSING and json.dumps(old, sort_keys=True) == json.dumps(value, sort_keys=True)


def _parents(after: Resource, path: Path) -> list[dict[str, Any]]:
    """Steps that make the missing maps above a path; the working copy gets them too."""
    steps = []
    for length in range(1, len(path)):
        if look(after, path[:length]) in (MISSING, None):
            look(after, path[: length - 1])[path[length - 1]] = {}
            steps.append(_step("add", path[:length], {}))
    return steps


def _step(kind: str, path: Path, value: Any = MISSING) -> dict[str, Any]:
    step = {"op": kind, "path": pointer(path)}
    return step if value is MISSING else step | {"value": copy.deepcopy(value)}


def edit_workload(request: PlanRequest, values: Mapping[Path, Any], unchanged: Iterable[Path] = ()) -> Edit:
    """Set values in the target and leave the remediation annotation on it, in one patch."""
    return edit(request.workload.resource, {**values, MARK: request.mark}, unchanged)


def patch_of(workload: Workload, made: Edit) -> Operation:
    """The write of an edit to a workload; nobody else may have written in between."""
    return _on_workload(workload, made.patch, str(workload.resource["metadata"].get("resourceVersion", "")))


def undo_of(workload: Workload, made: Edit) -> Operation:
    """The write that takes an edit of a workload back, whenever that will be."""
    return _on_workload(workload, made.undo, "")


def _on_workload(workload: Workload, patch: PatchSteps, resource_version: str) -> Operation:
    return Operation(
        verb="Patch",
        api_version=workload.ref.api_version,
        kind=workload.ref.kind,
        namespace=workload.ref.namespace,
        name=workload.ref.name,
        uid=workload.ref.uid,
        resource_version=resource_version,
        patch=patch,
    )


def shown(value: Any) -> str:
    """A value in a diff: plain where it is plain text, else as ASCII JSON, so that nothing in it can act."""
    if value is MISSING:
        return "(none)"
    plain = isinstance(value, str) and value.isascii() and value.isprintable() and value != ""
    text = value if plain else json.dumps(value, sort_keys=True)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def line(field: str, old: Any, new: Any) -> str:
    """One line of a diff: ``memory limit of app: 48Mi -> 148Mi``."""
    return f"{field}: {shown(old)} -> {shown(new)}"


def refuse_paused(workload: Workload) -> None:
    """Refuse where a template change would wait for somebody to resume the rollout.

    Raises:
        Refused: ``RolloutPaused``.
    """
    if workload.resource.get("spec", {}).get("paused"):
        ref = workload.ref
        raise Refused(
            "RolloutPaused",
            f"the rollout of {ref.workload} is paused, so that a new template would not reach its pods: "
            f"run `kubectl rollout resume -n {ref.namespace} {ref.kind.lower()}/{ref.name}` first",
        )
