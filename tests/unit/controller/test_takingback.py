"""A fix that a person takes back stays taken back, and the record says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.model import Resource, Situation, Workload
from controller.reconcile import decide
from selfheal.policy import CLI_FIELD_MANAGER, Action
from selfheal.remediation import Attempt, AttemptResult, ConditionType, Operation, Outcome, Remediation
from selfheal.takingback import in_effect, taken_back
from tests.unit.controller import objects
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import NOW, ago
from tests.unit.controller.records import bad_rollout, change_of, healthy, marked, policy, remediation, situation

SICK = bad_rollout()
MARK = "rem-1/1"


def healed(minutes: float = 10, **attempt: Any) -> Remediation:
    """A heal of the cart that ended some minutes ago; its change is in the cluster."""
    found = remediation(
        SICK.ref, policy(), outcome=Outcome.SUCCESSFUL, decided=ago(minutes=minutes), completed=ago(minutes=minutes)
    )
    change = change_of(SICK, MARK)
    body = {"action": Action.ROLLBACK, "started_time": ago(minutes=minutes), "result": AttemptResult.SUCCESSFUL}
    made = Attempt.model_validate(body | {"change": change, "undo": change.undo} | attempt)
    return found.model_copy(update={"status": found.status.model_copy(update={"attempts": (made,)})})


def undone(minutes: float = 1) -> Remediation:
    """The same, taken back by a person some minutes ago."""
    found = healed(minutes=30)
    status = taken_back(found.status, 0, "ada took it back", ago(minutes=minutes))
    return found.model_copy(update={"status": status})


def seen(workload: Workload, *history: Remediation, **more: Any) -> Situation:
    """The cart under its policy, after the cooldown."""
    return situation(workload, policy(cooldownPeriod="1m"), history=history, **more)


def test_trouble_that_comes_back_after_a_heal_is_a_new_incident() -> None:
    assert decide(seen(marked(SICK, MARK), healed())).reason == "Opened"


def test_what_a_person_took_back_is_not_made_again() -> None:
    found = decide(seen(SICK, undone()))
    assert (found.reason, found.refused) == ("AlreadyHandled", True)
    assert "somebody took back what remediation rem-1 had changed" in found.message


def test_the_controller_sees_by_the_workload_that_it_was_taken_back() -> None:
    found = decide(seen(SICK, healed()))
    assert found.reason == "AlreadyHandled"
    (record,) = found.taken_back
    said = record.status.condition(ConditionType.UNDONE)
    assert said is not None
    assert (said.status, said.reason, said.last_transition_time) == ("True", "UndoneByPerson", NOW)
    assert record.status.attempts[0].result == "Undone"
    assert record.status.attempts[0].evidence[-1].startswith("SpecRestored: yes: somebody took it back")
    assert (record.status.times.undone, record.status.outcome) == (NOW, Outcome.SUCCESSFUL)


def test_what_is_noted_already_is_not_noted_again() -> None:
    assert decide(seen(SICK, undone())).taken_back == ()


@pytest.mark.parametrize("gone", [{}, {"undo": (), "change": {}}], ids=["our mark is there", "nothing to take back"])
def test_a_change_that_is_there_was_not_taken_back(gone: dict[str, Any]) -> None:
    assert decide(seen(marked(SICK, MARK), healed(**gone))).taken_back == ()


def scaled(workload: Workload) -> Remediation:
    """A heal that gave the cart a third replica, which leaves no mark."""
    ref = workload.ref
    names = {"api_version": ref.api_version, "kind": ref.kind, "namespace": ref.namespace, "name": ref.name}
    back = Operation(
        verb="Scale", uid=ref.uid, patch=({"op": "replace", "path": "/spec/replicas", "value": 2},), **names
    )
    return healed(change={"operations": [], "undo": [back]}, undo=[back])


def test_a_number_of_replicas_was_taken_back_only_where_the_command_has_written_it() -> None:
    assert decide(seen(SICK, scaled(SICK))).taken_back == ()
    fields: list[Resource] = [{"manager": CLI_FIELD_MANAGER, "operation": "Update", "subresource": "scale"}]
    written = replace(
        SICK, resource=SICK.resource | {"metadata": SICK.resource["metadata"] | {"managedFields": fields}}
    )
    assert len(decide(seen(written, scaled(SICK))).taken_back) == 1


def test_a_newer_record_that_changed_nothing_does_not_hide_it() -> None:
    newer = remediation(SICK.ref, policy(), name="rem-2", outcome=Outcome.SKIPPED, reason="ClearedByItself")
    newer = newer.model_copy(update={"status": newer.status.model_copy(update={"times": undone().status.times})})
    found = decide(seen(SICK, healed(), newer))
    assert (found.reason, len(found.taken_back)) == ("AlreadyHandled", 1)


def test_a_new_rollout_or_an_edit_of_the_policy_begins_anew() -> None:
    long_ago = {"creationTimestamp": objects.stamp(ago(days=1))}
    older = tuple(one | {"metadata": one["metadata"] | long_ago} for one in SICK.revisions)
    assert decide(seen(replace(SICK, revisions=older), undone(minutes=5))).reason == "AlreadyHandled"
    assert decide(seen(SICK, undone(minutes=5))).reason == "Opened"  # its newest revision came two minutes ago
    edited = policy(cooldownPeriod="1m").model_copy(update={"generation": 2})
    assert decide(situation(SICK, edited, history=(undone(),))).reason == "Opened"


def test_a_calm_of_ten_minutes_ends_it() -> None:
    assert decide(seen(healthy(), undone(minutes=9))).cleared == ()
    assert decide(seen(healthy(), undone(minutes=11))).cleared == ("rem-1",)


def test_it_is_stored_at_the_next_look_and_nothing_is_opened() -> None:
    stage = Stage(SICK)
    stage.put_policy(policy(cooldownPeriod="1m"))
    stage.put_remediation(healed())
    for _ in range(3):
        stage.healer.tend(SICK.ref.workload)
        stage.later(seconds=30)
    (record,) = stage.remediations()
    said = record.status.condition(ConditionType.UNDONE)
    assert said is not None
    assert said.reason == "UndoneByPerson"
    assert stage.api.writes("/deployments/") == []
    assert len(stage.api.writes("/remediations/")) == 1


def test_only_what_is_in_effect_can_be_taken_back() -> None:
    assert in_effect(healed().status) == 0
    assert in_effect(undone().status) is None
