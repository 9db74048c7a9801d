"""Many at once: what is open already waits for the end of a storm, and records without a change are bounded too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cluster import ApiCluster
from selfheal.policy import API_VERSION
from tests.integration.conftest import wait_until
from tests.support.controller import Shop, running
from tests.support.plots import approve

pytestmark = pytest.mark.api

NAMES = ("cart", "till", "stock", "mail", "print", "search")


@pytest.fixture
def shop(api_cluster: ApiCluster, namespace: str) -> Iterator[Shop]:
    """Six healthy Deployments; the configuration of the cluster is taken back."""
    found = Shop(api_cluster, namespace)
    for name in NAMES:
        found.deploy(name)
    wait_until(lambda: all(map(found.healthy, NAMES)), "a healthy shop")
    found.opt_in()
    yield found
    api_cluster.kubectl("delete", "healingconfig", "cluster", "--ignore-not-found")


@pytest.fixture
def account(api_cluster: ApiCluster) -> Path:
    """A kubeconfig of the controller's ServiceAccount."""
    return api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")


def configure(shop: Shop, **spec: Any) -> None:
    """The cluster-wide settings."""
    kind = {"apiVersion": API_VERSION, "kind": "HealingConfig", "metadata": {"name": "cluster"}}
    shop.cluster.apply(kind | {"spec": spec})


def record(shop: Shop, name: str) -> Any:
    """The newest Remediation of a Deployment; empty without one."""
    mine = [one for one in shop.remediations() if one["spec"]["target"]["name"] == name]
    return mine[-1] if mine else {}


def reason(shop: Shop, name: str) -> str:
    """Where it stands."""
    return str(record(shop, name).get("status", {}).get("reason", ""))


def told(shop: Shop, word: str) -> bool:
    """Whether an Event with that reason is there."""
    return any(one["reason"] == word for one in shop.get("events.events.k8s.io"))


def test_a_remediation_that_has_written_nothing_waits_for_the_end_of_a_storm(
    shop: Shop, account: Path, tmp_path: Path
) -> None:
    configure(shop, storm={"maxUnhealthyPercent": 40, "cooldown": "2s"})
    shop.policy(mode="Approve")
    with running(account, tmp_path / "log"):
        shop.deploy("cart", fault="crashloop")
        wait_until(lambda: reason(shop, "cart") == "WaitingForApproval", "a plan")
        for name in NAMES[1:]:
            shop.deploy(name, fault="crashloop")
        wait_until(lambda: told(shop, "Storm"), "the storm")
        approve(shop, record(shop, "cart"))
        wait_until(lambda: reason(shop, "cart") == "Storm", "the plan to be held back")
        assert shop.writes() == []
        for name in NAMES[1:]:
            shop.deploy(name)
        wait_until(lambda: record(shop, "cart").get("status", {}).get("outcome") == "Successful", "the heal")
    assert shop.image("cart") == "registry.example/shop:v1"
    assert {entry["objectRef"]["name"] for entry in shop.writes()} == {"cart"}
    assert len(record(shop, "cart")["status"]["attempts"]) == 1


def test_no_more_records_are_opened_than_the_budget_says_although_none_changes_anything(
    shop: Shop, account: Path, tmp_path: Path
) -> None:
    configure(shop, budget={"maxPerNamespacePerHour": 2}, storm={"maxUnhealthyPercent": 100})
    shop.policy(action="notify-only")
    with running(account, tmp_path / "log"):
        for name in NAMES[:4]:
            shop.deploy(name, fault="crashloop")
        wait_until(lambda: told(shop, "BudgetExhausted"), "the refusal")
        wait_until(lambda: len(shop.outcomes()) == 2, "two records")
    assert shop.outcomes() == ["Observed", "Observed"]
    assert len(shop.remediations()) == 2
