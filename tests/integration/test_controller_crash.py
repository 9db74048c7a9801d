"""``kill -9`` at an exact request: the next controller finishes, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cluster import ApiCluster
from tests.integration.conftest import wait_until
from tests.support.controller import Controller, Shop
from tests.support.proxy import Matches, Proxy, proxied

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
def controller(proxy: tuple[Proxy, Path], tmp_path: Path) -> Iterator[Controller]:
    """Not started yet."""
    found = Controller(proxy[1], tmp_path / "log")
    yield found
    if found.running:
        found.stop()


def creates_remediation(shop: Shop) -> Matches:
    return lambda method, path: method == "POST" and f"/{shop.namespace}/remediations" in path


def writes_status(shop: Shop) -> Matches:
    return lambda method, path: method == "PATCH" and f"/{shop.namespace}/remediations/" in path


def changes_target(shop: Shop) -> Matches:
    return lambda method, path: method == "PATCH" and f"/{shop.namespace}/deployments/" in path and "dryRun" not in path


STEPS = {
    "before the Remediation exists": (creates_remediation, "before"),
    "after it exists": (creates_remediation, "after"),
    "before its first status": (writes_status, "before"),
    "after its first status": (writes_status, "after"),
    "between Planned and the write": (changes_target, "before"),
    "between the write and its record": (changes_target, "after"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_controller_that_is_killed_is_succeeded_and_nothing_is_done_twice(
    step: str, shop: Shop, proxy: tuple[Proxy, Path], controller: Controller
) -> None:
    matches, moment = STEPS[step]
    getattr(proxy[0], moment)(matches(shop), controller.kill)
    controller.start()
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: not controller.running, "the kill")
    controller.start()
    wait_until(lambda: shop.outcomes() == ["Successful"], "the outcome")
    assert len(shop.remediations()) == 1
    assert len(shop.writes()) == 1
    assert shop.healthy("cart")


def test_a_plan_is_stored_with_its_undo_before_anything_is_written(
    shop: Shop, proxy: tuple[Proxy, Path], controller: Controller
) -> None:
    proxy[0].before(changes_target(shop), controller.kill)
    controller.start()
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: not controller.running, "the kill")
    (attempt,) = shop.remediations()[0]["status"]["attempts"]
    assert attempt["result"] == "Planned"
    assert attempt["undo"] or attempt["change"]["undo"]
    assert shop.writes() == []


def test_a_controller_that_dies_while_suspended_does_not_go_on_by_itself(
    shop: Shop, proxy: tuple[Proxy, Path], controller: Controller
) -> None:
    kind = {"apiVersion": "aiops.example.com/v1alpha1", "kind": "HealingConfig", "metadata": {"name": "cluster"}}
    proxy[0].before(changes_target(shop), controller.kill)
    controller.start()
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: not controller.running, "the kill")
    shop.cluster.apply(kind | {"spec": {"suspended": True}})
    try:
        controller.start()

        def waits() -> bool:
            return "uspend" in str(shop.remediations()[0]["status"].get("message", ""))

        wait_until(waits, "the remediation to say that it waits")
        assert shop.writes() == []
    finally:
        shop.cluster.kubectl("delete", "healingconfig", "cluster")
    wait_until(lambda: shop.outcomes() == ["Successful"], "the outcome")
    assert len(shop.writes()) == 1
