"""What a scenario is: what runs, what breaks it, and what the right answer would be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from bench.client import Resource

if TYPE_CHECKING:
    from bench.scenarios.stage import Stage


class Tier(StrEnum):
    """Which cluster it needs."""

    API = "api"
    NODE = "node"


class Answer(StrEnum):
    """What the right answer is.

    ``HEAL``: the workload is well again. ``ESCALATE``: nothing is changed, and a person is told. ``NOTHING``: nothing
    is changed, and nothing needs to be said. ``UNDO``: what was tried is taken back, and a person is told. ``BOUNDED``:
    what is done stays within the budget.
    """

    HEAL = "heal"
    ESCALATE = "escalate"
    NOTHING = "nothing"
    UNDO = "undo"
    BOUNDED = "bounded"


@dataclass(frozen=True)
class Budget:
    """Seconds from the fault, at most."""

    detected: float = 15.0
    recovered: float = 60.0
    verified: float = 120.0


Step = Callable[["Stage"], None]
Check = Callable[["Stage"], str]
"""What is wrong beyond the usual; the empty text when nothing is."""


def _nothing(_: Stage) -> None:
    """For scenarios that have nothing to do at that moment."""


def _fine(_: Stage) -> str:
    return ""


@dataclass(frozen=True)
class Scenario:
    """One fault.

    Attributes:
        number: As in docs/scenarios.md.
        title: What breaks, in a few words.
        tier: The cluster that it needs.
        answer: The right one.
        baseline: Objects that are well before the fault, without their namespace.
        policies: ``spec`` of each SelfHealingPolicy.
        fault: Breaks it, as the administrator.
        target: Kind and name of the workload that is judged.
        budget: Times for a heal.
        watch: Seconds for which nothing may happen, where nothing should, or nothing more after the end.
        calm: Seconds for which all must stay well after a heal.
        retries: How many changes an incident may see.
        during: Called twice a second while the scenario is watched.
        also: A check of its own.
        after: Takes back what the fault did outside of the namespace.
        config: ``spec`` of the HealingConfig.
        env: Settings of the controller that differ from the suite's.
        model: Whether it needs the trained ensemble and live metrics.
        place: An existing namespace to play in, whose workloads are known to the ensemble; a new one by default.
    """

    number: int
    title: str
    tier: Tier
    answer: Answer
    baseline: Callable[[Stage], list[Resource]]
    policies: tuple[Resource, ...]
    fault: Step
    target: tuple[str, str] = ("Deployment", "cart")
    budget: Budget = field(default_factory=Budget)
    watch: float = 40.0
    calm: float = 60.0
    retries: int = 3
    during: Step = _nothing
    also: Check = _fine
    after: Step = _nothing
    config: Resource = field(default_factory=dict)
    env: Callable[[Stage], dict[str, str]] | None = None
    model: bool = False
    place: str = ""
