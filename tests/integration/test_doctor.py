"""``selfheal doctor`` on a real cluster, before and after things go wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cluster import ApiCluster
from tests.integration.conftest import wait_until
from tests.support.controller import ROOT, Shop, running
from tests.support.liar import lying

pytestmark = [pytest.mark.integration, pytest.mark.api]

SPACE = "doctor"


@pytest.fixture
def shop(api_cluster: ApiCluster) -> Iterator[Shop]:
    """A namespace with a policy, not opted in."""
    api_cluster.kubectl("create", "namespace", SPACE)
    found = Shop(api_cluster, SPACE)
    found.policy()
    yield found
    api_cluster.kubectl("delete", "namespace", SPACE)


def doctor(kubeconfig: Path, *words: str) -> tuple[int, dict[str, tuple[str, str, str]]]:
    """The exit code, and by check how it is, what was found, and what to do."""
    env = {"PYTHONPATH": str(ROOT / "src"), "KUBECONFIG": str(kubeconfig), "PATH": ""}
    command = [sys.executable, "-m", "selfheal", "doctor", "--json", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    checks = json.loads(done.stdout)["checks"]
    return done.returncode, {one["name"]: (one["state"], one["found"], one["todo"]) for one in checks}


def test_it_says_who_leads_and_fails_when_nobody_does(shop: Shop, tmp_path: Path) -> None:
    account = shop.cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    shop.opt_in()
    with running(account, tmp_path / "log"):
        wait_until(lambda: doctor(shop.cluster.kubeconfig)[0] == 0, "a healthy installation")
        _, checks = doctor(shop.cluster.kubeconfig)
        assert {state for state, _, _ in checks.values()} <= {"ok", "warning"}
        assert SPACE in checks["namespaces"][1]
    code, checks = doctor(shop.cluster.kubeconfig)
    assert (code, checks["leader"][0]) == (1, "failed")


def test_the_controller_itself_may_ask_and_is_told_what_it_may_not_know(shop: Shop, tmp_path: Path) -> None:
    account = shop.cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    shop.opt_in()
    with running(account, tmp_path / "log"):
        wait_until(lambda: doctor(account)[0] == 0, "a healthy installation")
        _, checks = doctor(account)
    assert checks["roles"][0] == "cannot tell"
    assert checks["leader"][0] == "ok"


def test_a_label_without_the_rights_is_named_with_the_command_that_helps(shop: Shop) -> None:
    shop.cluster.kubectl("label", "namespace", SPACE, "aiops.example.com/self-healing=enabled")
    _, checks = doctor(shop.cluster.kubeconfig)
    assert checks["namespaces"][0] == "failed"
    assert checks["namespaces"][2] == f"selfheal enable {SPACE}"


def test_an_endpoint_and_a_prometheus_that_do_not_answer_are_failures(shop: Shop) -> None:
    words = ["--endpoint", "http://127.0.0.1:9", "--prometheus", "http://127.0.0.1:9"]
    code, checks = doctor(shop.cluster.kubeconfig, *words)
    assert code == 1
    assert {checks[name][0] for name in ("endpoint", "Prometheus")} == {"failed"}


def test_an_endpoint_without_a_model_is_a_warning(shop: Shop) -> None:
    with lying() as endpoint:
        endpoint.ready = False
        _, checks = doctor(shop.cluster.kubeconfig, "--endpoint", endpoint.url)
        assert checks["endpoint"][0] == "warning"
        endpoint.ready = True
        _, checks = doctor(shop.cluster.kubeconfig, "--endpoint", endpoint.url)
        assert checks["endpoint"][:2] == ("ok", f"{endpoint.url} serves selfheal-ensemble version 7")
