"""What must not be touched is not touched: the API server's audit log is the witness."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bench.cluster import ApiCluster
from tests.integration.conftest import wait_until
from tests.support.controller import Controller, Shop, running

pytestmark = pytest.mark.api


@pytest.fixture(scope="module")
def controller(api_cluster: ApiCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    account = api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    with running(account, tmp_path_factory.mktemp("controller") / "log") as found:
        yield found


@pytest.fixture
def shop(api_cluster: ApiCluster, namespace: str) -> Shop:
    """Two Deployments; a policy heals the second one, which shows that the controller had its chance."""
    found = Shop(api_cluster, namespace)
    for name in ("cart", "witness"):
        found.deploy(name)
    wait_until(lambda: found.healthy("cart") and found.healthy("witness"), "a healthy shop")
    return found


def break_both(shop: Shop, **annotations: str) -> None:
    """Roll out the fault to both and wait until the witness is healed."""
    shop.deploy("cart", fault="crashloop", **annotations)
    shop.deploy("witness", fault="crashloop")
    wait_until(lambda: healed(shop) == {"witness"}, "the witness to be healed, and only it")


def healed(shop: Shop) -> set[str]:
    done = [one for one in shop.remediations() if one.get("status", {}).get("outcome") == "Successful"]
    return {one["spec"]["target"]["name"] for one in done}


def touched(shop: Shop) -> set[str]:
    return {entry["objectRef"]["name"] for entry in shop.writes()}


@pytest.mark.usefixtures("controller")
def test_a_workload_that_opted_out_is_left_alone(shop: Shop) -> None:
    shop.opt_in()
    shop.policy()
    shop.deploy("cart", **{"aiops.example.com/self-healing": "disabled"})
    break_both(shop, **{"aiops.example.com/self-healing": "disabled"})
    assert touched(shop) == {"witness"}


@pytest.mark.usefixtures("controller")
def test_a_workload_that_the_selector_does_not_select_is_left_alone(shop: Shop) -> None:
    shop.opt_in()
    shop.policy(selector={"matchLabels": {"app": "witness"}})
    break_both(shop)
    assert touched(shop) == {"witness"}


@pytest.mark.usefixtures("controller")
def test_below_its_threshold_a_policy_does_nothing(shop: Shop) -> None:
    shop.opt_in()
    shop.policy("careful", confidenceThreshold=0.999, selector={"matchLabels": {"app": "cart"}})
    shop.policy("healing", selector={"matchLabels": {"app": "witness"}})
    break_both(shop)
    assert touched(shop) == {"witness"}


@pytest.mark.usefixtures("controller")
def test_a_disabled_policy_does_nothing(shop: Shop) -> None:
    shop.opt_in()
    shop.policy("off", enabled=False, selector={"matchLabels": {"app": "cart"}})
    shop.policy("healing", selector={"matchLabels": {"app": "witness"}})
    break_both(shop)
    assert touched(shop) == {"witness"}


@pytest.mark.usefixtures("controller")
def test_a_namespace_that_did_not_opt_in_is_left_alone(shop: Shop, api_cluster: ApiCluster) -> None:
    other = Shop(api_cluster, f"{shop.namespace}-other")
    api_cluster.kubectl("create", "namespace", other.namespace)
    other.deploy("cart")
    wait_until(lambda: other.healthy("cart"), "a healthy cart")
    other.policy()
    other.deploy("cart", fault="crashloop")
    shop.opt_in()
    shop.policy(selector={"matchLabels": {"app": "witness"}})
    break_both(shop)
    assert other.remediations() == []
    assert other.writes() == []
    conditions = other.get("selfhealingpolicy", "healing")["status"]["conditions"]
    assert any("not opted in" in one["message"] for one in conditions)
    api_cluster.kubectl("delete", "namespace", other.namespace, "--wait=false")


@pytest.mark.usefixtures("controller")
def test_where_the_label_says_yes_and_the_rights_say_no_nothing_changes_and_the_record_says_what_to_do(
    shop: Shop, api_cluster: ApiCluster
) -> None:
    api_cluster.kubectl("label", "namespace", shop.namespace, "aiops.example.com/self-healing=enabled")
    shop.policy()
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: bool(shop.outcomes()), "an outcome")
    assert shop.outcomes()[0] not in ("Successful", "Observed")
    assert "selfheal enable" in json.dumps(shop.remediations()[0]["status"])
    assert shop.writes() == []


@pytest.mark.usefixtures("controller")
def test_suspended_opens_nothing_until_somebody_resumes(shop: Shop, api_cluster: ApiCluster) -> None:
    kind = {"apiVersion": "aiops.example.com/v1alpha1", "kind": "HealingConfig", "metadata": {"name": "cluster"}}
    api_cluster.apply(kind | {"spec": {"suspended": True}})
    try:
        shop.opt_in()
        shop.policy()
        shop.deploy("cart", fault="crashloop")
        wait_until(lambda: any(one["reason"] == "Suspended" for one in shop.get("events")), "the refusal to be told")
        assert shop.remediations() == []
    finally:
        api_cluster.kubectl("delete", "healingconfig", "cluster")
    wait_until(lambda: healed(shop) == {"cart"}, "the heal after the suspension")
