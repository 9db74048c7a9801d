"""A change that somebody took back is theirs: nothing of ours is left on the object, and theirs is not touched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from controller.model import Resource
from selfheal.policy import GROUP
from selfheal.remediation import Outcome, Remediation
from tests.fields.story import SICK
from tests.unit.controller.memory import Stage
from tests.unit.controller.records import policy, remediation

CART = "/apis/apps/v1/namespaces/shop/deployments/cart"
THEIRS = {"manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {}}
OURS = THEIRS | {"manager": "selfheal-controller"}
STATUS = OURS | {"manager": "kube-controller-manager", "subresource": "status"}


def after(change: Callable[[Resource], None], **spec: Any) -> tuple[Remediation, Resource]:
    """A rollback was written, then somebody changed the Deployment: how it ended, and what the Deployment is."""
    stage = Stage(SICK)
    stage.put_policy(policy(**spec))
    stage.stepper.run(stage.put_remediation(remediation(SICK.ref, policy())))
    live = copy.deepcopy(stage.api.objects[CART])
    live["metadata"]["managedFields"] = [copy.deepcopy(OURS), THEIRS, copy.deepcopy(OURS), STATUS]
    change(live)
    stage.api.store(CART, live)
    for _ in range(5):
        stage.later(seconds=5)
        stage.stepper.run(stage.remediations()[0])
    return stage.remediations()[0], stage.api.objects[CART]


def reverted(live: Resource) -> None:
    """The owner's template is back, beside our annotations."""
    live["spec"]["template"] = copy.deepcopy(SICK.resource["spec"]["template"])


def edited(live: Resource) -> None:
    """The owner rolled out something of its own."""
    reverted(live)
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.local/shop:9"


def ours(live: Resource) -> list[str]:
    """Annotations that are ours."""
    return [name for name in live["metadata"]["annotations"] if name.startswith(GROUP)]


def test_a_change_that_its_owner_took_back_ends_as_reverted_and_is_let_go() -> None:
    record, live = after(reverted)
    assert (record.status.outcome, record.status.reason) == (Outcome.FAILED, "RevertedByOwner")
    assert record.status.attempts[0].result == "Undone"
    assert "theirs" in " ".join(record.status.attempts[0].evidence)
    assert ours(live) == []
    assert live["metadata"]["managedFields"] == [THEIRS, STATUS]
    assert live["spec"]["template"] == SICK.resource["spec"]["template"]


def test_what_the_owner_made_of_it_is_not_touched() -> None:
    record, live = after(edited)
    assert record.status.reason == "RevertedByOwner"
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.local/shop:9"
    assert ours(live) == []


def test_an_annotation_that_somebody_has_rewritten_stays() -> None:
    def rewritten(live: Resource) -> None:
        reverted(live)
        live["metadata"]["annotations"][f"{GROUP}/bad-revisions"] = "mine"

    _, live = after(rewritten)
    assert ours(live) == [f"{GROUP}/bad-revisions"]


def test_the_next_action_follows_on_an_object_that_is_all_the_owners() -> None:
    record, live = after(reverted, escalation=["restart"])
    assert [one.action for one in record.status.attempts] == ["rollback", "restart"]
    assert live["metadata"]["annotations"][f"{GROUP}/remediation"] == "rem-1/2"
