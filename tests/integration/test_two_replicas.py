"""Two replicas on a real API server: one acts, the other takes over, and nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cluster import ApiCluster
from bench.killtable import DEFAULT_LEASE
from tests.integration.conftest import wait_until
from tests.support.controller import Controller, Shop
from tests.support.killing import Stage, points
from tests.support.plots import PLOTS
from tests.support.proxy import Proxy, proxied
from tests.support.replicas import replicas

pytestmark = pytest.mark.api


@pytest.fixture
def shop(api_cluster: ApiCluster, namespace: str) -> Shop:
    found = Shop(api_cluster, namespace)
    found.deploy("cart")
    wait_until(lambda: found.healthy("cart"), "a healthy cart")
    found.opt_in()
    found.policy()
    return found


@pytest.fixture
def proxy(api_cluster: ApiCluster, tmp_path: Path) -> Iterator[tuple[Proxy, Path]]:
    account = api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    with proxied(account, tmp_path) as found:
        yield found


@pytest.fixture
def first(proxy: tuple[Proxy, Path], tmp_path: Path) -> Iterator[Controller]:
    """Leads; its way to the API server can be cut."""
    found = Controller(proxy[1], tmp_path / "first.log")
    found.start()
    wait_until(lambda: leads(found), "the first replica to lead")
    yield found
    found.kill()


@pytest.fixture
def second(first: Controller, api_cluster: ApiCluster, tmp_path: Path) -> Iterator[Controller]:
    """Was started after the first."""
    assert leads(first)
    account = api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    found = Controller(account, tmp_path / "second.log")
    found.start()
    yield found
    found.kill()


def says(controller: Controller, message: str) -> int:
    """How often a replica said it."""
    return sum(line.get("message", "").startswith(message) for line in controller.lines())


def leads(controller: Controller) -> bool:
    """Whether a replica has ever led."""
    return says(controller, "leading") > 0


def holder(cluster: ApiCluster) -> str:
    lease = json.loads(cluster.kubectl("get", "lease", "selfheal-controller", "-n", "selfheal-system", "-o", "json"))
    return str(lease["spec"].get("holderIdentity", ""))


@pytest.mark.usefixtures("first")
def test_one_of_two_heals_and_the_other_only_watches(shop: Shop, second: Controller) -> None:
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: shop.outcomes() == ["Successful"], "the outcome")
    assert len(shop.remediations()) == 1
    assert len(shop.writes()) == 1
    assert not leads(second)


def test_when_the_one_is_killed_in_the_middle_the_other_finishes(
    shop: Shop, proxy: tuple[Proxy, Path], first: Controller, second: Controller
) -> None:
    def is_the_write(method: str, path: str) -> bool:
        return method == "PATCH" and f"/{shop.namespace}/deployments/" in path and "dryRun" not in path

    proxy[0].after(is_the_write, first.kill)
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: not first.running, "the kill")
    wait_until(lambda: shop.outcomes() == ["Successful"], "the outcome")
    assert says(second, "leading") == 1
    assert len(shop.remediations()) == 1
    assert len(shop.writes()) == 1


def test_a_replica_that_is_cut_off_writes_nothing_more_even_when_it_is_back(
    shop: Shop, proxy: tuple[Proxy, Path], first: Controller, second: Controller
) -> None:
    proxy[0].is_cut.set()
    wait_until(lambda: leads(second), "the second replica to lead")
    assert says(first, "no longer leading") == 1
    proxy[0].is_cut.clear()
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: shop.outcomes() == ["Successful"], "the outcome")
    assert len(shop.writes()) == 1
    assert says(first, "leading") == 1
    assert first.running


def test_a_replica_that_ends_hands_over_at_once(api_cluster: ApiCluster, first: Controller, second: Controller) -> None:
    before = holder(api_cluster)
    assert first.stop() == 0
    wait_until(lambda: leads(second), "the second replica to lead")
    assert holder(api_cluster) not in ("", before)


def test_with_the_lease_of_production_the_other_one_goes_on_within_30_seconds(
    api_cluster: ApiCluster, tmp_path: Path
) -> None:
    account = api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    with replicas(account, tmp_path, DEFAULT_LEASE) as pair:
        stage = Stage(api_cluster, pair)
        heard, end = stage.record(PLOTS["rollback"])
        place = next(one for one in points(heard) if (one.request, one.moment) == ("PATCH deployments/cart", "after"))
        killed = stage.kill(PLOTS["rollback"], place)
    assert killed.reached
    assert killed.end == end
    assert killed.seconds is not None
    assert killed.seconds < 30
