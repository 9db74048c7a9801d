"""Somebody takes our change back: the controller does not fight, says so, and lets go of the fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cluster import ApiCluster
from tests.integration.conftest import wait_until
from tests.support.controller import Controller, Shop, running

pytestmark = pytest.mark.api


@pytest.fixture
def controller(api_cluster: ApiCluster, tmp_path: Path) -> Iterator[Controller]:
    """A process with its own rights."""
    account = api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    with running(account, tmp_path / "log") as found:
        yield found


def managers(shop: Shop) -> set[str]:
    """Who owns fields of the Deployment itself."""
    words = ("get", "deployment", "cart", "-n", shop.namespace, "-o", "json", "--show-managed-fields")
    found = json.loads(shop.cluster.kubectl(*words))["metadata"]["managedFields"]
    return {one["manager"] for one in found if not one.get("subresource")}


@pytest.mark.usefixtures("controller")
def test_a_rollback_that_its_owner_takes_back_is_not_made_again_and_nothing_of_ours_stays(
    api_cluster: ApiCluster, namespace: str
) -> None:
    shop = Shop(api_cluster, namespace)
    shop.deploy("cart")
    wait_until(lambda: shop.healthy("cart"), "a healthy cart")
    shop.opt_in()
    shop.policy(verification={"stabilizationPeriod": "60s", "timeout": "120s"})
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: shop.image() == "registry.example/shop:v1", "the rollback")
    assert "selfheal-controller" in managers(shop)
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: bool(shop.outcomes()), "the end")
    status = shop.remediations()[0]["status"]
    assert (status["outcome"], status["reason"]) == ("Failed", "RevertedByOwner")
    live = shop.get("deployment", "cart")
    assert shop.image() == "registry.example/shop:v2"
    assert "selfheal-controller" not in managers(shop)
    assert [name for name in live["metadata"].get("annotations", {}) if name.startswith("aiops.example.com")] == []
    assert len(shop.remediations()) == 1
