"""rollback."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.actions import ACTIONS
from controller.coordination import held_by
from controller.leave import why_not
from controller.model import Resource, Workload
from controller.revisions import BAD_REVISIONS
from selfheal.errors import Refused
from selfheal.policy import REMEDIATION_ANNOTATION, Action, Parameters
from tests.unit.controller.actions.server import MARK, request, there_and_back
from tests.unit.controller.objects import (
    ago,
    condition,
    container,
    controller_revision,
    daemon_set,
    deployment,
    job,
    replica_set,
    stateful_set,
    template,
    workload,
)
from tests.unit.controller.pods import crashlooping, pod

PLANNER = ACTIONS[Action.ROLLBACK]


def version(number: int) -> Resource:
    """The pod template of a version."""
    return template(container(image=f"registry.local/shop:{number}"))


def image(resource: Resource) -> str:
    """The first container's."""
    return str(resource["spec"]["template"]["spec"]["containers"][0]["image"])


def shop(current: int, *older: tuple[int, dict[str, Any]], **more: Any) -> Workload:
    """A Deployment at a version, with older revisions and what is to be known of each."""
    target = deployment(pod_template=version(current), ready=0, revision=current, **more)
    newest = replica_set(target, current, replicas=1, pod_template=version(current))
    sets = [replica_set(target, number, pod_template=version(number), **known) for number, known in older]
    return workload(target, revisions=[newest, *sets])


def refusal(target: Workload, **parameters: Any) -> Refused:
    """What a rollback is refused with."""
    with pytest.raises(Refused) as refused:
        PLANNER.plan(request(target, **parameters))
    return refused.value


def rolled_back(target: Workload, **parameters: Any) -> str:
    """The image after the rollback, which is taken back again to see that it can be."""
    return image(there_and_back(target, PLANNER.plan(request(target, **parameters))))


TEMPLATES = st.builds(
    lambda containers, labels, notes: template(*containers, labels=labels, annotations=notes),
    st.lists(
        st.builds(
            container,
            st.sampled_from(["app", "proxy"]),
            st.sampled_from(["shop:1", "shop:2"]),
            memory=st.sampled_from(["", "48Mi"]),
            command=st.lists(st.text(max_size=5), max_size=2),
            env=st.lists(st.fixed_dictionaries({"name": st.just("LOG"), "value": st.text(max_size=5)}), max_size=1),
        ),
        min_size=1,
        max_size=2,
        unique_by=lambda one: one["name"],
    ),
    st.dictionaries(st.sampled_from(["app", "tier"]), st.just("x"), min_size=1),
    st.dictionaries(st.sampled_from(["a/b", "c"]), st.just("y")),
)


@given(
    TEMPLATES, TEMPLATES, st.sampled_from([{}, {BAD_REVISIONS: "cart-h0"}, {REMEDIATION_ANNOTATION: "rem-old/1"}, None])
)
def test_a_rollback_restores_any_template_and_can_be_taken_back_exactly(
    old: Resource, new: Resource, annotations: dict[str, str] | None
) -> None:
    target = deployment(pod_template=new)
    target["metadata"]["annotations"] = annotations
    if annotations is None:
        del target["metadata"]["annotations"]
    bundle = workload(target, revisions=[replica_set(target, 2), replica_set(target, 1, pod_template=old)])
    if old == new:
        assert refusal(bundle).reason == "OnlyOneRevision"
        return
    between = there_and_back(bundle, PLANNER.plan(request(bundle)))
    assert between["spec"]["template"] == old


def test_a_rollback_writes_template_mark_and_bad_revision_in_one_patch() -> None:
    target = shop(2, (1, {"replicas": 2, "ready": 2}))
    change = PLANNER.plan(request(target))
    (write,) = change.operations
    assert (write.verb, write.resource_version, change.undo[0].resource_version) == ("Patch", "100", "")
    assert {step["path"] for step in write.patch} == {
        "/spec/template",
        "/metadata/annotations/aiops.example.com~1bad-revisions",
        "/metadata/annotations/aiops.example.com~1remediation",
    }
    assert change.diff == "image of app: registry.local/shop:2 -> registry.local/shop:1"
    assert change.note == "Revision 1 (cart-h1): 2 of its pods are ready now."
    assert change.expected["/metadata/annotations/aiops.example.com~1remediation"] == MARK


def test_a_rollback_skips_revisions_that_never_became_ready() -> None:
    ready, unready = {"replicas": 2, "ready": 2}, {"replicas": 1}
    assert rolled_back(shop(3, (2, {}), (1, ready))) == "registry.local/shop:1"
    assert rolled_back(shop(3, (2, unready), (1, {}))) == "registry.local/shop:1"


def test_a_rollback_takes_the_newest_revision_where_nothing_speaks_against_it() -> None:
    assert rolled_back(shop(3, (1, {}), (2, {}))) == "registry.local/shop:2"


def test_a_revision_that_came_into_an_outage_and_did_not_end_it_is_bad() -> None:
    down = [condition("Available", "False", "MinimumReplicasUnavailable", since=ago(minutes=30))]
    target = shop(3, (2, {"created": ago(minutes=20)}), (1, {"created": ago(minutes=90)}), conditions=down)
    assert rolled_back(target) == "registry.local/shop:1"
    up_since = [condition("Available", "True", "MinimumReplicasAvailable", since=ago(minutes=30))]
    target = shop(3, (2, {"created": ago(minutes=20)}), (1, {"created": ago(minutes=90)}), conditions=up_since)
    assert rolled_back(target) == "registry.local/shop:2"


def test_a_revision_that_never_grew_is_taken_only_where_there_is_no_better_one() -> None:
    target = shop(3, (2, {}), (1, {}), replicas=4)
    target.revisions[1]["metadata"]["generation"] = 2
    target.revisions[2]["metadata"]["generation"] = 6
    assert rolled_back(target) == "registry.local/shop:1"
    target.revisions[2]["metadata"]["generation"] = 2
    assert rolled_back(target) == "registry.local/shop:2"


@pytest.mark.parametrize(
    "strategy",
    [
        {"type": "Recreate"},
        {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 4, "maxUnavailable": 0}},
        {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "100%"}},
    ],
)
def test_few_steps_say_nothing_where_the_strategy_takes_the_whole_in_one(strategy: Resource) -> None:
    target = shop(3, (2, {}), (1, {}), replicas=4, strategy=strategy)
    target.revisions[1]["metadata"]["generation"] = 2
    assert rolled_back(target) == "registry.local/shop:2"


def test_a_revision_that_was_rolled_back_from_is_never_taken_again() -> None:
    target = shop(3, (2, {}), (1, {}), annotations={BAD_REVISIONS: "cart-h2"})
    change = PLANNER.plan(request(target))
    between = there_and_back(target, change)
    assert image(between) == "registry.local/shop:1"
    assert between["metadata"]["annotations"][BAD_REVISIONS] == "cart-h2,cart-h3"


def test_only_the_newest_bad_revisions_are_remembered() -> None:
    many = ",".join(f"cart-x{number}" for number in range(10))
    target = shop(2, (1, {}), annotations={BAD_REVISIONS: many})
    names = there_and_back(target, PLANNER.plan(request(target)))["metadata"]["annotations"][BAD_REVISIONS].split(",")
    assert (len(names), names[0], names[-1]) == (10, "cart-x1", "cart-h2")


def test_a_revision_that_was_noted_as_healthy_is_preferred_to_newer_ones_of_which_nothing_is_known() -> None:
    target = replace(shop(4, (3, {}), (2, {}), (1, {})), recorded=("cart-h4", "cart-h2", "cart-h1"))
    change = PLANNER.plan(request(target))
    assert image(there_and_back(target, change)) == "registry.local/shop:2"
    assert "noted as healthy while it ran" in change.note


@pytest.mark.parametrize(
    ("known", "annotations"), [({"replicas": 1}, {}), ({}, {BAD_REVISIONS: "cart-h2"})], ids=["fails now", "bad"]
)
def test_a_note_does_not_outweigh_what_speaks_against_a_revision_now(
    known: dict[str, Any], annotations: dict[str, str]
) -> None:
    target = replace(shop(3, (2, known), (1, {}), annotations=annotations), recorded=("cart-h2",))
    assert rolled_back(target) == "registry.local/shop:1"


def test_a_stateful_set_goes_back_to_the_revision_that_was_noted() -> None:
    target = stateful_set(current_revision=4, pod_template=version(4), ready=0)
    revisions = [controller_revision(target, number, pod_template=version(number)) for number in (4, 3, 2)]
    assert rolled_back(workload(target, revisions=revisions, recorded=("store-r2",))) == "registry.local/shop:2"
    assert rolled_back(workload(target, revisions=revisions)) == "registry.local/shop:3"


def test_a_note_counts_more_than_a_rollout_that_was_completed_without_replicas() -> None:
    target = stateful_set(current_revision=3, update_revision=4, pod_template=version(4), ready=0)
    revisions = [controller_revision(target, number, pod_template=version(number)) for number in (4, 3, 2)]
    assert rolled_back(workload(target, revisions=revisions, recorded=("store-r2",))) == "registry.local/shop:2"
    assert rolled_back(workload(target, revisions=revisions)) == "registry.local/shop:3"


def test_a_rollback_looks_no_further_back_than_search_depth() -> None:
    target = shop(4, (3, {"replicas": 1}), (2, {"replicas": 1}), (1, {"replicas": 2, "ready": 2}))
    assert rolled_back(target) == "registry.local/shop:1"
    refused = refusal(target, rollback={"searchDepth": 2})
    assert refused.reason == "NoHealthyRevision"
    assert "1 more lie beyond searchDepth" in str(refused)


def test_no_healthy_revision_says_what_speaks_against_each() -> None:
    refused = refusal(shop(3, (2, {"replicas": 1}), (1, {}), annotations={BAD_REVISIONS: "cart-h1"}))
    assert refused.reason == "NoHealthyRevision"
    assert "revision 2: none of its 1 pods is ready; revision 1: it was rolled back from before" in str(refused)


def test_the_same_template_under_another_number_is_no_older_revision() -> None:
    target = deployment()
    assert (
        refusal(workload(target, revisions=[replica_set(target, 2), replica_set(target, 1)])).reason
        == "OnlyOneRevision"
    )
    assert refusal(workload(target)).reason == "OnlyOneRevision"


def test_a_job_has_no_revisions() -> None:
    assert refusal(workload(job())).reason == "NotRevisioned"


def test_a_paused_rollout_is_left_alone() -> None:
    target = shop(2, (1, {}))
    target.resource["spec"]["paused"] = True
    assert refusal(target).reason == "RolloutPaused"


@pytest.mark.parametrize(
    ("metadata", "reason", "command"),
    [
        (
            {"annotations": {"meta.helm.sh/release-name": "cart", "meta.helm.sh/release-namespace": "ops"}},
            "OwnedByHelm",
            "`helm rollback cart --namespace ops`",
        ),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop-app:apps/Deployment:shop/cart"}},
            "OwnedByArgoCD",
            "`argocd app rollback shop-app`",
        ),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "team_shop-app:apps/Deployment:shop/cart"}},
            "OwnedByArgoCD",
            "`argocd app rollback team/shop-app`",
        ),
        ({"managedFields": [{"manager": "argocd-controller"}]}, "OwnedByArgoCD", "`git revert`"),
        (
            {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}},
            "OwnedByFlux",
            "`flux reconcile kustomization apps`",
        ),
    ],
)
def test_what_another_tool_owns_is_planned_with_the_command_of_that_tool(
    metadata: Resource, reason: str, command: str
) -> None:
    target = shop(2, (1, {}), **metadata)
    change = PLANNER.plan(request(target))
    assert (change.diff, change.lent) == ("image of app: registry.local/shop:2 -> registry.local/shop:1", ())
    assert command in change.note
    assert held_by(target) == reason
    assert why_not(target, Action.ROLLBACK, Parameters())


def store(*, broken: int = 1, **more: Any) -> Workload:
    """A StatefulSet in the middle of a bad rollout."""
    target = stateful_set(update_revision=2, pod_template=version(2), replicas=3)
    good = stateful_set(pod_template=version(1))
    revisions = [controller_revision(target, 2), controller_revision(target, 1, pod_template=version(1))]
    pods = [pod(good, index) for index in range(3 - broken)]
    pods += [pod(target, index, statuses=[crashlooping()]) for index in range(3 - broken, 3)]
    return workload(target, revisions=revisions, pods=pods, **more)


def test_a_stateful_set_goes_back_and_its_broken_pod_is_evicted() -> None:
    target = store()
    change = PLANNER.plan(request(target))
    assert [(write.verb, write.name) for write in change.operations] == [("Patch", "store"), ("Evict", "store-2")]
    between = there_and_back(target, change)
    assert image(between) == "registry.local/shop:1"
    assert "$patch" not in between["spec"]["template"]
    assert "store-2" in change.note


def test_the_last_completed_rollout_of_a_stateful_set_is_healthy_even_without_pods() -> None:
    target = store(broken=3)
    change = PLANNER.plan(request(target))
    assert "the last one whose rollout was completed" in change.note
    assert [write.name for write in change.operations[1:]] == ["store-0", "store-1", "store-2"]


def test_a_disruption_budget_that_would_stop_the_eviction_stops_the_rollback() -> None:
    budget = {"metadata": {"name": "store"}, "spec": {}, "status": {"currentHealthy": 2, "desiredHealthy": 3}}
    assert refusal(store(disruption_budgets=(budget,))).reason == "DisruptionBudget"


def test_a_daemon_set_goes_back_by_its_controller_revisions() -> None:
    target = daemon_set(pod_template=version(3), ready=0)
    older = [controller_revision(target, number, pod_template=version(number)) for number in (1, 2)]
    revisions = [controller_revision(target, 3), *older]
    dead = [pod(target, index, statuses=[crashlooping()]) for index in range(2)]
    for one in dead:
        one["metadata"]["labels"]["controller-revision-hash"] = "agent-r2"
    assert rolled_back(workload(target, revisions=revisions, pods=dead)) == "registry.local/shop:1"
    assert rolled_back(workload(target, revisions=revisions)) == "registry.local/shop:2"


def test_the_diff_names_fields_by_container_and_hides_values_of_variables() -> None:
    old = template(container(command=["httpd"], env=[{"name": "TOKEN", "value": "s3cret"}], memory="48Mi"))
    new = template(container(command=["sh"], env=[{"name": "TOKEN", "value": "other"}]), container("extra"))
    target = deployment(pod_template=new)
    bundle = workload(target, revisions=[replica_set(target, 2), replica_set(target, 1, pod_template=old)])
    assert PLANNER.plan(request(bundle)).diff.splitlines() == [
        'command of app: ["sh"] -> ["httpd"]',
        "memory limit of app: (none) -> 48Mi",
        "memory request of app: (none) -> 48Mi",
        "env TOKEN of app: changed",
        "container extra: registry.local/shop:1 -> (none)",
    ]
