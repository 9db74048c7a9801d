"""A controller whose wall clock is wrong, or is set while it heals: the heal ends the same, and is written once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.cluster import ApiCluster
from tests.integration.conftest import wait_until
from tests.support.clocked import Clock
from tests.support.controller import Controller, Shop
from tests.support.plots import PLOTS
from tests.support.proxy import Matches, Proxy, proxied

pytestmark = pytest.mark.api

HOUR, MINUTES, MINUTE = 3600.0, 600.0, timedelta(minutes=1)


@dataclass(frozen=True)
class World:
    """A controller, its clock, and the proxy between it and the API server."""

    clock: Clock
    proxy: Proxy
    controller: Controller


@pytest.fixture
def world(request: pytest.FixtureRequest, api_cluster: ApiCluster, tmp_path: Path) -> Iterator[World]:
    """One controller a test; an indirect parameter says by how many seconds its clock is off from the start."""
    account = api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    clock = Clock(tmp_path, getattr(request, "param", 0.0))
    with proxied(account, tmp_path) as (proxy, kubeconfig), clock.running(kubeconfig, tmp_path / "log") as controller:
        yield World(clock, proxy, controller)


@pytest.fixture
def shop(api_cluster: ApiCluster, namespace: str) -> Shop:
    found = Shop(api_cluster, namespace)
    for name in ("cart", "till"):
        found.deploy(name)
    wait_until(lambda: found.healthy("cart") and found.healthy("till"), "a healthy shop")
    found.opt_in()
    return found


def heals(shop: Shop, name: str) -> None:
    """A bad rollout is taken back by one write, and nobody else's workload is touched."""
    wrote, ended = len(shop.writes()), len(shop.outcomes())
    shop.deploy(name, fault="crashloop")
    wait_until(lambda: len(shop.outcomes()) > ended, f"the heal of {name}")
    assert shop.outcomes()[ended:] == ["Successful"]
    assert [one["objectRef"]["name"] for one in shop.writes()[wrote:]] == [name]
    (record,) = (one for one in shop.remediations() if one["spec"]["target"]["name"] == name)
    assert off(record) < MINUTE
    assert shop.image(name) == "registry.example/shop:v1"


def off(record: Any) -> timedelta:
    """How far the times in a record are from the API server's own."""
    made = datetime.fromisoformat(record["metadata"]["creationTimestamp"])
    return max(abs(datetime.fromisoformat(at) - made) for at in record["status"]["times"].values())


def complained(controller: Controller) -> list[str]:
    """What the controller says about errors of its own."""
    return [str(line) for line in controller.lines() if "error of our own" in str(line.get("message"))]


def writes(shop: Shop, *, dry: bool) -> Matches:
    owners = (f"/{shop.namespace}/deployments/", f"/{shop.namespace}/pods/")
    return lambda method, path: method == "PATCH" and any(one in path for one in owners) and ("dryRun" in path) == dry


def records(shop: Shop) -> Matches:
    return lambda method, path: method == "PATCH" and f"/{shop.namespace}/remediations/" in path


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["an hour ahead", "an hour back"])
def test_a_clock_that_jumps_between_a_plan_and_its_write_does_not_change_the_heal(
    by: float, shop: Shop, world: World
) -> None:
    shop.policy()
    world.proxy.meddle(writes(shop, dry=True), lambda: world.clock.set(by))
    heals(shop, "cart")
    world.clock.set(0)
    heals(shop, "till")
    assert complained(world.controller) == []


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["an hour ahead", "an hour back"])
def test_a_clock_that_jumps_while_a_fix_is_verified_neither_proves_it_nor_takes_it_back(
    by: float, shop: Shop, world: World
) -> None:
    plot, proxy = PLOTS["adjust-resources"], world.proxy
    shop.policy("memory", **{**plot.policy, "verification": {"stabilizationPeriod": "5s", "timeout": "60s"}})
    shop.policy()
    proxy.meddle(writes(shop, dry=False), lambda: proxy.meddle(records(shop), lambda: world.clock.set(by)))
    plot.break_it(shop)
    wait_until(lambda: bool(shop.outcomes()), "the heal")
    (record,) = shop.remediations()
    assert [one["result"] for one in record["status"]["attempts"]] == ["Successful"]
    assert off(record) < MINUTE
    written = next(one.at for one in proxy.heard if writes(shop, dry=False)(one.method, one.path))
    assert time.monotonic() - written >= 5  # a clock that is set ahead proves nothing
    world.clock.set(0)
    heals(shop, "till")
    assert complained(world.controller) == []


@pytest.mark.parametrize("world", [-MINUTES, MINUTES], ids=["ten minutes behind", "ten minutes ahead"], indirect=True)
def test_a_clock_that_is_wrong_from_the_start_does_not_change_a_heal(shop: Shop, world: World) -> None:
    shop.policy()
    heals(shop, "cart")
    world.clock.set(0)
    heals(shop, "till")
    assert complained(world.controller) == []
