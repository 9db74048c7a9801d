"""Remediations and approvals on a real API server: what the controller writes is stored whole, and never changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bench.cluster import ApiCluster
from bench.controlplane import KubectlFailed
from selfheal.change import Loan
from selfheal.policy import API_VERSION, Action, AnomalyType
from selfheal.remediation import (
    AnomalyRecord,
    Attempt,
    AttemptResult,
    Change,
    Condition,
    Hindsight,
    LastVerdict,
    Operation,
    Outcome,
    OutOfMemory,
    PolicyRef,
    PolicyStatus,
    RemediationRef,
    RemediationSpec,
    RemediationStatus,
    Source,
    Tally,
    TargetRef,
    Times,
    TopMetricRecord,
    VerdictRecord,
    VoteRecord,
)

pytestmark = pytest.mark.api

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
VOTES = (VoteRecord(detector="arima", vote=True, score=0.99), VoteRecord(detector="prophet"))
SPEC = RemediationSpec(
    policy_ref=PolicyRef(name="p", namespace="shop", uid="pu", generation=2),
    target=TargetRef(api_version="apps/v1", kind="Deployment", namespace="shop", name="cart", uid="tu"),
    anomaly=AnomalyRecord(
        type=AnomalyType.OOM_KILLED,
        symptom="LimitTooLow",
        detected_time=NOON,
        message="quoted \"text\" <b>\n'of' a pod",
    ),
    verdict=VerdictRecord(
        confidence=0.92,
        votes=VOTES,
        top_metrics=(TopMetricRecord(name="pod_memory_usage", observed=8.1e8), TopMetricRecord(name="x", expected=0.0)),
        model_version="7",
        source=Source.BOTH,
    ),
)
OPERATION = Operation(
    verb="Patch",
    api_version="apps/v1",
    kind="Deployment",
    namespace="shop",
    name="cart",
    uid="tu",
    resource_version="7",
    patch=(
        {"op": "test", "path": "/spec/paused", "value": None},
        {
            "op": "add",
            "path": "/spec/template/metadata/annotations",
            "value": {"a": "b", "deep": [1, 2.5, None, {"c": []}]},
        },
        {"op": "replace", "path": "/spec/replicas", "value": 3},
        {"op": "move", "path": "/b", "from": "/a"},
        {"op": "remove", "path": "/spec/x"},
    ),
)
EVICTION = Operation(verb="Evict", api_version="v1", kind="Pod", namespace="shop", name="cart-1", uid="u")
FULL = RemediationStatus(
    conditions=(
        Condition(type="Applied", status="False", reason="Because", message="so", last_transition_time=NOON),
        Condition(type="Approved", status="True", reason="Because", last_transition_time=NOON, observed_generation=1),
        Condition(type="Verified", status="Unknown", reason="Because", last_transition_time=NOON),
    ),
    outcome=Outcome.FAILED,
    reason="StillFailing",
    attempts=(
        Attempt(
            action=Action.ADJUST_RESOURCES,
            started_time=NOON,
            ended_time=NOON + timedelta(minutes=1),
            change=Change(
                operations=(OPERATION, EVICTION),
                diff="memory limit of app: 48Mi -> 148Mi\nreplicas: 2 -> 3",
                undo=(OPERATION,),
                note="lasts as long as the pod",
                expected={"/spec/replicas": 3, "/spec/paused": None, "/x": {"y": ["z"]}},
                out_of_memory=OutOfMemory(container="app", limit="48Mi", seconds=6.0),
                lent=("memory limit of app",),
            ),
            undo=(OPERATION,),
            dry_run="the API server accepted 2 operations",
            result=AttemptResult.UNDONE,
            reason="StillFailing",
            message="did not help",
            evidence=("ReplicasReady: 1 of 2", "RestartsFlat: 3 more"),
        ),
        Attempt(action=Action.ROLLBACK, started_time=NOON),
    ),
    times=Times(**{name: NOON + timedelta(seconds=second) for second, name in enumerate(Times.model_fields)}),
    next_step_time=NOON + timedelta(seconds=30),
    message="x" * 5000,
    hindsight=Hindsight.STILL_SICK,
    loan=Loan(
        owner="Argo CD (shop)",
        fields=("memory limit of app",),
        revision="abc",
        lent_time=NOON,
        returned_time=NOON + timedelta(minutes=2),
        reason="GitChanged",
    ),
)


def dump(model: RemediationSpec | RemediationStatus | PolicyStatus) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def create(cluster: ApiCluster, namespace: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    document = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(document))


def get(cluster: ApiCluster, namespace: str, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
    return found


def write_status(cluster: ApiCluster, namespace: str, kind: str, name: str, status: dict[str, Any]) -> None:
    patch = json.dumps([{"op": "add", "path": "/status", "value": status}])
    cluster.kubectl("patch", kind, name, "-n", namespace, "--subresource=status", "--type=json", "-p", patch)


def test_a_remediation_comes_back_as_it_was_written(api_cluster: ApiCluster, namespace: str) -> None:
    create(api_cluster, namespace, "Remediation", "rem-1", dump(SPEC))
    write_status(api_cluster, namespace, "rem", "rem-1", dump(FULL))
    found = get(api_cluster, namespace, "rem", "rem-1")
    assert found["spec"] == dump(SPEC)
    assert found["status"] == dump(FULL)
    assert RemediationSpec.model_validate(found["spec"]) == SPEC
    assert RemediationStatus.model_validate(found["status"]) == FULL


def test_every_field_of_the_status_was_filled_in_that_round_trip() -> None:
    def empty(value: Any) -> bool:
        return value is None or value in ("", (), {})

    models = (FULL, FULL.attempts[0], FULL.attempts[0].change, FULL.times, OPERATION, SPEC.anomaly, SPEC.verdict)
    for model in models:
        fields = type(model).model_fields
        assert [name for name in fields if empty(getattr(model, name))] == []


def test_the_table_tells_target_type_action_and_outcome(api_cluster: ApiCluster, namespace: str) -> None:
    create(api_cluster, namespace, "Remediation", "fresh", dump(SPEC))
    create(api_cluster, namespace, "Remediation", "ended", dump(SPEC))
    write_status(api_cluster, namespace, "rem", "ended", dump(FULL))
    head, ended, fresh = (line.split() for line in api_cluster.kubectl("get", "rem", "-n", namespace).splitlines())
    assert head == ["NAME", "KIND", "TARGET", "TYPE", "ACTION", "CONFIDENCE", "OUTCOME", "REASON", "AGE"]
    assert ended[:8] == ["ended", "Deployment", "cart", "OOMKilled", "rollback", "0.92", "Failed", "StillFailing"]
    assert fresh[:5] == ["fresh", "Deployment", "cart", "OOMKilled", "0.92"]


def test_the_status_of_a_policy_comes_back_too(api_cluster: ApiCluster, namespace: str) -> None:
    conditions = tuple(
        Condition(type=kind, status="True", reason=reason, last_transition_time=NOON, observed_generation=1)
        for kind, reason in (("Ready", "Ready"), ("AnomalyDetected", "OOMKilled"), ("Succeeded", "Successful"))
    )
    status = PolicyStatus(
        conditions=conditions,
        targets=3,
        last_verdict=LastVerdict(target="shop/Deployment/cart", votes=VOTES, confidence=0.92, model="7"),
        last_remediation_ref=RemediationRef(name="rem-1", namespace="shop"),
        remediations=Tally(successful=1, failed=2),
    )
    create(api_cluster, namespace, "SelfHealingPolicy", "p", {"anomalyType": "OOMKilled", "action": "restart"})
    write_status(api_cluster, namespace, "shp", "p", dump(status))
    assert get(api_cluster, namespace, "shp", "p")["status"] == dump(status)
    row = api_cluster.kubectl("get", "shp", "-n", namespace).splitlines()[1].split()
    assert row[:7] == ["p", "OOMKilled", "restart", "Auto", "True", "True", "Successful"]


@pytest.mark.parametrize(
    ("kind", "spec", "path", "words"),
    [
        ("Remediation", dump(SPEC), "/spec/verdict/confidence", "a Remediation is a record"),
        (
            "RemediationApproval",
            {"remediationName": "rem-1", "decision": "Deny", "approver": "admin"},
            "/spec/reason",
            "a decision never changes",
        ),
    ],
)
def test_what_was_decided_never_changes(
    api_cluster: ApiCluster, namespace: str, kind: str, spec: dict[str, Any], path: str, words: str
) -> None:
    create(api_cluster, namespace, kind, "one", spec)
    patch = json.dumps([{"op": "add", "path": path, "value": 0.5 if kind == "Remediation" else "regret"}])
    with pytest.raises(KubectlFailed, match=words):
        api_cluster.kubectl("patch", kind, "one", "-n", namespace, "--type=json", "-p", patch)
    api_cluster.kubectl("label", kind, "one", "-n", namespace, "kept=yes")


def test_a_status_that_is_none_is_refused(api_cluster: ApiCluster, namespace: str) -> None:
    create(api_cluster, namespace, "Remediation", "rem-1", dump(SPEC))
    with pytest.raises(KubectlFailed, match="Unsupported value"):
        write_status(api_cluster, namespace, "rem", "rem-1", {"outcome": "Great"})
