"""Steps that are carried out: what is written, when the next one is due, and what a failing server does to them."""

from __future__ import annotations

import pytest

from controller.cluster.paths import item, own
from selfheal.errors import Unavailable
from selfheal.policy import Mode, Parameters, Policy
from selfheal.remediation import Outcome, Remediation
from tests.unit.controller.actions.test_adjust_resources import shop
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import NAMESPACE, ago, container
from tests.unit.controller.records import bad_rollout, policy, remediation

SICK = bad_rollout()


def stage(owner: Policy | None = None) -> tuple[Stage, Remediation]:
    """A sick workload with a fresh Remediation."""
    owner = owner or policy()
    found = Stage(SICK)
    found.put_policy(owner)
    return found, found.put_remediation(remediation(SICK.ref, owner))


def test_a_fresh_remediation_is_planned_and_written_in_one_go() -> None:
    found, fresh = stage()
    found.stepper.run(fresh)
    (attempt,) = found.remediations()[0].status.attempts
    assert attempt.result == "Applied"
    assert len([one for one in found.api.writes("/deployments/") if "dryRun" not in one[1]]) == 2  # dry, then for good


@pytest.mark.parametrize("minutes", [0, 4, 6, 600])
def test_a_suspended_remediation_is_not_polled_however_long_it_lasts(minutes: int) -> None:
    found, fresh = stage()
    found.suspend()
    found.stepper.run(fresh)
    found.later(minutes=minutes)
    delay = found.stepper.run(found.remediations()[0])
    assert delay is None or delay > 10
    assert found.api.writes("/deployments/") == []


def test_one_failing_call_after_a_suspension_does_not_end_the_incident() -> None:
    found, fresh = stage()
    found.suspend()
    found.stepper.run(fresh)
    found.suspend(False)
    found.later(minutes=1)
    found.api.failing.append(Unavailable("the API server does not answer"))
    found.stepper.run(found.remediations()[0])
    found.later(seconds=30)
    found.stepper.run(found.remediations()[0])
    assert found.remediations()[0].status.attempts[0].result == "Applied"


def test_an_eviction_is_announced_before_it_is_written() -> None:
    found, fresh = stage(policy(action="restart", parameters={"restart": {"strategy": "Evict"}}))
    found.stepper.run(fresh)
    writes = [path for _, path in found.api.writes() if "events" not in path]
    first = next(n for n, path in enumerate(writes) if path.endswith("/eviction")) + 1  # the dry run
    assert writes[first].endswith("/status")  # Planned
    assert writes[first + 1].endswith("/status")  # announced
    assert writes[first + 2].endswith("/eviction")


def test_a_policy_that_was_deleted_unseen_changes_nothing_any_more() -> None:
    found, fresh = stage()
    del found.api.objects[own("SelfHealingPolicy", NAMESPACE, "heal")]
    found.stepper.run(fresh)
    assert len(found.api.writes("/deployments/")) == 1  # the dry run
    assert found.remediations()[0].status.reason == "PolicyGone"


def test_a_policy_that_was_disabled_unseen_changes_nothing_any_more() -> None:
    found, fresh = stage()
    found.store_policy(policy(enabled=False))
    found.stepper.run(fresh)
    assert found.remediations()[0].status.reason == "PolicyGone"


def test_records_of_a_policy_that_is_gone_are_deleted_too() -> None:
    found = Stage(SICK)
    gone = policy("gone")
    for number in range(60):
        name = f"rem-{number:02}"
        when = ago(days=2, minutes=number)
        old = remediation(SICK.ref, gone, name=name, outcome=Outcome.SUCCESSFUL, completed=when, decided=when)
        found.put_remediation(old)
    found.stepper.run(found.remediations()[0])
    assert len(found.remediations()) == 50


@pytest.mark.parametrize(("limit", "written"), [("48Mi", "48Mi"), ("100Mi", "100Mi"), ("4Gi", "148Mi")])
def test_a_maximum_that_was_lowered_while_a_plan_waited_is_kept(limit: str, written: str) -> None:
    target = shop(container(memory="48Mi"))
    owner = policy(anomaly_type="OOMKilled", action="adjust-resources", mode="Approve")
    found = Stage(target)
    found.put_policy(owner)
    fresh = found.put_remediation(remediation(target.ref, owner))
    found.stepper.run(fresh)
    spec = owner.spec.model_copy(update={"mode": Mode.AUTO, "parameters": adjusting(limit)})
    edited = owner.model_copy(update={"spec": spec, "generation": 2})
    found.put_policy(edited)
    found.stepper.run(found.remediations()[0])
    template = found.api.objects[item("apps/v1", "Deployment", NAMESPACE, "cart")]["spec"]["template"]["spec"]
    assert template["containers"][0]["resources"]["limits"]["memory"] == written


def adjusting(limit: str) -> Parameters:
    return Parameters.model_validate({"adjustResources": {"maxMemory": limit}})
