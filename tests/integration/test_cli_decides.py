"""Approving, denying, undoing, suspending and resuming by the command, against a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.cluster import ApiCluster
from selfheal.policy import API_VERSION
from tests.integration.test_admission import REMEDIATION_SPEC
from tests.integration.test_cli import selfheal

pytestmark = [pytest.mark.integration, pytest.mark.api]

NAME = "rem-0123456789abcdef0123"
WRITE = {"verb": "Patch", "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "x", "name": "cart", "uid": "tu"}
PLANNED = {
    "reason": "WaitingForApproval",
    "attempts": [
        {
            "action": "rollback",
            "startedTime": "2026-11-23T12:00:00Z",
            "result": "Planned",
            "change": {"operations": [WRITE], "diff": "image of app: shop:2 -> shop:1"},
        }
    ],
}
ENDED = {
    "outcome": "Skipped",
    "message": "the symptom is gone",
    "conditions": [
        {
            "type": "Complete",
            "status": "True",
            "reason": "ClearedByItself",
            "message": "",
            "lastTransitionTime": "2026-11-23T12:00:00Z",
        }
    ],
}


def remediation(cluster: ApiCluster, namespace: str, status: dict[str, Any], name: str = NAME) -> None:
    """A Remediation with a status."""
    body = {"apiVersion": API_VERSION, "kind": "Remediation", "metadata": {"name": name}, "spec": REMEDIATION_SPEC}
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(body))
    patch = json.dumps({"status": status})
    cluster.kubectl("patch", "rem", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


def answers(cluster: ApiCluster, namespace: str) -> list[dict[str, str]]:
    """What people have decided."""
    found = json.loads(cluster.kubectl("get", "remediationapprovals", "-n", namespace, "-o", "json"))
    return [one["spec"] for one in found["items"]]


@pytest.mark.parametrize(("word", "decision"), [("approve", "Approve"), ("deny", "Deny")])
def test_a_decision_is_made_in_the_name_by_which_the_server_knows_one(
    api_cluster: ApiCluster, namespace: str, word: str, decision: str
) -> None:
    remediation(api_cluster, namespace, PLANNED)
    found = selfheal(api_cluster, word, f"{namespace}/{NAME}", "--reason", "it is known")
    assert found.returncode == 0, found.stderr
    assert f"{namespace}/{NAME}: " in found.stdout
    assert "by admin: image of app: shop:2 -> shop:1" in found.stdout
    assert answers(api_cluster, namespace) == [
        {"remediationName": NAME, "decision": decision, "approver": "admin", "reason": "it is known"}
    ]


def test_the_namespace_is_found_where_the_name_is_enough(api_cluster: ApiCluster, namespace: str) -> None:
    name = f"rem-{namespace}"
    remediation(api_cluster, namespace, PLANNED, name)
    told = json.loads(selfheal(api_cluster, "approve", name, "--json").stdout)
    assert (told["namespace"], told["decision"], told["approver"]) == (namespace, "approved", "admin")


def test_a_dry_run_decides_nothing(api_cluster: ApiCluster, namespace: str) -> None:
    remediation(api_cluster, namespace, PLANNED)
    assert "dry run" in selfheal(api_cluster, "approve", NAME, "-n", namespace, "--dry-run").stdout
    assert answers(api_cluster, namespace) == []


@pytest.mark.parametrize(
    ("status", "says"), [(ENDED, "has ended already: Skipped"), ({"reason": "Opened"}, "shows no plan")]
)
def test_there_is_nothing_to_approve_without_a_plan_that_waits(
    api_cluster: ApiCluster, namespace: str, status: dict[str, Any], says: str
) -> None:
    remediation(api_cluster, namespace, status)
    found = selfheal(api_cluster, "approve", NAME, "-n", namespace)
    assert (found.returncode, found.stderr.count("\n")) == (3, 1)
    assert says in found.stderr
    assert answers(api_cluster, namespace) == []


def test_a_remediation_that_does_not_exist_is_wrong_use(api_cluster: ApiCluster, namespace: str) -> None:
    found = selfheal(api_cluster, "deny", "rem-nothing", "-n", namespace)
    assert found.returncode == 2
    assert f"there is no remediation rem-nothing in namespace {namespace}" in found.stderr


DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "cart"},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "cart"}},
        "template": {
            "metadata": {"labels": {"app": "cart"}},
            "spec": {"containers": [{"name": "app", "image": "registry.local/shop:1"}]},
        },
    },
}


def scaled(cluster: ApiCluster, namespace: str, *, ended: bool = True) -> None:
    """A Deployment to which a remediation gave a third replica, and ended without knowing whether that helped."""
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(DEPLOYMENT))
    uid = json.loads(cluster.kubectl("get", "deployment", "cart", "-n", namespace, "-o", "json"))["metadata"]["uid"]
    guard = {"op": "test", "path": "/spec/replicas", "value": 3}
    back = {"op": "replace", "path": "/spec/replicas", "value": 2}
    write = WRITE | {"verb": "Scale", "namespace": namespace, "uid": uid, "patch": [guard, back]}
    tried = {"action": "scale", "startedTime": "2026-11-23T12:00:00Z", "result": "Inconclusive", "undo": [write]}
    remediation(cluster, namespace, {"attempts": [tried]} | (ENDED if ended else {}))


def replicas(cluster: ApiCluster, namespace: str) -> int:
    """As asked for."""
    found = json.loads(cluster.kubectl("get", "deployment", "cart", "-n", namespace, "-o", "json"))
    return int(found["spec"]["replicas"])


def test_what_a_remediation_changed_is_taken_back(api_cluster: ApiCluster, namespace: str) -> None:
    scaled(api_cluster, namespace)
    assert "dry run" in selfheal(api_cluster, "undo", NAME, "-n", namespace, "--dry-run").stdout
    assert replicas(api_cluster, namespace) == 3
    found = selfheal(api_cluster, "undo", NAME, "-n", namespace)
    assert found.stdout == f"{namespace}/{NAME}: Deployment {namespace}/cart restored\n", found.stderr
    assert found.stderr == ""
    assert replicas(api_cluster, namespace) == 2


def test_the_record_says_what_was_taken_back_by_whom_and_when(api_cluster: ApiCluster, namespace: str) -> None:
    scaled(api_cluster, namespace)
    selfheal(api_cluster, "undo", NAME, "-n", namespace)
    status = json.loads(api_cluster.kubectl("get", "rem", NAME, "-n", namespace, "-o", "json"))["status"]
    (undone,) = [one for one in status["conditions"] if one["type"] == "Undone"]
    said = f"admin took it back with `selfheal undo`: Deployment {namespace}/cart restored"
    assert (undone["status"], undone["reason"], undone["message"]) == ("True", "UndoneByPerson", said)
    assert (status["attempts"][0]["result"], status["attempts"][0]["evidence"]) == (
        "Undone",
        [f"SpecRestored: yes: {said}"],
    )
    assert status["times"]["undone"] == undone["lastTransitionTime"]
    assert status["outcome"] == "Skipped"  # how it ended stays as it was
    assert selfheal(api_cluster, "undo", NAME, "-n", namespace).returncode == 3


def test_a_dry_run_of_an_undo_leaves_the_record_alone(api_cluster: ApiCluster, namespace: str) -> None:
    scaled(api_cluster, namespace)
    selfheal(api_cluster, "undo", NAME, "-n", namespace, "--dry-run")
    status = json.loads(api_cluster.kubectl("get", "rem", NAME, "-n", namespace, "-o", "json"))["status"]
    assert status["attempts"][0]["result"] == "Inconclusive"


def test_what_somebody_changed_since_is_not_overwritten(api_cluster: ApiCluster, namespace: str) -> None:
    scaled(api_cluster, namespace)
    api_cluster.kubectl("scale", "deployment", "cart", "--replicas=5", "-n", namespace)
    found = selfheal(api_cluster, "undo", NAME, "-n", namespace)
    assert (found.returncode, "was changed since" in found.stderr) == (1, True)
    assert replicas(api_cluster, namespace) == 5


def test_a_remediation_at_work_is_not_undone_behind_its_back(api_cluster: ApiCluster, namespace: str) -> None:
    scaled(api_cluster, namespace, ended=False)
    found = selfheal(api_cluster, "undo", NAME, "-n", namespace)
    assert (found.returncode, "still at work" in found.stderr) == (2, True)
    assert replicas(api_cluster, namespace) == 3


def test_nothing_to_take_back_ends_with_3(api_cluster: ApiCluster, namespace: str) -> None:
    remediation(api_cluster, namespace, ENDED)
    assert selfheal(api_cluster, "undo", NAME, "-n", namespace).returncode == 3


@pytest.fixture
def own_config(api_cluster: ApiCluster) -> Iterator[None]:
    """Takes back the cluster-wide configuration."""
    yield
    api_cluster.kubectl("delete", "healingconfig", "cluster", "--ignore-not-found")


def config(cluster: ApiCluster) -> dict[str, Any]:
    """As stored."""
    spec: dict[str, Any] = json.loads(cluster.kubectl("get", "healingconfig", "cluster", "-o", "json"))["spec"]
    return spec


@pytest.mark.usefixtures("own_config")
def test_healing_is_suspended_and_resumed_and_other_settings_stay(api_cluster: ApiCluster) -> None:
    assert selfheal(api_cluster, "resume").stdout == "healing is running already\n"
    assert selfheal(api_cluster, "suspend").stdout == "healing is suspended\n"
    patch = json.dumps({"spec": {"budget": {"maxConcurrent": 3}}})
    api_cluster.kubectl("patch", "healingconfig", "cluster", "--type=merge", "-p", patch)
    assert selfheal(api_cluster, "suspend").stdout == "healing is suspended already\n"
    assert "nothing changed" in selfheal(api_cluster, "resume", "--dry-run").stdout
    assert config(api_cluster)["suspended"] is True
    told = json.loads(selfheal(api_cluster, "resume", "--json").stdout)
    assert told == {"suspended": False, "changed": True, "dryRun": False}
    assert (config(api_cluster)["suspended"], config(api_cluster)["budget"]["maxConcurrent"]) == (False, 3)
