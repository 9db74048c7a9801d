"""restart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.actions import ACTIONS
from controller.actions.restart import RESTARTED_BY
from controller.model import Resource, Symptom, Workload
from selfheal.errors import Refused
from selfheal.policy import REMEDIATION_ANNOTATION, Action, AnomalyType
from selfheal.remediation import Change
from tests.unit.controller.actions.server import MARK, request, there_and_back
from tests.unit.controller.objects import (
    NOW,
    ago,
    container,
    daemon_set,
    deployment,
    job,
    replica_set,
    stateful_set,
    template,
    workload,
)
from tests.unit.controller.pods import crashlooping, imagepull, pod, running, waiting

PLANNER = ACTIONS[Action.RESTART]
EVICT: dict[str, Any] = {"restart": {"strategy": "Evict"}}


def _refusal(*args: Any, **more: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        PLANNER.plan(request(*args, **more))
    return refused.value


def _evict(pods: list[Resource], **more: Any) -> Change:
    return PLANNER.plan(request(workload(deployment(), pods=pods, **more), **EVICT))


def _budget(**more: Any) -> Resource:
    status = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 2} | more.pop("status", {})
    return {"metadata": {"name": "cart"}, "spec": more, "status": status}


@given(
    st.dictionaries(st.sampled_from(["a/b", RESTARTED_BY]), st.just("old")),
    st.sampled_from([{}, None, {"x": "y"}, {REMEDIATION_ANNOTATION: "rem-old/2"}]),
    st.booleans(),
)
def test_a_rollout_restart_can_be_taken_back_exactly(
    inside: dict[str, str], outside: dict[str, str] | None, has_metadata: bool
) -> None:
    target = deployment(pod_template=template(annotations=inside))
    target["metadata"]["annotations"] = outside
    if outside is None:
        del target["metadata"]["annotations"]
    if not has_metadata:
        del target["spec"]["template"]["metadata"]
    bundle = workload(target)
    between = there_and_back(bundle, PLANNER.plan(request(bundle)))
    assert between["spec"]["template"]["metadata"]["annotations"][RESTARTED_BY] == MARK
    assert between["metadata"]["annotations"][REMEDIATION_ANNOTATION] == MARK


@pytest.mark.parametrize("target", [deployment(), stateful_set(), daemon_set()], ids=lambda target: target["kind"])
def test_a_rollout_restart_writes_the_template_annotation_and_the_mark_in_one_patch(target: Resource) -> None:
    change = PLANNER.plan(request(workload(target)))
    (write,) = change.operations
    assert (write.verb, write.kind, write.resource_version) == ("Patch", target["kind"], "100")
    assert change.undo[0].resource_version == ""
    assert change.diff == f"template annotation aiops.example.com/restarted-by: (none) -> {MARK}"


def test_a_job_is_not_restarted() -> None:
    assert _refusal(workload(job())).reason == "NotRestartable"


def test_a_paused_rollout_is_left_to_who_paused_it() -> None:
    target = deployment()
    target["spec"]["paused"] = True
    refusal = _refusal(workload(target))
    assert refusal.reason == "RolloutPaused"
    assert "kubectl rollout resume -n shop deployment/cart" in str(refusal)


def rolling(*new: Resource) -> Workload:
    """A Deployment in the middle of a rollout, with these pods of the newest revision beside one of the older."""
    target = deployment(revision=2, ready=1, updated=1, pod_template=template(container(image="shop:2")))
    newest = replica_set(target, 2, replicas=1, created=ago(minutes=1))
    older = replica_set(target, 1, replicas=1, ready=1, pod_template=template())
    return workload(target, [*new, pod(older, 9)], [newest, older])


NEWEST = replica_set(deployment(), 2)
STARTING = waiting(reason="ContainerCreating")
UNREADY = Symptom(AnomalyType.PROBE_FAILURE, "ReadinessFailing", "it is not ready", NOW, pod="cart-h2-1")


@pytest.mark.parametrize(
    "new",
    [
        [],
        [pod(NEWEST, 1)],
        [pod(NEWEST, 1, statuses=[STARTING])],
        [pod(NEWEST, 1, statuses=[crashlooping()]), pod(NEWEST, 2, statuses=[STARTING])],
        [pod(NEWEST, 1, statuses=[running(ready=False)])],
    ],
    ids=["none yet", "a ready one", "one that starts", "one fails and one starts", "one that gets ready"],
)
def test_a_rollout_that_goes_on_is_not_restarted(new: list[Resource]) -> None:
    refused = _refusal(rolling(*new))
    assert refused.reason == "RolloutInProgress"
    assert "goes on and replaces its pods anyway" in str(refused)


@pytest.mark.parametrize(
    ("new", "symptom"),
    [
        ([pod(NEWEST, 1, statuses=[crashlooping()])], None),
        ([pod(NEWEST, 1, statuses=[imagepull()])], None),
        ([pod(NEWEST, 1, statuses=[running(ready=False)])], UNREADY),
        ([], replace(UNREADY, pod="", by_rollout=True)),
    ],
    ids=["it crashes", "its image is missing", "it does not get ready", "its pods are not let in"],
)
def test_a_rollout_that_is_itself_broken_may_be_restarted(new: list[Resource], symptom: Symptom | None) -> None:
    assert PLANNER.plan(request(rolling(*new), symptom=symptom)).operations


def test_a_stateful_set_that_is_kept_at_two_revisions_is_not_being_rolled_out() -> None:
    target = stateful_set(current_revision=1, update_revision=2, updated=1)
    target["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 1
    assert PLANNER.plan(request(workload(target, [pod(target, 0), pod(target, 1)]))).operations
    target["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 0
    assert _refusal(workload(target, [pod(target, 0), pod(target, 1)])).reason == "RolloutInProgress"


def test_a_pod_is_evicted_while_a_rollout_goes_on() -> None:
    assert PLANNER.plan(request(rolling(pod(NEWEST, 1, statuses=[crashlooping()])), **EVICT)).operations


def test_a_rollout_is_refused_where_pods_wait_to_be_deleted() -> None:
    target = daemon_set()
    target["spec"]["updateStrategy"] = {"type": "OnDelete"}
    assert _refusal(workload(target)).reason == "OnDelete"


def test_a_stateful_set_gets_its_broken_pods_evicted_since_it_would_wait_for_them() -> None:
    target = stateful_set()
    pods = [pod(target, 0), pod(target, 1, statuses=[crashlooping()])]
    bundle = workload(target, pods=pods)
    change = PLANNER.plan(request(bundle))
    assert [(write.verb, write.name) for write in change.operations] == [("Patch", "store"), ("Evict", "store-1")]
    there_and_back(bundle, change)


def test_a_deployment_replaces_its_broken_pods_itself() -> None:
    target = deployment()
    pods = [pod(replica_set(target), 1, statuses=[crashlooping()])]
    assert len(PLANNER.plan(request(workload(target, pods=pods))).operations) == 1


def test_a_parallel_stateful_set_replaces_its_broken_pods_itself() -> None:
    target = stateful_set()
    target["spec"]["podManagementPolicy"] = "Parallel"
    pods = [pod(target, 1, statuses=[crashlooping()])]
    assert len(PLANNER.plan(request(workload(target, pods=pods))).operations) == 1


def test_evict_takes_the_pod_that_is_not_ready() -> None:
    owner = replica_set(deployment())
    pods = [pod(owner, 1, statuses=[running(restarts=50)]), pod(owner, 2, statuses=[crashlooping()]), pod(owner, 3)]
    change = _evict(pods)
    (write,) = change.operations
    assert (write.verb, write.name, write.uid) == ("Evict", "cart-h1-2", pods[1]["metadata"]["uid"])
    assert (change.undo, change.expected) == ((), {})
    assert change.diff == "pod cart-h1-2: not ready -> evicted"


def test_evict_prefers_the_pod_of_the_symptom_then_restarts_then_age() -> None:
    owner = replica_set(deployment())
    bad = [pod(owner, index, statuses=[crashlooping(restarts=index)]) for index in (1, 2)]
    symptom = Symptom(AnomalyType.CRASH_LOOP_BACK_OFF, "BadCommand", "exit 1", NOW, pod="cart-h1-1")
    named = PLANNER.plan(request(workload(deployment(), pods=bad), symptom=symptom, **EVICT))
    assert named.operations[0].name == "cart-h1-1"
    assert _evict(bad).operations[0].name == "cart-h1-2"
    ready = [pod(owner, 1), pod(owner, 2, created=ago(hours=5))]
    assert _evict(ready).operations[0].name == "cart-h1-2"


def test_evict_never_takes_the_only_ready_pod() -> None:
    pods = [pod(replica_set(deployment()), 1)]
    refusal = _refusal(workload(deployment(), pods=pods), **EVICT)
    assert refusal.reason == "OnlyReadyPod"
    assert "strategy: Rollout" in str(refusal)


def test_evict_takes_one_pod_even_when_several_are_broken() -> None:
    owner = replica_set(deployment())
    assert len(_evict([pod(owner, index, statuses=[crashlooping()]) for index in range(5)]).operations) == 1


def test_evict_finds_nothing_where_all_pods_are_leaving() -> None:
    owner = replica_set(deployment())
    leaving = [pod(owner, 1, deleted=NOW), pod(owner, 2, phase="Failed", statuses=[crashlooping()])]
    assert _refusal(workload(deployment(), pods=leaving), **EVICT).reason == "NoPod"


def test_a_disruption_budget_holds_back_the_eviction_of_a_ready_pod() -> None:
    owner = replica_set(deployment())
    refusal = _refusal(
        workload(deployment(), pods=[pod(owner, 1), pod(owner, 2)], disruption_budgets=(_budget(),)), **EVICT
    )
    assert refusal.reason == "DisruptionBudget"
    assert "1 healthy, 2 wanted" in str(refusal)


@pytest.mark.parametrize(
    ("budget", "allowed"),
    [
        (_budget(), False),
        (_budget(status={"disruptionsAllowed": 1}), True),
        (_budget(unhealthyPodEvictionPolicy="AlwaysAllow"), True),
        (_budget(status={"currentHealthy": 2}), True),
        (_budget(status={"currentHealthy": 0, "desiredHealthy": 0}), False),
    ],
)
def test_a_disruption_budget_lets_broken_pods_go_by_the_rules_of_the_eviction_api(
    budget: Resource, allowed: bool
) -> None:
    broken = pod(replica_set(deployment()), 1, statuses=[crashlooping()])
    if allowed:
        assert _evict([broken], disruption_budgets=(budget,)).operations
    else:
        refusal = _refusal(workload(deployment(), pods=[broken], disruption_budgets=(budget,)), **EVICT)
        assert "unhealthyPodEvictionPolicy: AlwaysAllow" in str(refusal)


def test_no_disruption_budget_is_asked_about_a_pending_pod() -> None:
    pending = pod(replica_set(deployment()), 1, phase="Pending", statuses=[crashlooping()])
    assert _evict([pending], disruption_budgets=(_budget(),)).operations


def test_two_disruption_budgets_on_one_pod_let_nothing_be_evicted() -> None:
    broken = pod(replica_set(deployment()), 1, statuses=[crashlooping()])
    budgets = (_budget(unhealthyPodEvictionPolicy="AlwaysAllow"), _budget())
    assert "several" in str(_refusal(workload(deployment(), pods=[broken], disruption_budgets=budgets), **EVICT))
