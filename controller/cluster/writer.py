"""Writes Operations: server-side dry run, then each in order with its preconditions, under our field manager."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch
import jsonpointer

from controller.cluster.client import Api, NotFound
from controller.cluster.paths import item
from controller.model import Resource
from selfheal.errors import Conflict, Refused
from selfheal.policy import FIELD_MANAGER, REMEDIATION_ANNOTATION, parse_quantity
from selfheal.remediation import Operation

_SUBRESOURCE = {"Patch": "", "Resize": "resize", "Scale": "scale"}
_MANAGED = {"fieldManager": FIELD_MANAGER}
_DRY = {"dryRun": "All"}
_MARK = "/metadata/annotations/" + jsonpointer.escape(REMEDIATION_ANNOTATION)


class Writer:
    """Writes to one API server."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def dry_run(self, operations: Sequence[Operation]) -> str:
        """Let the server check every operation without storing anything.

        Returns:
            What it said, for the record.

        Raises:
            Conflict, Forbidden, Refused, Unavailable: As :meth:`apply`.
        """
        for operation in operations:
            self._write(operation, _DRY)
        return f"the API server accepted {len(operations)} operation(s) in a dry run" if operations else ""

    def apply(self, operations: Sequence[Operation]) -> int:
        """Write operations in order, leaving out those that are done already.

        After a crash, or a failure in the middle, the same call goes on where it ended.

        Returns:
            How many were written now.

        Raises:
            Conflict: An object is gone, is another one, or was changed since the plan.
            Forbidden: Our rights do not reach.
            Refused: Admission, quota, validation or a PodDisruptionBudget says no.
            Unavailable: The API server does not answer.
        """
        written = 0
        for operation in operations:
            if not self.is_done(operation):
                self._write(operation, {})
                written += 1
        return written

    def is_done(self, operation: Operation) -> bool:
        """Whether the server already shows what the operation would bring about."""
        now = self._api.get(_path(operation, _SUBRESOURCE.get(operation.verb, "")))
        if now is None or now["metadata"].get("uid") != operation.uid:
            # A pod that is gone needs no eviction; nor a resize, nor the undo of one: a rollout has replaced it.
            return operation.verb in ("Evict", "Resize")
        if operation.verb == "Evict":
            return "deletionTimestamp" in now["metadata"]
        return _shows(now, operation.patch)

    def _write(self, operation: Operation, query: Mapping[str, str]) -> None:
        if operation.verb == "Evict":
            self._evict(operation, query)
        else:
            self._patch(operation, query)

    def _evict(self, operation: Operation, query: Mapping[str, str]) -> None:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": operation.name, "namespace": operation.namespace},
            "deleteOptions": {"preconditions": {"uid": operation.uid}},
        }
        self._api.request("POST", _path(operation, "eviction"), query={**_MANAGED, **query}, body=body)

    def _patch(self, operation: Operation, query: Mapping[str, str]) -> None:
        path = _path(operation, _SUBRESOURCE[operation.verb])
        try:
            self._api.patch(path, guarded(operation), **_MANAGED, **query)
        except NotFound:
            raise Conflict(f"{_name(operation)} is gone: nothing was written") from None
        except Refused as error:
            if self._moved(path, operation):
                raise Conflict(f"{_name(operation)} changed since the plan: nothing was written") from None
            raise error

    def _moved(self, path: str, operation: Operation) -> bool:
        """Whether a refusal came from a ``test``: the server's 422 does not tell."""
        now = self._api.get(path)
        tests = [step for step in guarded(operation) if step["op"] == "test"]
        if now is None:
            return True
        try:
            jsonpatch.apply_patch(now, tests)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException):
            return True
        return False


def guarded(operation: Operation) -> list[dict[str, Any]]:
    """The patch with its preconditions: the uid, and the resourceVersion where the plan holds one."""
    steps: list[dict[str, Any]] = [{"op": "test", "path": "/metadata/uid", "value": operation.uid}]
    if operation.resource_version:
        # Not a test: the server answers a wrong resourceVersion with a clear 409.
        steps.append({"op": "replace", "path": "/metadata/resourceVersion", "value": operation.resource_version})
    return steps + list(operation.patch)


def _path(operation: Operation, sub: str) -> str:
    return item(operation.api_version, operation.kind, operation.namespace, operation.name, sub)


def _name(operation: Operation) -> str:
    return f"{operation.kind} {operation.namespace}/{operation.name}"


def _shows(now: Resource, patch: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an object carries all values of a patch; a patch without effect counts as not done."""
    effects = [step for step in patch if step["op"] != "test"]
    marks = [step for step in effects if step["path"] == _MARK and step["op"] != "remove"]
    # A patch is written whole or not at all, so the mark alone tells; other values may be normalised by the server.
    return bool(effects) and all(_effect_holds(now, step) for step in marks or effects)


def _effect_holds(now: Resource, step: Mapping[str, Any]) -> bool:
    missing = object()
    found = jsonpointer.resolve_pointer(now, step["path"], missing)
    if step["op"] == "remove":
        return found is missing
    return step["op"] in ("add", "replace") and _same(found, step["value"])


def _same(one: object, other: object) -> bool:
    """Equal, or the same quantity: the server stores 1024Mi as 1Gi."""
    if one == other:
        return True
    try:
        return isinstance(one, str) and isinstance(other, str) and parse_quantity(one) == parse_quantity(other)
    except ValueError:
        return False
