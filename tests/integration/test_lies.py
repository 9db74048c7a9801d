"""An endpoint that talks nonsense or takes for ever, beside a real Prometheus: symptoms are healed, nothing else is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cluster import ApiCluster
from selfheal.policy import API_VERSION
from tests.integration.conftest import wait_until
from tests.support.controller import Controller, Shop, running
from tests.support.liar import Liar, Lie, accusing, lying, others, saying, slow, truth
from tests.support.plots import policy
from tests.support.prometheus import memory_of, prometheus

pytestmark = [pytest.mark.api, pytest.mark.integration]

SPACE = "lies"
LIES: dict[str, tuple[Lie, str]] = {
    "garbage": (saying(b"<html>It works!</html>"), "did not answer JSON"),
    "strangers": (others, "answered about others"),
    "too-sure": (accusing(1.7), "confidence"),
    "nan": (accusing(float("nan")), "confidence"),
    "truncated": (saying(b'{"predictions": [', missing=500), "RemoteProtocolError"),
    "fault": (saying(b"{}", status=500), "answered 500"),
    "slow": (slow(3.0), "ReadTimeout|takes longer than 1 s"),
}
"""By the workload that is broken meanwhile: how the endpoint answers, and what policies say of it (a pattern)."""


@pytest.fixture(scope="module")
def liar() -> Iterator[Liar]:
    with lying() as found:
        yield found


@pytest.fixture(scope="module")
def shop(api_cluster: ApiCluster) -> Iterator[Shop]:
    """A Deployment for every lie, and policies for what pods show and for what only the endpoint sees."""
    api_cluster.kubectl("create", "namespace", SPACE)
    config = {"apiVersion": API_VERSION, "kind": "HealingConfig", "metadata": {"name": "cluster"}}
    api_cluster.apply(config | {"spec": {"budget": {"maxPerNamespacePerHour": 50}}})
    found = Shop(api_cluster, SPACE)
    for name in LIES:
        found.deploy(name)
    found.policy(**policy("CrashLoopBackOff", "rollback"))
    found.policy("leaks", **policy("MemoryLeak", "restart"))
    found.policy("anomalies", **policy("MetricAnomaly", "restart"))
    wait_until(lambda: all(map(found.healthy, LIES)), "a healthy shop")
    found.opt_in()
    yield found
    api_cluster.kubectl("delete", "healingconfig", "cluster")
    api_cluster.kubectl("delete", "namespace", SPACE, "--wait=false")


@pytest.fixture(scope="module")
def controller(shop: Shop, liar: Liar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """One for all lies."""
    account = shop.cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    folder: Path = tmp_path_factory.mktemp("lies")
    with prometheus(folder, memory_of(SPACE, LIES)) as url:
        env = {"SELFHEAL_PROMETHEUS_URL": url, "SELFHEAL_ENDPOINT_URL": liar.url, "SELFHEAL_WINDOW_SAMPLES": "6"}
        with running(account, folder / "log", env | {"SELFHEAL_ENDPOINT_TIMEOUT_SECONDS": "1"}) as found:
            yield found


def ready(shop: Shop, name: str) -> tuple[str, str]:
    """Reason and message of a policy's condition Ready."""
    found = shop.get("selfhealingpolicy", name).get("status", {}).get("conditions", [])
    return next(((one["reason"], one.get("message", "")) for one in found if one["type"] == "Ready"), ("", ""))


def records(shop: Shop, name: str) -> list[Any]:
    """The Remediations of a Deployment that have ended."""
    mine = [one for one in shop.remediations() if one["spec"]["target"]["name"] == name]
    return [one for one in mine if one.get("status", {}).get("outcome")]


@pytest.mark.parametrize("name", LIES)
def test_an_endpoint_that_lies_or_hangs_is_not_believed_and_holds_no_other_heal_up(
    name: str, shop: Shop, liar: Liar, controller: Controller
) -> None:
    liar.lie, words = LIES[name]
    wrote = len(shop.writes())
    shop.deploy(name, fault="crashloop")
    wait_until(lambda: bool(re.search(words, ready(shop, "leaks")[1])), f"the policy to say {words!r}")
    assert [ready(shop, one)[0] for one in ("leaks", "anomalies")] == ["EndpointMissing"] * 2
    wait_until(lambda: [one["status"]["outcome"] for one in records(shop, name)] == ["Successful"], "the heal")
    assert [one["spec"]["verdict"]["source"] for one in records(shop, name)] == ["Symptom"]
    assert [one["objectRef"]["name"] for one in shop.writes()[wrote:]] == [name]
    assert not [line for line in controller.lines() if "error of our own" in str(line.get("message"))]
    liar.lie = truth
    wait_until(lambda: ready(shop, "leaks")[0] == "Watching", "an endpoint that is believed again")
