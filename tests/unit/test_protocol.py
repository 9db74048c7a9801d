"""Requests and answers of the endpoint."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal.errors import BadRequest
from selfheal.protocol import Prediction, parse_instances, parse_predictions, to_request, to_wire


def instance(**changes: Any) -> dict[str, Any]:
    return {
        "workload": "shop/Deployment/cart",
        "end": "2026-11-23T03:00:00Z",
        "step": 60,
        "window": {"pod_memory_usage": [1.0, None, 3.0], "pod_cpu_usage": [0.1, 0.2, 0.3]},
        "now": {"container_restart_count": 3},
    } | changes


def test_the_design_s_example_is_understood() -> None:
    (found,) = parse_instances({"instances": [instance()]})
    assert found.samples == 3
    assert found.window["pod_memory_usage"] == [1.0, None, 3.0]
    assert found.now == {"container_restart_count": 3}


def test_nan_and_infinity_are_gaps() -> None:
    body = json.loads('{"a": [NaN, Infinity, -Infinity, 1.0]}')
    (found,) = parse_instances({"instances": [instance(window=body)]})
    assert found.window == {"a": [None, None, None, 1.0]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, 'a list "instances"'),
        ([], 'a list "instances"'),
        ({"instances": {}}, 'a list "instances"'),
        ({"instances": []}, "empty"),
        ({"instances": [instance(window={"a": [1.0], "b": [1.0, 2.0]})]}, "differ in length"),
        ({"instances": [instance(window={})]}, "window is empty"),
        ({"instances": [instance(window={"a": []})]}, "no samples"),
        ({"instances": [instance(), instance(end="yesterday")]}, "instances[1].end"),
        ({"instances": [instance(end="2026-11-23T03:00:00")]}, "instances[0].end"),
        ({"instances": [instance(step=0)]}, "instances[0].step"),
        ({"instances": [instance(windw={})]}, "instances[0].windw"),
        ({"instances": [instance(window={"a": ["x"]})]}, "instances[0].window.a.0"),
    ],
)
def test_bad_input_is_told_with_its_place(body: object, words: str) -> None:
    with pytest.raises(BadRequest) as told:
        parse_instances(body)
    assert words in str(told.value)


def test_too_many_instances_are_refused_before_they_are_read() -> None:
    with pytest.raises(BadRequest, match="at most 2"):
        parse_instances({"instances": [instance()] * 3}, limit=2)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_either_understood_or_a_bad_request(payload: object) -> None:
    with suppress(BadRequest):
        assert len(parse_instances({"instances": [payload]})) == 1


def test_requests_survive_the_wire() -> None:
    sent = parse_instances({"instances": [instance()]})
    assert parse_instances(json.loads(to_request(sent))) == sent


def test_answers_use_the_contract_s_names() -> None:
    answer = Prediction(workload="a/Deployment/b", anomaly=True, confidence=0.92, anomaly_type="MemoryLeak")
    (wire,) = to_wire([answer])["predictions"]
    assert {"anomalyType", "topMetrics", "votes", "scores", "abstained", "forecast", "model"} <= wire.keys()
    assert parse_predictions(to_wire([answer])) == [answer]


def test_an_answer_of_a_newer_server_is_still_understood() -> None:
    (wire,) = to_wire([Prediction(workload="a/Deployment/b", anomaly=None, confidence=None)])["predictions"]
    assert parse_predictions({"predictions": [wire | {"somethingNew": 1}]})[0].anomaly is None


@pytest.mark.parametrize("answer", [None, {}, {"predictions": 3}, {"predictions": [{"anomaly": "perhaps"}]}])
def test_garbage_from_the_endpoint_is_an_error_and_never_a_verdict(answer: object) -> None:
    with pytest.raises(BadRequest):
        parse_predictions(answer)
