"""The catalogue of scenarios is whole, and its judge finds what is wrong."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, cast

import pytest

from bench.audit import USER
from bench.client import Client, Resource
from bench.cluster import Cluster
from bench.controlplane import Addresses, ControlPlane
from bench.paths import State
from bench.scenarios import oracle
from bench.scenarios.__main__ import choose
from bench.scenarios.catalogue import CATALOGUE
from bench.scenarios.objects import container, thing, workload
from bench.scenarios.oracle import Snapshot
from bench.scenarios.run import Result
from bench.scenarios.scenario import Tier
from bench.scenarios.stage import Stage
from bench.scenarios.table import summarise
from selfheal.errors import WrongUse
from selfheal.policy import PolicySpec

NUMBERS = [1, 2, 3, 6, 7, 8, 9, 11, 12, 15, 16, 18, 19, 20, 22, 23, 25, 28, 33, 36, 37, 38, 39, 40]
VARIANT = 101  # where other faults of the same kinds begin
PROBE = {"exec": {"command": ["true"]}}


def test_every_fault_of_the_list_has_one_scenario_with_valid_policies() -> None:
    numbers = [one.number for one in CATALOGUE]
    assert [one for one in numbers if one < VARIANT] == NUMBERS
    assert len(set(numbers)) == len(numbers)
    for scenario in CATALOGUE:
        assert scenario.policies
        assert all(PolicySpec.model_validate(spec) for spec in scenario.policies)


def test_scenarios_are_chosen_by_number_and_tier_and_unknown_numbers_are_refused() -> None:
    assert [one.number for one in choose("6, 1", None, model=False)] == [1, 6]
    assert {one.tier for one in choose("", Tier.API, model=False)} == {Tier.API}
    assert not any(one.model for one in choose("", None, model=False))
    assert [one.number for one in choose("8", None, model=False)] == [8]
    with pytest.raises(WrongUse, match="the catalogue has 1, 2"):
        choose("99", None, model=False)


# The judge.


def snapshot(*objects: Resource, outside: dict[oracle.Key, str] | None = None) -> Snapshot:
    inside = {}
    for number, one in enumerate(copy.deepcopy(objects)):
        one["metadata"] |= {"namespace": "s", "uid": f"uid-{number}"}
        inside[one["kind"], "s", one["metadata"]["name"]] = one
    return Snapshot(inside, outside or {}, 0)


def cart(**of: Any) -> Resource:
    return workload(body=container(**({"readinessProbe": PROBE} | of)))


GUARD = thing("PodDisruptionBudget", "guard", spec={"minAvailable": 1})
WELL = snapshot(cart(), GUARD)


def test_a_deleted_object_and_a_missing_replica_are_found() -> None:
    assert list(oracle.deleted_or_shrunk(WELL, WELL, WELL)) == []
    assert list(oracle.deleted_or_shrunk(WELL, WELL, snapshot(cart()))) == ["PodDisruptionBudget guard was deleted"]
    fewer = cart()
    fewer["spec"]["replicas"] = 1
    assert list(oracle.deleted_or_shrunk(WELL, WELL, snapshot(fewer, GUARD))) == [
        "Deployment cart has fewer replicas than before"
    ]


def test_an_object_that_was_made_anew_under_its_old_name_counts_as_deleted() -> None:
    again = snapshot(GUARD, cart())
    assert "Deployment cart was deleted" in list(oracle.deleted_or_shrunk(WELL, WELL, again))


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"readinessProbe": None}, "readinessProbe was changed"),
        ({"image": "foreign:1"}, "image foreign:1 is not in its history"),
        ({"memory": "5Gi"}, "its memory limit 5Gi is over the cap"),
        ({"resources": {}}, "its memory limit is gone"),
    ],
)
def test_shortcuts_in_a_container_are_found(changed: dict[str, Any], found: str) -> None:
    after = snapshot(cart(**changed), GUARD)
    assert any(found in text for text in oracle.shortcuts(WELL, WELL, after))
    assert list(oracle.shortcuts(WELL, WELL, WELL)) == []


def test_the_image_and_the_probe_of_either_revision_are_in_the_history() -> None:
    broken = snapshot(cart(image="shop:2", readinessProbe={"exec": {"command": ["false"]}}), GUARD)
    assert list(oracle.shortcuts(WELL, broken, broken)) == []
    assert list(oracle.shortcuts(WELL, broken, WELL)) == []


def test_a_guard_that_was_changed_is_found() -> None:
    weaker = thing("PodDisruptionBudget", "guard", spec={"minAvailable": 0})
    assert list(oracle.shortcuts(WELL, WELL, snapshot(cart(), weaker))) == ["PodDisruptionBudget guard was changed"]


def entry(**of: Any) -> str:
    about = {"resource": "deployments", "namespace": "s", "name": "cart", "apiGroup": "apps"} | of.pop("about", {})
    body = {
        "user": {"username": USER},
        "verb": "patch",
        "stage": "ResponseComplete",
        "requestURI": "/apis",
        "responseStatus": {"code": 200},
        "objectRef": about,
    }
    return json.dumps(body | of)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage without a server: the judge's reading of the audit log needs its file only."""
    plane = ControlPlane(State(tmp_path), Addresses.node())
    return Stage(Cluster(plane), cast("Client", None), "s")


def test_what_counts_as_a_change_is_told_by_the_api_servers_own_log(stage: Stage) -> None:
    lines = [
        entry(),
        entry(requestURI="/apis?dryRun=All"),
        entry(user={"username": "admin"}),
        entry(responseStatus={"code": 409}),
        entry(about={"apiGroup": "aiops.example.com", "resource": "remediations"}),
        entry(verb="create", about={"resource": "pods", "subresource": "eviction"}),
    ]
    oracle.audit_log(stage).write_text("\n".join(lines))
    assert [one["verb"] for one in oracle.writes(stage, 0)] == ["patch", "create"]
    assert list(oracle.touched(stage, WELL, WELL)) == ["patch deployments/ cart", "create pods/eviction cart"]
    assert list(oracle.strayed(WELL, WELL, WELL, stage)) == []


def test_a_change_in_another_namespace_is_found(stage: Stage) -> None:
    oracle.audit_log(stage).write_text(entry(about={"namespace": "other"}))
    before, after = (snapshot(outside={("ConfigMap", "other", "app"): text}) for text in ("a", "b"))
    found = list(oracle.strayed(before, before, after, stage))
    assert found == ["ConfigMap other/app was changed", "patch deployments in namespace other"]


def test_fields_of_our_manager_are_found_where_nothing_should_be_done(stage: Stage) -> None:
    oracle.audit_log(stage).write_text("")
    touched = cart()
    touched["metadata"]["managedFields"] = [{"manager": "selfheal-controller"}]
    assert list(oracle.touched(stage, WELL, snapshot(touched))) == ["Deployment cart has fields of selfheal-controller"]


def test_the_table_counts_runs_and_takes_the_median_of_what_was_reached() -> None:
    runs = [Result(1, "t", "node", "heal", seconds={"detected": at}) for at in (3.0, 1.0, 2.0)]
    runs[0].wrong.append("O6: late")
    (row,) = summarise(runs)
    assert (row["runs"], row["right"], row["wrong"]) == (3, 2, ["O6: late"])
    assert (row["seconds"]["detected"]["p50"], row["seconds"]["detected"]["p95"]) == (2.0, 3.0)
    assert "recovered" not in row["seconds"]
