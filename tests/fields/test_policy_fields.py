"""Each field of a policy's spec decides something: the same incident goes otherwise with another value."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from controller.actions import ACTIONS
from controller.model import Undo
from controller.observe import World
from controller.reconcile import decide, fits
from selfheal.errors import Refused
from selfheal.policy import Action, AnomalyType, Policy
from selfheal.remediation import Outcome
from tests.fields.story import NOW, SICK, play, seconds
from tests.unit.controller import objects, pods
from tests.unit.controller.actions.server import request
from tests.unit.controller.objects import ago
from tests.unit.controller.records import policy, prediction, remediation, situation
from tests.unit.controller.test_leaks import killed


def reason(owner: Policy, **more: Any) -> str:
    """Why a Remediation is opened for the sick workload, or not."""
    return decide(situation(SICK, owner, **more)).reason


def test_only_anomalies_of_the_type_are_healed() -> None:
    assert reason(policy(anomaly_type="CrashLoopBackOff")) == "Opened"
    assert reason(policy(anomaly_type="ImagePullBackOff")) == "NoPolicy"


def test_the_action_is_the_one_that_is_tried() -> None:
    assert [play(policy(action=action)).written for action in ("rollback", "restart")] == [["rollback"], ["restart"]]


def test_nothing_is_done_below_the_threshold() -> None:
    answer = prediction(True, "MemoryLeak", 0.8)
    leak = {"anomaly_type": "MemoryLeak", "action": "restart"}
    assert reason(policy(confidenceThreshold=0.79, **leak), prediction=answer) == "Opened"
    assert reason(policy(confidenceThreshold=0.81, **leak), prediction=answer) == "BelowThreshold"


def test_the_cooldown_lasts_as_long_as_the_policy_says() -> None:
    past = remediation(SICK.ref, policy(), outcome=Outcome.SUCCESSFUL, decided=ago(minutes=4), completed=ago(minutes=4))
    assert reason(policy(cooldownPeriod="3m"), history=(past,)) == "Opened"
    assert reason(policy(cooldownPeriod="4m1s"), history=(past,)) == "Cooldown"


@pytest.mark.parametrize("most", [0, 1, 2, 3])
def test_as_many_attempts_are_made_as_the_policy_allows(most: int) -> None:
    patient = policy(anomaly_type="OOMKilled", action="adjust-resources", escalation=["restart"], maxRetries=most)
    story = play(patient, sick=killed("48Mi", 1))
    assert story.written == ["adjust-resources", "adjust-resources", "restart"][:most]
    assert story.end.status.reason == "RetriesExhausted"


def test_a_policy_that_is_not_enabled_starts_nothing_and_ends_what_it_began() -> None:
    assert reason(policy(enabled=False)) == "PolicyDisabled"
    assert play(policy(enabled=False)).end.status.reason == "PolicyGone"


def test_a_policy_of_the_product_heals_the_namespace_it_names() -> None:
    def kept(namespace: str) -> Policy:
        return policy(targetNamespace=namespace).model_copy(update={"namespace": "selfheal-system"})

    assert reason(kept(objects.NAMESPACE)) == "Opened"
    assert reason(kept("elsewhere")) == "NoPolicy"
    assert reason(kept("")) == "NoPolicy"


def test_only_workloads_with_the_labels_are_targets() -> None:
    assert fits(policy(selector={"matchLabels": {"tier": "web"}}), "Deployment", {"tier": "web", "more": "x"})
    assert not fits(policy(selector={"matchLabels": {"tier": "web"}}), "Deployment", {"tier": "db"})


@pytest.mark.parametrize(
    ("expression", "taken", "left"),
    [
        ({"key": "tier", "operator": "In", "values": ["web"]}, {"tier": "web"}, {"tier": "db"}),
        ({"key": "tier", "operator": "NotIn", "values": ["web"]}, {"tier": "db"}, {"tier": "web"}),
        ({"key": "zone", "operator": "Exists"}, {"zone": ""}, {"tier": "web"}),
    ],
)
def test_only_workloads_that_meet_the_expressions_are_targets(
    expression: dict[str, Any], taken: dict[str, str], left: dict[str, str]
) -> None:
    owner = policy(selector={"matchExpressions": [expression]})
    assert (fits(owner, "Deployment", taken), fits(owner, "Deployment", left)) == (True, False)


def test_the_mode_decides_whether_the_controller_acts_by_itself() -> None:
    ends = [play(policy(mode=mode), heals=True).end.status.outcome for mode in ("Auto", "Approve", "Observe")]
    assert ends == [Outcome.SUCCESSFUL, Outcome.DENIED, Outcome.OBSERVED]


@pytest.mark.parametrize(
    ("parameter", "line"),
    [({"maxCpu": "90m"}, "cpu limit of app: 20m -> 90m"), ({"maxCpu": "4"}, "cpu limit of app: 20m -> 120m")],
)
def test_a_cpu_limit_never_passes_the_maximum(parameter: dict[str, str], line: str) -> None:
    assert adjusted(parameter) == line


def test_a_cpu_limit_at_the_maximum_is_left_alone() -> None:
    with pytest.raises(Refused, match="maxCpu of the policy is 21m"):
        adjusted({"maxCpu": "21m"})


def adjusted(parameters: dict[str, str]) -> str:
    """The plan for a throttled Deployment with a CPU limit of 20m."""
    cart = objects.deployment(pod_template=objects.template(objects.container(cpu="20m")))
    owner = objects.replica_set(cart, replicas=2, ready=2)
    target = objects.workload(cart, [pods.pod(owner, 1)], [owner])
    asked = request(target, AnomalyType.CPU_THROTTLING, adjustResources=parameters)
    return ACTIONS[Action.ADJUST_RESOURCES].plan(asked).diff


@pytest.mark.parametrize("period", [10, 45])
def test_a_fix_must_hold_for_the_stabilisation_period(period: int) -> None:
    times = play(policy(verification={"stabilizationPeriod": f"{period}s"}), heals=True).end.status.times
    assert period <= seconds(times.recovered, times.verified) < period + 6


@pytest.mark.parametrize("timeout", [70, 200])
def test_a_fix_that_does_not_help_is_waited_for_until_the_timeout(timeout: int) -> None:
    (attempt,) = play(policy(verification={"timeout": f"{timeout}s"})).attempts
    assert timeout <= seconds(attempt.started_time, attempt.ended_time) < timeout + 8


def test_a_failed_fix_is_undone_unless_the_policy_keeps_it() -> None:
    undone, kept = (play(policy(undoOnFailure=wish)) for wish in (True, False))
    assert (len(undone.taken(Undo)), undone.attempts[0].result) == (1, "Undone")
    assert (len(kept.taken(Undo)), kept.attempts[0].result) == (0, "Failed")


def test_what_did_not_help_is_followed_by_the_next_action_of_the_escalation() -> None:
    assert play(policy()).written == ["rollback"]
    story = play(policy(escalation=["restart"]))
    assert story.written == ["rollback", "restart"]
    assert [one.result for one in story.attempts] == ["Undone", "Undone"]


@pytest.mark.parametrize(
    ("window", "reason_now"),
    [
        ({"days": ["Tue"]}, "Opened"),  # the tests' clock: a Tuesday, 12:00 UTC
        ({"days": ["Wed"]}, "OutsideWindow"),
        ({"start": "11:59", "end": "18:00"}, "Opened"),
        ({"start": "12:01", "end": "18:00"}, "OutsideWindow"),
        ({"start": "08:00", "end": "12:01"}, "Opened"),
        ({"start": "08:00", "end": "12:00"}, "OutsideWindow"),
        ({"start": "13:00", "end": "14:00", "timezone": "Europe/Zurich"}, "Opened"),
        ({"start": "12:00", "end": "13:00", "timezone": "Europe/Zurich"}, "OutsideWindow"),
    ],
)
def test_nothing_is_done_outside_of_the_windows(window: dict[str, Any], reason_now: str) -> None:
    assert reason(policy(windows=[window])) == reason_now


def test_the_highest_priority_wins_a_target() -> None:
    rivals = (policy("a", priority=1), policy("b", priority=2), policy("c"))
    found = decide(situation(SICK, *rivals)).policy
    assert found is not None
    assert found.name == "b"


def test_a_policy_elsewhere_may_not_reach_into_other_namespaces() -> None:
    world = World("selfheal-system", lambda: NOW)
    for namespace in ("shop", "selfheal-system"):
        spec = {"anomalyType": "OOMKilled", "action": "restart", "targetNamespace": "pay"}
        meta = {"name": "p", "namespace": namespace, "uid": namespace}
        world.put("SelfHealingPolicy", {"metadata": meta, "spec": spec})
    assert [one.namespace for one in world.policies_for("pay")] == ["selfheal-system"]


def test_the_story_goes_by_the_tests_clock() -> None:
    assert play(policy(), heals=True).steps[0][0] == NOW
    assert timedelta(0) < play(policy(), heals=True).steps[-1][0] - NOW < timedelta(minutes=3)
