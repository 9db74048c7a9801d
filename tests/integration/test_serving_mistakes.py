"""What clients do wrong: 400 with the place, and never 500."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.endpoint import INFER, KNOWN, PREDICT, Endpoint, batch, instance, samples, v2_binary, v2_json

pytest_plugins = ["tests.support.endpoint_fixtures"]
pytestmark = pytest.mark.integration

Body = dict[str, Any]


def one(**changes: Any) -> Body:
    return {"instances": [{**instance(KNOWN, samples(60, 1)), **changes}]}


V1_MISTAKES: dict[str, tuple[Any, str]] = {
    "empty body": (b"", "body is empty"),
    "malformed": (b"{'instances': []}", "line 1 column 2"),
    "truncated": (json.dumps(one()).encode()[:300], "not valid JSON"),
    "not UTF-8": (b'{"instances": "\xff"}', "not valid JSON"),
    "NaN": (b'{"instances": [{"window": {"a": [NaN]}}]}', "write null for a gap"),
    "Infinity": (b'{"instances": [{"window": {"a": [Infinity]}}]}', "write null for a gap"),
    "number beyond double": (b'{"instances": [{"window": {"a": [1e400]}}]}', "infinity"),
    "a list": ([], '"instances"'),
    "no instances": ({"inputs": []}, '"instances"'),
    "no workloads": ({"instances": []}, '"instances" is empty'),
    "instance is no object": ({"instances": [one()["instances"][0], 3]}, "instances[1]"),
    "missing end": ({"instances": [{"workload": KNOWN, "step": 60, "window": {"a": [1]}}]}, "instances[0].end"),
    "time without zone": (one(end="2026-11-23T20:00:00"), "instances[0].end"),
    "unknown field": (one(windows={}), "instances[0].windows"),
    "before the first year": (one(end="0001-01-01T00:00:00+14:00"), "instances[0].end"),
    "negative step": (one(step=-1), "instances[0].step"),
    "another step than the model's": (one(step=300), "trained at 60 s"),
    "text for a number": (one(window={"pod_cpu_usage": ["much"]}), "instances[0].window.pod_cpu_usage.0"),
    "lengths differ": (one(window={"pod_cpu_usage": [1], "pod_memory_usage": [1, 2]}), "differ in length"),
    "no metric": (one(window={}), "window is empty"),
    "metrics missing": (one(window={"pod_cpu_usage": [1.0]}), "missing container_restart_count, pod_memory_usage"),
    "metrics unknown": (one(window={**one()["instances"][0]["window"], "foo": [1.0] * 60}), "unknown foo"),
    "empty name": (one(workload=""), "instances[0].workload"),
    "too many": ({"instances": [{}] * 10_001}, "at most 10000"),
}


@pytest.mark.parametrize(("body", "place"), V1_MISTAKES.values(), ids=V1_MISTAKES)
def test_a_v1_mistake_is_a_400_that_names_the_place(server: Endpoint, body: Any, place: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = server.client.post(PREDICT, content=content)
    assert answer.status_code == 400, answer.text
    assert place in answer.json()["error"]


def changed(change: Callable[[Body], object]) -> Body:
    body = v2_json(batch()[:1])
    change(body)
    return body


V2_MISTAKES: dict[str, tuple[Any, str]] = {
    "empty body": (b"", "body is empty"),
    "malformed": (b"{]", "line 1 column 2"),
    "truncated": (json.dumps(v2_json(batch()[:1])).encode()[:200], "not valid JSON"),
    "a list": ([], "body"),
    "no inputs": ({}, "inputs: Field required"),
    "inputs no list": ({"inputs": 3}, "inputs"),
    "an input without shape": ({"inputs": [{"name": "windows", "datatype": "FP32", "data": []}]}, "inputs[0].shape"),
    "no data": (changed(lambda b: b["inputs"][0].pop("data")), "inputs[0] (windows): no data"),
    "missing tensor": (changed(lambda b: b["inputs"].pop()), "missing workloads"),
    "unknown tensor": (changed(lambda b: b["inputs"][0].update(name="window")), "missing windows; unknown window"),
    "a name twice": (changed(lambda b: b["inputs"].append(b["inputs"][0])), "inputs[2] (windows): this name"),
    "wrong datatype": (changed(lambda b: b["inputs"][0].update(datatype="INT64")), "inputs[0] (windows): datatype"),
    "floats as names": (changed(lambda b: b["inputs"][1].update(datatype="FP32")), "inputs[1] (workloads)"),
    "shape too large": (changed(lambda b: b["inputs"][0].update(shape=[9, 180, 3])), "needs 4860 numbers"),
    "shape negative": (changed(lambda b: b["inputs"][0].update(shape=[-1, 180, 3])), "inputs[0].shape[0]"),
    "shape of two": (changed(lambda b: b["inputs"][0].update(shape=[180, 3])), "windows: shape [180, 3]"),
    "ragged": (changed(lambda b: b["inputs"][0].update(data=[[1.0], [1.0, 2.0]])), "ragged"),
    "text": (changed(lambda b: b["inputs"][0].update(data=["much"] * 540)), "must hold numbers"),
    "truth": (changed(lambda b: b["inputs"][0].update(data=[True] * 540)), "must hold numbers"),
    "beyond FP32": (changed(lambda b: b["inputs"][0].update(data=[1e39] * 540)), "windows[0, 0, 0] is infinite"),
    "names as numbers": (changed(lambda b: b["inputs"][1].update(data=[1])), "flat list of strings"),
    "an empty name": (changed(lambda b: b["inputs"][1].update(data=[""])), "workloads[0]"),
    "too few names": (changed(lambda b: b["inputs"][1].update(shape=[0], data=[])), "0 names for 1 windows"),
    "wrong metrics": (changed(lambda b: b["parameters"].update(metrics="a,b,c")), "unknown a, b, c"),
    "too few metrics": (changed(lambda b: b["parameters"].update(metrics="a,b")), "2 names for the 3 columns"),
    "a metric twice": (changed(lambda b: b["parameters"].update(metrics="a,a,b")), "stands twice"),
    "metrics as a number": (changed(lambda b: b["parameters"].update(metrics=3)), "parameters.metrics"),
    "no time": (changed(lambda b: b["parameters"].update(end="soon")), "parameters.end"),
    "before the first year": (
        changed(lambda b: b["parameters"].update(end="0001-01-01T00:00:00+14:00")),
        "parameters.end",
    ),
    "a size that is no number": (
        changed(lambda b: b["inputs"][0].update(parameters={"binary_data_size": True})),
        "binary_data_size True",
    ),
    "beyond any recursion": (b'{"inputs": ' + b"[" * 100_000, "not valid JSON"),
    "no step": (changed(lambda b: b["parameters"].update(step="x")), "parameters.step"),
    "unknown output": (changed(lambda b: b.update(outputs=[{"name": "verdict"}])), "outputs[0]: no output 'verdict'"),
}


@pytest.mark.parametrize(("body", "place"), V2_MISTAKES.values(), ids=V2_MISTAKES)
def test_a_v2_mistake_is_a_400_that_names_the_place(server: Endpoint, body: Any, place: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = server.client.post(INFER, content=content)
    assert answer.status_code == 400, answer.text
    assert place in answer.json()["error"]


def test_a_cut_off_binary_body_is_a_400_that_names_the_tensor(server: Endpoint) -> None:
    body, headers = v2_binary(batch()[:1])
    answer = server.client.post(INFER, content=body[:-3], headers=headers)
    assert answer.status_code == 400
    assert "inputs[1] (workloads): binary_data_size" in answer.json()["error"]


def test_bytes_after_the_last_tensor_are_a_400(server: Endpoint) -> None:
    body, headers = v2_binary(batch()[:1])
    answer = server.client.post(INFER, content=body + b"xx", headers=headers)
    assert answer.status_code == 400
    assert "2 bytes after the last tensor" in answer.json()["error"]


@pytest.mark.parametrize("length", ["many", "-1", "0", "999999999", "9" * 5000])
def test_a_wrong_json_length_is_a_400_that_names_the_header(server: Endpoint, length: str) -> None:
    body, headers = v2_binary(batch()[:1])
    answer = server.client.post(INFER, content=body, headers={**headers, "Inference-Header-Content-Length": length})
    assert answer.status_code == 400
    assert "Inference-Header-Content-Length" in answer.json()["error"]


@pytest.mark.parametrize("path", [PREDICT, INFER])
def test_a_wrong_content_type_is_a_400_that_names_the_header(server: Endpoint, path: str) -> None:
    answer = server.client.post(path, content=b"a,b\n1,2\n", headers={"Content-Type": "text/csv"})
    assert answer.status_code == 400
    assert "Content-Type" in answer.json()["error"]


@pytest.mark.parametrize("path", [PREDICT, INFER])
def test_a_compressed_body_is_a_400_that_names_the_header(server: Endpoint, path: str) -> None:
    body = gzip.compress(json.dumps(one()).encode())
    answer = server.client.post(path, content=body, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 400
    assert "Content-Encoding: 'gzip'" in answer.json()["error"]


def test_of_a_key_that_stands_twice_the_last_counts(server: Endpoint) -> None:
    body = json.dumps(one()).replace('"step": 60', '"step": 300, "step": 60').encode()
    assert server.client.post(PREDICT, content=body).status_code == 200


def test_what_a_client_calls_things_writes_no_lines_into_the_log(server: Endpoint) -> None:
    forged = "2026-01-01 00:00:00,000 INFO serving: all is well"
    answer = server.client.post(PREDICT, json=one(**{f"x\r\n{forged}": 1}))
    assert answer.status_code == 400
    server.client.post(f"/v1/models/x%0A{forged.replace(' ', '%20')}:predict", json=one())
    lines = server.log.read_text().splitlines()
    assert any(forged in line for line in lines)
    assert not any(line.startswith(forged) for line in lines)


def test_refusals_leave_no_traceback_in_the_log(server: Endpoint) -> None:
    for path, body in (("/v1/models/other:predict", one()), ("/v2/models/other/infer", {}), (PREDICT, {"inputs": 1})):
        assert server.client.post(path, json=body).status_code in (400, 404)
    assert "Traceback" not in server.log.read_text()


def test_nobody_explains_and_that_is_no_failure_of_the_server(server: Endpoint) -> None:
    answer = server.client.post("/v1/models/selfheal-ensemble:explain", json=one())
    assert answer.status_code == 404
    assert "topMetrics" in answer.json()["error"]


def test_a_refused_request_leaves_the_connection_for_the_next(server: Endpoint) -> None:
    connection = http.client.HTTPConnection(server.client.base_url.host, server.client.base_url.port, timeout=30)
    with closing(connection):
        connection.connect()
        connection.auto_open = 0
        connection.request("POST", "/v1/models/other:predict", b"[" + b"1," * 1_000_000 + b"1]")
        refused = connection.getresponse()
        assert (refused.status, "other" in refused.read().decode()) == (404, True)
        connection.request("POST", PREDICT, json.dumps(one()))
        assert connection.getresponse().status == 200


def test_a_client_that_goes_away_in_the_middle_leaves_one_line_in_the_log(server: Endpoint) -> None:
    body = json.dumps(one()).encode()
    with socket.create_connection((server.client.base_url.host, server.client.base_url.port or 80)) as line:
        line.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (PREDICT.encode(), len(body)))
        line.sendall(body[:50])
    server.wait_for(lambda: "the client left before its body was complete" in server.log.read_text())
    assert "ClientDisconnect" not in server.log.read_text()
    assert server.client.post(PREDICT, content=body).status_code == 200


def test_a_charset_and_a_missing_content_type_are_no_mistake(server: Endpoint) -> None:
    body = json.dumps(one()).encode()
    for headers in ({}, {"Content-Type": "application/json; charset=utf-8"}):
        assert server.client.post(PREDICT, content=body, headers=headers).status_code == 200


EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/test", "ce-type": "windows"}


def test_a_cloud_event_is_answered_with_one(server: Endpoint) -> None:
    answer = server.client.post(PREDICT, json=one(), headers=EVENT)
    assert answer.status_code == 200
    assert answer.headers["ce-specversion"] == "1.0"
    assert answer.json()["predictions"][0]["workload"] == KNOWN


def test_a_cloud_event_of_another_version_is_a_400(server: Endpoint) -> None:
    answer = server.client.post(PREDICT, json=one(), headers={**EVENT, "ce-specversion": "9.9"})
    assert answer.status_code == 400
    assert "CloudEvent" in answer.json()["error"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_request_whatever_ends_in_a_server_error(server: Endpoint, data: st.DataObject) -> None:
    body, headers = v2_binary(batch()[:1])
    v1 = json.dumps({"instances": batch()[:1]}).encode()
    v2 = json.dumps(v2_json(batch()[:1])).encode()
    path, base, head = data.draw(st.sampled_from([(PREDICT, v1, {}), (INFER, v2, {}), (INFER, body, headers)]))
    match data.draw(st.sampled_from(["cut", "flip", "replace", "key"])):
        case "cut":
            sent = base[: data.draw(st.integers(0, len(base)))]
        case "flip":
            at = data.draw(st.integers(0, min(len(base), 600) - 1))
            sent = base[:at] + data.draw(st.binary(min_size=1, max_size=3)) + base[at + 1 :]
        case "key":
            whole = json.loads(v1 if path == PREDICT else v2)
            place = whole["instances"][0] if path == PREDICT else data.draw(st.sampled_from(whole["inputs"]))
            place[data.draw(st.sampled_from(sorted(place)))] = data.draw(json_values)
            sent = json.dumps(whole).encode()
        case _:
            sent = json.dumps(data.draw(json_values)).encode()
    answer = server.client.post(path, content=sent, headers=head)
    assert answer.status_code in (200, 400), (answer.status_code, answer.text)
    assert httpx.codes.is_success(answer.status_code) or answer.json()["error"]
