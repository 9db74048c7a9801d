"""Whether a stored change, or its undo, is visible in the cluster: a crash between two writes leaves it open. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jsonpointer import JsonPointer

from controller.lending import loan_of
from controller.model import Progress, Resource, Workload
from controller.patching import MISSING
from selfheal.policy import REMEDIATION_ANNOTATION
from selfheal.remediation import AttemptResult, ConditionType, Operation, RemediationStatus, with_condition

_WRITES = ("add", "replace")
WRITING = "Writing"
"""Reason of the condition Applied from just before a write that leaves no trace in the cluster (an eviction)."""


def mark(name: str, attempt: int) -> str:
    """The value of the remediation annotation for an attempt (1 for the first)."""
    return f"{name}/{attempt}"


def pruned(value: Any) -> Any:
    """Without nulls: the API server and our copies differ in where they write them."""
    if isinstance(value, Mapping):
        return {key: pruned(one) for key, one in value.items() if one is not None}
    return [pruned(one) for one in value] if isinstance(value, list | tuple) else value


def missing_values(expected: Mapping[str, Any], live: Resource) -> list[str]:
    """JSON pointers whose expected values an object does not carry."""
    return [path for path, value in expected.items() if not holds(live, path, value)]


def holds(live: Resource, path: str, value: Any) -> bool:
    """Whether an object carries a value at a pointer."""
    return bool(pruned(JsonPointer(path).resolve(live, MISSING)) == pruned(value))


def is_written(progress: Progress) -> bool:
    """Whether the newest attempt's change is in the cluster, whatever its record says."""
    workload, operations = progress.workload, _operations(progress)
    return (
        workload is not None
        and is_begun(progress)
        and all(_is_marked(progress, one) if has_mark(one) else is_in_effect(one, workload) for one in operations)
    )


def is_begun(progress: Progress) -> bool:
    """Whether at least one operation of the newest attempt was written: then it has to be finished or taken back.

    A pod that is gone, or on its way out, proves nothing unless a write was announced: pods also go by themselves.
    """
    workload = progress.workload
    return workload is not None and any(_has_trace(progress, workload, one) for one in _operations(progress))


def _has_trace(progress: Progress, workload: Workload, operation: Operation) -> bool:
    if operation.verb == "Evict":
        said = progress.remediation.status.condition(ConditionType.APPLIED)
        return said is not None and said.reason == WRITING and is_in_effect(operation, workload)
    if has_mark(operation):
        return _is_marked(progress, operation)
    return object_of(operation, workload) is not None and is_in_effect(operation, workload)


def _operations(progress: Progress) -> tuple[Operation, ...]:
    attempts = progress.remediation.status.attempts
    return attempts[-1].change.operations if attempts else ()


def _is_marked(progress: Progress, operation: Operation) -> bool:
    """Whether the object of an operation, the target or its Application, carries the mark of the newest attempt."""
    ours = mark(progress.remediation.name, len(progress.remediation.status.attempts))
    live = object_of(operation, progress.workload) if progress.workload is not None else None
    annotations = (live or {"metadata": {}})["metadata"].get("annotations") or {}
    return bool(annotations.get(REMEDIATION_ANNOTATION) == ours)


def announced(status: RemediationStatus, now: datetime) -> RemediationStatus:
    """The status just before the newest attempt is written, where the write itself leaves no trace; else as it is."""
    operations = status.attempts[-1].change.operations if status.attempts else ()
    if not operations or any(one.verb != "Evict" for one in operations):
        return status
    said = with_condition(status.conditions, ConditionType.APPLIED, "Unknown", WRITING, "it is being written", now)
    return status.model_copy(update={"conditions": said})


def has_mark(operation: Operation, steps: tuple[str, ...] = _WRITES) -> bool:
    """Whether an operation leaves the remediation annotation: then that alone says whether it was written."""
    tail = JsonPointer.from_parts([REMEDIATION_ANNOTATION]).path
    return any(step["op"] in steps and step["path"].endswith(tail) for step in operation.patch)


def is_in_effect(operation: Operation, workload: Workload) -> bool:
    """Whether an operation's object is as the operation leaves it; a pod that is gone has nothing left to write."""
    live = object_of(operation, workload)
    if operation.kind == "Pod" and live is None:
        return True
    if operation.verb == "Evict":
        return bool(live and live["metadata"].get("deletionTimestamp"))
    if live is None:
        return False
    return all(_step_holds(step, live) for step in _last_writes(operation))


def _last_writes(operation: Operation) -> list[dict[str, Any]]:
    """The writes of a patch that count: of several to one path the last; empty maps are only made to write into."""
    found = {step["path"]: step for step in operation.patch if step["op"] in (*_WRITES, "remove")}
    return [step for step in found.values() if step.get("value", MISSING) != {}]


def _step_holds(step: Mapping[str, Any], live: Resource) -> bool:
    if step["op"] == "remove":
        return JsonPointer(step["path"]).resolve(live, MISSING) in (MISSING, None)
    return holds(live, step["path"], step.get("value"))


def object_of(operation: Operation, workload: Workload) -> Resource | None:
    """The object of an operation, as far as the bundle has it."""
    above = () if workload.application is None else (workload.application,)
    candidates = (workload.resource, *workload.pods, *workload.autoscalers, *above)
    return next((one for one in candidates if one["metadata"].get("uid") == operation.uid), None)


def with_seen(progress: Progress) -> RemediationStatus:
    """The status, with an attempt that is stored as Planned counted as Applied where its change is visible already.

    So that a controller which died between the write and its record is continued, and nothing is written twice.
    """
    status = progress.remediation.status
    last = status.attempts[-1] if status.attempts else None
    if last is None or last.result is not AttemptResult.PLANNED or not last.change.operations:
        return status
    return applied(status, progress, "AlreadyApplied") if is_written(progress) else status


def applied(status: RemediationStatus, progress: Progress, reason: str) -> RemediationStatus:
    """The status once the newest attempt was written."""
    last = status.attempts[-1].model_copy(update={"result": AttemptResult.APPLIED})
    message = last.change.diff or last.change.note
    return status.model_copy(
        update={
            "attempts": (*status.attempts[:-1], last),
            "conditions": with_condition(
                status.conditions, ConditionType.APPLIED, "True", reason, message, progress.now
            ),
            "times": status.times.model_copy(update={"applied": progress.now, "recovered": None}),
            "loan": loan_of(progress, last),
            "message": f"{last.action} is written: {message}",
            "reason": reason,
            "next_step_time": None,
        }
    )
