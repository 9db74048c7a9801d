"""Scenarios of the catalogue that only a real kubelet can play; a few of them, for each takes a minute or two."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.client import Client
from bench.node import NodeCluster
from bench.scenarios.catalogue import CATALOGUE
from bench.scenarios.objects import path
from bench.scenarios.run import Run
from bench.scenarios.scenario import Tier
from bench.scenarios.stage import install

pytestmark = pytest.mark.node

CHOSEN = (3, 15)
"""A broken reference, which Kubernetes names at once, and a rollout that takes everything down."""


@pytest.fixture(scope="module")
def cluster(node: NodeCluster) -> Iterator[NodeCluster]:
    """With the product's manifests, and the scenarios' own controller for as long as they are played."""
    install(node)
    node.plane.processes.stop("controller", seconds=30)
    yield node
    node.plane.processes.stop("controller", seconds=30)
    with Client(node.kubeconfig) as client:
        client.delete(path("HealingConfig", "", "cluster"))


@pytest.mark.parametrize("number", CHOSEN)
def test_an_independent_reader_finds_nothing_wrong(cluster: NodeCluster, number: int) -> None:
    scenario = next(one for one in CATALOGUE if one.number == number)
    assert scenario.tier is Tier.NODE
    assert Run(scenario, cluster, lambda _: None).play().wrong == []
