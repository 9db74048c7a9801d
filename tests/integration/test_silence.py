"""An endpoint that takes a request and never answers: a symptom is not kept waiting for as long as a look may take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cluster import ApiCluster
from tests.integration.conftest import wait_until
from tests.support.controller import Shop, running
from tests.support.liar import lying, silent
from tests.support.plots import policy
from tests.support.prometheus import memory_of, prometheus

pytestmark = [pytest.mark.api, pytest.mark.integration]

SPACE = "silence"
PATIENCE = 120  # seconds that one request may take here


@pytest.fixture
def shop(api_cluster: ApiCluster) -> Iterator[Shop]:
    """One healthy Deployment, a policy for crashes and one for what only the endpoint sees."""
    api_cluster.kubectl("create", "namespace", SPACE)
    found = Shop(api_cluster, SPACE)
    found.deploy()
    found.policy(**policy("CrashLoopBackOff", "rollback"))
    found.policy("leaks", **policy("MemoryLeak", "restart"))
    wait_until(found.healthy, "a healthy shop")
    found.opt_in()
    yield found
    api_cluster.kubectl("delete", "namespace", SPACE, "--wait=false")


def test_a_silent_endpoint_does_not_keep_a_symptom_waiting(shop: Shop, tmp_path: Path) -> None:
    account = shop.cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    env = {"SELFHEAL_WINDOW_SAMPLES": "6", "SELFHEAL_TICK_SECONDS": "30"}
    env["SELFHEAL_ENDPOINT_TIMEOUT_SECONDS"] = str(PATIENCE)
    with lying() as endpoint, prometheus(tmp_path, memory_of(SPACE, ["cart"])) as url:
        env |= {"SELFHEAL_PROMETHEUS_URL": url, "SELFHEAL_ENDPOINT_URL": endpoint.url}
        with running(account, tmp_path / "log", env) as controller:
            wait_until(lambda: endpoint.answered > 0, "a first look")
            endpoint.lie = silent
            shop.deploy(fault="crashloop")
            wait_until(lambda: bool(shop.remediations()), "a Remediation", seconds=PATIENCE / 3)
            wait_until(lambda: shop.outcomes() == ["Successful"], "the heal", seconds=PATIENCE / 2)
            asked = [line for line in controller.lines() if line.get("message") == "the endpoint did not judge"]
    assert asked, "nobody asked the endpoint: this test shows nothing"
    assert shop.remediations()[0]["spec"]["verdict"]["source"] == "Symptom"
