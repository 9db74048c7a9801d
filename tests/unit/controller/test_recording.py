"""The notes about healthy revisions: written once a tick by what watches told, and used by the next rollback."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.cluster import Key
from controller.model import Resource, Workload
from controller.recording import Recorder
from controller.symptoms import symptoms
from selfheal.errors import Unavailable
from selfheal.policy import SYSTEM_NAMESPACE
from tests.unit.controller import objects, pods
from tests.unit.controller.memory import Stage
from tests.unit.controller.objects import NAMESPACE
from tests.unit.controller.records import healthy, policy

NOTES = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/selfheal-healthy-revisions"
CART = Key(NAMESPACE, "Deployment", "cart")
ENTRY = "shop.Deployment.cart"


def stage(data: dict[str, str] | None = None, *, there: bool = True) -> Stage:
    """A healthy cart that a policy targets, and the notes."""
    found = Stage(healthy())
    found.put_policy(policy())
    if there:
        meta = {"name": "selfheal-healthy-revisions", "namespace": SYSTEM_NAMESPACE, "uid": "notes"}
        found.api.store(NOTES, {"metadata": meta} | ({"data": data} if data else {}))
    hear(found.healer.recorder)
    return found


def hear(recorder: Recorder, gone: bool = False) -> None:
    """What watches tell of the cart."""
    cart = healthy()
    recorder.observe(CART, "Deployment", cart.resource, gone)
    for pod in cart.pods:
        recorder.observe(CART, "Pod", pod, gone)


def notes(found: Stage) -> dict[str, Any]:
    """As stored."""
    return {key: json.loads(text) for key, text in found.api.objects[NOTES].get("data", {}).items()}


def patches(found: Stage) -> int:
    """How often the notes were written."""
    return len(found.api.writes("configmaps"))


def test_a_revision_that_is_healthy_is_noted_once() -> None:
    found = stage()
    for _ in range(3):
        found.healer.tick()
    assert notes(found)[ENTRY]["revisions"] == ["cart-h1"]
    assert notes(found)[ENTRY]["uid"] == healthy().ref.uid
    assert patches(found) == 1


def test_reading_the_notes_costs_one_call_a_tick_however_many_workloads_there_are() -> None:
    found = stage()
    before = found.api.calls.count(("GET", NOTES))
    found.healer.tick()
    assert found.api.calls.count(("GET", NOTES)) == before + 1


def test_what_no_policy_targets_is_not_noted() -> None:
    found = stage()
    found.put_policy(policy(selector={"matchLabels": {"app": "other"}}))
    found.healer.tick()
    assert patches(found) == 0


def test_what_was_noted_is_known_to_the_replica_that_takes_over() -> None:
    found = stage()
    found.healer.tick()
    successor = found.succeed()
    successor.healer.recorder.load()
    assert successor.world.remembering(CART, healthy()).recorded == ("cart-h1",)


def bare() -> Workload:
    """The cart without replicas: a single revision, nothing applied by kubectl."""
    cart = objects.deployment(replicas=0)
    return objects.workload(cart, [], [objects.replica_set(cart)])


def said(found: Stage, workload: Workload) -> list[str]:
    """What is told of the cart, once who wakes it has had the time."""
    found.world.remembering(CART, workload)
    found.later(seconds=5)
    return [one.message for one in symptoms(found.world.remembering(CART, workload), found.now)]


TOLD = "cart has no replicas, and a note from when it was healthy says 2 replicas; nothing says that zero is wanted"


def test_a_replica_that_never_saw_it_with_replicas_knows_how_many_there_were() -> None:
    found = stage()
    found.healer.tick()
    successor = found.succeed()
    successor.healer.recorder.load()
    assert said(successor, bare()) == [TOLD]


@pytest.mark.parametrize("first", ["watch", "notes"])
def test_a_zero_by_mistake_is_looked_at_whichever_is_heard_first(first: str) -> None:
    found = stage()
    found.healer.tick()
    successor = found.succeed()
    if first == "notes":
        successor.healer.recorder.load()
    successor.world.put("Namespace", objects.namespace())
    successor.world.observe("Deployment", bare().resource, sick=False)
    if first == "watch":
        assert successor.world.suspects() == []
        successor.healer.recorder.load()
    assert successor.world.suspects() == [CART]
    assert said(successor, bare()) == [TOLD]


def test_a_workload_that_was_scaled_up_again_before_its_note_was_read_is_no_suspect() -> None:
    found = stage()
    found.healer.tick()
    successor = found.succeed()
    successor.world.put("Namespace", objects.namespace())
    for resource in (bare().resource, healthy().resource):
        successor.world.observe("Deployment", resource, sick=False)
    successor.healer.recorder.load()
    assert successor.world.suspects() == []


def test_a_workload_that_sleeps_with_a_mark_is_no_suspect_whatever_is_noted() -> None:
    found = stage()
    found.healer.tick()
    successor = found.succeed()
    sleeping = objects.deployment(replicas=0, annotations={"aiops.example.com/scaled-to-zero": "night"})
    successor.world.put("Namespace", objects.namespace())
    successor.world.observe("Deployment", sleeping, sick=False)
    successor.healer.recorder.load()
    assert successor.world.suspects() == []


def test_who_wakes_a_sleeping_workload_is_not_overtaken_by_a_note() -> None:
    found = stage()
    found.healer.tick()
    successor = found.succeed()
    successor.healer.recorder.load()
    sleeping = objects.deployment(replicas=0, annotations={"aiops.example.com/scaled-to-zero": "night"})
    successor.world.observe("Deployment", sleeping, sick=False)
    successor.later(hours=1)
    assert symptoms(successor.world.remembering(CART, bare()), successor.now) == ()
    assert said(successor, bare()) == [TOLD]


def test_what_this_process_saw_counts_more_than_a_note() -> None:
    found = stage({ENTRY: json.dumps({"uid": healthy().ref.uid, "revisions": ["cart-h1"], "at": 1, "replicas": 9})})
    found.healer.recorder.load()
    (text,) = said(found, bare())
    assert "a watch that saw it before says 2 replicas" in text


def test_a_note_about_another_workload_of_the_same_name_is_no_evidence_of_replicas() -> None:
    found = stage({ENTRY: json.dumps({"uid": "another", "revisions": ["cart-h9"], "at": 1, "replicas": 2})})
    successor = found.succeed()
    successor.healer.recorder.load()
    successor.world.observe("Deployment", bare().resource, sick=False)
    assert successor.world.suspects() == []
    assert said(successor, bare()) == []


def scale(found: Stage, replicas: int) -> None:
    """Somebody, or an autoscaler, writes the number; the pods follow, and are ready for long."""
    cart = objects.deployment(replicas=replicas)
    write = {"manager": "kube-controller-manager", "subresource": "scale", "time": objects.stamp(found.now)}
    cart["metadata"]["managedFields"] = [write | {"fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    found.healer.recorder.observe(CART, "Deployment", cart, False)
    for number in range(1, 10):
        pod = pods.pod(objects.replica_set(cart), number)
        found.healer.recorder.observe(CART, "Pod", pod, gone=number > replicas)


def test_the_swings_of_an_autoscaler_cost_no_write_and_a_number_that_stays_costs_one() -> None:
    found = stage()
    found.healer.tick()
    for minute in range(60):
        if minute % 5 == 0:
            scale(found, 4 + minute // 5 % 2)
        found.later(minutes=1)
        found.healer.tick()
    assert (patches(found), notes(found)[ENTRY]["replicas"]) == (1, 2)
    for _ in range(10):
        found.later(minutes=1)
        found.healer.tick()
    assert (patches(found), notes(found)[ENTRY]["replicas"]) == (2, 5)


def test_notes_about_another_workload_of_the_same_name_are_not_used() -> None:
    other = json.dumps({"uid": "another", "revisions": ["cart-h9"], "at": 1})
    found = stage({ENTRY: other})
    found.healer.recorder.load()
    assert found.world.remembering(CART, healthy()).recorded == ()


def test_a_workload_that_is_gone_is_forgotten_after_some_ticks() -> None:
    old = json.dumps({"uid": "gone", "revisions": ["till-1"], "at": 1})
    found = stage({"shop.Deployment.till": old})
    for _ in range(4):
        found.healer.tick()
    assert "shop.Deployment.till" in notes(found)
    found.healer.tick()
    assert notes(found).keys() == {ENTRY}


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"uid": 1}', "null"])
def test_what_cannot_be_read_says_nothing_and_is_written_over(text: str) -> None:
    found = stage({ENTRY: text, "theirs": "x"})
    found.healer.recorder.load()
    assert found.world.remembering(CART, healthy()).recorded == ()
    found.healer.tick()
    stored: Resource = found.api.objects[NOTES]["data"]
    assert json.loads(stored[ENTRY])["revisions"] == ["cart-h1"]
    assert stored["theirs"] == "x"


def test_without_the_notes_one_line_says_so_and_everything_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    found = stage(there=False)
    for _ in range(3):
        found.healer.tick()
    said = [one for one in caplog.records if "healthy revisions are not noted" in one.getMessage()]
    assert len(said) == 1


def test_an_api_server_that_refuses_the_patch_does_not_stop_the_tick() -> None:
    found = stage()
    found.api.failing.append(Unavailable("the API server does not answer"))
    assert found.healer.tick() > 0
    assert notes(found) == {}
    found.healer.tick()
    assert notes(found).keys() == {ENTRY}


def test_a_workload_that_was_deleted_is_not_noted() -> None:
    found = stage()
    hear(found.healer.recorder, gone=True)
    found.healer.tick()
    assert patches(found) == 0


def test_pods_that_went_unseen_are_noticed_after_two_ticks_by_one_look() -> None:
    found = stage()
    cart = healthy()
    other = objects.replica_set(cart.resource, 7)
    found.healer.recorder.observe(CART, "Pod", pods.pod(other, 9), False)
    found.healer.tick()
    assert patches(found) == 0
    for _ in range(3):
        found.healer.tick()
    assert notes(found)[ENTRY]["revisions"] == ["cart-h1"]
    assert found.api.calls.count(("GET", "/apis/apps/v1/namespaces/shop/deployments/cart")) == 1


def test_many_workloads_are_noted_in_a_few_patches() -> None:
    found = stage()
    for number in range(1100):
        shop = objects.deployment(f"shop-{number}", replicas=1)
        key = Key(NAMESPACE, "Deployment", f"shop-{number}")
        found.world.observe("Deployment", shop, sick=False)
        found.healer.recorder.observe(key, "Deployment", shop, False)
        found.healer.recorder.observe(key, "Pod", pods.pod(objects.replica_set(shop)), False)
    for _ in range(3):
        found.healer.tick()
    assert (len(notes(found)), patches(found)) == (1101, 2)
    assert sum(map(len, found.api.objects[NOTES]["data"].values())) < 200_000


def test_nothing_is_kept_of_pods_that_are_gone() -> None:
    found = stage()
    cart = healthy()
    for pod in cart.pods:
        found.healer.recorder.observe(CART, "Pod", pod, True)
    assert found.healer.recorder.healthy(CART, objects.NOW) is None
