"""All scenarios, by number."""

from __future__ import annotations

from bench.scenarios.ourselves import OURSELVES
from bench.scenarios.people import PEOPLE
from bench.scenarios.placement import PLACEMENT
from bench.scenarios.resources import RESOURCES
from bench.scenarios.rollouts import ROLLOUTS
from bench.scenarios.scenario import Scenario
from bench.scenarios.variants import VARIANTS

CATALOGUE: tuple[Scenario, ...] = tuple(
    sorted((*ROLLOUTS, *RESOURCES, *PLACEMENT, *PEOPLE, *OURSELVES, *VARIANTS), key=lambda one: one.number)
)
