"""The controller with the packages of its own image, which are others than those that tests run with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cluster import ApiCluster
from bench.environments import environment
from tests.integration.conftest import wait_until
from tests.support.controller import ROOT, Shop, running

pytestmark = [pytest.mark.api, pytest.mark.integration]

SPACE = "locked"


@pytest.fixture(scope="module")
def python() -> str:
    """Of an environment made from the image's locked requirements."""
    return str(environment("controller") / "python")


@pytest.fixture(scope="module")
def shop(api_cluster: ApiCluster) -> Iterator[Shop]:
    api_cluster.kubectl("create", "namespace", SPACE)
    found = Shop(api_cluster, SPACE)
    found.deploy()
    found.policy()
    wait_until(found.healthy, "a healthy shop")
    found.opt_in()
    yield found
    api_cluster.kubectl("delete", "namespace", SPACE, "--wait=false")


def test_a_heal_needs_no_package_that_the_image_lacks(python: str, shop: Shop, tmp_path: Path) -> None:
    account = shop.cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    with running(account, tmp_path / "log", python=python) as controller:
        shop.deploy(fault="crashloop")
        wait_until(lambda: shop.outcomes() == ["Successful"], "the heal")
        assert not [line for line in controller.lines() if line["level"] == "error"]


def test_the_command_of_the_image_reads_the_cluster(python: str, shop: Shop, tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "KUBECONFIG": str(shop.cluster.kubeconfig)}
    for words in (["status"], ["enable", SPACE], ["doctor", "--json"]):
        done = subprocess.run(
            [python, "-m", "selfheal", *words], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        assert done.stdout, done.stderr
