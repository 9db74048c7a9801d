"""Whether somebody has taken back what a Remediation that has ended had changed, by what the workload shows. Pure.

``selfheal undo`` writes that on the record itself where whoever runs it may; the workload shows it in any case.
"""

from __future__ import annotations

from dataclasses import replace

from controller.applied import has_mark, is_in_effect, object_of
from controller.incidents import ended, of_target, taken_back_at
from controller.model import Situation, Workload
from selfheal.policy import CLI_FIELD_MANAGER
from selfheal.remediation import Operation, Remediation, undo_of
from selfheal.takingback import in_effect, taken_back


def seen_taken_back(situation: Situation) -> tuple[Remediation, ...]:
    """The newest closed Remediation of the target with its new status, where that is so; else nothing."""
    mine = of_target(situation.history, situation.workload.ref.uid)
    changed = [one for one in mine if not one.is_open and in_effect(one.status) is not None]
    newest = max(changed, key=ended, default=None)
    number = in_effect(newest.status) if newest is not None else None
    if newest is None or number is None or taken_back_at(newest) is not None:
        return ()
    operations = undo_of(newest.status.attempts[number])
    if not _is_taken_back(operations, situation.workload):
        return ()
    message = "somebody took it back: all that was touched is as it was"
    return (newest.model_copy(update={"status": taken_back(newest.status, number, message, situation.now)}),)


def with_seen(situation: Situation, seen: tuple[Remediation, ...]) -> Situation:
    """The situation with these Remediations as they will be stored."""
    new = {(one.namespace, one.name): one for one in seen}
    return replace(situation, history=tuple(new.get((one.namespace, one.name), one) for one in situation.history))


def _is_taken_back(operations: tuple[Operation, ...], workload: Workload) -> bool:
    """Whether all is as it was, and that was no accident: our mark is gone, or the command has written."""
    there = [one for one in operations if object_of(one, workload) is not None]
    meant = any(has_mark(one, ("remove", "replace")) or _by_command(one, workload) for one in there)
    return meant and all(is_in_effect(one, workload) for one in operations)


def _by_command(operation: Operation, workload: Workload) -> bool:
    live = object_of(operation, workload) or {"metadata": {}}
    return any(one.get("manager") == CLI_FIELD_MANAGER for one in live["metadata"].get("managedFields") or ())
