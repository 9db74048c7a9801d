"""adjust-resources."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.actions import ACTIONS
from controller.model import Resource, Symptom, Workload
from controller.quantities import is_guaranteed
from selfheal.errors import Refused
from selfheal.policy import Action, AnomalyType, parse_quantity
from selfheal.protocol import Prediction, TopMetric
from selfheal.remediation import Change
from tests.unit.controller.actions.server import MARK, Server, request, there_and_back
from tests.unit.controller.objects import (
    NOW,
    container,
    daemon_set,
    deployment,
    job,
    replica_set,
    stateful_set,
    template,
    workload,
)
from tests.unit.controller.pods import crashlooping, oom, pod, running

PLANNER = ACTIONS[Action.ADJUST_RESOURCES]
OOM, THROTTLED = AnomalyType.OOM_KILLED, AnomalyType.CPU_THROTTLING
SYMPTOM = Symptom(OOM, "LimitTooLow", "killed at 48Mi", NOW, pod="cart-h1-1", container="app")
ARGO: dict[str, Any] = {"annotations": {"argocd.argoproj.io/tracking-id": "shop-app:apps/Deployment:shop/cart"}}


def shop(*containers: Resource, sick: int = 1, well: int = 1, replicas: int = 2, **more: Any) -> Workload:
    """A Deployment some of whose pods were killed for their memory."""
    body = template(*(containers or (container(memory="48Mi"),)))
    metadata = {key: more.pop(key) for key in ("annotations", "labels", "strategy") if key in more}
    target = deployment(pod_template=body, replicas=replicas, **metadata)
    owner = replica_set(target, 1, replicas=replicas)
    names = [one["name"] for one in body["spec"]["containers"]]

    def fine(name: str) -> Resource:
        return running(name) | {"resources": {}}  # as a kubelet that can resize in place reports it

    ill = [pod(owner, index + 1, statuses=[oom(names[0]), *map(fine, names[1:])]) for index in range(sick)]
    good = [pod(owner, sick + index + 1, statuses=list(map(fine, names))) for index in range(well)]
    return workload(target, pods=[*ill, *good], revisions=[owner], **more)


def plan(target: Workload, kind: AnomalyType = OOM, **more: Any) -> Change:
    """The plan; ``adjust`` are the action's parameters."""
    return PLANNER.plan(request(target, kind, adjustResources=more.pop("adjust", {}), **more))


def refusal(target: Workload, kind: AnomalyType = OOM, **more: Any) -> Refused:
    """What adjusting is refused with."""
    with pytest.raises(Refused) as refused:
        plan(target, kind, **more)
    return refused.value


def limit(resource: Resource, name: str = "memory", place: int = 0) -> str:
    """A limit in a pod or a template."""
    spec = resource["spec"]["template"]["spec"] if "template" in resource["spec"] else resource["spec"]
    return str(spec["containers"][place]["resources"]["limits"][name])


def test_the_pod_in_trouble_is_resized_in_place_first_and_then_the_template() -> None:
    target = shop()
    change = plan(target, symptom=SYMPTOM)
    assert [(write.verb, write.name) for write in change.operations] == [("Resize", "cart-h1-1"), ("Patch", "cart")]
    assert [write.resource_version for write in change.operations] == ["", "100"]
    assert change.operations[0].patch == (
        {"op": "test", "path": "/spec/containers/0/name", "value": "app"},
        {"op": "test", "path": "/spec/containers/0/resources/limits/memory", "value": "48Mi"},
        {"op": "replace", "path": "/spec/containers/0/resources/limits/memory", "value": "148Mi"},
    )
    assert change.diff == "memory limit of app: 48Mi -> 148Mi"
    assert change.expected == {
        "/spec/template/spec/containers/0/resources/limits/memory": "148Mi",
        "/metadata/annotations/aiops.example.com~1remediation": MARK,
    }
    assert limit(there_and_back(target, change)) == "148Mi"


LIMITS = st.sampled_from(["16Mi", "48Mi", "1Gi", "100M", "134217728", "1.5Gi"])


@given(
    st.lists(
        st.tuples(LIMITS, st.sampled_from(["", "10m", "1"]), st.sampled_from([None, {}, {"memory": "8Mi"}])),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 2),
    st.integers(0, 2),
    st.sampled_from(["1", "1.5", "2"]),
)
def test_memory_only_grows_stays_under_the_maximum_keeps_the_qos_class_and_can_be_taken_back(
    shapes: list[tuple[str, str, dict[str, str] | None]], which: int, bumps: int, factor: str
) -> None:
    which %= len(shapes)
    bodies = [container(f"c{n}", memory=mem, cpu=cpu, requests=req) for n, (mem, cpu, req) in enumerate(shapes)]
    target = shop(*bodies, sick=2)
    symptom = Symptom(OOM, "LimitTooLow", "killed", NOW, container=f"c{which}")
    change = plan(target, symptom=symptom, bumps=bumps, adjust={"factor": factor, "maxMemory": "2Gi"})
    after = there_and_back(target, change)
    old, new = parse_quantity(shapes[which][0]), parse_quantity(limit(after, place=which))
    assert min(old * Decimal("1.2"), Decimal(2) * 1024**3) <= new <= 2 * 1024**3
    server = Server(target)
    server.write(change.operations)
    for before in target.pods:
        resized = server.objects["Pod", before["metadata"]["name"]]
        assert is_guaranteed(resized["spec"]) == is_guaranteed(before["spec"])
    assert is_guaranteed(after["spec"]["template"]["spec"]) == is_guaranteed(
        target.resource["spec"]["template"]["spec"]
    )


@pytest.mark.parametrize(
    ("old", "adjust", "bumps", "new"),
    [
        ("48Mi", {}, 0, "148Mi"),
        ("48Mi", {}, 1, "248Mi"),
        ("48Mi", {}, 2, "448Mi"),
        ("1Gi", {}, 0, "1536Mi"),
        ("1Gi", {"factor": "2"}, 0, "2Gi"),
        ("1Gi", {"factor": "1"}, 0, "1229Mi"),
        ("48Mi", {"maxMemory": "96Mi"}, 0, "96Mi"),
    ],
)
def test_memory_grows_by_the_factor_but_at_least_by_a_fifth_and_100_mi_and_doubles_with_each_raise(
    old: str, adjust: dict[str, str], bumps: int, new: str
) -> None:
    target = shop(container(memory=old))
    assert limit(there_and_back(target, plan(target, bumps=bumps, adjust=adjust))) == new


@pytest.mark.parametrize(("old", "new"), [("20m", "120m"), ("1", "1500m"), ("2", "3")])
def test_a_throttled_container_gets_more_cpu(old: str, new: str) -> None:
    target = shop(container(cpu=old), sick=0, well=2)
    change = plan(target, THROTTLED)
    assert limit(there_and_back(target, change), "cpu") == new
    assert [write.verb for write in change.operations] == ["Resize", "Resize", "Patch"]


def test_the_request_of_a_guaranteed_pod_stays_equal_to_its_limit() -> None:
    change = plan(shop(container(memory="48Mi", cpu="100m")))
    assert change.diff.splitlines() == ["memory limit of app: 48Mi -> 148Mi", "memory request of app: 48Mi -> 148Mi"]


def test_the_request_of_a_burstable_pod_stays_what_it_is() -> None:
    target = shop(container(memory="48Mi", cpu="100m", requests={"memory": "48Mi", "cpu": "10m"}))
    assert plan(target).diff == "memory limit of app: 48Mi -> 148Mi"


def test_containers_are_found_by_name_not_by_place() -> None:
    target = shop(container("app", memory="48Mi"), container("proxy", memory="32Mi"))
    target.pods[0]["spec"]["containers"].reverse()
    resize, patch = plan(target, symptom=SYMPTOM).operations
    assert resize.patch[0] == {"op": "test", "path": "/spec/containers/1/name", "value": "app"}
    assert patch.patch[0] == {"op": "test", "path": "/spec/template/spec/containers/0/name", "value": "app"}


def test_the_killed_container_is_found_where_no_symptom_names_it() -> None:
    target = shop(container("app", memory="48Mi"), container("proxy", memory="32Mi"))
    assert plan(target).diff == "memory limit of app: 48Mi -> 148Mi"


def test_a_leak_among_several_limited_containers_is_not_guessed() -> None:
    target = shop(container("app", memory="48Mi"), container("proxy", memory="32Mi"), sick=0)
    assert refusal(target, AnomalyType.MEMORY_LEAK).reason == "UnknownContainer"
    gone = Symptom(OOM, "LimitTooLow", "killed", NOW, container="old")
    assert refusal(target, symptom=gone).reason == "UnknownContainer"


def test_a_pod_that_was_resized_before_grows_from_there() -> None:
    target = shop()
    target.pods[0]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "200Mi"
    change = plan(target, symptom=SYMPTOM)
    assert change.diff.splitlines() == ["memory limit of app: 48Mi -> 300Mi", "memory limit of app: 200Mi -> 300Mi"]


def test_a_limit_that_only_a_limit_range_gave_the_pod_is_written_into_the_template() -> None:
    target = shop(container())
    for one in target.pods:
        one["spec"]["containers"][0]["resources"] = {"limits": {"memory": "48Mi"}, "requests": {"memory": "48Mi"}}
    assert limit(there_and_back(target, plan(target, symptom=SYMPTOM))) == "148Mi"


def test_where_git_owns_the_template_only_the_pod_grows() -> None:
    target = shop(**ARGO)
    change = plan(target, symptom=SYMPTOM)
    assert [write.verb for write in change.operations] == ["Resize"]
    assert change.expected == {}
    assert "Argo CD (shop-app) owns the template: the size lasts as long as the pods" in change.note
    there_and_back(target, change)
    assert refusal(shop(sick=0, well=0, **ARGO), symptom=SYMPTOM).reason == "NoPod"


def test_a_pod_on_a_node_that_cannot_resize_gets_the_new_size_by_the_rollout() -> None:
    target = shop(sick=0, well=2)
    for one in target.pods:
        del one["status"]["containerStatuses"][0]["resources"]
    assert [write.verb for write in plan(target).operations] == ["Patch"]
    target.resource["metadata"]["annotations"] |= ARGO["annotations"]
    assert refusal(target).reason == "NoPod"


def test_a_helm_release_is_told_that_its_values_are_behind() -> None:
    assert "helm upgrade` of cart sets it back" in plan(shop(annotations={"meta.helm.sh/release-name": "cart"})).note


def test_a_container_that_restarts_for_a_resize_says_so() -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    assert "Container app restarts for it" in plan(shop(container(memory="48Mi", resizePolicy=policy))).note
    assert "restarts for it" not in plan(shop()).note


def test_an_init_container_grows_in_the_template_alone() -> None:
    target = shop()
    target.resource["spec"]["template"]["spec"]["initContainers"] = [container("migrate", memory="48Mi")]
    killed = Symptom(OOM, "LimitTooLow", "killed", NOW, container="migrate")
    change = plan(target, symptom=killed)
    assert [write.verb for write in change.operations] == ["Patch"]
    assert change.diff == "memory limit of migrate: 48Mi -> 148Mi"


def test_a_crash_loop_with_a_kill_for_memory_behind_it_needs_memory() -> None:
    assert plan(shop(), AnomalyType.CRASH_LOOP_BACK_OFF).diff == "memory limit of app: 48Mi -> 148Mi"
    target = shop(sick=0, well=0)
    dead = workload(target.resource, pods=[pod(target.revisions[0], 1, statuses=[crashlooping()])])
    assert refusal(dead, AnomalyType.CRASH_LOOP_BACK_OFF).reason == "NothingToAdjust"


def test_a_metric_anomaly_is_adjusted_by_the_metric_that_carries_it() -> None:
    tops = (TopMetric(name="cpu_throttled_ratio", observed=0.9, expected=0.1, share=1),)
    found = Prediction(workload="shop/Deployment/cart", anomaly=True, confidence=0.9, top_metrics=tops)
    target = shop(container(memory="48Mi", cpu="20m"), sick=0)
    assert plan(target, AnomalyType.METRIC_ANOMALY, prediction=found).diff.startswith("cpu limit of app: 20m -> 120m")


@pytest.mark.parametrize("kind", [job(), {"kind": "CronJob"}], ids=["Job", "CronJob"])
def test_pods_of_jobs_are_not_adjusted(kind: Resource) -> None:
    assert refusal(workload(job() | {"kind": kind["kind"]})).reason == "NotAdjustable"


@pytest.mark.parametrize("target", [stateful_set, daemon_set])
def test_stateful_sets_and_daemon_sets_grow_too(target: Any) -> None:
    found = target(pod_template=template(container(memory="48Mi")))
    bundle = workload(found, pods=[pod(found, 0, statuses=[oom()])])
    assert limit(there_and_back(bundle, plan(bundle))) == "148Mi"


def test_no_limit_is_nothing_to_raise() -> None:
    assert refusal(shop(container())).reason == "NoLimit"
    assert refusal(shop(container(cpu="1")), AnomalyType.MEMORY_LEAK).reason == "NoLimit"


def ranged(kind: str, **more: Any) -> Resource:
    """A LimitRange with one item."""
    return {"metadata": {"name": "team"}, "spec": {"limits": [{"type": kind, **more}]}}


def quota(key: str, hard: str, used: str) -> Resource:
    """A ResourceQuota of one resource."""
    return {"metadata": {"name": "team"}, "spec": {}, "status": {"hard": {key: hard}, "used": {key: used}}}


def node(memory: str, name: str = "node-1") -> Resource:
    """A Node."""
    return {"metadata": {"name": name}, "status": {"allocatable": {"memory": memory, "cpu": "2"}}}


@pytest.mark.parametrize(
    ("more", "reason", "says"),
    [
        ({"adjust": {"maxMemory": "50Mi"}}, "AtMaximum", "maxMemory of the policy is 50Mi"),
        ({"limit_ranges": (ranged("Container", max={"memory": "50Mi"}),)}, "OverLimitRange", "allows a container 50Mi"),
        ({"limit_ranges": (ranged("Pod", max={"memory": "50Mi"}),)}, "OverLimitRange", "allows a pod 50Mi"),
        ({"quotas": (quota("limits.memory", "100Mi", "96Mi"),)}, "OverQuota", "4Mi of 100Mi limits.memory left"),
        ({"nodes": (node("50Mi"),)}, "OverNode", "node node-1 has 50Mi allocatable"),
    ],
)
def test_a_ceiling_is_refused_with_its_reason_and_numbers(more: dict[str, Any], reason: str, says: str) -> None:
    adjust = more.pop("adjust", {})
    refused = refusal(shop(**more), adjust=adjust)
    assert refused.reason == reason
    assert str(refused).startswith("memory limit of app is 48Mi and would need at least 58Mi, but ")
    assert says in str(refused)


@pytest.mark.parametrize(
    ("more", "new"),
    [
        ({"limit_ranges": (ranged("Container", max={"memory": "100Mi"}),)}, "100Mi"),
        ({"limit_ranges": (ranged("PersistentVolumeClaim", max={"storage": "1Gi"}),)}, "148Mi"),
        ({"quotas": (quota("limits.memory", "600Mi", "96Mi"),)}, "148Mi"),
        ({"quotas": (quota("limits.memory", "300Mi", "96Mi"),)}, "100Mi"),
        ({"quotas": (quota("limits.memory", "300Mi", "96Mi"),), "strategy": {"type": "Recreate"}}, "148Mi"),
        ({"quotas": (quota("requests.memory", "96Mi", "96Mi"),)}, "148Mi"),
        ({"nodes": (node("120Mi"), node("10Mi", "another"))}, "120Mi"),
    ],
)
def test_a_ceiling_in_reach_is_not_passed(more: dict[str, Any], new: str) -> None:
    target = shop(**more)
    assert limit(there_and_back(target, plan(target))) == new


def test_a_request_that_follows_its_limit_counts_in_the_quota_of_requests() -> None:
    target = shop(container(memory="48Mi", cpu="10m"), quotas=(quota("requests.memory", "96Mi", "96Mi"),))
    assert refusal(target).reason == "OverQuota"


def test_the_allowed_ratio_of_limit_and_request_is_kept() -> None:
    ratio = ranged("Container", maxLimitRequestRatio={"memory": "2"})
    target = shop(container(memory="48Mi", requests={"memory": "40Mi"}), limit_ranges=(ratio,))
    assert limit(there_and_back(target, plan(target))) == "80Mi"


@pytest.mark.parametrize(("mode", "refused"), [("Auto", True), ("Initial", True), ("Off", False)])
def test_a_vertical_autoscaler_that_acts_is_not_fought(mode: str, refused: bool) -> None:
    vpa = {
        "kind": "VerticalPodAutoscaler",
        "metadata": {"name": "cart"},
        "spec": {"updatePolicy": {"updateMode": mode}},
    }
    if refused:
        assert refusal(shop(autoscalers=(vpa,))).reason == "OwnedByVPA"
    else:
        assert plan(shop(autoscalers=(vpa,))).operations
