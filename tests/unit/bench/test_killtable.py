"""Points to die at, as they follow from what a heal sends, and the steps that they cross."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.killing import RECORD, name_of, pair_of, points, subset
from tests.support.proxy import Heard

HERE = "/apis/aiops.example.com/v1alpha1/namespaces/shop"
STATUS = f"{HERE}/remediations/rem-0123456789abcdef0123/status?fieldManager=selfheal"


def heard(method: str, path: str, status: Any = None) -> Heard:
    body = json.dumps([{"op": "replace"}, {"op": "add", "path": "/status", "value": status}]).encode()
    return Heard(method, path, body, 0.0)


def attempts(*results: str) -> list[dict[str, str]]:
    return [{"result": result} for result in results]


def test_names_of_objects_and_namespaces_make_no_other_request() -> None:
    assert name_of(heard("PATCH", STATUS)) == RECORD
    pod = "/api/v1/namespaces/shop/pods/cart-5d4f-x7/eviction?fieldManager=selfheal"
    assert name_of(heard("POST", pod)) == "POST pods/NAME/eviction"
    assert name_of(heard("POST", pod + "&dryRun=All")) == "POST pods/NAME/eviction (dry run)"


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=9))
def test_there_is_a_point_before_and_after_every_request(names: list[str]) -> None:
    found = points([heard("PATCH", f"/apis/apps/v1/namespaces/shop/deployments/{name}") for name in names])
    assert len(set(found)) == len(found) == 2 * len(names)
    assert [point.moment for point in found] == ["before", "after"] * len(names)


def test_a_request_belongs_to_the_step_that_is_recorded_next() -> None:
    write = heard("PATCH", "/apis/apps/v1/namespaces/shop/deployments/cart")
    plan, done = {"attempts": attempts("Planned")}, {"attempts": attempts("Applied")}
    opened = heard("PATCH", STATUS, {"reason": "Opened"})
    found = points([opened, heard("PATCH", STATUS, plan), write, heard("PATCH", STATUS, done)])
    assert [point.pair for point in found[::2]] == [
        ("Open", ""),
        ("Propose", "Planned"),
        ("Apply", "Applied"),
        ("Apply", "Applied"),
    ]


def test_a_subset_always_holds_the_points_where_a_write_was_not_recorded() -> None:
    path = "/apis/apps/v1/namespaces/shop/deployments/cart"
    sent = [heard("POST", f"{HERE}/remediations"), heard("PATCH", path + "?dryRun=All"), heard("PATCH", path)]
    found = [str(point) for point in subset(points(sent), 99)]
    assert found == ["before POST remediations #1", "after PATCH deployments/cart #1"]


@pytest.mark.parametrize(
    ("before", "after", "step"),
    [
        ({"attempts": attempts("Applied")}, {"attempts": attempts("Applied")}, "Wait"),
        ({"attempts": attempts("Applied")}, {"attempts": attempts("Failed")}, "Conclude"),
        ({"attempts": attempts("Failed")}, {"attempts": attempts("Undone")}, "Conclude"),
        ({"attempts": attempts("Undone")}, {"attempts": attempts("Undone", "Planned")}, "Propose"),
        ({"attempts": attempts("Undone")}, {"attempts": attempts("Undone"), "outcome": "Failed"}, "Finish"),
    ],
)
def test_the_step_follows_from_two_records(before: Any, after: Any, step: str) -> None:
    assert pair_of({"reason": "x"} | before, after)[0] == step


@pytest.mark.parametrize(
    ("conditions", "reason", "step"),
    [
        ([{"type": "Applied", "status": "False", "reason": "Conflict"}], "Conflict", "Apply"),
        ([{"type": "Verified", "status": "Unknown", "reason": "PolicyChanged"}], "PolicyChanged", "Conclude"),
    ],
)
def test_an_error_of_a_write_is_told_from_a_plan_that_was_dropped(conditions: Any, reason: str, step: str) -> None:
    after = {"attempts": attempts("Error"), "conditions": conditions, "reason": reason}
    assert pair_of({"attempts": attempts("Planned")}, after) == (step, "Error")


def test_an_undo_and_an_announcement_are_steps_of_their_own() -> None:
    undo = {"type": "Undone", "status": "Unknown", "reason": "UndoWritten"}
    say = {"type": "Applied", "status": "Unknown", "reason": "Writing"}
    failed, planned = {"attempts": attempts("Failed")}, {"attempts": attempts("Planned")}
    assert pair_of(failed, failed | {"conditions": [undo], "reason": "UndoWritten"})[0] == "Undo"
    assert pair_of(planned, planned | {"conditions": [say]})[0] == "Apply"
