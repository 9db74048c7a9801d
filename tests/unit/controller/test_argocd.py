"""What an Application says about a workload, and who may change what for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from controller.actions import ACTIONS
from controller.argocd import before, commands, ignores_us, owns, stands_alone
from controller.coordination import effective_mode
from controller.leave import fits, may_change, why_not
from controller.model import Conclude, Finish, Propose, Resource
from controller.owners import Owner, owner_of
from controller.reconcile import advance
from selfheal.policy import Action, Mode, Parameters
from selfheal.remediation import Outcome
from tests.unit.controller import objects
from tests.unit.controller.actions.server import request
from tests.unit.controller.argo import CART, HISTORY, LEAVE, application, bad_image, entry, owned
from tests.unit.controller.objects import ago
from tests.unit.controller.records import after, bad_rollout, policy, progress, remediation

SICK = bad_rollout()
ALL = "resource.customizations.ignoreDifferences.all"
OURS = "managedFieldsManagers:\n- selfheal-controller\n"


@pytest.mark.parametrize(
    ("ignore", "given"),
    [
        (LEAVE, True),
        (LEAVE | {"group": "*", "kind": "*"}, True),
        (LEAVE | {"name": "cart", "namespace": "shop"}, True),
        (LEAVE | {"name": "other"}, False),
        (LEAVE | {"namespace": "other"}, False),
        (LEAVE | {"kind": "StatefulSet"}, False),
        (LEAVE | {"group": ""}, False),
        (LEAVE | {"managedFieldsManagers": ["kube-controller-manager"]}, False),
        ({"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}, False),
    ],
)
def test_leave_is_what_the_application_ignores_of_our_field_manager(ignore: Resource, given: bool) -> None:
    workload = owned(SICK, application(ignores=[ignore]))
    assert ignores_us(workload) is given
    assert may_change(workload) is given


@pytest.mark.parametrize(
    ("data", "given"),
    [
        ({ALL: OURS}, True),
        ({"resource.customizations.ignoreDifferences.apps_Deployment": OURS}, True),
        ({"resource.customizations.ignoreDifferences.apps_StatefulSet": OURS}, False),
        ({ALL: "managedFieldsManagers: [other]"}, False),
        ({ALL: "managedFieldsManagers: selfheal-controller"}, False),
        ({ALL: "{"}, False),
        ({ALL: "- selfheal-controller"}, False),
        ({}, False),
    ],
)
def test_leave_may_stand_in_argo_cds_own_settings(data: dict[str, str], given: bool) -> None:
    assert ignores_us(owned(SICK, application(), {"data": data})) is given


def test_an_application_that_is_not_known_gives_no_leave() -> None:
    assert not ignores_us(owned(SICK, None, {"data": {ALL: OURS}}))


def test_what_is_nobodys_needs_no_leave() -> None:
    assert may_change(SICK)
    assert why_not(SICK, Action.ROLLBACK, Parameters()) == ""


def test_an_application_has_only_what_its_status_lists() -> None:
    assert owns(application(), SICK)
    others = [CART | {"name": "other"}, CART | {"namespace": "other"}, CART | {"kind": "StatefulSet"}]
    assert not owns(application(resources=others), SICK)


@pytest.mark.parametrize(
    ("destination", "here"),
    [
        ({"server": "https://kubernetes.default.svc"}, True),
        ({"name": "in-cluster"}, True),
        ({"server": "https://other.example:6443"}, False),
        ({"name": "other"}, False),
        ({}, False),
    ],
)
def test_an_application_that_deploys_to_another_cluster_has_nothing_here(destination: Resource, here: bool) -> None:
    assert owns(application(spec={"destination": destination}), SICK) is here


@pytest.mark.parametrize(
    ("tracking", "name", "namespace"),
    [("shop:apps/Deployment:shop/cart", "shop", ""), ("team_shop:apps/Deployment:shop/cart", "shop", "team")],
)
def test_the_tracking_id_names_the_application_and_its_namespace(tracking: str, name: str, namespace: str) -> None:
    found = objects.deployment(annotations={"argocd.argoproj.io/tracking-id": tracking})
    assert owner_of(found) == Owner("Argo CD", name, namespace)


def test_where_argo_cd_tracks_by_label_the_label_names_the_application() -> None:
    labels = {"app.kubernetes.io/instance": "shop"}
    assert owner_of(objects.deployment(labels=labels)) is None
    found = objects.deployment(labels=labels, managedFields=[{"manager": "argocd-controller"}])
    assert owner_of(found) == Owner("Argo CD", "shop")


def test_who_broke_it_is_the_last_sync_before_and_who_worked_the_one_with_other_manifests() -> None:
    history = [
        entry(0, "aaa", ago(minutes=90)),
        entry(1, "aaa", ago(minutes=50)),
        entry(2, "bbb", ago(minutes=9)),
        entry(3, "bbb", ago(minutes=8)),
        entry(4, "ccc", ago(minutes=2)),
    ]
    found = before(application(history=history), ago(minutes=5))
    assert found is not None
    assert [one.id for one in found] == [3, 1]


def test_another_source_of_the_same_revision_is_another_manifest() -> None:
    history = [entry(0, "aaa", ago(minutes=50)), entry(1, "aaa", ago(minutes=9), targetRevision="v2")]
    found = before(application(history=history), ago(minutes=5))
    assert found is not None
    assert [one.id for one in found] == [1, 0]


@pytest.mark.parametrize("broke", [ago(minutes=60), ago(minutes=20)])
def test_a_history_that_does_not_go_back_so_far_names_nobody(broke: datetime) -> None:
    assert before(application(), broke) is None


def test_commands_are_exact_and_hold_no_credentials() -> None:
    text = commands(owned(SICK, application()), ago(minutes=2))
    assert "`git revert aaa..bbb` in https://git.example/shop.git" in text
    assert "`argocd app set shop --sync-policy none && argocd app rollback shop 0`" in text
    assert "secret" not in text
    assert "sync-policy" not in commands(owned(SICK, application(automated=None)), ago(minutes=2))
    assert commands(owned(SICK), None) == "run `git revert` for the bad commit, or `argocd app rollback shop`"


ELSEWHERE = CART | {"namespace": "bank"}
CLUSTER = {"group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "all"}


@pytest.mark.parametrize("manager", ["argocd-application-controller", "argocd-server", "kubectl"])
def test_an_application_is_kept_only_by_what_syncs_it(manager: str) -> None:
    # The application controller writes the status and the normal form of the spec, the server what people click.
    written = {"manager": manager, "fieldsV1": {"f:spec": {"f:source": {}}, "f:status": {"f:sync": {}}}}
    assert stands_alone(application(metadata={"managedFields": [written]}), "shop") == ""
    synced = {"manager": "argocd-controller", "fieldsV1": {"f:spec": {"f:source": {}}}}
    assert "kept by Argo CD" in stands_alone(application(metadata={"managedFields": [synced]}), "shop")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (application(), ""),
        (application(resources=[CART, {"kind": "Namespace", "name": "shop"}]), ""),
        (application(resources=[CART, ELSEWHERE]), "more than namespace shop (Deployment bank/cart)"),
        (application(resources=[CART, CLUSTER]), "more than namespace shop (ClusterRole all)"),
        (application(spec={"sources": [{}, {}]}), "several sources"),
        (application(metadata={"ownerReferences": [{"kind": "ApplicationSet", "name": "all"}]}), "ApplicationSet all"),
        (
            application(metadata={"annotations": {"argocd.argoproj.io/tracking-id": "apps:x"}}),
            "kept by Argo CD (apps)",
        ),
    ],
)
def test_an_application_is_changed_only_where_nothing_else_goes_back_with_it(found: Resource, why: str) -> None:
    assert (why in stands_alone(found, "shop")) if why else stands_alone(found, "shop") == ""


@pytest.mark.parametrize(
    ("action", "gitops", "found", "mode", "why"),
    [
        ("rollback", "Never", None, Mode.OBSERVE, "may not be read"),
        ("rollback", "Never", application(), Mode.OBSERVE, "would put it back"),
        ("rollback", "Never", application(ignores=[LEAVE]), Mode.AUTO, ""),
        ("rollback", "Application", application(), Mode.AUTO, ""),
        ("rollback", "Application", None, Mode.OBSERVE, "may not be read"),
        ("rollback", "Application", application(resources=[CART, CLUSTER]), Mode.OBSERVE, "more than namespace"),
        ("rollback", "Revert", application(ignores=[LEAVE]), Mode.OBSERVE, "not carried out"),
        ("scale", "Application", application(), Mode.OBSERVE, "the replicas"),
        ("scale", "Never", application(ignores=[LEAVE]), Mode.AUTO, ""),
        ("restart", "Never", None, Mode.AUTO, ""),
        ("adjust-resources", "Never", None, Mode.AUTO, ""),
        ("notify-only", "Never", None, Mode.AUTO, ""),
    ],
)
def test_what_argo_cd_owns_is_observed_unless_it_gives_leave_or_the_policy_goes_through_it(
    action: str, gitops: str, found: Resource | None, mode: Mode, why: str
) -> None:
    asked: dict[str, Any] = {"rollback": {"gitops": gitops}}
    got, text = effective_mode(policy(action=action, parameters=asked), owned(SICK, found))
    assert (got, bool(text)) == (mode, bool(why))
    assert why in text


def test_a_plan_is_made_anew_when_the_way_that_it_goes_is_closed() -> None:
    known, unknown = owned(bad_image(), application()), owned(bad_image())
    leave = owned(bad_image(), application(ignores=[LEAVE]))
    way = Parameters.model_validate({"rollback": {"gitops": "Application"}})
    sync = ACTIONS[Action.ROLLBACK].plan(request(known, rollback={"gitops": "Application"}))
    template = ACTIONS[Action.ROLLBACK].plan(request(unknown, rollback={"gitops": "Application"}))
    assert fits(sync, known, way)
    assert not fits(sync, unknown, way)
    assert not fits(sync, known, Parameters())
    assert not fits(template, known, way)
    assert fits(template, leave, Parameters())
    assert fits(template, bad_image(), Parameters())
    assert fits(ACTIONS[Action.RESTART].plan(request(unknown)), unknown, Parameters())


def test_the_machine_does_not_write_a_template_because_the_application_may_be_changed() -> None:
    unknown = owned(bad_image())
    owner = policy(parameters={"rollback": {"gitops": "Application"}})
    fresh = progress(unknown, remediation(unknown.ref, owner), owner)
    change = ACTIONS[Action.ROLLBACK].plan(request(unknown, rollback={"gitops": "Application"}))
    planned = replace(fresh, remediation=after(fresh, Propose(Action.ROLLBACK), change=change))
    end = advance(planned)
    assert isinstance(end, Finish)
    assert (end.outcome, end.reason) == (Outcome.OBSERVED, "OwnedByArgoCD")
    assert "Would have done: image of app: registry.local/shop:2 -> registry.local/shop:1." in end.message
    assert "`argocd app rollback shop`" in end.message
    step = advance(replace(planned, workload=owned(bad_image(), application())))
    assert isinstance(step, Conclude)
    assert step.judgement.reason == "PlanTooOld"


def test_history_is_read_the_newest_first() -> None:
    found = before(application(history=HISTORY), ago(minutes=2))
    assert found is not None
    assert (found[0].revision, found[1].revision) == ("bbb", "aaa")
