"""A workload that fails again and again in our own hands: its Remediation ends, and nothing of it stays behind."""

from __future__ import annotations

import pytest

from controller.cluster import Key
from controller.cluster.paths import item
from selfheal.errors import Conflict, Unavailable
from selfheal.remediation import Outcome
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import NAMESPACE
from tests.unit.controller.records import bad_rollout, policy

CART = Key(NAMESPACE, "Deployment", "cart")


BROKEN = bad_rollout()


@pytest.fixture
def stage() -> Stage:
    """A bad rollout that was rolled back, and is being verified."""
    found = Stage(BROKEN)
    found.put_policy(policy())
    found.healer.consider(CART)
    assert not is_broken(found)
    return found


def is_broken(stage: Stage) -> bool:
    cart = stage.api.objects[item("apps/v1", "Deployment", NAMESPACE, "cart")]
    return bool(cart["spec"]["template"]["spec"] == BROKEN.resource["spec"]["template"]["spec"])


@pytest.mark.parametrize("error", [ValueError("a mistake of ours"), Conflict("somebody else writes, too")])
def test_after_eight_errors_what_was_written_is_taken_back_and_the_record_says_so(
    stage: Stage, error: Exception
) -> None:
    stage.healer.failed(str(CART), error, 8)
    (ended,) = stage.remediations()
    assert (ended.status.outcome, ended.status.reason) == (Outcome.ERROR, "InternalError")
    assert type(error).__name__ in ended.status.message
    assert is_broken(stage)


def test_fewer_errors_end_nothing(stage: Stage) -> None:
    stage.healer.failed(str(CART), ValueError("a mistake of ours"), 7)
    (going_on,) = stage.remediations()
    assert going_on.is_open
    assert not is_broken(stage)


def test_a_heal_outlives_an_outage_of_any_length(stage: Stage) -> None:
    stage.healer.failed(str(CART), Unavailable("the API server does not answer"), 800)
    (going_on,) = stage.remediations()
    assert going_on.is_open
    assert not is_broken(stage)
