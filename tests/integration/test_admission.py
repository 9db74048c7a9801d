"""The admission policies on a real API server: who decides, what suspension stops, whose namespace a policy heals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.cluster import ApiCluster
from bench.controlplane import KubectlFailed
from selfheal.policy import API_VERSION, SYSTEM_NAMESPACE
from tests.integration.conftest import wait_until

pytestmark = pytest.mark.api

REMEDIATION_SPEC = {
    "policyRef": {"name": "p", "uid": "pu"},
    "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart", "uid": "tu"},
    "anomaly": {"type": "OOMKilled", "detectedTime": "2026-11-23T12:00:00Z"},
    "verdict": {"confidence": 0.95, "source": "Symptom"},
}
CONTROLLER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:selfheal-controller"


def document(kind: str, name: str, spec: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec})


def refusal(cluster: ApiCluster, namespace: str, text: str, *words: str) -> str:
    """What the server says against a document in a dry run; empty when it would admit it."""
    try:
        cluster.kubectl("create", "-n", namespace, "--dry-run=server", *words, "-f", "-", stdin=text)
    except KubectlFailed as error:
        return str(error)
    return ""


def approval(approver: str) -> str:
    return document("RemediationApproval", "a", {"remediationName": "r", "decision": "Approve", "approver": approver})


def test_who_decides_must_be_who_is_named(api_cluster: ApiCluster, namespace: str) -> None:
    assert refusal(api_cluster, namespace, approval("admin")) == ""
    told = refusal(api_cluster, namespace, approval("on-call"))
    assert "spec.approver must be the user who decides; write approver: admin" in told


def test_a_person_with_the_right_decides_in_her_own_name_only(api_cluster: ApiCluster, namespace: str) -> None:
    api_cluster.kubectl(
        "create", "rolebinding", "approvers", "-n", namespace, "--clusterrole=selfheal-approve", "--user=on-call"
    )
    wait_until(lambda: not refusal(api_cluster, namespace, approval("on-call"), "--as=on-call"), "on-call may approve")
    assert "write approver: on-call" in refusal(api_cluster, namespace, approval("somebody-else"), "--as=on-call")
    assert "cannot create" in refusal(api_cluster, namespace, approval("somebody-else"), "--as=somebody-else")


def test_the_controller_never_approves(api_cluster: ApiCluster, namespace: str) -> None:
    assert "cannot create" in refusal(api_cluster, namespace, approval(CONTROLLER), f"--as={CONTROLLER}")


@pytest.fixture
def healing_config(api_cluster: ApiCluster) -> Iterator[None]:
    """Takes back the cluster-wide configuration, and waits until all of the server knows."""
    yield
    api_cluster.kubectl("delete", "healingconfig", "cluster", "--ignore-not-found")
    wait_until(lambda: not suspended(api_cluster, "default"), "suspension is over")


def suspended(cluster: ApiCluster, namespace: str) -> bool:
    told = refusal(cluster, namespace, document("Remediation", "probe", REMEDIATION_SPEC))
    return "healing is suspended by HealingConfig cluster; resume it with `selfheal resume`" in told


def suspend(cluster: ApiCluster, value: bool) -> None:
    text = document("HealingConfig", "cluster", {"suspended": value})
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)


def test_without_a_configuration_remediations_may_begin(api_cluster: ApiCluster, namespace: str) -> None:
    assert refusal(api_cluster, namespace, document("Remediation", "r", REMEDIATION_SPEC)) == ""


@pytest.mark.usefixtures("healing_config")
def test_suspension_stops_new_remediations_and_lets_open_ones_be_recorded(
    api_cluster: ApiCluster, namespace: str
) -> None:
    api_cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=document("Remediation", "open", REMEDIATION_SPEC))
    suspend(api_cluster, True)
    wait_until(lambda: suspended(api_cluster, namespace), "suspension holds")
    patch = json.dumps([{"op": "add", "path": "/status", "value": {"message": "waits: healing is suspended"}}])
    api_cluster.kubectl("patch", "rem", "open", "-n", namespace, "--subresource=status", "--type=json", "-p", patch)
    suspend(api_cluster, False)
    wait_until(lambda: not suspended(api_cluster, namespace), "suspension is over")


def policy(**spec: Any) -> str:
    return document("SelfHealingPolicy", "p", {"anomalyType": "MemoryLeak", "action": "restart"} | spec)


def test_a_policy_heals_its_own_namespace_only(api_cluster: ApiCluster, namespace: str) -> None:
    assert refusal(api_cluster, namespace, policy()) == ""
    assert refusal(api_cluster, namespace, policy(targetNamespace=namespace)) == ""
    told = refusal(api_cluster, namespace, policy(targetNamespace="elsewhere"))
    assert "create this policy in elsewhere instead, or leave targetNamespace out" in told


def test_a_policy_cannot_be_turned_to_another_namespace_later(api_cluster: ApiCluster, namespace: str) -> None:
    api_cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=policy())
    patch = json.dumps({"spec": {"targetNamespace": "elsewhere"}})
    with pytest.raises(KubectlFailed, match="only policies in selfheal-system"):
        api_cluster.kubectl("patch", "shp", "p", "-n", namespace, "--type=merge", "-p", patch)


def test_policies_in_the_products_own_namespace_may_heal_others(api_cluster: ApiCluster) -> None:
    assert refusal(api_cluster, SYSTEM_NAMESPACE, policy(targetNamespace="elsewhere")) == ""


def test_pods_that_ask_for_privileges_stay_out_of_the_products_namespace(api_cluster: ApiCluster) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root"},
        "spec": {"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": True}}]},
    }
    assert 'violates PodSecurity "restricted' in refusal(api_cluster, SYSTEM_NAMESPACE, json.dumps(pod))
