"""``kill -9`` at the requests of whole heals: one Remediation, nothing written twice, the same end.

The points are what the controller sends when nobody disturbs it; ``python -m bench.killtable`` goes through all.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from bench.cluster import ApiCluster
from bench.killtable import ROOMY
from tests.support.killing import End, Pair, Point, Stage, points, subset
from tests.support.plots import API, HEALS, PLOTS
from tests.support.replicas import replicas
from tests.support.walking import pairs

pytestmark = pytest.mark.api
EVERY = 30

UNCROSSED: dict[Pair, str] = {
    ("Propose", ""): "the API server is away at the dry run: only a message is stored, and the step is tried again",
    ("Propose", "Undone"): "the same after an undo",
    **{
        ("Wait", result): "a suspension holds every step alike: test_controller_crash kills during one"
        for result in ("", "Error", "Refused", "Successful", "Undone", "Inconclusive", "Failed")
    },
}
"""What the state machine can do and no plot does, and why that is left out."""


class Table:
    """Plots that were played undisturbed, each once."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.undisturbed = cache(self._record)

    def _record(self, name: str) -> tuple[list[Point], End]:
        heard, end = self.stage.record(PLOTS[name])
        return points(heard), end


@pytest.fixture(scope="module")
def table(api_cluster: ApiCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    kind = {"apiVersion": API, "kind": "HealingConfig", "metadata": {"name": "cluster"}}
    api_cluster.apply(kind | {"spec": ROOMY})
    account = api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    with replicas(account, tmp_path_factory.mktemp("replicas")) as pair:
        yield Table(Stage(api_cluster, pair))
    api_cluster.kubectl("delete", "healingconfig", "cluster")


@pytest.mark.parametrize("name", PLOTS)
def test_an_undisturbed_heal_ends_as_its_plot_says(name: str, table: Table) -> None:
    _, end = table.undisturbed(name)
    assert (end.remediations, end.outcome, end.reason) == (1, PLOTS[name].outcome, PLOTS[name].reason)


def test_a_kill_crosses_every_step_that_the_state_machine_can_take(table: Table) -> None:
    crossed = {point.pair for name in PLOTS for point in table.undisturbed(name)[0]}
    possible = pairs()
    assert possible - crossed - UNCROSSED.keys() == set()
    assert UNCROSSED.keys() <= possible


@pytest.mark.timeout(1800)  # twenty heals, each with a take-over
@pytest.mark.parametrize("name", HEALS)
def test_a_controller_that_is_killed_at_a_request_is_succeeded_and_nothing_is_done_twice(
    name: str, table: Table
) -> None:
    places, end = table.undisturbed(name)
    killed = [table.stage.kill(PLOTS[name], place) for place in subset(places, EVERY)]
    assert {str(one.point): one.end for one in killed if one.end != end} == {}
    assert sum(one.reached for one in killed) > len(killed) / 2
