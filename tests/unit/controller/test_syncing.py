"""A rollback through the Application: one patch, its undo, and what Argo CD says of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import jsonpatch
import pytest

from controller.actions import ACTIONS
from controller.applied import is_begun, is_written
from controller.model import Apply, Progress, Propose, Resource
from controller.reconcile import decide
from controller.releasing import undo_now
from controller.syncing import synced
from controller.verification import judge
from selfheal.errors import Refused
from selfheal.policy import Action
from selfheal.remediation import Attempt, Change, Outcome
from selfheal.takingback import overwrites
from tests.unit.controller.actions.server import MARK, request
from tests.unit.controller.argo import AUTOMATED, HISTORY, application, owned
from tests.unit.controller.objects import NOW, ago
from tests.unit.controller.records import after, bad_rollout, policy, progress, remediation, situation

SICK = owned(bad_rollout(), application())
WAY: dict[str, Any] = {"rollback": {"gitops": "Application"}}


def plan(found: Resource) -> Change:
    """What a rollback through an Application would do."""
    return ACTIONS[Action.ROLLBACK].plan(request(owned(bad_rollout(), found), **WAY))


def patched(found: Resource, change: Change, undo: bool = False) -> Resource:
    """The Application after the change, or after its undo."""
    (write,) = change.undo if undo else change.operations
    result: Resource = jsonpatch.apply_patch(copy.deepcopy(found), list(write.patch))
    return result


def started(found: Resource, **state: Any) -> Resource:
    """Argo CD has taken the operation up."""
    taken = copy.deepcopy(found)
    operation = taken.pop("operation")
    taken["status"]["operationState"] = {"operation": operation, **state}
    return taken


def test_the_plan_syncs_what_worked_and_turns_the_automation_off_in_one_patch() -> None:
    change = plan(application())
    (write,) = change.operations
    assert (write.verb, write.kind, write.namespace, write.name) == ("Patch", "Application", "argocd", "shop")
    now = patched(application(), change)
    assert "automated" not in now["spec"]["syncPolicy"]
    assert now["spec"]["syncPolicy"]["syncOptions"] == ["CreateNamespace=true"]
    assert (now["operation"]["sync"]["revision"], now["operation"]["sync"]["source"]) == ("aaa", HISTORY[0]["source"])
    assert now["metadata"]["annotations"]["aiops.example.com/remediation"] == MARK
    assert change.diff.splitlines()[:2] == [
        "revision of Application argocd/shop: bbb -> aaa",
        'automated sync of Application argocd/shop: {"prune": true, "selfHeal": true} -> (none)',
    ]
    assert "command of app" in change.diff
    assert "all of Application argocd/shop" in change.note


def test_the_undo_puts_the_automation_back_as_it_was_and_takes_our_mark_away() -> None:
    change = plan(application())
    taken = started(patched(application(), change), phase="Succeeded")
    back = patched(taken, change, undo=True)
    assert back["spec"] == application()["spec"]
    assert back["metadata"].get("annotations", {}) == {}
    assert "operation" not in back


def test_the_undo_leaves_alone_what_somebody_has_changed_since() -> None:
    change = plan(application())
    taken = started(patched(application(), change), phase="Succeeded")
    taken["spec"]["syncPolicy"]["automated"] = {"prune": False}
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        patched(taken, change, undo=True)


def test_a_sync_policy_that_would_say_nothing_goes_and_comes_back_whole_and_overwrites_nothing() -> None:
    found = application(spec={"syncPolicy": {"automated": AUTOMATED, "syncOptions": []}})
    change = plan(found)
    taken = started(patched(found, change), phase="Succeeded")
    assert "syncPolicy" not in taken["spec"]
    assert patched(taken, change, undo=True)["spec"] == found["spec"]
    (undo,) = change.undo
    assert not overwrites(undo, taken)
    taken["spec"]["syncPolicy"] = {"automated": {"prune": False}}
    assert overwrites(undo, taken)


def test_an_application_that_syncs_only_when_told_to_lends_nothing() -> None:
    found = application(automated=None)
    change = plan(found)
    assert change.lent == ()
    assert patched(found, change)["spec"] == found["spec"]
    assert "automated" not in change.diff


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (application(history=HISTORY[1:]), "NoOlderSync"),
        (application(history=[]), "NoOlderSync"),
        (application(state={"phase": "Running"}), "SyncInProgress"),
        (application(operation={"sync": {}}), "SyncInProgress"),
    ],
)
def test_without_an_older_sync_or_in_the_middle_of_one_it_is_refused(found: Resource, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        plan(found)
    assert refused.value.reason == reason


@pytest.mark.parametrize("more", [{"state": {"phase": "Running"}}, {"operation": {"sync": {}}}])
def test_nothing_is_opened_while_a_sync_goes_on_that_would_have_to_be_replaced(more: dict[str, Any]) -> None:
    busy, idle = (replace(SICK, application=found) for found in (application(**more), application()))
    assert decide(situation(busy, policy(parameters=WAY))).reason == "SyncInProgress"
    assert decide(situation(idle, policy(parameters=WAY))).reason == "Opened"
    assert decide(situation(busy, policy())).reason == "Opened", "who does not touch the Application need not wait"


def written(found: Resource | None = None, **more: Any) -> Progress:
    """The rollback is written."""
    owner, found = policy(parameters=WAY), found or application()
    sick = replace(SICK, application=found)
    fresh = progress(sick, remediation(SICK.ref, owner), owner)
    change = ACTIONS[Action.ROLLBACK].plan(replace(request(sick, **WAY), mark="rem-1/1"))
    planned = replace(fresh, remediation=after(fresh, Propose(Action.ROLLBACK), change=change))
    assert not is_begun(planned)
    there = replace(planned, workload=replace(sick, application=patched(found, change)))
    assert is_written(there)
    return replace(there, remediation=after(there, Apply()), **more)


def attempt_of(state: Progress) -> tuple[Attempt, Resource]:
    """The attempt, and the Application as it is now."""
    assert state.workload is not None
    assert state.workload.application is not None
    return state.remediation.status.attempts[0], state.workload.application


def test_whether_it_was_written_is_seen_on_the_application() -> None:
    state = written()
    assert state.remediation.status.attempts[0].result == "Applied"


@pytest.mark.parametrize(
    ("state", "holds", "reason"),
    [
        ({"phase": "Running"}, False, "SyncInProgress"),
        ({"phase": "Succeeded"}, True, ""),
        ({"phase": "Failed", "message": "no such revision"}, False, "SyncFailed"),
        ({"phase": "Error", "message": "no such revision"}, False, "SyncFailed"),
    ],
)
def test_where_the_sync_stands_is_evidence(state: dict[str, str], holds: bool, reason: str) -> None:
    attempt, found = attempt_of(written())
    finding, why = synced(replace(SICK, application=started(found, **state)), attempt) or (None, "")
    assert finding is not None
    assert (finding.holds, why) == (holds, reason)
    assert state.get("message", "") in finding.message


def test_until_argo_cd_has_taken_it_up_it_is_in_progress() -> None:
    attempt, found = attempt_of(written())
    _, why = synced(replace(SICK, application=found), attempt) or (None, "")
    assert why == "SyncInProgress"


@pytest.mark.parametrize("change", ["automated", "other sync"])
def test_who_turns_the_automation_on_or_syncs_something_else_has_taken_it_back(change: str) -> None:
    state = written(now=ago(seconds=-5))
    _, found = attempt_of(state)
    done = started(found, phase="Succeeded")
    if change == "automated":
        done["spec"]["syncPolicy"]["automated"] = AUTOMATED
    else:
        done["status"]["operationState"] = {"phase": "Succeeded", "operation": {"sync": {"revision": "ccc"}}}
    judgement = judge(replace(state, workload=replace(SICK, application=done)))
    assert (judgement.outcome, judgement.reason) == (Outcome.FAILED, "RevertedByOwner")


def test_automation_that_somebody_has_turned_on_again_is_not_overwritten_by_letting_go() -> None:
    found = application(spec={"syncPolicy": {"automated": AUTOMATED}})
    state = written(found)
    _, now = attempt_of(state)
    theirs = started(now, phase="Succeeded")
    theirs["spec"]["syncPolicy"] = {"automated": {"prune": False}}
    attempt = state.remediation.status.attempts[0].model_copy(update={"reason": "RevertedByOwner"})
    status = state.remediation.status.model_copy(update={"attempts": (attempt,)})
    gone = replace(
        state,
        remediation=state.remediation.model_copy(update={"status": status}),
        workload=replace(SICK, application=theirs),
    )
    (left,) = undo_now(gone)
    assert {step["path"] for step in left.patch} == {"/metadata/annotations/aiops.example.com~1remediation"}


def test_a_sync_that_failed_is_a_fix_that_failed_and_is_undone() -> None:
    state = written(now=ago(seconds=-5))
    _, found = attempt_of(state)
    failed = replace(state, workload=replace(SICK, application=started(found, phase="Failed")))
    assert (judge(failed).outcome, judge(failed).reason) == (Outcome.FAILED, "SyncFailed")
    (back,) = undo_now(failed)
    assert (back.kind, back.name) == ("Application", "shop")


def test_an_application_that_cannot_be_read_any_more_is_no_evidence() -> None:
    attempt, _ = attempt_of(written())
    finding, why = synced(replace(SICK, application=None), attempt) or (None, "")
    assert finding is not None
    assert (finding.holds, why) == (None, "")


def test_the_time_of_the_tests_is_that_of_the_history() -> None:
    assert HISTORY[1]["deployStartedAt"] < NOW.isoformat()
