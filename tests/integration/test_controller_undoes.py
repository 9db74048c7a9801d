"""A fix that does not help is undone, the undo is verified, and the next action of the escalation heals."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bench.cluster import ApiCluster
from tests.integration.conftest import wait_until
from tests.integration.test_cli import selfheal
from tests.support.controller import Controller, Shop, running

pytestmark = pytest.mark.api

RESTARTED = "aiops.example.com/restarted-by"


@pytest.fixture
def controller(api_cluster: ApiCluster, tmp_path: Path) -> Iterator[Controller]:
    """A process with its own rights."""
    account = api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    with running(account, tmp_path / "log") as found:
        yield found


def broken(api_cluster: ApiCluster, namespace: str, **policy: Any) -> Shop:
    """A Deployment with a bad rollout, under a policy whose action does not help against it."""
    shop = Shop(api_cluster, namespace)
    shop.deploy("cart")
    wait_until(lambda: shop.healthy("cart"), "a healthy cart")
    shop.opt_in()
    shop.policy(action="restart", verification={"stabilizationPeriod": "2s", "timeout": "12s"}, **policy)
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: bool(shop.outcomes()), "the end", seconds=120)
    return shop


def template_annotations(shop: Shop) -> dict[str, str]:
    """Of the Deployment."""
    found: dict[str, str] = shop.get("deployment", "cart")["spec"]["template"]["metadata"].get("annotations", {})
    return found


def seconds(start: str, end: str) -> float:
    """Between two moments of a record."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


@pytest.mark.usefixtures("controller")
def test_what_did_not_help_is_undone_within_30_seconds_and_the_next_action_heals(
    api_cluster: ApiCluster, namespace: str
) -> None:
    shop = broken(api_cluster, namespace, escalation=["rollback"])
    status = shop.remediations()[0]["status"]
    first, second = status["attempts"]
    assert (first["action"], first["result"], first["reason"]) == ("restart", "Undone", "TimedOut")
    assert 0 <= seconds(first["endedTime"], status["times"]["undone"]) <= 30
    assert any(line.startswith("SpecRestored: yes") for line in first["evidence"])
    assert any(line.startswith("PodsRestored: yes: 1 of 2 pods have the restored") for line in first["evidence"])
    assert (second["action"], second["result"], status["outcome"]) == ("rollback", "Successful", "Successful")
    assert shop.healthy("cart")
    assert RESTARTED not in template_annotations(shop)


def test_a_fix_that_a_person_takes_back_is_not_made_again(
    controller: Controller, api_cluster: ApiCluster, namespace: str
) -> None:
    shop = Shop(api_cluster, namespace)
    shop.deploy("cart")
    wait_until(lambda: shop.healthy("cart"), "a healthy cart")
    shop.opt_in()
    shop.policy(cooldownPeriod="1s")
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: shop.outcomes() == ["Successful"], "the heal")
    name = shop.remediations()[0]["metadata"]["name"]
    found = selfheal(api_cluster, "undo", f"{namespace}/{name}")
    assert found.returncode == 0, found.stderr
    refused = "somebody took back what remediation"
    wait_until(lambda: any(refused in line["message"] for line in controller.lines()), "a refusal", seconds=30)
    assert len(shop.remediations()) == 1
    assert shop.image("cart") == "registry.example/shop:v2"


@pytest.mark.usefixtures("controller")
def test_a_policy_may_keep_what_did_not_help(api_cluster: ApiCluster, namespace: str) -> None:
    shop = broken(api_cluster, namespace, undoOnFailure=False)
    status = shop.remediations()[0]["status"]
    assert (status["outcome"], status["attempts"][0]["result"]) == ("Failed", "Failed")
    assert template_annotations(shop)[RESTARTED] == f"{shop.remediations()[0]['metadata']['name']}/1"
