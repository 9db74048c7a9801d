"""All scenarios, by number."""

from __future__ import annotations

from bench.scenarios.ourselves import OURSELVES
from bench.scenarios.people import PEOPLE
from bench.scenarios.placement import PLACEMENT
from bench.scenarios.resources import RESOURCES
from bench.scenarios.rollouts import ROLLOUTS
from bench.scenarios.scenario import Scenario

CATALOGUE: tuple[Scenario, ...] = tuple(
    sorted((*ROLLOUTS, *RESOURCES, *PLACEMENT, *PEOPLE, *OURSELVES), key=lambda one: one.number)
)
