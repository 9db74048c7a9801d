"""The CRDs on a real API server: what is admitted, what is filled in, and what is refused with which sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.cluster import ApiCluster
from bench.controlplane import KubectlFailed
from selfheal.errors import InvalidResource
from selfheal.policy import (
    ACTION_ALIASES,
    ANOMALY_ALIASES,
    API_VERSION,
    UNFIT,
    Action,
    AnomalyType,
    HealingConfig,
    Policy,
    PolicySpec,
    unfit,
)

pytestmark = pytest.mark.api

MANIFESTS = Path(__file__).parents[2] / "manifests"


def policy(name: str, **spec: Any) -> dict[str, Any]:
    basis = {"anomalyType": "CrashLoopBackOff", "action": "rollback"}
    return {"apiVersion": API_VERSION, "kind": "SelfHealingPolicy", "metadata": {"name": name}, "spec": basis | spec}


def rejected(cluster: ApiCluster, *documents: dict[str, Any]) -> str:
    """What the server says against documents, in one dry run; empty when it admits all."""
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    try:
        cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=everything)
    except KubectlFailed as error:
        return str(error)
    return ""


def stored(cluster: ApiCluster, namespace: str, document: dict[str, Any]) -> dict[str, Any]:
    """Create a document and return it as the server has it."""
    text = cluster.kubectl("create", "-n", namespace, "-o", "json", "-f", "-", stdin=json.dumps(document))
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_articles_policy_applies_verbatim(api_cluster: ApiCluster, namespace: str) -> None:
    file = MANIFESTS / "examples" / "article-policy.yaml"
    said = api_cluster.kubectl("apply", "-n", namespace, "-f", str(file))
    assert said.strip() == "selfhealingpolicy.aiops.example.com/crashloop-healing created"
    table = api_cluster.kubectl("get", "shp", "-n", namespace).splitlines()
    assert table[0].split() == ["NAME", "TYPE", "ACTION", "MODE", "READY", "ANOMALY", "LAST-OUTCOME", "AGE"]
    assert table[1].split()[:4] == ["crashloop-healing", "CrashLoopBackOff", "rollback", "Auto"]


def test_the_server_fills_in_the_defaults_that_the_types_have(api_cluster: ApiCluster, namespace: str) -> None:
    found = stored(api_cluster, namespace, policy("defaults"))["spec"]
    assert PolicySpec.model_validate(found) == PolicySpec.model_validate(policy("defaults")["spec"])
    assert found["confidenceThreshold"] == 0.85
    assert (found["mode"], found["enabled"], found["undoOnFailure"]) == ("Auto", True, True)
    assert found["verification"] == {"stabilizationPeriod": "60s", "timeout": "5m"}
    assert found["parameters"]["adjustResources"] == {"factor": "1.5", "maxMemory": "4Gi", "maxCpu": "4"}
    assert found["escalation"] == found["windows"] == []


def test_what_is_half_given_is_filled_in_too(api_cluster: ApiCluster, namespace: str) -> None:
    given = {"verification": {"timeout": "9m"}, "parameters": {"scale": {"step": 2}}, "windows": [{"start": "22:00"}]}
    found = stored(api_cluster, namespace, policy("half", **given))["spec"]
    assert found["verification"] == {"stabilizationPeriod": "60s", "timeout": "9m"}
    assert found["parameters"]["scale"] == {"step": 2, "maxReplicas": 10}
    assert found["windows"][0]["timezone"] == "UTC"
    assert len(found["windows"][0]["days"]) == 7


def test_every_spelling_is_admitted_and_kept(api_cluster: ApiCluster, namespace: str) -> None:
    for said, meant in ANOMALY_ALIASES.items():
        document = policy(said.replace("_", "-"), anomalyType=said, action="notify-only")
        spec = stored(api_cluster, namespace, document)["spec"]
        assert spec["anomalyType"] == said
        assert PolicySpec.model_validate(spec).anomaly_type is meant
    for said, action in ACTION_ALIASES.items():
        spec = stored(api_cluster, namespace, policy(f"as-{action}", action=said))["spec"]
        assert (spec["action"], PolicySpec.model_validate(spec).action) == (said, action)


def test_the_server_and_the_types_agree_on_which_action_can_help_what(api_cluster: ApiCluster) -> None:
    pairs = {f"{kind.lower()}-{action}": (kind, action) for kind in AnomalyType for action in Action}
    said = rejected(
        api_cluster, *(policy(name, anomalyType=kind, action=action) for name, (kind, action) in pairs.items())
    )
    refused = set(re.findall(r'"([a-z-]+)" is invalid', said))
    assert refused == {name for name, (kind, action) in pairs.items() if unfit(kind, [action])}
    for kind, (actions, _) in UNFIT.items():
        assert unfit(kind, actions) in said


def test_an_alias_or_an_escalation_is_no_way_around(api_cluster: ApiCluster) -> None:
    sentence = "for StorageExhaustion write restart or notify-only"
    assert sentence in rejected(api_cluster, policy("p", anomalyType="storage_exhaustion", action="adjust_resources"))
    assert sentence in rejected(
        api_cluster, policy("p", anomalyType="StorageExhaustion", action="restart", escalation=["rollback"])
    )


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"anomalyType": "Sadness"}, "spec.anomalyType: Unsupported value"),
    ({"action": "reboot"}, "spec.action: Unsupported value"),
    ({"mode": "Maybe"}, "spec.mode: Unsupported value"),
    ({"confidenceThreshold": 1.5}, "less than or equal to 1"),
    ({"confidenceThreshold": -0.1}, "greater than or equal to 0"),
    ({"cooldownPeriod": "soon"}, "write a duration such as 90s, 5m or 1h30m"),
    ({"cooldownPeriod": "300"}, "write a duration such as 90s, 5m or 1h30m"),
    ({"cooldownPeriod": "-5m"}, "write a duration such as 90s, 5m or 1h30m"),
    ({"cooldownPeriod": "721h"}, "720h at most"),
    ({"maxRetries": -1}, "greater than or equal to 0"),
    ({"maxRetries": 21}, "less than or equal to 20"),
    ({"targetNamespace": "No_Name"}, "spec.targetNamespace"),
    ({"selector": {"matchExpressions": [{"key": "tier", "operator": "In"}]}}, "In and NotIn need values"),
    (
        {"selector": {"matchExpressions": [{"key": "tier", "operator": "Exists", "values": ["web"]}]}},
        "Exists and DoesNotExist have none",
    ),
    ({"parameters": {"adjustResources": {"factor": "0.9"}}}, "a factor below 1 would shrink"),
    ({"parameters": {"adjustResources": {"factor": "a lot"}}}, 'for example "1.5"'),
    ({"parameters": {"adjustResources": {"maxMemory": "lots"}}}, "for example 128Mi or 1Gi"),
    ({"parameters": {"adjustResources": {"maxMemory": "0"}}}, "write a quantity above 0"),
    ({"parameters": {"adjustResources": {"maxCpu": "-1"}}}, "for example 500m or 2"),
    ({"parameters": {"scale": {"step": 0}}}, "spec.parameters.scale.step"),
    ({"parameters": {"scale": {"maxReplicas": 0}}}, "spec.parameters.scale.maxReplicas"),
    ({"parameters": {"rollback": {"searchDepth": 51}}}, "spec.parameters.rollback.searchDepth"),
    ({"parameters": {"rollback": {"gitops": "Force"}}}, "spec.parameters.rollback.gitops"),
    ({"parameters": {"restart": {"strategy": "Kill"}}}, "spec.parameters.restart.strategy"),
    ({"verification": {"timeout": "59s"}}, "write a longer timeout"),
    ({"verification": {"stabilizationPeriod": "0s"}}, "0s would call a fix good without evidence"),
    ({"escalation": ["rollback"]}, "escalation names other actions than action, each once"),
    ({"escalation": ["restart", "restart"]}, "escalation names other actions than action, each once"),
    ({"escalation": ["adjust-resources", "adjust_resources"]}, "escalation names other actions than action, each once"),
    ({"action": "notify-only", "escalation": ["restart"]}, "nothing comes after notify-only"),
    ({"escalation": ["notify-only", "restart"]}, "nothing comes after notify-only"),
    ({"windows": [{"days": []}]}, "a window without days never opens"),
    ({"windows": [{"days": ["Caturday"]}]}, "spec.windows[0].days[0]"),
    ({"windows": [{"days": ["Mon", "Mon"]}]}, "Duplicate value"),
    ({"windows": [{"start": "9:00"}]}, 'write a time such as "09:30"'),
    ({"windows": [{"end": "24:00"}]}, 'write a time such as "09:30"'),
    ({"priority": 1_000_001}, "spec.priority"),
    ({"remediationHistoryLimit": 0}, "spec.remediationHistoryLimit"),
]


@pytest.mark.parametrize(("spec", "sentence"), REFUSED)
def test_what_cannot_work_is_refused_with_what_to_write_instead(
    api_cluster: ApiCluster, spec: dict[str, Any], sentence: str
) -> None:
    assert sentence in rejected(api_cluster, policy("p", **spec))
    with pytest.raises(InvalidResource):
        Policy.from_resource(policy("p", **spec))


def test_unknown_fields_are_refused(api_cluster: ApiCluster) -> None:
    assert 'unknown field "colour"' in rejected(api_cluster, policy("p", colour="red"))


ADMITTED: list[dict[str, Any]] = [
    {"confidenceThreshold": 0, "maxRetries": 0, "cooldownPeriod": "0s"},
    {"confidenceThreshold": 1, "maxRetries": 20, "cooldownPeriod": "1h30m"},
    {"cooldownPeriod": "1.5h", "verification": {"stabilizationPeriod": "250ms", "timeout": "250ms"}},
    {"parameters": {"adjustResources": {"factor": "1", "maxMemory": "1e9", "maxCpu": 2}}},
    {"parameters": {"adjustResources": {"maxMemory": ".5Gi", "maxCpu": "500m"}}},
    {"escalation": ["restart", "adjust_resources", "scale", "notify-only"]},
    {"windows": [{"days": ["Mon"], "start": "22:00", "end": "04:00", "timezone": "Europe/Zurich"}]},
    {"windows": [{"days": ["Sat", "Sun"], "start": "09:00", "end": "09:00"}]},
    {"selector": {"matchLabels": {"tier": "web"}, "matchExpressions": [{"key": "a.b/c", "operator": "Exists"}]}},
    {"targetNamespace": "", "enabled": False, "undoOnFailure": False, "mode": "Observe", "priority": -5},
]


def test_what_works_at_the_edges_is_admitted_by_both(api_cluster: ApiCluster) -> None:
    documents = [policy(f"edge-{number}", **spec) for number, spec in enumerate(ADMITTED)]
    assert rejected(api_cluster, *documents) == ""
    for document in documents:
        Policy.from_resource(document)


def test_what_the_server_cannot_know_is_left_to_the_controller(api_cluster: ApiCluster) -> None:
    mars = policy("p", windows=[{"timezone": "Mars/Olympus"}])
    assert rejected(api_cluster, mars) == ""
    with pytest.raises(InvalidResource, match="IANA"):
        Policy.from_resource(mars)


def config(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "HealingConfig", "metadata": {"name": name}, "spec": spec}


def test_a_healing_config_has_the_defaults_that_hold_without_one(api_cluster: ApiCluster) -> None:
    bare = {key: value for key, value in config("cluster").items() if key != "spec"}
    text = api_cluster.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(bare))
    assert HealingConfig.from_resource(json.loads(text)) == HealingConfig.from_resource(None)
    example = api_cluster.kubectl(
        "create", "--dry-run=server", "-o", "json", "-f", str(MANIFESTS / "examples" / "healing-config.yaml")
    )
    assert json.loads(example)["spec"] == json.loads(text)["spec"]


def test_there_is_one_healing_config(api_cluster: ApiCluster) -> None:
    assert "write metadata.name cluster" in rejected(api_cluster, config("mine"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"budget": {"maxConcurrent": -1}}, "spec.budget.maxConcurrent"),
        ({"budget": {"maxPerHour": 100_001}}, "spec.budget.maxPerHour"),
        ({"budget": {"maxPerNamespacePerHour": -1}}, "spec.budget.maxPerNamespacePerHour"),
        ({"storm": {"maxUnhealthyPercent": 0}}, "spec.storm.maxUnhealthyPercent"),
        ({"storm": {"cooldown": "later"}}, "write a duration such as"),
        ({"approvalTimeout": "1 day"}, "write a duration such as"),
        ({"protectedNamespaces": ["Kube_*"]}, "spec.protectedNamespaces[0]"),
    ],
)
def test_a_healing_config_that_cannot_work_is_refused_by_both(
    api_cluster: ApiCluster, spec: dict[str, Any], words: str
) -> None:
    assert words in rejected(api_cluster, config("cluster", **spec))
    with pytest.raises(InvalidResource):
        HealingConfig.from_resource({"spec": spec})
