"""A rollback through Argo CD: its Application syncs an older revision, and its automation waits for people. Pure.

All of it is one patch of the Application: ``syncPolicy.automated`` goes, and ``operation`` asks for the sync. Its undo
puts ``automated`` back as it was, whereupon Argo CD goes on to the newest revision of the repository by itself.
"""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any, Final

from controller import argocd
from controller.leave import advice
from controller.model import Finding, PlanRequest, Resource, Workload
from controller.patching import MARK, MISSING, Path, edit, line, look, pointer
from controller.resizing import REVERTED
from selfheal.errors import Refused
from selfheal.policy import FIELD_MANAGER, Action
from selfheal.remediation import Attempt, Change, Operation

SYNCING: Final = "SyncInProgress"
"""Argo CD is at work: it has not synced the older revision yet, or is busy with another sync."""
FAILED: Final = "SyncFailed"
POLICY: Path = ("spec", "syncPolicy")
OPERATION: Path = ("operation",)
_INFO = "remediation"


def sync_back(request: PlanRequest, broke: datetime | None, diff: str) -> Change:
    """The plan: the last sync with other manifests before the workload broke, and no automated sync after it.

    Args:
        request: About a workload whose Application may be changed.
        broke: When its first revision that does not work was created.
        diff: What that changes in the workload, as far as Kubernetes' own history tells.

    Raises:
        Refused: ``NoOlderSync`` or ``SyncInProgress``.
    """
    workload, application = request.workload, request.workload.application
    found = argocd.before(application, broke) if application is not None and broke is not None else None
    if application is None or found is None:
        what = advice(workload, Action.ROLLBACK, broke)
        raise Refused("NoOlderSync", f"the Application's history has no sync from before the trouble began. {what}")
    name = argocd.full_name(application)
    if argocd.is_syncing(application):
        text = f"Application {name} is syncing: wait for it, or run `argocd app terminate-op {name}`"
        raise Refused(SYNCING, text)
    older, automated = found[1], argocd.automated(application)
    made = edit(application, {MARK: request.mark, OPERATION: _operation(request, older)})
    off, on = _automation(application, automated)
    ours = [step for step in made.undo if "/operation" not in step["path"]]
    tests = [step for step in ours if step["op"] == "test"]
    undo = [*tests, *on, *(step for step in ours if step["op"] != "test")]
    lines = [f"revision of Application {name}: {found[0].revision} -> {older.revision}"]
    lines += [line(f"automated sync of Application {name}", automated, MISSING)] if automated is not None else []
    return Change(
        operations=(_patch(application, (*off, *made.patch)),),
        diff="\n".join([*lines, *diff.splitlines()]),
        undo=(_patch(application, tuple(undo)),),
        note=_note(name, older),
        lent=(f"automated sync of Application {name}",) if automated is not None else (),
    )


def _note(name: str, older: argocd.Deployed) -> str:
    return (
        f"Argo CD syncs all of Application {name} to {older.revision} (entry {older.id} of its history), and nothing "
        f"by itself after that: mend the repository, then turn automated sync on again, or run `selfheal undo`."
    )


def _operation(request: PlanRequest, older: argocd.Deployed) -> Resource:
    sync = {"revision": older.revision} | ({"source": older.source} if older.source else {})
    info = [{"name": _INFO, "value": request.mark}]
    return {"initiatedBy": {"username": FIELD_MANAGER}, "info": info, "sync": sync}


def _automation(application: Resource, automated: Resource | None) -> tuple[list[Resource], list[Resource]]:
    """Steps that take the automation away, and that put it back as it was while nobody else has changed it.

    Argo CD removes a ``syncPolicy`` that says nothing, so it is removed at once. That nobody has written another one
    since cannot be tested in a patch: whoever writes the undo has to see that its ``add`` overwrites nothing.
    """
    if automated is None:
        return [], []
    path, policy = pointer(POLICY), copy.deepcopy(look(application, POLICY))
    left = {key: value for key, value in policy.items() if key != "automated" and value}
    before = {"op": "test", "path": path, "value": policy}
    if not left:
        return [before, {"op": "remove", "path": path}], [{"op": "add", "path": path, "value": policy}]
    between = {"op": "test", "path": path, "value": left}
    off = {"op": "replace", "path": path, "value": left}
    return [before, off], [between, off | {"value": policy}]


def _patch(application: Resource, patch: tuple[dict[str, Any], ...]) -> Operation:
    metadata = application["metadata"]
    return Operation(
        verb="Patch",
        api_version=argocd.API_VERSION,
        kind=argocd.KIND,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        patch=patch,
    )


def is_sync(attempt: Attempt) -> bool:
    """Whether an attempt went through an Application."""
    return any(one.kind == argocd.KIND for one in attempt.change.operations)


def synced(workload: Workload, attempt: Attempt) -> tuple[Finding, str] | None:
    """Where the sync of an attempt stands.

    Returns:
        A finding, and the reason where it does not hold (``SyncInProgress``, ``SyncFailed`` or ``RevertedByOwner``);
        None for an attempt that asked for no sync.
    """
    if not is_sync(attempt):
        return None
    application = workload.application
    if application is None:
        return Finding("SpecKept", None, "the Application cannot be read any more"), ""
    name, mark = argocd.full_name(application), _mark(attempt)
    if attempt.change.lent and argocd.automated(application) is not None:
        return Finding("SpecKept", False, f"somebody has turned automated sync of {name} on again"), REVERTED
    state = (application.get("status") or {}).get("operationState") or {}
    asked = look(application, OPERATION)
    if _marks(asked) == mark or (_marks(state.get("operation")) == mark and state.get("phase") not in argocd.ENDED):
        return Finding("SpecKept", False, f"Argo CD syncs Application {name}"), SYNCING
    if _marks(state.get("operation")) != mark:
        return Finding("SpecKept", False, f"somebody has asked for another sync of Application {name}"), REVERTED
    done = f"the sync of Application {name} has ended: {state.get('phase')}"
    if state.get("phase") != "Succeeded":
        return Finding("SpecKept", False, f"{done}: {state.get('message', '')}"), FAILED
    return Finding("SpecKept", True, done), ""


def _mark(attempt: Attempt) -> str:
    steps = (step for one in attempt.change.operations for step in one.patch if step["path"] == "/operation")
    return next((_marks(step["value"]) for step in steps if step["op"] in ("add", "replace")), "")


def _marks(operation: Any) -> str:
    """Which remediation has asked for a sync; the empty text for one that was asked for by others."""
    info = operation.get("info") if isinstance(operation, dict) else None
    return next((str(one.get("value")) for one in info or () if one.get("name") == _INFO), "")
