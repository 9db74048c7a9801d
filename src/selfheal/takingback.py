"""What stands on a Remediation that has ended once somebody took back what it had changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from selfheal.remediation import (
    Attempt,
    AttemptResult,
    ConditionType,
    Operation,
    RemediationStatus,
    undo_of,
    with_condition,
)

UNDONE_BY_PERSON = "UndoneByPerson"
"""Reason of condition Undone where somebody took back what a Remediation that has ended had changed."""


def taken_back(status: RemediationStatus, number: int, message: str, now: datetime) -> RemediationStatus:
    """The status of a Remediation that has ended, once somebody took back one of its attempts.

    Args:
        status: As stored.
        number: Index of the attempt.
        message: Who, and what was restored.
        now: Aware.
    """
    before = status.attempts[number]
    evidence = (*before.evidence, f"SpecRestored: yes: {message}")
    attempt = Attempt.model_validate(dict(before) | {"result": AttemptResult.UNDONE, "evidence": evidence})
    others = tuple(one for one in status.conditions if one.type != ConditionType.UNDONE)
    update = {
        "attempts": (*status.attempts[:number], attempt, *status.attempts[number + 1 :]),
        "conditions": with_condition(others, ConditionType.UNDONE, "True", UNDONE_BY_PERSON, message, now),
        "times": status.times.model_copy(update={"undone": now, "cleared": None}),
    }
    return RemediationStatus.model_validate(dict(status) | update)


def overwrites(operation: Operation, live: Mapping[str, Any]) -> bool:
    """Whether an undo would overwrite what somebody has written since where nothing was: it only adds."""
    added = (step for step in operation.patch if step["op"] == "add")
    return any(_look(live, step["path"]) not in (None, step.get("value")) for step in added)


def _look(live: Any, path: str) -> Any:
    """The value at a JSON pointer through maps; None where there is none."""
    for part in path.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        live = live.get(name) if isinstance(live, Mapping) else None
    return live


def in_effect(status: RemediationStatus) -> int | None:
    """Index of the newest attempt that has left something which can be taken back; None when none has."""
    left = (AttemptResult.APPLIED, AttemptResult.SUCCESSFUL, AttemptResult.FAILED, AttemptResult.INCONCLUSIVE)
    found = (n for n, one in enumerate(status.attempts) if one.result in left and undo_of(one))
    return max(found, default=None)
