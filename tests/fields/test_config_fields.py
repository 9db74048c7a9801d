"""Each field of the HealingConfig and of a RemediationApproval decides something."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from controller.model import Apply, Situation
from controller.reconcile import decide
from selfheal.policy import Budget, HealingConfig, Storm
from selfheal.remediation import Approval, Outcome, Remediation, TargetRef
from tests.fields.story import SICK, Story, play, seconds
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import NOW, ago, stamp
from tests.unit.controller.records import policy, remediation, situation


def other(index: int, namespace: str, *, is_open: bool = False) -> Remediation:
    """A Remediation of another workload, half an hour old."""
    ref = TargetRef(api_version="apps/v1", kind="Deployment", namespace=namespace, name="x", uid=f"x-{index}")
    outcome = None if is_open else Outcome.SUCCESSFUL
    name = f"rem-{index}"
    return remediation(ref, policy(), name=name, outcome=outcome, decided=ago(minutes=30), namespace=namespace)


def asked(config: HealingConfig, *history: Remediation, **more: Any) -> Situation:
    """The sick workload under a configuration."""
    return situation(SICK, policy(), config=config, history=history, **more)


def test_suspension_holds_everything_back() -> None:
    assert decide(asked(HealingConfig(suspended=False))).reason == "Opened"
    assert decide(asked(HealingConfig(suspended=True))).reason == "Suspended"


def test_only_so_many_remediations_are_open_at_once() -> None:
    config = HealingConfig(budget=Budget(max_concurrent=2))
    two = [other(index, "elsewhere", is_open=True) for index in range(2)]
    assert decide(asked(config, two[0])).reason == "Opened"
    found = decide(asked(config, *two))
    assert (found.reason, "maxConcurrent" in found.message) == ("BudgetExhausted", True)


def test_only_so_many_remediations_are_opened_in_an_hour() -> None:
    config = HealingConfig(budget=Budget(max_per_hour=2))
    two = [other(index, "elsewhere") for index in range(2)]
    assert decide(asked(config, two[0])).reason == "Opened"
    found = decide(asked(config, *two))
    assert (found.reason, "maxPerHour" in found.message) == ("BudgetExhausted", True)


def test_only_so_many_remediations_are_opened_in_one_namespace_in_an_hour() -> None:
    config = HealingConfig(budget=Budget(max_per_namespace_per_hour=2))
    here = [other(index, "shop") for index in range(2)]
    elsewhere = [other(index, "elsewhere") for index in range(5, 9)]
    assert decide(asked(config, here[0], *elsewhere)).reason == "Opened"
    found = decide(asked(config, *here))
    assert (found.reason, "maxPerNamespacePerHour" in found.message) == ("BudgetExhausted", True)


@pytest.mark.parametrize(("limit", "reason"), [(60, "Opened"), (59, "Storm")])
def test_a_storm_begins_above_the_share_that_is_configured(limit: int, reason: str) -> None:
    config = HealingConfig(storm=Storm(max_unhealthy_percent=limit))
    assert decide(asked(config, unhealthy_percent=60.0, unhealthy=200)).reason == reason


@pytest.mark.parametrize(("minutes", "reason"), [(3, "Storm"), (2, "Opened")])
def test_after_a_storm_nothing_is_done_for_the_cooldown_that_is_configured(minutes: int, reason: str) -> None:
    config = HealingConfig(storm=Storm(cooldown=timedelta(minutes=minutes)))
    assert decide(asked(config, last_storm=ago(minutes=2, seconds=30))).reason == reason


def test_protected_namespaces_are_left_alone() -> None:
    assert decide(asked(HealingConfig(protected_namespaces=("pay-*",)))).reason == "Opened"
    assert decide(asked(HealingConfig(protected_namespaces=("sh*",)))).reason == "NamespaceProtected"


@pytest.mark.parametrize("minutes", [3, 40])
def test_an_answer_is_waited_for_as_long_as_is_configured(minutes: int) -> None:
    story = play(policy(mode="Approve"), config=HealingConfig(approval_timeout=timedelta(minutes=minutes)))
    assert (story.end.status.outcome, story.end.status.reason) == (Outcome.DENIED, "ApprovalTimeout")
    assert seconds(NOW, story.end.status.times.completed) == pytest.approx(minutes * 60, abs=5)


def decided(decision: str, *, name: str = "rem-1", reason: str = "", approver: str = "ada") -> Story:
    """What becomes of a plan about which a person decides."""
    body = {"remediationName": name, "decision": decision, "approver": approver, "reason": reason}
    return play(policy(mode="Approve"), heals=True, approval=Approval.model_validate(body))


def test_a_person_decides_whether_the_plan_is_written() -> None:
    yes, no = decided("Approve"), decided("Deny")
    assert (len(yes.taken(Apply)), yes.end.status.outcome) == (1, Outcome.SUCCESSFUL)
    assert (len(no.taken(Apply)), no.end.status.outcome) == (0, Outcome.DENIED)


def told(story: Story) -> str:
    """What the record says about the decision."""
    return next(one.message for one in story.end.status.conditions if one.type == "Approved")


def test_who_decided_is_on_the_record() -> None:
    assert told(decided("Approve", approver="grace")) == "grace"
    assert told(decided("Deny", approver="grace")).startswith("grace said no")


def test_why_somebody_decided_so_is_on_the_record() -> None:
    assert told(decided("Approve", reason="the new image is broken")) == "ada: the new image is broken"
    assert told(decided("Deny", reason="we are debugging it")) == "ada said no: we are debugging it"


@pytest.mark.parametrize(("name", "result"), [("rem-1", "Applied"), ("rem-2", "Planned")])
def test_a_decision_is_about_the_remediation_that_it_names(name: str, result: str) -> None:
    stage = Stage(SICK)
    stage.put_policy(policy(mode="Approve"))
    stage.stepper.run(stage.put_remediation(remediation(SICK.ref, policy())))
    meta = {"namespace": "shop", "name": "yes", "uid": "yes", "creationTimestamp": stamp(NOW)}
    spec = {"remediationName": name, "decision": "Approve", "approver": "ada"}
    stage.world.put("RemediationApproval", {"metadata": meta, "spec": spec})
    stage.later(seconds=5)
    stage.stepper.run(stage.remediations()[0])
    assert stage.remediations()[0].status.attempts[0].result == result
