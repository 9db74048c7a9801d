"""Zero replicas: a mistake only where evidence says how many there were, and nobody else wants the zero."""

import json
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from controller.causes import CAUSES, sensible
from controller.cluster.paths import Key
from controller.idling import replicas_before, rests
from controller.model import Resource, Symptom, Workload
from controller.observe import World
from controller.reconcile import decide
from controller.symptoms import might_be_sick, symptoms
from selfheal.policy import Action, AnomalyType
from selfheal.remediation import Outcome, Source
from tests.unit.controller import objects
from tests.unit.controller.objects import NOW, ago
from tests.unit.controller.records import healthy, policy, remediation, situation

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def applied(**spec: Any) -> dict[str, str]:
    """The annotation that ``kubectl apply`` leaves."""
    return {LAST_APPLIED: json.dumps({"spec": spec})}


def zeroed(annotations: dict[str, str] | None = None, revisions: int = 1, **more: Any) -> Workload:
    """A Deployment that somebody scaled from three replicas to none; the current ReplicaSet says zero too."""
    cart = objects.deployment(replicas=3, annotations=annotations or {}, revision=revisions)
    old = [objects.replica_set(cart, number) for number in range(1, revisions)]
    cart["spec"]["replicas"] = 0
    cart["status"] = {"observedGeneration": 1, "conditions": cart["status"]["conditions"]}
    return objects.workload(cart, [], [objects.replica_set(cart, revisions), *reversed(old)], **more)


def of(workload: Workload) -> list[tuple[AnomalyType, str]]:
    return [(one.type, one.cause) for one in symptoms(workload, NOW)]


FOUND = [(AnomalyType.METRIC_ANOMALY, "ScaledToZero")]


def test_what_was_applied_with_replicas_and_has_none_was_scaled_to_zero() -> None:
    sick = zeroed(applied(replicas=3))
    (found,) = symptoms(sick, NOW)
    assert of(sick) == FOUND
    assert "3 replicas" in found.message
    assert might_be_sick(sick.resource)


def test_an_older_revision_remembers_how_many_there_were() -> None:
    assert of(zeroed(revisions=2)) == FOUND
    assert might_be_sick(zeroed(revisions=2).resource)


def test_a_manifest_that_names_no_replicas_means_one() -> None:
    (found,) = symptoms(zeroed(applied()), NOW)
    assert "1 replica" in found.message


def test_without_evidence_of_how_many_there_were_nothing_is_said() -> None:
    assert of(zeroed()) == []


def test_what_was_applied_with_zero_replicas_is_no_mistake_whatever_older_revisions_had() -> None:
    assert of(zeroed(applied(replicas=0), revisions=2)) == []
    assert not might_be_sick(zeroed(applied(replicas=0), revisions=2).resource)


@pytest.mark.parametrize(
    "mark",
    [
        {"aiops.example.com/scaled-to-zero": "intended"},
        {"idling.alpha.openshift.io/idled-at": "2026-11-24T11:00:00Z"},
        {"autoscaling.keda.sh/paused": "true"},
        {"autoscaling.keda.sh/paused-replicas": "0"},
        {"downscaler/original-replicas": "3"},
        {"aiops.example.com/self-healing": "disabled"},
    ],
)
def test_an_annotation_that_explains_the_zero_makes_it_no_mistake(mark: dict[str, str]) -> None:
    sick = zeroed(applied(replicas=3) | mark)
    assert of(sick) == []
    assert not might_be_sick(sick.resource)


def test_zero_replicas_that_server_side_apply_wrote_are_wanted_whatever_was_seen_before() -> None:
    world, sick = World("selfheal-system", lambda: NOW), zeroed()
    world.observe("Deployment", objects.deployment(replicas=5), sick=False)
    write: Resource = {"manager": "kubectl", "operation": "Apply", "time": objects.stamp(ago(minutes=1))}
    sick.resource["metadata"]["managedFields"] = [write | {"fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    key = Key("shop", "Deployment", "cart")
    assert world.observe("Deployment", sick.resource, sick=might_be_sick(sick.resource)) is None
    assert symptoms(world.remembering(key, sick), NOW) == ()
    assert replicas_before(world.remembering(key, sick)) is None
    write["operation"] = "Update"
    sick.resource["metadata"]["managedFields"] = [write | {"fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    assert len(symptoms(world.remembering(key, sick), NOW + timedelta(minutes=1))) == 1


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "ScaledObject"])
def test_an_autoscaler_decides_about_zero_itself(kind: str) -> None:
    scaler = {"kind": kind, "metadata": {"name": "cart"}, "spec": {}}
    assert of(zeroed(applied(replicas=3), autoscalers=(scaler,))) == []


def test_an_operator_that_controls_the_workload_decides_about_zero_itself() -> None:
    sick = zeroed(applied(replicas=3))
    owner: Resource = {"kind": "Shop", "name": "big", "uid": "u", "controller": True, "apiVersion": "x/v1"}
    sick.resource["metadata"]["ownerReferences"] = [owner]
    assert of(sick) == []


def test_what_is_being_deleted_is_left_alone() -> None:
    sick = zeroed(applied(replicas=3))
    sick.resource["metadata"]["deletionTimestamp"] = objects.stamp(ago(seconds=1))
    assert of(sick) == []
    assert not might_be_sick(sick.resource)


def test_whoever_scales_down_and_up_again_at_once_is_not_disturbed() -> None:
    sick = zeroed(applied(replicas=3))
    scaled: Resource = {"manager": "kubectl", "subresource": "scale", "time": objects.stamp(ago(seconds=2))}
    sick.resource["metadata"]["managedFields"] = [scaled | {"fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    assert of(sick) == []
    scaled["time"] = objects.stamp(ago(seconds=9))
    sick.resource["metadata"]["managedFields"] = [scaled | {"fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    (found,) = symptoms(sick, NOW)
    assert found.since == ago(seconds=9)


def test_only_scaling_helps_against_zero_replicas() -> None:
    found = Symptom(AnomalyType.METRIC_ANOMALY, "ScaledToZero", "", NOW)
    helping = [one for one in Action if sensible(one, found.type, found)[0]]
    assert set(helping) == {Action.SCALE, Action.NOTIFY_ONLY}
    assert CAUSES["ScaledToZero"].actions == {Action.SCALE}


def test_a_policy_for_metric_anomalies_scales_it_up_again_without_any_verdict_of_the_ensemble() -> None:
    restore = policy(anomaly_type="MetricAnomaly", action="scale")
    found = decide(situation(zeroed(applied(replicas=3)), restore))
    assert found.open is not None
    assert (found.open[1].anomaly.symptom, found.open[1].verdict.source) == ("ScaledToZero", Source.SYMPTOM)
    assert found.open[1].verdict.confidence > 0.9


def test_its_incident_is_over_when_it_has_replicas_again() -> None:
    sick, restore = zeroed(applied(replicas=3)), policy(anomaly_type="MetricAnomaly", action="scale")
    opened = decide(situation(sick, restore)).open
    assert opened is not None
    closed = remediation(sick.ref, restore, outcome=Outcome.DENIED).model_copy(update={"spec": opened[1]})
    assert decide(situation(healthy(), restore, history=(closed,))).cleared == (closed.name,)


def test_what_a_watch_has_seen_with_replicas_needs_no_other_evidence() -> None:
    world, sick = World("selfheal-system", lambda: NOW), zeroed()
    before = objects.deployment(replicas=5)
    assert world.observe("Deployment", before, sick=False) is None
    key = world.observe("Deployment", sick.resource, sick=might_be_sick(sick.resource))
    assert key == Key("shop", "Deployment", "cart")
    (found,) = symptoms(world.remembering(key, sick), NOW)
    assert "5 replicas" in found.message


def test_a_watch_that_saw_a_workload_without_replicas_only_has_seen_nothing() -> None:
    world, sick = World("selfheal-system", lambda: NOW), zeroed()
    assert world.observe("Deployment", sick.resource, sick=might_be_sick(sick.resource)) is None
    assert symptoms(world.remembering(Key("shop", "Deployment", "cart"), sick), NOW) == ()


class Waking:
    """A Deployment that sleeps with an annotation, as a watch of this process sees it."""

    MARK: ClassVar = {"aiops.example.com/scaled-to-zero": "night"}

    def __init__(self) -> None:
        self.now = ago(hours=1)
        self.world = World("selfheal-system", lambda: self.now)
        self.see(zeroed(applied(replicas=3) | self.MARK))
        self.now = NOW

    def see(self, workload: Workload) -> None:
        self.world.observe("Deployment", workload.resource, sick=might_be_sick(workload.resource))

    def look(self, workload: Workload) -> tuple[Symptom, ...]:
        return symptoms(self.world.remembering(Key("shop", "Deployment", "cart"), workload), self.now)


@pytest.mark.parametrize("watched", [True, False], ids=["told by the watch", "read before the watch tells"])
def test_whoever_wakes_a_workload_takes_the_mark_away_and_then_scales_and_is_not_disturbed(watched: bool) -> None:
    stage, bare = Waking(), zeroed(applied(replicas=3))
    if watched:
        stage.see(bare)
    assert stage.look(bare) == ()
    assert not rests(stage.world.remembering(Key("shop", "Deployment", "cart"), bare), stage.now)
    stage.now += timedelta(seconds=4)
    assert stage.look(bare) == ()


def test_a_workload_whose_mark_went_and_that_nobody_wakes_has_been_forgotten() -> None:
    stage, bare = Waking(), zeroed(applied(replicas=3))
    stage.see(bare)
    stage.now += timedelta(seconds=5)
    assert [one.cause for one in stage.look(bare)] == ["ScaledToZero"]


def test_the_time_to_wake_begins_anew_with_every_mark() -> None:
    stage, bare = Waking(), zeroed(applied(replicas=3))
    stage.see(bare)
    stage.now += timedelta(hours=1)
    stage.see(zeroed(applied(replicas=3) | Waking.MARK))
    stage.see(bare)
    assert stage.look(bare) == ()


def test_a_zero_that_nothing_ever_explained_gets_no_time_to_be_woken() -> None:
    stage, bare = Waking(), zeroed(applied(replicas=3))
    stage.see(objects.workload(objects.deployment(replicas=3), [], []))
    stage.see(bare)
    assert [one.cause for one in stage.look(bare)] == ["ScaledToZero"]


def test_a_new_workload_of_an_old_name_is_not_given_the_replicas_of_the_old_one() -> None:
    world, cart = World("selfheal-system", lambda: NOW), objects.deployment(replicas=0)
    cart["metadata"]["uid"] = "another"
    world.observe("Deployment", objects.deployment(replicas=5), sick=False)
    key = world.owner("Deployment", cart)
    assert key is not None
    assert world.observe("Deployment", cart, sick=might_be_sick(cart)) is None
    assert world.remembering(key, objects.workload(cart)).remembered == 0
