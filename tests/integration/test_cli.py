"""Commands against a real API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.cluster import ApiCluster
from selfheal.policy import OPT_IN_LABEL

pytestmark = [pytest.mark.integration, pytest.mark.api]

ROOT = Path(__file__).parents[2]


def selfheal(cluster: ApiCluster, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "KUBECONFIG": str(cluster.kubeconfig)}
    return subprocess.run(
        [sys.executable, "-m", "selfheal", *words], env=env, capture_output=True, text=True, check=False
    )


def label(cluster: ApiCluster, namespace: str) -> str | None:
    found = json.loads(cluster.kubectl("get", "namespace", namespace, "-o", "json"))
    value: str | None = found["metadata"]["labels"].get(OPT_IN_LABEL)
    return value


def may_heal(cluster: ApiCluster, namespace: str) -> bool:
    who = "--as=system:serviceaccount:selfheal-system:selfheal-controller"
    rules = cluster.kubectl("auth", "can-i", "--list", who, "-n", namespace)
    return "pods/eviction" in rules


def test_enable_gives_label_and_rights_and_disable_takes_both(api_cluster: ApiCluster, namespace: str) -> None:
    assert not may_heal(api_cluster, namespace)
    found = selfheal(api_cluster, "enable", namespace)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(f"{namespace}: enabled (RoleBinding selfheal-healer created, label")
    assert label(api_cluster, namespace) == "enabled"
    assert may_heal(api_cluster, namespace)
    found = selfheal(api_cluster, "disable", namespace)
    assert found.returncode == 0, found.stderr
    assert label(api_cluster, namespace) is None
    assert not may_heal(api_cluster, namespace)


def test_doing_it_twice_changes_nothing(api_cluster: ApiCluster, namespace: str) -> None:
    selfheal(api_cluster, "enable", namespace)
    again = json.loads(selfheal(api_cluster, "enable", namespace, "--json").stdout)
    assert (again["changed"], again["enabled"], again["missing"]) == ([], True, [])
    selfheal(api_cluster, "disable", namespace)
    assert selfheal(api_cluster, "disable", namespace).stdout == f"{namespace}: already disabled\n"


def test_a_dry_run_is_checked_by_the_server_and_changes_nothing(api_cluster: ApiCluster, namespace: str) -> None:
    found = json.loads(selfheal(api_cluster, "enable", namespace, "--dry-run", "--json").stdout)
    assert found["dryRun"] is True
    assert len(found["changed"]) == 2
    assert label(api_cluster, namespace) is None
    assert not may_heal(api_cluster, namespace)


@pytest.mark.parametrize("name", ["kube-system", "default", "openshift-monitoring", "selfheal-system"])
def test_protected_namespaces_are_refused_with_a_sentence(api_cluster: ApiCluster, name: str) -> None:
    found = selfheal(api_cluster, "enable", name)
    assert found.returncode == 1
    assert found.stderr.startswith(f"selfheal: {'namespace ' if name != 'selfheal-system' else ''}{name} is ")
    assert found.stderr.count("\n") == 1


def test_a_namespace_that_does_not_exist_is_wrong_use(api_cluster: ApiCluster) -> None:
    found = selfheal(api_cluster, "enable", "nowhere")
    assert found.returncode == 2
    assert "there is no namespace nowhere" in found.stderr


def test_a_binding_of_our_name_to_another_role_is_not_touched(api_cluster: ApiCluster, namespace: str) -> None:
    api_cluster.kubectl("create", "rolebinding", "selfheal-healer", "--clusterrole=view", "--user=me", "-n", namespace)
    found = selfheal(api_cluster, "enable", namespace)
    assert found.returncode == 1
    assert "binds ClusterRole view, not ours" in found.stderr
    assert label(api_cluster, namespace) is None


def test_status_shows_policies_and_ends_with_3_where_there_is_nothing(api_cluster: ApiCluster, namespace: str) -> None:
    assert selfheal(api_cluster, "status", "-n", namespace).returncode == 3
    policy: dict[str, Any] = {
        "apiVersion": "aiops.example.com/v1alpha1",
        "kind": "SelfHealingPolicy",
        "metadata": {"name": "crashloop-healing", "namespace": namespace},
        "spec": {"anomalyType": "CrashLoopBackOff", "action": "rollback"},
    }
    api_cluster.apply(policy)
    found = selfheal(api_cluster, "status", "-n", namespace)
    assert found.returncode == 0, found.stderr
    row = next(line for line in found.stdout.splitlines() if "crashloop-healing" in line)
    assert row.split()[:7] == [
        namespace, "crashloop-healing", "CrashLoopBackOff", "rollback", "Auto", "Unknown", "Unknown",
    ]  # fmt: skip
    assert "\x1b[" not in found.stdout
    told = json.loads(selfheal(api_cluster, "status", "-n", namespace, "--json").stdout)
    assert told["suspended"] is False
    assert told["open"] == told["last"] == []
    assert told["policies"][0]["name"] == "crashloop-healing"
