"""Plays an incident to its end with the pure parts of the controller, on a clock moved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from controller.model import Apply, Finish, Progress, Propose, Step, Undo, Wait, Workload
from controller.reconcile import advance
from controller.status import remediation_status_after
from selfheal.policy import Policy
from selfheal.remediation import Attempt, Remediation
from tests.unit.controller.objects import NOW
from tests.unit.controller.records import bad_rollout, change_of, healthy, marked, progress, remediation

SICK, WELL = bad_rollout(), healthy()


@dataclass(frozen=True)
class Story:
    """How an incident went.

    Attributes:
        end: The Remediation as it was stored last.
        steps: All steps, with the moment at which each was taken.
        states: The Remediation as it was stored after each of them, the one it began with first.
    """

    end: Remediation
    steps: tuple[tuple[datetime, Step], ...]
    states: tuple[Remediation, ...]

    def taken(self, kind: type[Any]) -> list[Any]:
        """Steps of one type."""
        return [step for _, step in self.steps if isinstance(step, kind)]

    @property
    def written(self) -> list[str]:
        """Actions whose plans were written, in order."""
        return [str(one.action) for one in self.attempts if one.result != "Refused"]

    @property
    def attempts(self) -> Sequence[Attempt]:
        """As recorded."""
        return self.end.status.attempts


def play(
    owner: Policy, *, heals: bool = False, sick: Workload = SICK, found: Remediation | None = None, **more: Any
) -> Story:
    """From the first step to the last.

    Args:
        owner: The policy at work.
        heals: Whether the first write makes the workload well; else nothing ever does.
        sick: The target.
        found: The Remediation to begin with; a fresh one by default.
        more: Of Progress, such as ``approval`` and ``config``.
    """
    state = progress(sick, found or remediation(sick.ref, owner), owner, **more)
    steps: list[tuple[datetime, Step]] = []
    states = [state.remediation]
    for _ in range(200):
        step = advance(state)
        steps.append((state.now, step))
        state = _after(state, step, heals, sick)
        states.append(state.remediation)
        if isinstance(step, Finish):
            return Story(state.remediation, tuple(steps), tuple(states))
    raise AssertionError(f"it did not end: {[type(step).__name__ for _, step in steps[-8:]]}")


def _after(state: Progress, step: Step, heals: bool, sick: Workload) -> Progress:
    number = len(state.remediation.status.attempts) + isinstance(step, Propose)
    mark = f"{state.remediation.name}/{number}"
    plan = change_of(sick, mark) if isinstance(step, Propose) else None
    status = remediation_status_after(state, step, change=plan, dry_run="accepted")
    stored = state.remediation.model_copy(update={"status": status})
    state = replace(state, remediation=stored, now=_next(state.now, step))
    if isinstance(step, Apply):
        well = WELL if heals and number == 1 else sick
        return replace(state, workload=marked(well, mark), symptoms=() if well is WELL else state.symptoms)
    return replace(state, workload=marked(sick, None)) if isinstance(step, Undo) else state


def _next(now: datetime, step: Step) -> datetime:
    later = now + timedelta(seconds=1)
    return max(later, step.until) if isinstance(step, Wait) else later


def seconds(start: datetime | None, end: datetime | None) -> float:
    """Between two moments that must be there."""
    assert start is not None
    assert end is not None
    return (end - start).total_seconds()


__all__ = ["NOW", "SICK", "WELL", "Story", "play", "seconds"]
