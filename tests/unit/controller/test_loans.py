"""What Argo CD lends is recorded, goes back when Git moves on or nobody wants it any more, and is not forgotten."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controller.actions import ACTIONS
from controller.cluster import Key
from controller.cluster.paths import item
from controller.history import beyond_limit
from controller.model import Apply, Propose, Resource, Workload
from controller.returning import due, letting_go
from selfheal.errors import Forbidden, Refused
from selfheal.policy import Action, AnomalyType, Policy
from selfheal.remediation import AttemptResult, Outcome, Remediation, with_condition
from selfheal.takingback import taken_back
from tests.unit.controller.actions.server import request
from tests.unit.controller.actions.test_adjust_resources import shop
from tests.unit.controller.argo import AUTOMATED, LEAVE, TRACKED, application, bad_image, owned
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import NOW, template
from tests.unit.controller.records import after, bad_rollout, policy, progress, remediation

SICK = owned(bad_image(), application(ignores=[LEAVE]))
CART = "/apis/apps/v1/namespaces/shop/deployments/cart"
SHOP = item("argoproj.io/v1alpha1", "Application", "argocd", "shop")
KEY = Key("shop", "Deployment", "cart")


def lent(owner: Policy | None = None, workload: Workload = SICK) -> tuple[Remediation, Workload]:
    """A Remediation whose rollback was written with Argo CD's leave and has healed, and the workload after it."""
    owner = owner or policy()
    fresh = progress(workload, remediation(workload.ref, owner), owner)
    change = ACTIONS[Action.ROLLBACK].plan(request(workload))
    planned = replace(fresh, remediation=after(fresh, Propose(Action.ROLLBACK), change=change))
    written = after(planned, Apply())
    status = written.status
    attempt = status.attempts[0].model_copy(update={"result": AttemptResult.SUCCESSFUL})
    done = with_condition(status.conditions, "Complete", "True", "Verified", "", NOW)
    update = {"attempts": (attempt,), "conditions": done, "outcome": Outcome.SUCCESSFUL}
    closed = written.model_copy(update={"status": status.model_copy(update=update)})
    live = copy.deepcopy(workload.resource)
    live["spec"]["template"] = change.expected["/spec/template"]
    return closed, replace(workload, resource=live)


def test_a_rollback_with_leave_is_recorded_as_a_loan() -> None:
    closed, _ = lent()
    loan = closed.status.loan
    assert loan is not None
    assert (loan.owner, loan.fields, loan.revision) == ("Argo CD (shop)", ("image of app",), "bbb")
    assert (loan.lent_time, loan.returned_time, loan.reason) == (NOW, None, "")
    assert closed.status.attempts[0].change.lent == ("image of app",)
    assert "Lent by Argo CD (shop) by argocd/shop, until Git moves on" in closed.status.attempts[0].change.note


def test_what_nobody_owns_is_no_loan() -> None:
    closed, _ = lent(workload=bad_rollout())
    assert closed.status.loan is None


def test_more_memory_in_a_template_of_argo_cds_is_a_loan_and_in_the_pod_none() -> None:
    leave = owned(shop(annotations=TRACKED), application(ignores=[LEAVE]))
    change = ACTIONS[Action.ADJUST_RESOURCES].plan(request(leave, AnomalyType.OOM_KILLED))
    assert [one.verb for one in change.operations] == ["Resize", "Patch"]
    assert change.lent == ("memory limit of app",)
    none = ACTIONS[Action.ADJUST_RESOURCES].plan(request(owned(leave, application()), AnomalyType.OOM_KILLED))
    assert ([one.verb for one in none.operations], none.lent) == (["Resize"], ())


def test_what_the_older_template_lacks_is_refused_for_argo_cd_would_put_it_back() -> None:
    labels = {"app": "cart", "tier": "new"}
    grown = bad_rollout()
    grown.resource["spec"]["template"] = template(labels=labels)
    with pytest.raises(Refused) as refused:
        ACTIONS[Action.ROLLBACK].plan(request(owned(grown, application(ignores=[LEAVE]))))
    assert refused.value.reason == "OwnedByArgoCD"
    assert "lacks metadata.labels.tier" in str(refused.value)


MOVED = application(ignores=[LEAVE], revision="ccc")


@pytest.mark.parametrize(
    ("found", "owner", "reason"),
    [
        (application(ignores=[LEAVE]), policy(), ""),
        (application(ignores=[LEAVE], revision=""), policy(), ""),
        (MOVED, policy(), "GitChanged"),
        (application(), policy(), "LeaveGone"),
        (None, policy(), "OwnerUnknown"),
        (application(ignores=[LEAVE]), None, "PolicyGone"),
        (application(ignores=[LEAVE]), policy(enabled=False), "PolicyGone"),
        (application(ignores=[LEAVE]), policy(anomaly_type="OOMKilled", action="restart"), "PolicyGone"),
    ],
)
def test_a_loan_ends_when_git_moves_on_or_nobody_wants_it(
    found: Resource | None, owner: Policy | None, reason: str
) -> None:
    closed, workload = lent()
    assert due(closed, replace(workload, application=found), owner) == reason


def test_a_loan_ends_when_the_fields_are_the_owners_already() -> None:
    closed, _ = lent()
    assert due(closed, SICK, policy()) == "TakenBack"


def test_a_loan_ends_after_an_undo() -> None:
    closed, workload = lent()
    undone = closed.model_copy(update={"status": taken_back(closed.status, 0, "somebody", NOW)})
    assert due(undone, workload, policy()) == "Undone"


def test_a_loan_ends_after_an_undo_also_when_a_restart_has_helped_then() -> None:
    closed, workload = lent()
    (rollback,) = closed.status.attempts
    undone = rollback.model_copy(update={"result": AttemptResult.UNDONE})
    restart = ACTIONS[Action.RESTART].plan(request(SICK))
    helped = rollback.model_copy(update={"action": Action.RESTART, "change": restart, "undo": restart.undo})
    status = closed.status.model_copy(update={"attempts": (undone, helped)})
    assert due(closed.model_copy(update={"status": status}), workload, policy()) == "Undone"


def test_an_open_remediation_and_one_that_is_returned_owe_nothing() -> None:
    closed, workload = lent()
    moved = replace(workload, application=MOVED)
    status = closed.status.model_copy(update={"conditions": ()})
    assert due(closed.model_copy(update={"status": status}), moved, policy()) == ""
    assert closed.status.loan is not None
    loan = closed.status.loan.model_copy(update={"returned_time": NOW})
    back = closed.model_copy(update={"status": closed.status.model_copy(update={"loan": loan})})
    assert due(back, moved, policy()) == ""


def test_letting_go_takes_our_name_off_all_fields_and_nobody_elses() -> None:
    ours, theirs = {"manager": "selfheal-controller"}, {"manager": "argocd-controller"}
    live = copy.deepcopy(SICK.resource)
    live["metadata"]["managedFields"] = [ours, theirs, ours | {"subresource": "scale"}]
    write = letting_go(replace(SICK, resource=live))
    assert write is not None
    assert [step["path"] for step in write.patch if step["op"] == "remove"] == [
        "/metadata/managedFields/2",
        "/metadata/managedFields/0",
    ]
    live["metadata"]["managedFields"] = [theirs]
    assert letting_go(replace(SICK, resource=live)) is None


class Scene:
    """A controller after a heal with leave; the workload carries our entry in managedFields."""

    def __init__(self, **spec: Any) -> None:
        self.stage = Stage()
        closed, workload = lent(policy(**spec))
        live = copy.deepcopy(workload.resource)
        live["metadata"]["managedFields"] = [{"manager": "argocd-controller"}, {"manager": "selfheal-controller"}]
        self.stage.add(replace(workload, resource=live))
        self.stage.api.store(SHOP, application(ignores=[LEAVE]))
        self.stage.put_policy(policy(**spec))
        self.stage.put_remediation(closed)

    @property
    def managers(self) -> list[str]:
        """Whose names stand on the workload's fields."""
        return [one["manager"] for one in self.stage.api.objects[CART]["metadata"]["managedFields"]]

    def move(self) -> None:
        """Somebody commits, and Argo CD looks."""
        self.stage.api.store(SHOP, MOVED)

    def reason(self) -> str:
        """Why the loan was returned; the empty text while it is not."""
        (found,) = self.stage.remediations()
        assert found.status.loan is not None
        assert bool(found.status.loan.returned_time) == bool(found.status.loan.reason)
        return found.status.loan.reason


def test_the_healer_lets_go_when_git_moves_on_and_says_so() -> None:
    scene = Scene()
    scene.stage.healer.consider(KEY)
    assert (scene.reason(), scene.managers) == ("", ["argocd-controller", "selfheal-controller"])
    scene.move()
    scene.stage.healer.consider(KEY)
    assert (scene.reason(), scene.managers) == ("GitChanged", ["argocd-controller"])
    assert any("events" in path for _, path in scene.stage.api.writes())
    before = len(scene.stage.api.stored)
    scene.stage.healer.consider(KEY)
    assert len(scene.stage.api.stored) == before


def read(stage: Stage) -> Workload:
    """The workload as the controller reads it."""
    found = stage.cluster.read.workload(KEY)
    assert found is not None
    return found


def test_the_application_and_argo_cds_settings_are_read_with_the_workload() -> None:
    stage = Scene().stage
    assert (read(stage).application or {})["metadata"]["name"] == "shop"
    assert read(stage).argocd is None
    stage.api.store(item("v1", "ConfigMap", "argocd", "argocd-cm"), {"metadata": {"name": "argocd-cm"}, "data": {}})
    assert read(stage).argocd is not None


def test_an_application_that_does_not_list_the_workload_is_not_its_owner() -> None:
    stage = Scene().stage
    stage.api.store(SHOP, application(ignores=[LEAVE], resources=[]))
    assert read(stage).application is None


def test_an_application_that_may_not_be_read_is_not_known_and_not_asked_for_again_at_once() -> None:
    stage = Scene().stage
    asked: list[str] = []
    get = stage.api.get

    def forbidden(path: str) -> Resource | None:
        asked.append(path)
        if path == SHOP:
            raise Forbidden(path)
        return get(path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stage.api, "get", forbidden)
        assert read(stage).application is None
        assert read(stage).application is None
    assert asked.count(SHOP) == 1


def test_an_application_of_another_namespace_is_looked_for_there() -> None:
    stage = Scene().stage
    live = stage.api.objects[CART]
    live["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = "team_shop:apps/Deployment:shop/cart"
    assert read(stage).application is None
    found = application(metadata={"name": "shop", "namespace": "team", "uid": "u"})
    stage.api.store(item("argoproj.io/v1alpha1", "Application", "team", "shop"), found)
    assert (read(stage).application or {})["metadata"]["namespace"] == "team"


def test_every_tick_looks_at_what_is_lent_and_without_a_policy_too() -> None:
    scene = Scene()
    scene.stage.world.drop("SelfHealingPolicy", {"metadata": {"namespace": "shop", "name": "heal"}})
    scene.stage.healer.tick()
    assert KEY in scene.stage.woken
    scene.stage.healer.consider(KEY)
    assert scene.reason() == "PolicyGone"


def test_nothing_is_written_while_healing_is_suspended() -> None:
    scene = Scene()
    scene.move()
    scene.stage.suspend()
    scene.stage.healer.consider(KEY)
    assert (scene.reason(), len(scene.managers)) == ("", 2)


def test_a_record_of_what_is_lent_is_not_deleted_while_the_workload_lives() -> None:
    owner = policy(remediationHistoryLimit=1)
    closed, _ = lent(owner)
    old = closed.model_copy(update={"name": "rem-0"})
    newer = remediation(SICK.ref, owner, name="rem-2", outcome=Outcome.SUCCESSFUL, completed=NOW + timedelta(minutes=5))
    assert beyond_limit([old, newer], owner, {SICK.ref.uid}) == []
    assert beyond_limit([old, newer], owner, set()) == [old]
    assert beyond_limit([old] * 60, None, {SICK.ref.uid}) == []


def test_automation_that_was_turned_off_is_lent_until_somebody_turns_it_on() -> None:
    workload = owned(bad_rollout(), application())
    fresh = progress(workload, remediation(workload.ref, policy()), policy())
    change = ACTIONS[Action.ROLLBACK].plan(request(workload, rollback={"gitops": "Application"}))
    planned = replace(fresh, remediation=after(fresh, Propose(Action.ROLLBACK), change=change))
    closed, _ = lent()
    written = after(planned, Apply()).status
    assert written.loan is not None
    assert written.loan.fields == ("automated sync of Application argocd/shop",)
    status = closed.status.model_copy(update={"attempts": written.attempts, "loan": written.loan})
    synced = closed.model_copy(update={"status": status})
    assert due(synced, replace(workload, application=application(automated=None)), None) == ""
    assert due(synced, replace(workload, application=application(automated=AUTOMATED)), policy()) == "AutomatedAgain"
