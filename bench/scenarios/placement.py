"""Faults of room: nodes, rules, quotas and volumes. Nearly all are somebody's decision, so people are told."""

from __future__ import annotations

from bench.client import Resource
from bench.scenarios.objects import QUICK, container, path, policy, thing, workload
from bench.scenarios.scenario import Answer, Scenario, Tier
from bench.scenarios.stage import Stage


def _plain(_: Stage) -> list[Resource]:
    return [workload()]


def _nodes(stage: Stage) -> list[str]:
    return [node["metadata"]["name"] for node in stage.client.items(path("Node"))]


def _lose_a_pod(stage: Stage) -> None:
    stage.client.delete(path("Pod", stage.namespace, stage.pods()[0]["metadata"]["name"]))


def _taint(stage: Stage) -> None:
    for node in _nodes(stage):
        taints = [{"key": "team.example/reserved", "value": "yes", "effect": "NoSchedule"}]
        stage.client.merge(path("Node", "", node), {"spec": {"taints": taints}})
    _lose_a_pod(stage)


def _untaint(stage: Stage) -> None:
    for node in _nodes(stage):
        stage.client.merge(path("Node", "", node), {"spec": {"taints": None}})


def _cordon(stage: Stage) -> None:
    for node in _nodes(stage):
        stage.client.merge(path("Node", "", node), {"spec": {"unschedulable": True}})
    _lose_a_pod(stage)


def _uncordon(stage: Stage) -> None:
    for node in _nodes(stage):
        stage.client.merge(path("Node", "", node), {"spec": {"unschedulable": None}})


def _spread(stage: Stage) -> None:
    rule = {"labelSelector": {"matchLabels": {"app": "cart"}}, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [rule]}}
    stage.patch("Deployment", "cart", {"spec": {"template": {"spec": {"affinity": affinity}}}})


def _under_quota(_: Stage) -> list[Resource]:
    return [
        workload(),
        workload("store", "StatefulSet"),
        thing("ResourceQuota", "team", spec={"hard": {"pods": "4"}}),
    ]


def _outgrow(stage: Stage) -> None:
    for kind, name in (("Deployment", "cart"), ("StatefulSet", "store")):
        stage.patch(kind, name, {"spec": {"replicas": 4}})


def _both_told(stage: Stage) -> str:
    told = {
        one["regarding"]["name"]
        for one in stage.items("Event")
        if one.get("reason") == "Escalated" and one["regarding"]["kind"] != "SelfHealingPolicy"
    }
    missing = {"cart", "store"} - told
    if missing:
        return f"nobody was told about {', '.join(sorted(missing))}"
    linked = any("The root is ResourceQuota" in str(one.get("note")) for one in stage.items("Event"))
    return "" if linked else "the two were not linked to the quota that they share"


def _claim_nothing(stage: Stage) -> None:
    store = workload(
        "store", "StatefulSet", replicas=1, body=container(volumeMounts=[{"name": "d", "mountPath": "/d"}])
    )
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim["storageClassName"] = "no-such-class"
    store["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "d"}, "spec": claim}]
    stage.apply(store)


PLACEMENT: tuple[Scenario, ...] = (
    Scenario(
        number=18,
        title="all nodes get a taint that pods do not tolerate",
        tier=Tier.API,
        answer=Answer.ESCALATE,
        baseline=_plain,
        policies=(policy("PodPending", "rollback", **QUICK),),
        fault=_taint,
        after=_untaint,
    ),
    Scenario(
        number=19,
        title="all nodes are cordoned",
        tier=Tier.API,
        answer=Answer.ESCALATE,
        baseline=_plain,
        policies=(policy("PodPending", "notify-only", **QUICK),),
        fault=_cordon,
        after=_uncordon,
    ),
    Scenario(
        number=20,
        title="an anti-affinity that no node can meet is rolled out",
        tier=Tier.API,
        answer=Answer.HEAL,
        baseline=_plain,
        policies=(policy("PodPending", "rollback", **QUICK),),
        fault=_spread,
        calm=5.0,
    ),
    Scenario(
        number=22,
        title="the ResourceQuota is used up",
        tier=Tier.API,
        answer=Answer.ESCALATE,
        baseline=_under_quota,
        policies=(policy("PodPending", "rollback", **QUICK),),
        fault=_outgrow,
        also=_both_told,
    ),
    Scenario(
        number=23,
        title="a claim names a StorageClass that does not exist",
        tier=Tier.API,
        answer=Answer.ESCALATE,
        baseline=_plain,
        policies=(policy("PodPending", "rollback", **QUICK),),
        fault=_claim_nothing,
        target=("StatefulSet", "store"),
    ),
)
