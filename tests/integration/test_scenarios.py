"""A few scenarios of the catalogue on every change: those that simulated pods can play, and that end soon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.client import Client
from bench.cluster import ApiCluster
from bench.scenarios.catalogue import CATALOGUE
from bench.scenarios.objects import path
from bench.scenarios.run import Run
from bench.scenarios.scenario import Answer, Tier

pytestmark = pytest.mark.api

QUICK = (16, 20, 23, 36)
"""One that is mended, one that is rolled back, one that is left to people, one whose fix fails and is undone."""


@pytest.fixture(scope="module")
def cluster(api_cluster: ApiCluster) -> Iterator[ApiCluster]:
    """With the scenarios' own controller and settings for as long as they are played."""
    yield api_cluster
    api_cluster.plane.processes.stop("controller", seconds=30)
    with Client(api_cluster.kubeconfig) as client:
        client.delete(path("HealingConfig", "", "cluster"))


@pytest.mark.parametrize("number", QUICK)
def test_an_independent_reader_finds_nothing_wrong(cluster: ApiCluster, number: int) -> None:
    scenario = next(one for one in CATALOGUE if one.number == number)
    result = Run(scenario, cluster, lambda _: None).play()
    assert result.wrong == []


def test_the_quick_ones_are_of_every_kind_and_need_no_node() -> None:
    chosen = [one for one in CATALOGUE if one.number in QUICK]
    assert {one.tier for one in chosen} == {Tier.API}
    assert {one.answer for one in chosen} == {Answer.HEAL, Answer.ESCALATE, Answer.UNDO}
