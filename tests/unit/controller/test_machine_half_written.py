"""A plan of several operations of which some are written: it is finished or taken back, and never forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model import Apply, Conclude, Finish, Progress, Propose, Resource, Undo, Wait, Workload
from controller.reconcile import advance
from selfheal.policy import HealingConfig, Policy
from selfheal.remediation import AttemptResult, Change, Operation, Outcome
from tests.unit.controller.objects import NOW
from tests.unit.controller.records import after, bad_rollout, change_of, marked, policy, progress, remediation

SICK = bad_rollout()
MEMORY = "/spec/containers/0/resources/limits/memory"


def patch_pod(pod: Resource, value: str) -> Operation:
    """An in-place resize of the first container."""
    meta = pod["metadata"]
    return Operation(
        verb="Resize",
        api_version="v1",
        kind="Pod",
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        patch=({"op": "replace", "path": MEMORY, "value": value},),
    )


def evict(pod: Resource) -> Operation:
    return patch_pod(pod, "").model_copy(update={"verb": "Evict", "patch": ()})


def resize_then_template() -> Change:
    """What adjust-resources plans: the pod first, then the template, which carries the mark."""
    pod, template = SICK.pods[0], change_of(SICK, "rem-1/1")
    return template.model_copy(
        update={
            "operations": (patch_pod(pod, "148Mi"), *template.operations),
            "undo": (patch_pod(pod, "48Mi"), *template.undo),
        }
    )


def template_then_eviction() -> Change:
    """What a rollback of a StatefulSet plans: the template with the mark, then the pods in its way."""
    template = change_of(SICK, "rem-1/1")
    return template.model_copy(update={"operations": (*template.operations, evict(SICK.pods[0]))})


def only_eviction() -> Change:
    """What a restart by eviction plans: nothing that could carry a mark."""
    return Change(operations=(evict(SICK.pods[0]),), diff="pod cart-1: not ready -> evicted")


def sized(workload: Workload, value: str) -> Workload:
    """The workload with the first pod's memory limit at a value."""
    first, *others = workload.pods
    spec = first["spec"] | {
        "containers": [first["spec"]["containers"][0] | {"resources": {"limits": {"memory": value}}}]
    }
    return replace(workload, pods=(first | {"spec": spec}, *others))


def without_pod(workload: Workload) -> Workload:
    return replace(workload, pods=workload.pods[1:])


def planned(change: Change, owner: Policy | None = None) -> Progress:
    """A stored plan of which nothing is written yet."""
    owner = owner or policy()
    fresh = progress(sized(SICK, "48Mi"), remediation(SICK.ref, owner), owner)
    step = advance(fresh)
    assert isinstance(step, Propose)
    return replace(fresh, remediation=after(fresh, step, change=change, dry_run="accepted"))


HALF = {
    "resized, template not written": (resize_then_template(), sized(SICK, "148Mi")),
    "template written, pod not evicted": (template_then_eviction(), marked(sized(SICK, "48Mi"), "rem-1/1")),
}


@pytest.fixture(params=HALF)
def half(request: pytest.FixtureRequest) -> Progress:
    change, workload = HALF[request.param]
    return replace(planned(change), workload=workload)


def test_the_rest_is_written_even_when_the_first_half_has_cleared_the_symptom(half: Progress) -> None:
    assert advance(replace(half, symptoms=())) == Apply()


def test_the_rest_is_written_outside_of_the_policys_windows_and_however_late(half: Progress) -> None:
    closed = policy(windows=[{"days": ["Mon"], "start": "01:00", "end": "01:01"}])
    assert advance(replace(half, policy=closed, now=NOW + timedelta(hours=3))) == Apply()


@pytest.mark.parametrize(
    "owner",
    [
        None,
        policy(mode="Observe"),
        policy(action="notify-only", undoOnFailure=False),
        policy(selector={"matchLabels": {"app": "other"}}, undoOnFailure=False),
    ],
)
def test_what_may_not_be_finished_any_more_is_taken_back(half: Progress, owner: Policy | None) -> None:
    forbidden = replace(half, policy=owner)
    step = advance(forbidden)
    assert isinstance(step, Conclude)
    assert step.result is AttemptResult.FAILED
    assert isinstance(advance(replace(forbidden, remediation=after(forbidden, step))), Undo)


def test_a_suspension_that_lasts_too_long_does_not_claim_that_nothing_was_changed(half: Progress) -> None:
    held = replace(half, config=HealingConfig(suspended=True))
    step = advance(held)
    assert isinstance(step, Wait)
    late = replace(half, remediation=after(held, step), now=NOW + timedelta(hours=1))
    end = advance(late)
    assert isinstance(end, Finish)
    assert (end.outcome, end.reason) == (Outcome.INCONCLUSIVE, "SuspendedTooLong")


def test_a_pod_that_vanished_before_its_eviction_is_not_counted_as_evicted_by_us() -> None:
    gone = replace(planned(only_eviction(), policy(action="restart")), workload=without_pod(SICK), symptoms=())
    step = advance(gone)
    assert isinstance(step, Finish)
    assert (step.outcome, step.reason) == (Outcome.SKIPPED, "ClearedByItself")


@given(
    written=st.integers(0, 2),
    clear=st.booleans(),
    late=st.timedeltas(timedelta(0), timedelta(days=2)),
    change=st.sampled_from(["none", "gone", "Observe", "notify-only", "other"]),
)
def test_it_never_ends_as_skipped_or_observed_while_something_of_ours_is_in_the_cluster(
    written: int, clear: bool, late: timedelta, change: str
) -> None:
    owners: dict[str, Any] = {
        "none": policy(),
        "gone": None,
        "Observe": policy(mode="Observe"),
        "notify-only": policy(action="notify-only"),
        "other": policy(selector={"matchLabels": {"app": "other"}}),
    }
    workload = marked(sized(SICK, "148Mi" if written else "48Mi"), "rem-1/1" if written == 2 else None)
    seen = replace(planned(resize_then_template()), workload=workload, policy=owners[change], now=NOW + late)
    step = advance(replace(seen, symptoms=() if clear else seen.symptoms))
    harmless = (Outcome.SKIPPED, Outcome.OBSERVED, Outcome.DENIED)
    assert not (written and isinstance(step, Finish) and step.outcome in harmless)
