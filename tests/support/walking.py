"""Which steps the state machine can take, and what result the newest attempt then has: by walking it at random."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from controller.model import Apply, Finish, Progress, Propose, Undo
from controller.reconcile import advance
from selfheal.errors import Conflict, Forbidden, Refused, SelfhealError
from selfheal.policy import HealingConfig
from selfheal.remediation import Approval
from tests.support.killing import Pair
from tests.unit.controller import objects
from tests.unit.controller.objects import NOW
from tests.unit.controller.records import after, bad_rollout, change_of, healthy, marked, policy, progress, remediation

WALKS = 1500
_SICK = bad_rollout()
_IDLE = objects.workload(objects.deployment(replicas=0), [], [])
"""Nothing proves itself without replicas."""
_ERRORS: tuple[SelfhealError | None, ...] = (
    None,
    None,
    None,
    Refused("NoHealthyRevision", "no older revision was healthy"),
    Forbidden("the API server says no"),
    Conflict("somebody else wrote first"),
)
_POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"mode": "Observe"},
    {"mode": "Approve"},
    {"action": "restart", "escalation": ["rollback"]},
    {"action": "notify-only"},
    {"undoOnFailure": False},
)
_ANSWERS = tuple(
    Approval.model_validate({"remediationName": "rem-1", "decision": decision, "approver": "ada"})
    for decision in ("Approve", "Deny")
)


def pairs() -> frozenset[Pair]:
    """All steps that were taken, each with the result of the newest attempt after it; the same at every call."""
    dice = Random(0)
    found: set[Pair] = set()
    for _ in range(WALKS):
        _walk(dice, found)
    return frozenset(found)


def _walk(dice: Random, found: set[Pair]) -> None:
    owner = policy(**dice.choice(_POLICIES))
    state, visible = progress(_SICK, remediation(_SICK.ref, owner), owner), False
    for _ in range(30):
        step = advance(state)
        number = len(state.remediation.status.attempts)
        error = dice.choice(_ERRORS) if isinstance(step, Propose | Apply | Undo) else None
        plan = change_of(_SICK, f"rem-1/{number + 1}") if isinstance(step, Propose) and error is None else None
        stored = after(state, step, change=plan, error=error)
        attempts = stored.status.attempts
        found.add((type(step).__name__, str(attempts[-1].result) if attempts else ""))
        if isinstance(step, Finish):
            return
        if error is None and isinstance(step, Apply | Undo):
            visible = isinstance(step, Apply)
        state = _later(replace(state, remediation=stored), dice, f"rem-1/{number}" if visible else None)


def _later(state: Progress, dice: Random, mark: str | None) -> Progress:
    """The world after a while: sick or well, suspended or not, with an answer or without."""
    well = dice.random() < 0.2
    workload = marked(healthy() if well else _IDLE if dice.random() < 0.2 else _SICK, mark)
    now = state.now + timedelta(seconds=dice.choice([1, 20, 400, 1200]))
    symptoms = () if well else progress(workload, state.remediation, state.policy, now=NOW).symptoms
    return replace(
        state,
        workload=workload if dice.random() < 0.97 else None,
        symptoms=symptoms,
        policy=state.policy if dice.random() < 0.95 else None,
        approval=dice.choice([None, *_ANSWERS]),
        config=HealingConfig(suspended=dice.random() < 0.1),
        now=now,
    )
