"""An API server that is busy, slow, gone or forgetful: a heal takes longer, ends the same, and is written once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bench.cluster import ApiCluster
from tests.integration.conftest import wait_until
from tests.support.controller import Shop, running
from tests.support.proxy import Matches, Proxy, proxied

pytestmark = pytest.mark.api


@pytest.fixture(scope="module")
def proxy(api_cluster: ApiCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One controller for all, behind a proxy."""
    account = api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    folder = tmp_path_factory.mktemp("faults")
    with proxied(account, folder) as (found, kubeconfig), running(kubeconfig, folder / "log"):
        yield found


@pytest.fixture
def shop(api_cluster: ApiCluster, namespace: str, proxy: Proxy) -> Iterator[Shop]:
    found = Shop(api_cluster, namespace)
    found.deploy("cart")
    wait_until(lambda: found.healthy("cart"), "a healthy cart")
    found.opt_in()
    found.policy()
    yield found
    proxy.refuse(lambda *_: False, 500, 0)
    proxy.delay(0)
    proxy.is_cut.clear()


def healed_once(shop: Shop) -> None:
    wait_until(lambda: shop.outcomes() == ["Successful"], "the heal", 120)
    assert len(shop.writes()) == 1
    assert shop.image() == "registry.example/shop:v1"


def anything(shop: Shop) -> Matches:
    return lambda _, path: f"/{shop.namespace}/" in path


def writes(shop: Shop) -> Matches:
    return lambda method, path: method == "PATCH" and f"/{shop.namespace}/deployments/" in path


def records(shop: Shop) -> Matches:
    return lambda method, path: method in ("PATCH", "POST") and f"/{shop.namespace}/remediations" in path


@pytest.mark.parametrize(
    ("matches", "status", "times"),
    [(anything, 429, 12), (writes, 409, 3), (records, 409, 3), (anything, 503, 12), (anything, 500, 6)],
    ids=["429 for everything", "409 for changes", "409 for records", "503 for everything", "500 for everything"],
)
def test_refusals_in_a_row_only_delay_a_heal(
    matches: object, status: int, times: int, shop: Shop, proxy: Proxy
) -> None:
    assert callable(matches)
    proxy.refuse(matches(shop), status, times, Retry_After="1")
    shop.deploy("cart", fault="crashloop")
    healed_once(shop)
    assert proxy.refusals == 0


def test_a_slow_api_server_only_delays_a_heal(shop: Shop, proxy: Proxy) -> None:
    proxy.delay(0.4)
    shop.deploy("cart", fault="crashloop")
    healed_once(shop)


def test_an_api_server_that_is_restarted_in_the_middle_loses_nothing(shop: Shop, api_cluster: ApiCluster) -> None:
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: bool(shop.remediations()), "the Remediation")
    api_cluster.plane.processes.stop("kube-apiserver", seconds=20)
    time.sleep(3)
    api_cluster.plane.start()
    healed_once(shop)


def test_what_happened_while_nobody_watched_is_seen_afterwards(shop: Shop, proxy: Proxy) -> None:
    proxy.is_cut.set()
    proxy.drop_watches()
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: not shop.healthy("cart"), "a broken cart")
    time.sleep(5)
    assert shop.remediations() == []
    proxy.is_cut.clear()
    healed_once(shop)


def test_a_policy_that_was_deleted_while_nobody_watched_heals_nothing(shop: Shop, proxy: Proxy) -> None:
    proxy.is_cut.set()
    proxy.drop_watches()
    shop.cluster.kubectl("delete", "selfhealingpolicy", "healing", "-n", shop.namespace)
    proxy.is_cut.clear()
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: not shop.healthy("cart"), "a broken cart")
    time.sleep(20)  # longer than five ticks, at which all policies are read anew
    assert shop.writes() == []
