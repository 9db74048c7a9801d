"""A real API server decides who may scrape the controller."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.cluster import ApiCluster
from tests.integration.conftest import wait_until
from tests.support.controller import Controller, running

pytestmark = [pytest.mark.api, pytest.mark.integration]

SYSTEM = "selfheal-system"
BINDING = ["clusterrolebinding", "test-scraper"]


@pytest.fixture
def url(api_cluster: ApiCluster, tmp_path: Path) -> Iterator[str]:
    """Of a controller under its own account, on a standby's terms too: it answers before it leads."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    account = api_cluster.service_account_kubeconfig(SYSTEM, "selfheal-controller")
    env = {"SELFHEAL_METRICS_PORT": str(port), "SELFHEAL_METRICS_AUTH": "true"}
    with running(account, tmp_path / "log", env):
        yield f"http://127.0.0.1:{port}/metrics"


@pytest.fixture
def scraper(api_cluster: ApiCluster, namespace: str) -> Iterator[str]:
    """A token of a ServiceAccount that may scrape."""
    api_cluster.kubectl("create", "serviceaccount", "scraper", "-n", namespace)
    account = f"--serviceaccount={namespace}:scraper"
    api_cluster.kubectl("create", *BINDING, "--clusterrole=selfheal-metrics-reader", account)
    yield api_cluster.kubectl("create", "token", "scraper", "-n", namespace).strip()
    api_cluster.kubectl("delete", *BINDING)


def scrape(url: str, token: str = "") -> httpx.Response:
    return httpx.get(url, headers={"Authorization": f"Bearer {token}"} if token else {})


def test_who_is_bound_to_the_reader_scrapes_and_nobody_else(
    api_cluster: ApiCluster, namespace: str, scraper: str, url: str
) -> None:
    wait_until(lambda: scrape(url, scraper).status_code == 200, "the right to hold")
    assert re.search(r"^selfheal_build_info", scrape(url, scraper).text, re.MULTILINE)
    stranger = api_cluster.kubectl("create", "token", "default", "-n", namespace).strip()
    assert scrape(url, stranger).status_code == 403
    assert scrape(url, "forged").status_code == 403
    assert scrape(url).status_code == 401


def test_without_the_right_to_ask_nothing_is_told_and_the_log_says_why(
    api_cluster: ApiCluster, scraper: str, tmp_path: Path, url: str
) -> None:
    rule = ["clusterrolebinding", "selfheal-metrics-auth"]
    whole = api_cluster.kubectl("get", *rule, "-o", "yaml")
    api_cluster.kubectl("delete", *rule)
    try:
        wait_until(lambda: scrape(url, scraper + "x").status_code == 503, "a controller that cannot ask")
        lines = Controller(tmp_path / "none", tmp_path / "log").lines()
        assert any("tokenreviews" in str(line.get("cause")) for line in lines)
    finally:
        api_cluster.kubectl(
            "create", "-f", "-", stdin=re.sub(r"\n  (uid|resourceVersion|creationTimestamp): .*", "", whole)
        )
