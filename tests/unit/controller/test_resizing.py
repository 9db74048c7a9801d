"""Where an in-place resize stands, by what a kubelet of 1.34 writes into the pod, and what follows for the fix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.model import Apply, Judgement, Progress, Propose, Resource, Workload
from controller.verification import judge
from selfheal.policy import Action
from selfheal.remediation import Change, Operation, Outcome
from tests.unit.controller import objects, pods
from tests.unit.controller.objects import ago
from tests.unit.controller.records import after, policy, progress, remediation

LIMIT = "/spec/containers/0/resources/limits/memory"
DEFERRED = "Node didn't have enough resource: memory, requested: 8589934592, used: 9663676416, capacity: 16777216000"
INFEASIBLE = "Node didn't have enough capacity: memory, requested: 1099511627776, capacity: 16777216000"


def kubelet_says(kind: str, reason: str, message: str = "", seen: int = 2) -> Resource:
    """A pod condition about a resize; ``seen`` is the generation of the spec that it is about."""
    found = {"type": kind, "status": "True", "observedGeneration": seen, "lastProbeTime": objects.stamp(objects.NOW)}
    return found | {key: text for key, text in (("reason", reason), ("message", message)) if text}


def pod_with(*conditions: Resource, given: str | None = "148Mi", wish: str = "148Mi") -> Workload:
    """A healthy Deployment whose only pod was asked to grow from 48Mi to 148Mi; ``given`` is what its kubelet gave."""
    body = objects.template(objects.container(memory="48Mi"))
    cart = objects.deployment(replicas=1, pod_template=body)
    owner = objects.replica_set(cart, replicas=1, ready=1)
    status = pods.running()
    if given is not None:
        status["resources"] = {"limits": {"memory": given}, "requests": {"memory": given}}
    one = pods.pod(owner, statuses=[status], conditions=conditions)
    one["metadata"]["generation"] = 2
    one["spec"] = one["spec"] | {"containers": [objects.container(memory=wish)]}
    return objects.workload(cart, [one], [owner])


def resized(workload: Workload, seconds: float) -> Progress:
    """The resize was written some seconds ago."""
    owner, then = policy(anomaly_type="OOMKilled", action="adjust-resources"), ago(seconds=seconds)
    metadata = workload.pods[0]["metadata"]
    write = Operation(
        verb="Resize",
        api_version="v1",
        kind="Pod",
        namespace="shop",
        name=metadata["name"],
        uid=metadata["uid"],
        patch=({"op": "replace", "path": LIMIT, "value": "148Mi"},),
    )
    back = write.model_copy(update={"patch": ({"op": "replace", "path": LIMIT, "value": "48Mi"},)})
    fresh = progress(workload, remediation(workload.ref, owner, decided=then), owner, now=then, symptoms=())
    plan = Change(operations=(write,), diff="memory limit of app: 48Mi -> 148Mi", undo=(back,))
    planned = after(fresh, Propose(Action.ADJUST_RESOURCES), change=plan)
    return progress(workload, after(replace(fresh, remediation=planned), Apply()), owner, symptoms=())


def verdict(*conditions: Resource, seconds: float = 90, **pod: Any) -> Judgement:
    """What verification says."""
    return judge(resized(pod_with(*conditions, **pod), seconds))


def kept(found: Judgement) -> str:
    """What is said about the spec."""
    return next(one.message for one in found.findings if one.name == "SpecKept")


def test_a_resize_is_done_when_the_kubelet_reports_the_new_size() -> None:
    found = verdict()
    assert (found.outcome, found.reason) == (Outcome.SUCCESSFUL, "Stable")


@pytest.mark.parametrize("given", ["48Mi", "0"])
def test_before_the_kubelet_has_looked_nothing_is_done(given: str) -> None:
    found = verdict(given=given)
    assert (found.outcome, found.reason) == (None, "ResizeInProgress")
    assert "148Mi" in kept(found)


def test_a_resize_that_is_deferred_waits_until_the_time_is_up_and_says_so() -> None:
    pending = kubelet_says("PodResizePending", "Deferred", DEFERRED)
    early, late = (verdict(pending, seconds=seconds, given="48Mi") for seconds in (299, 300))
    assert (early.outcome, early.reason) == (None, "ResizeDeferred")
    assert (late.outcome, late.reason) == (Outcome.FAILED, "ResizeDeferred")
    assert "used: 9663676416" in kept(late)


def test_a_resize_that_the_node_can_never_give_has_failed_at_once() -> None:
    found = verdict(kubelet_says("PodResizePending", "Infeasible", INFEASIBLE), seconds=1, given="48Mi")
    assert (found.outcome, found.reason) == (Outcome.FAILED, "ResizeInfeasible")
    assert "capacity: 16777216000" in kept(found)


def test_a_resize_that_is_being_made_is_waited_for() -> None:
    found = verdict(kubelet_says("PodResizeInProgress", ""), given="48Mi")
    assert (found.outcome, found.reason) == (None, "ResizeInProgress")
    assert verdict(kubelet_says("PodResizeInProgress", ""), given="48Mi", seconds=300).outcome is Outcome.FAILED


def test_a_resize_that_fails_has_failed() -> None:
    found = verdict(kubelet_says("PodResizeInProgress", "Error", "failed to write memory.max"), given="48Mi")
    assert (found.outcome, found.reason) == (Outcome.FAILED, "ResizeFailed")
    assert "memory.max" in kept(found)


def test_what_the_kubelet_said_about_an_older_wish_does_not_count() -> None:
    old = kubelet_says("PodResizePending", "Infeasible", INFEASIBLE, seen=1)
    assert verdict(old, given="48Mi").reason == "ResizeInProgress"


def test_a_kubelet_that_reports_no_sizes_is_believed_by_its_conditions_alone() -> None:
    assert verdict(given=None).outcome is Outcome.SUCCESSFUL


def test_a_size_that_somebody_took_back_is_not_fought_over() -> None:
    found = verdict(given="48Mi", wish="48Mi")
    assert (found.outcome, found.reason) == (Outcome.FAILED, "RevertedByOwner")


def test_equal_sizes_may_be_written_differently() -> None:
    assert verdict(given="155189248").reason == "Stable"


def test_a_pod_that_a_rollout_is_replacing_is_not_waited_for() -> None:
    leaving = pod_with(given="48Mi")
    leaving.pods[0]["metadata"]["deletionTimestamp"] = objects.stamp(ago(seconds=5))
    found = judge(resized(leaving, 90))
    assert (found.reason, kept(found)) == ("Stable", "the spec is as it was written")


def test_a_request_that_is_reported_rounded_is_no_reason_to_wait() -> None:
    grown = pod_with()
    grown.pods[0]["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "125m"}
    grown.pods[0]["status"]["containerStatuses"][0]["resources"]["requests"] = {"cpu": "124m"}
    given = resized(grown, 90)
    (tried,) = given.remediation.status.attempts
    more = {"op": "replace", "path": LIMIT.replace("limits/memory", "requests/cpu"), "value": "125m"}
    writes = tuple(one.model_copy(update={"patch": (*one.patch, more)}) for one in tried.change.operations)
    tried = tried.model_copy(update={"change": tried.change.model_copy(update={"operations": writes})})
    status = given.remediation.status.model_copy(update={"attempts": (tried,)})
    assert judge(replace(given, remediation=given.remediation.model_copy(update={"status": status}))).reason == "Stable"
