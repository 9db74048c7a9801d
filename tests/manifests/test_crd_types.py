"""CRDs and Python types say the same: fields, defaults, enums, and what a dump looks like."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from selfheal.policy import (
    ACTION_ALIASES,
    ANOMALY_ALIASES,
    UNFIT,
    Action,
    AnomalyType,
    HealingConfig,
    PolicySpec,
    parse_duration,
    unfit,
)
from selfheal.remediation import (
    Approval,
    Attempt,
    AttemptResult,
    Change,
    Condition,
    LastVerdict,
    Operation,
    Outcome,
    PolicyStatus,
    RemediationSpec,
    RemediationStatus,
    Times,
    VoteRecord,
)
from tests.manifests.crds import Schema, fields, schema

PAIRS: list[tuple[str, str, type[BaseModel]]] = [
    ("selfhealingpolicies", "spec", PolicySpec),
    ("selfhealingpolicies", "status", PolicyStatus),
    ("remediations", "spec", RemediationSpec),
    ("remediations", "status", RemediationStatus),
    ("remediationapprovals", "spec", Approval),
    ("healingconfigs", "spec", HealingConfig),
]
PLAIN = {"expected", "matchLabels"}  # maps: their keys are data


def model_schema(model: type[BaseModel], mode: Literal["validation", "serialization"] = "serialization") -> Schema:
    """The JSON schema of a model with all references put in place."""
    whole = TypeAdapter(model).json_schema(by_alias=True, mode=mode)
    found: Schema = _resolved(whole, whole.get("$defs", {}))
    return found


def _resolved(node: Any, definitions: Schema) -> Any:
    if isinstance(node, list):
        return [_resolved(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _resolved(definitions[node["$ref"].rsplit("/", 1)[1]], definitions) | {
            key: value for key, value in node.items() if key != "$ref"
        }
    given = {key: _resolved(value, definitions) for key, value in node.items() if key != "$defs"}
    options = [one for one in given.get("anyOf", []) if one.get("type") != "null"]
    return (options[0] | given) if len(options) == 1 else given


@pytest.mark.parametrize(("plural", "part", "model"), PAIRS)
def test_crd_and_type_have_the_same_fields(plural: str, part: str, model: type[BaseModel]) -> None:
    ours = {path for path, _ in fields(model_schema(model))}
    theirs = {path for path, _ in fields(schema(plural, part))}
    open_ended = {path for path in theirs if ".patch[]." in path or path.startswith("patch[].")}
    assert theirs - open_ended == ours


@pytest.mark.parametrize(("plural", "model"), [(plural, model) for plural, part, model in PAIRS if part == "spec"])
def test_crd_and_type_demand_the_same_fields(plural: str, model: type[BaseModel]) -> None:
    ours = {path: sorted(node.get("required", [])) for path, node in _objects(model_schema(model, "validation"))}
    theirs = {path: sorted(node.get("required", [])) for path, node in _objects(schema(plural, "spec"))}
    assert ours == theirs


def _objects(node: Schema) -> list[tuple[str, Schema]]:
    found = [("", node), *fields(node)]
    found += [(f"{path}[]", child["items"]) for path, child in found if "items" in child]
    return [(path, child) for path, child in found if "properties" in child]


def _same_default(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, str) and isinstance(ours, str) and ours.startswith("PT"):
        return TypeAdapter(timedelta).validate_python(ours) == parse_duration(theirs)
    return bool(ours == theirs)


@pytest.mark.parametrize(("plural", "model"), [(plural, model) for plural, part, model in PAIRS if part == "spec"])
def test_crd_and_type_have_the_same_defaults(plural: str, model: type[BaseModel]) -> None:
    theirs = dict(fields(schema(plural, "spec")))
    for path, node in fields(model_schema(model)):
        if "default" not in node or "properties" in node or node["default"] in ("", [], None):
            continue
        assert _same_default(node["default"], theirs[path].get("default")), path
    ours = dict(fields(model_schema(model)))
    for path, node in theirs.items():
        if "default" in node and node["default"] not in ({}, []) and "properties" not in node:
            assert _same_default(ours[path].get("default"), node["default"]), path


def test_the_enums_hold_every_spelling_and_no_other() -> None:
    found = dict(fields(schema("selfhealingpolicies", "spec")))
    assert sorted(found["anomalyType"]["enum"]) == sorted([*(kind.value for kind in AnomalyType), *ANOMALY_ALIASES])
    actions = sorted([*(action.value for action in Action), *ACTION_ALIASES])
    assert sorted(found["action"]["enum"]) == sorted(found["escalation"]["items"]["enum"]) == actions


@pytest.mark.parametrize(("plural", "part", "model"), PAIRS)
def test_all_other_enums_are_the_same(plural: str, part: str, model: type[BaseModel]) -> None:
    theirs = dict(fields(schema(plural, part)))
    for path, node in fields(model_schema(model)):
        if "enum" in node and path not in ("anomalyType", "action"):
            assert sorted(theirs[path]["enum"]) == sorted(node["enum"]), path


@pytest.mark.parametrize(("plural", "part", "model"), PAIRS)
def test_all_bounds_are_the_same(plural: str, part: str, model: type[BaseModel]) -> None:
    theirs = dict(fields(schema(plural, part)))
    for path, node in fields(model_schema(model)):
        for bound in ("minimum", "maximum", "maxItems", "maxLength"):
            if bound in node and (part == "spec" or bound in theirs[path]) and path != "anomaly.message":
                assert theirs[path].get(bound) == node[bound] or path.endswith("[].message"), f"{path} {bound}"


def test_the_crd_says_the_sentences_of_the_table_of_what_cannot_help() -> None:
    said = {rule["message"] for rule in schema("selfhealingpolicies", "spec")["x-kubernetes-validations"]}
    assert {unfit(kind, actions) for kind, (actions, _) in UNFIT.items()} <= said


def _faults(node: Schema, value: Any, path: str = "") -> list[str]:
    """Where a value is not what the schema takes, or has what the API server would drop."""
    if value is None:
        return [] if node.get("nullable") else [f"{path} is null"]
    if "enum" in node and value not in node["enum"]:
        return [f"{path} is {value!r}"]
    if isinstance(value, list):
        return [fault for number, one in enumerate(value) for fault in _faults(node["items"], one, f"{path}[{number}]")]
    if not isinstance(value, dict) or "properties" not in node:
        kinds: dict[str, Any] = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "object": dict}
        return [] if isinstance(value, kinds.get(node.get("type", ""), object)) else [f"{path} is {value!r}"]
    lost = [f"{path}.{key} is unknown" for key in value if key not in node["properties"]]
    lost += [f"{path}.{key} is missing" for key in node.get("required", []) if key not in value]
    known = {key: one for key, one in value.items() if key in node["properties"]}
    return lost + [
        fault for key, one in known.items() for fault in _faults(node["properties"][key], one, f"{path}.{key}")
    ]


TEXT = st.text(max_size=12)
VALUE = st.none() | st.integers() | TEXT
PATCH = st.fixed_dictionaries({"op": st.sampled_from(["add", "test", "replace"]), "path": TEXT, "value": VALUE})
OPERATIONS = st.lists(st.builds(Operation, patch=st.lists(PATCH, max_size=2).map(tuple)), max_size=2).map(tuple)
CHANGE = st.builds(
    Change, operations=OPERATIONS, undo=OPERATIONS, expected=st.dictionaries(TEXT, st.integers() | TEXT, max_size=2)
)
WHEN = st.datetimes(timezones=st.just(UTC))
MAYBE = st.none() | WHEN
CONDITIONS = st.lists(
    st.builds(Condition, reason=st.just("Because"), lastTransitionTime=WHEN, message=TEXT), max_size=2
).map(tuple)
ATTEMPTS = st.lists(
    st.builds(
        Attempt,
        action=st.sampled_from(Action),
        result=st.sampled_from(AttemptResult),
        startedTime=WHEN,
        endedTime=MAYBE,
        change=CHANGE,
        undo=OPERATIONS,
        evidence=st.lists(TEXT, max_size=2).map(tuple),
    ),
    max_size=2,
).map(tuple)
TIMES = st.builds(Times, **dict.fromkeys(Times.model_fields, MAYBE))
STATUS = st.builds(
    RemediationStatus,
    conditions=CONDITIONS,
    outcome=st.none() | st.sampled_from(Outcome),
    attempts=ATTEMPTS,
    times=TIMES,
    nextStepTime=MAYBE,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(STATUS)
def test_the_schema_takes_every_status_of_a_remediation(status: RemediationStatus) -> None:
    dump = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert _faults(schema("remediations", "status"), dump) == []
    assert RemediationStatus.model_validate(dump) == status


VOTES = st.lists(st.builds(VoteRecord, detector=TEXT, score=st.none() | st.floats()), max_size=2).map(tuple)
VERDICT = st.builds(LastVerdict, target=TEXT, votes=VOTES, confidence=st.floats(0, 1))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CONDITIONS, st.none() | VERDICT)
def test_the_schema_takes_every_status_of_a_policy(
    conditions: tuple[Condition, ...], verdict: LastVerdict | None
) -> None:
    status = PolicyStatus(conditions=conditions, last_verdict=verdict, targets=2)
    dump = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert _faults(schema("selfhealingpolicies", "status"), dump) == []
    assert PolicyStatus.model_validate(dump) == status


def test_a_score_that_is_no_number_is_left_out() -> None:
    assert VoteRecord(detector="lstm", score=float("nan")).model_dump(exclude_none=True) == {"detector": "lstm"}
