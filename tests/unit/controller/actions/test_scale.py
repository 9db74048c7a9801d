"""scale."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.actions import ACTIONS
from controller.coordination import held_by
from controller.idling import LAST_APPLIED, SCALED_TO_ZERO
from controller.leave import why_not
from controller.model import Resource, Workload
from controller.revisions import DESIRED
from selfheal.errors import Refused
from selfheal.policy import Action, Parameters
from tests.unit.controller.actions.server import request, there_and_back
from tests.unit.controller.objects import (
    container,
    daemon_set,
    deployment,
    job,
    meta,
    replica_set,
    stateful_set,
    template,
    workload,
)

PLANNER = ACTIONS[Action.SCALE]


def hpa(most: int = 4, desired: int | None = None, **metadata: Any) -> Resource:
    """A HorizontalPodAutoscaler; at its maximum unless told otherwise."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": meta("HorizontalPodAutoscaler", "cart", **metadata),
        "spec": {"maxReplicas": most, "minReplicas": 1},
        "status": {"currentReplicas": most, "desiredReplicas": most if desired is None else desired},
    }


def refusal(target: Workload, **parameters: Any) -> Refused:
    """What scaling is refused with."""
    with pytest.raises(Refused) as refused:
        PLANNER.plan(request(target, **parameters))
    return refused.value


def scaled(target: Workload, **parameters: Any) -> int:
    """The replicas after scaling, which is taken back again to see that it can be."""
    return int(there_and_back(target, PLANNER.plan(request(target, **parameters)))["spec"]["replicas"])


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.sampled_from([deployment, stateful_set]))
def test_scaling_adds_a_step_and_never_passes_the_maximum(now: int, step: int, most: int, build: Any) -> None:
    target, parameters = workload(build(replicas=now)), {"scale": {"step": step, "maxReplicas": most}}
    if now >= most:
        assert refusal(target, **parameters).reason == "AtMaximum"
    else:
        assert scaled(target, **parameters) == min(now + step, most)


def test_scaling_goes_through_the_subresource_and_tests_the_old_number() -> None:
    change = PLANNER.plan(request(workload(deployment(replicas=2))))
    (write,) = change.operations
    assert (write.verb, write.kind, write.resource_version) == ("Scale", "Deployment", "100")
    assert write.patch[0] == {"op": "test", "path": "/spec/replicas", "value": 2}
    assert change.diff == "replicas: 2 -> 3"
    assert change.expected == {"/spec/replicas": 3}


@pytest.mark.parametrize("target", [daemon_set(), job()], ids=lambda target: target["kind"])
def test_what_has_no_replicas_is_not_scaled(target: Resource) -> None:
    assert refusal(workload(target)).reason == "NotScalable"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:x"}}, "OwnedByArgoCD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "OwnedByFlux"),
    ],
)
def test_a_number_that_a_repository_sets_back_is_observed_with_what_to_do_there(
    metadata: Resource, reason: str
) -> None:
    target = workload(deployment(**metadata))
    change = PLANNER.plan(request(target))
    assert (change.diff, change.lent) == ("replicas: 2 -> 3", ())
    assert "hange it in its repository" in change.note
    assert held_by(target) == reason
    assert "the replicas" in why_not(target, Action.SCALE, Parameters())


def test_a_helm_release_is_scaled_with_a_warning() -> None:
    target = workload(deployment(annotations={"meta.helm.sh/release-name": "cart"}))
    assert PLANNER.plan(request(target)).note == "The next `helm upgrade` of cart may set the replicas back."


@pytest.mark.parametrize("kind", ["ScaledObject", ""])
def test_keda_decides_for_itself(kind: str) -> None:
    scaler = {"kind": kind, "metadata": {"name": "cart"}, "spec": {"scaleTargetRef": {"name": "cart"}}}
    assert refusal(workload(deployment(replicas=0), autoscalers=(scaler,))).reason == "OwnedByKEDA"


def test_an_autoscaler_at_its_maximum_gets_more_room() -> None:
    target = workload(deployment(replicas=4), autoscalers=(hpa(4),))
    change = PLANNER.plan(request(target, scale={"step": 2, "maxReplicas": 5}))
    (write,) = change.operations
    assert (write.verb, write.kind, write.resource_version) == ("Patch", "HorizontalPodAutoscaler", "")
    assert change.diff == "maxReplicas of HorizontalPodAutoscaler cart: 4 -> 5"
    assert there_and_back(target, change)["spec"]["replicas"] == 4


@pytest.mark.parametrize(
    ("replicas", "scaler", "reason"),
    [
        (2, hpa(4, desired=2), "OwnedByHPA"),
        (0, hpa(4), "OwnedByHPA"),
        (10, hpa(10), "AtMaximum"),
        (4, hpa(4, ownerReferences=[{"kind": "ScaledObject", "name": "cart"}]), "OwnedByKEDA"),
        (4, hpa(4, annotations={"argocd.argoproj.io/tracking-id": "shop:x"}), "OwnedByArgoCD"),
    ],
)
def test_an_autoscaler_is_respected(replicas: int, scaler: Resource, reason: str) -> None:
    assert refusal(workload(deployment(replicas=replicas), autoscalers=(scaler,))).reason == reason


def zero(*desired: int, **annotations: str) -> Workload:
    """A Deployment scaled to zero, whose ReplicaSets (the newest first) remember numbers."""
    target = deployment(replicas=0, annotations=annotations)
    sets = [replica_set(target, len(desired) - place, annotations={DESIRED: str(n)}) for place, n in enumerate(desired)]
    return workload(target, revisions=sets)


def test_a_target_scaled_to_zero_comes_back_with_the_replicas_it_had() -> None:
    applied = {LAST_APPLIED: json.dumps({"spec": {"replicas": 4}})}
    assert scaled(zero(5, **applied)) == 5
    assert scaled(zero(0, 3, **applied)) == 4
    assert scaled(zero(0, 3)) == 3
    assert scaled(replace(zero(0, 3, **applied), remembered=7)) == 7


def test_without_evidence_of_how_many_there_were_nothing_is_done() -> None:
    assert refusal(zero(0)).reason == "ReplicasUnknown"
    assert refusal(zero(**{LAST_APPLIED: "no json"})).reason == "ReplicasUnknown"


def test_coming_back_passes_the_maximum_neither() -> None:
    change = PLANNER.plan(request(zero(5), scale={"maxReplicas": 2}))
    assert change.diff == "replicas: 0 -> 2"
    assert "maxReplicas allows 2 of 5" in change.note


def test_zero_on_purpose_stays_zero() -> None:
    assert refusal(zero(5, **{SCALED_TO_ZERO: "intended"})).reason == "ScaledToZeroOnPurpose"


def quota(key: str, hard: str, used: str, *scopes: str) -> Resource:
    """A ResourceQuota of one resource."""
    status = {"hard": {key: hard}, "used": {key: used}}
    return {"metadata": {"name": "team"}, "spec": {"scopes": list(scopes)}, "status": status}


@pytest.mark.parametrize(
    ("found", "fits"),
    [
        (quota("pods", "2", "2"), False),
        (quota("pods", "3", "2"), True),
        (quota("limits.memory", "1Gi", "1000Mi"), False),
        (quota("requests.cpu", "1", "950m"), False),
        (quota("pods", "2", "2", "Terminating"), True),
    ],
)
def test_pods_that_a_quota_would_not_admit_are_not_asked_for(found: Resource, fits: bool) -> None:
    body = template(container(memory="64Mi", cpu="100m"))
    target = workload(deployment(pod_template=body), quotas=(found,))
    if fits:
        assert scaled(target) == 3
    else:
        refused = refusal(target)
        assert refused.reason == "OverQuota"
        assert "ResourceQuota team" in str(refused)
