"""Each field of a stored write is carried out as it is stored: of a plan, and of what takes it back."""

from __future__ import annotations

from typing import Any

import pytest

from controller.model import Resource
from selfheal.policy import Action
from selfheal.remediation import Attempt, AttemptResult, Change, Operation
from tests.fields.story import NOW, SICK
from tests.unit.controller.memory import Stage
from tests.unit.controller.records import policy, remediation

PLACES = ("operations", "change.undo", "undo")
CART = "/apis/apps/v1/namespaces/shop/deployments/cart"
NOTE = "/metadata/annotations/note"


def operation(**changes: Any) -> Operation:
    """A write that leaves a note on the Deployment."""
    ref = SICK.ref
    found = Operation(
        verb="Patch",
        api_version=ref.api_version,
        kind=ref.kind,
        namespace=ref.namespace,
        name=ref.name,
        uid=ref.uid,
        patch=({"op": "add", "path": NOTE, "value": "seen"},),
    )
    return found.model_copy(update=changes)


def attempt(place: str, write: Operation) -> Attempt:
    """An attempt as it is stored when the write is due: planned, or failed and to be undone."""
    found = Attempt(action=Action.ROLLBACK, started_time=NOW, ended_time=NOW, result=AttemptResult.FAILED)
    match place:
        case "operations":
            change = Change(operations=(write,), undo=(write,), diff="a note")
            return found.model_copy(update={"result": AttemptResult.PLANNED, "change": change, "ended_time": None})
        case "undo":
            return found.model_copy(update={"undo": (write,)})
        case _:
            return found.model_copy(update={"change": Change(undo=(write,))})


def carried_out(place: str, **changes: Any) -> tuple[list[str], Resource]:
    """Paths that were written, and the Deployment's metadata afterwards."""
    stage = Stage(SICK)
    stage.put_policy(policy())
    fresh = remediation(SICK.ref, policy())
    status = fresh.status.model_copy(update={"attempts": (attempt(place, operation(**changes)),)})
    stage.stepper.run(stage.put_remediation(fresh.model_copy(update={"status": status})))
    paths = [path for _, path in stage.api.writes() if "/remediations/" not in path and "/events" not in path]
    return paths, stage.api.objects[CART]["metadata"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, CART),
        ({"verb": "Scale"}, CART + "/scale"),
        ({"api_version": "apps/v2"}, CART.replace("v1", "v2")),
        ({"kind": "StatefulSet"}, CART.replace("deployments", "statefulsets")),
        ({"namespace": "pay"}, CART.replace("shop", "pay")),
        ({"name": "till"}, CART.replace("cart", "till")),
    ],
)
def test_a_write_goes_to_the_object_that_is_stored(place: str, changes: dict[str, str], path: str) -> None:
    assert carried_out(place, **changes)[0][0] == path


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("changes", [{"uid": "made-anew"}, {"resource_version": "7"}])
def test_an_object_that_is_not_the_one_that_was_planned_for_is_not_touched(place: str, changes: dict[str, str]) -> None:
    assert carried_out(place)[1]["annotations"]["note"] == "seen"
    assert "note" not in carried_out(place, **changes)[1]["annotations"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("step", "notes"),
    [
        ({"op": "add", "path": NOTE, "value": "seen"}, {"note": "seen"}),
        ({"op": "add", "path": NOTE + "2", "value": "seen"}, {"note2": "seen"}),
        ({"op": "add", "path": NOTE, "value": "twice"}, {"note": "twice"}),
        ({"op": "copy", "from": "/metadata/name", "path": NOTE}, {"note": "cart"}),
    ],
)
def test_a_patch_is_made_as_it_is_stored(place: str, step: dict[str, str], notes: dict[str, str]) -> None:
    mine = {"op": "add", "path": "/metadata/annotations/mine", "value": "1"}
    annotations = carried_out(place, patch=(step, mine))[1]["annotations"]
    assert {key: value for key, value in annotations.items() if key.startswith("note")} == notes


@pytest.mark.parametrize("place", PLACES)
def test_a_test_in_a_patch_holds_the_write_back(place: str) -> None:
    guard = {"op": "test", "path": "/metadata/name", "value": "till"}
    write = {"op": "add", "path": NOTE, "value": "seen"}
    assert "note" not in carried_out(place, patch=(guard, write))[1]["annotations"]
