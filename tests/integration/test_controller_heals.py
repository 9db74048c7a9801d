"""One heal, end to end, by a controller process with its own rights: detected, planned, written, verified, recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cluster import ApiCluster
from tests.integration.conftest import wait_until
from tests.support.controller import Controller, Shop, running

pytestmark = pytest.mark.api


@pytest.fixture(scope="module")
def account(api_cluster: ApiCluster) -> Path:
    """A kubeconfig of the controller's ServiceAccount."""
    return api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")


@pytest.fixture(scope="module")
def controller(account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """One process for the tests that do not need their own; nobody answers at its endpoint."""
    env = {"SELFHEAL_ENDPOINT_URL": "http://127.0.0.1:1", "SELFHEAL_PROMETHEUS_URL": "http://127.0.0.1:1"}
    with running(account, tmp_path_factory.mktemp("controller") / "log", env) as found:
        yield found


@pytest.fixture
def shop(api_cluster: ApiCluster, namespace: str) -> Shop:
    found = Shop(api_cluster, namespace)
    found.deploy("cart")
    wait_until(lambda: found.healthy("cart"), "a healthy cart")
    return found


def break_and_wait(shop: Shop, fault: str = "crashloop") -> Any:
    """Roll out a fault and wait for the end of the remediation."""
    shop.deploy("cart", fault=fault)
    wait_until(lambda: bool(shop.outcomes()), "an outcome")
    return shop.remediations()[0]


def true_conditions(resource: Any) -> set[str]:
    return {one["type"] for one in resource["status"]["conditions"] if one["status"] == "True"}


@pytest.mark.usefixtures("controller")
def test_a_bad_rollout_is_rolled_back_verified_and_recorded(shop: Shop) -> None:
    shop.opt_in()
    shop.policy()
    record = break_and_wait(shop)
    status = record["status"]
    assert status["outcome"] == "Successful"
    assert shop.healthy("cart")
    assert shop.image("cart") == "registry.example/shop:v1"
    assert {"Applied", "Verified", "Complete"} <= true_conditions(record)
    assert len(shop.writes()) == 1
    (attempt,) = status["attempts"]
    assert attempt["action"] == "rollback"
    assert "v2 -> " in attempt["change"]["diff"]
    assert attempt["undo"]
    assert {"detected", "decided", "applied", "recovered", "verified"} <= status["times"].keys()


@pytest.mark.usefixtures("controller")
def test_a_fact_heals_without_an_endpoint_and_the_policy_says_what_is_missing(shop: Shop) -> None:
    shop.opt_in()
    shop.policy()
    record = break_and_wait(shop)
    assert record["spec"]["verdict"]["source"] == "Symptom"
    assert record["spec"]["verdict"]["confidence"] == pytest.approx(0.95, abs=0.01)

    def told() -> bool:
        conditions = shop.get("selfhealingpolicy", "healing").get("status", {}).get("conditions", [])
        return "symptoms alone" in " ".join(one.get("message", "") for one in conditions if one["type"] == "Ready")

    wait_until(told, "the policy to say that nobody answers at the endpoint")


@pytest.mark.usefixtures("controller")
def test_a_policy_counts_its_targets_and_its_remediations(shop: Shop) -> None:
    shop.opt_in()
    shop.policy()
    record = break_and_wait(shop)

    def counted() -> bool:
        status = shop.get("selfhealingpolicy", "healing").get("status", {})
        return bool(status.get("targets") == 1 and status.get("remediations", {}).get("successful") == 1)

    wait_until(counted, "the policy's counts")
    status = shop.get("selfhealingpolicy", "healing")["status"]
    assert status["lastRemediationRef"]["name"] == record["metadata"]["name"]
    assert status["lastVerdict"]["target"] == f"{shop.namespace}/Deployment/cart"


@pytest.mark.usefixtures("controller")
def test_people_are_told_by_events_on_the_target_and_on_the_policy(shop: Shop) -> None:
    shop.opt_in()
    shop.policy()
    break_and_wait(shop)

    def reasons(kind: str) -> set[str]:
        return {one["reason"] for one in shop.get("events") if one["involvedObject"]["kind"] == kind}

    told = {"RemediationOpened", "RemediationApplied", "RemediationSuccessful"}
    wait_until(lambda: told <= reasons("Deployment"), "Events on the target")
    wait_until(lambda: told <= reasons("SelfHealingPolicy"), "Events on the policy")


@pytest.mark.usefixtures("controller")
def test_observe_records_a_dry_run_and_changes_nothing(shop: Shop) -> None:
    shop.opt_in()
    shop.policy(mode="Observe")
    record = break_and_wait(shop)
    (attempt,) = record["status"]["attempts"]
    assert record["status"]["outcome"] == "Observed"
    assert "v2 -> " in attempt["change"]["diff"]
    assert "dry run" in attempt["dryRun"]
    assert shop.image("cart") == "registry.example/shop:v2"
    assert shop.writes() == []


@pytest.mark.usefixtures("controller")
def test_approve_waits_for_a_person_and_goes_on_with_the_approval(shop: Shop) -> None:
    shop.opt_in()
    shop.policy(mode="Approve")
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: bool(shop.remediations()), "a remediation")
    name = shop.remediations()[0]["metadata"]["name"]
    wait_until(lambda: bool(shop.get("remediation", name).get("status", {}).get("nextStepTime")), "it to wait")
    assert shop.writes() == []
    spec = {"remediationName": name, "decision": "Approve", "approver": "admin"}
    meta = {"name": "yes", "namespace": shop.namespace}
    kind = {"apiVersion": "aiops.example.com/v1alpha1", "kind": "RemediationApproval"}
    shop.cluster.apply(kind | {"metadata": meta, "spec": spec})
    wait_until(lambda: shop.outcomes() == ["Successful"], "the outcome")
    assert "Approved" in true_conditions(shop.get("remediation", name))


@pytest.mark.usefixtures("controller")
def test_of_old_records_only_as_many_stay_as_the_policy_wants(shop: Shop) -> None:
    shop.opt_in()
    shop.policy(remediationHistoryLimit=1, cooldownPeriod="1s")
    first = break_and_wait(shop)["metadata"]["name"]
    wait_until(lambda: shop.healthy("cart"), "the first heal")
    shop.deploy("cart", fault="crashloop")
    wait_until(lambda: [one["metadata"]["name"] for one in shop.remediations()] not in ([first], []), "a second one")
    wait_until(lambda: len(shop.remediations()) == 1 and shop.outcomes() == ["Successful"], "the first one to go")
    assert shop.remediations()[0]["metadata"]["name"] != first
