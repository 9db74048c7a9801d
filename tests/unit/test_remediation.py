"""Remediation as a Python type."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal.errors import InvalidResource
from selfheal.remediation import Condition, ConditionType, Remediation, remediation_name, with_condition

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RESOURCE: dict[str, Any] = {
    "metadata": {"name": "rem-1", "namespace": "shop", "uid": "u", "resourceVersion": "7"},
    "spec": {
        "policyRef": {"name": "p", "uid": "pu", "generation": 2},
        "target": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "cart", "uid": "tu"},
        "anomaly": {"type": "CrashLoopBackOff", "detectedTime": "2026-11-23T12:00:00Z"},
        "verdict": {"confidence": 0.95, "source": "Symptom", "votes": [{"detector": "arima", "vote": None}]},
    },
}


def test_a_fresh_remediation_is_open() -> None:
    found = Remediation.from_resource(RESOURCE)
    assert found.is_open
    assert found.spec.target.workload == "shop/Deployment/cart"


def test_a_complete_one_is_not() -> None:
    done = {"type": "Complete", "status": "True", "reason": "Successful", "lastTransitionTime": "2026-11-23T12:02:00Z"}
    assert not Remediation.from_resource(RESOURCE | {"status": {"conditions": [done]}}).is_open


def test_fields_of_a_newer_controller_do_no_harm() -> None:
    assert Remediation.from_resource(RESOURCE | {"status": {"mood": "good"}}).is_open


def test_a_damaged_one_is_told_with_its_field() -> None:
    with pytest.raises(InvalidResource, match=r"rem-1.*policyRef"):
        Remediation.from_resource(RESOURCE | {"spec": {}})


@given(st.uuids(), st.uuids(), st.integers(0, 2**31))
def test_two_replicas_name_one_incident_alike(policy: object, target: object, second: int) -> None:
    start = datetime.fromtimestamp(second, UTC)
    name = remediation_name(str(policy), str(target), start)
    assert name == remediation_name(str(policy), str(target), start + timedelta(milliseconds=400))
    assert name != remediation_name(str(policy), str(target), start + timedelta(seconds=1))
    assert len(name) == 24


def test_a_condition_keeps_its_transition_time_while_its_status_stays() -> None:
    first = with_condition((), ConditionType.APPLIED, "True", "Applied", "done", NOON)
    again = with_condition(first, ConditionType.APPLIED, "True", "Applied", "still", NOON + timedelta(minutes=1))
    turned = with_condition(again, ConditionType.APPLIED, "False", "Reverted", "", NOON + timedelta(minutes=2))
    assert [c.last_transition_time for c in (*first, *again, *turned)] == [NOON, NOON, NOON + timedelta(minutes=2)]
    assert again[0].message == "still"


@given(st.lists(st.sampled_from(sorted(ConditionType)), max_size=12))
def test_conditions_stay_a_map_sorted_by_type(kinds: list[str]) -> None:
    conditions: tuple[Condition, ...] = ()
    for kind in kinds:
        conditions = with_condition(conditions, kind, "True", "Because", "", NOON)
    assert [c.type for c in conditions] == sorted(set(kinds))
