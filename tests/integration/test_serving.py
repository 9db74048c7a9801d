"""The endpoint as a real process, asked over HTTP."""

from __future__ import annotations

import json

import numpy as np
import pytest

from selfheal.catalogue import catalogue_hash
from selfheal.protocol import parse_predictions
from tests.support.endpoint import (
    END,
    INFER,
    KNOWN,
    NAMES,
    PREDICT,
    ROWS,
    Endpoint,
    batch,
    instance,
    outputs,
    samples,
    tensors,
    v2_binary,
    v2_json,
)

pytest_plugins = ["tests.support.endpoint_fixtures"]
pytestmark = pytest.mark.integration


def test_a_v1_answer_has_the_fields_of_the_contract(server: Endpoint) -> None:
    answer = server.client.post(PREDICT, json={"instances": batch()})
    assert answer.status_code == 200
    assert list(answer.json()) == ["predictions"]
    sick, stranger, _ = answer.json()["predictions"]
    assert set(sick) == {
        "workload", "anomaly", "confidence", "votes", "scores", "abstained", "anomalyType", "topMetrics", "forecast",
        "basis", "message", "model",
    }  # fmt: skip
    assert (sick["workload"], sick["anomaly"], sick["basis"]) == (KNOWN, True, "workload")
    assert 0 <= sick["confidence"] <= 1
    assert sick["votes"].keys() == sick["scores"].keys()
    assert sick["votes"].keys() | sick["abstained"].keys() == {"isolation_forest", "arima", "prophet", "lstm"}
    assert sum(sick["votes"].values()) >= 2
    assert all(0 <= score <= 1 for score in sick["scores"].values())
    assert sick["topMetrics"][0].keys() == {"name", "observed", "expected", "share"}
    assert sick["anomalyType"] in {"MemoryLeak", "CPUThrottling", "StorageExhaustion", "MetricAnomaly"}
    assert sick["model"] == {
        "name": "selfheal-ensemble", "version": "7", "runId": "abc", "catalogue": catalogue_hash(NAMES),
    }  # fmt: skip
    assert (stranger["basis"], stranger["anomaly"], stranger["anomalyType"]) == ("pooled", False, None)
    assert len(parse_predictions(answer.json())) == 3


def test_too_little_history_is_no_error_and_says_why(server: Endpoint) -> None:
    answer = server.client.post(PREDICT, json={"instances": [instance(KNOWN, samples(3, 1))]})
    (found,) = answer.json()["predictions"]
    assert answer.status_code == 200
    assert found["anomaly"] is None
    assert found["confidence"] is None
    assert "cannot tell" in found["message"]


def test_what_the_api_server_says_now_overlays_the_newest_sample(server: Endpoint) -> None:
    calm = samples(ROWS, 5)
    calm[-6:-1] = [9.0, 2e9, 40.0]
    sick = instance(KNOWN, calm, now={"container_restart_count": 50, "pod_cpu_usage": 9.0, "pod_memory_usage": 2e9})
    scores = [
        server.client.post(PREDICT, json={"instances": [one]}).json()["predictions"][0]["scores"]
        for one in (sick, instance(KNOWN, calm))
    ]
    assert scores[0] != scores[1]


def test_v2_json_gives_the_verdicts_of_v1(server: Endpoint) -> None:
    expected = server.client.post(PREDICT, json={"instances": batch()}).json()["predictions"]
    answer = server.client.post(INFER, json=v2_json(batch()))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["id"], answer.json()["model_version"]) == ("42", "7")
    found = outputs(answer.json())
    assert found["workload"]["data"] == [one["workload"] for one in expected]
    assert found["anomaly"]["data"] == [int(one["anomaly"]) for one in expected]
    assert found["confidence"]["data"] == [one["confidence"] for one in expected]
    assert found["basis"]["data"] == [one["basis"] for one in expected]
    detectors = found["votes"]["parameters"]["detectors"].split(",")
    assert found["votes"]["data"] == [int(one["votes"].get(name, -1)) for one in expected for name in detectors]
    assert found["scores"]["data"] == [one["scores"].get(name) for one in expected for name in detectors]
    most = found["top_metrics"]["shape"][1]
    names = np.array(found["top_metrics"]["data"]).reshape(-1, most)[0]
    assert [name for name in names if name] == [metric["name"] for metric in expected[0]["topMetrics"]]


def test_v2_binary_in_and_out_gives_the_verdicts_of_v2_json(server: Endpoint) -> None:
    expected = outputs(server.client.post(INFER, json=v2_json(batch())).json())
    body, headers = v2_binary(batch(), binary_data_output=True)
    answer = server.client.post(INFER, content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    split = int(answer.headers["Inference-Header-Content-Length"])
    found = outputs(json.loads(answer.content[:split]))
    rest = answer.content[split:]
    for name, tensor in found.items():
        size = tensor["parameters"]["binary_data_size"]
        data, rest = rest[:size], rest[size:]
        if tensor["datatype"] == "FP64":
            values = np.array(expected[name]["data"], dtype=float)
            np.testing.assert_array_equal(np.frombuffer(data, "<f8"), values)
        elif tensor["datatype"] == "INT8":
            assert np.frombuffer(data, "i1").tolist() == expected[name]["data"]
    assert not rest


def test_a_client_may_ask_for_single_outputs(server: Endpoint) -> None:
    body = {**v2_json(batch()), "outputs": [{"name": "anomaly"}, {"name": "confidence"}]}
    assert list(outputs(server.client.post(INFER, json=body).json())) == ["anomaly", "confidence"]


def test_metadata_names_the_metrics_in_the_order_of_the_tensor(server: Endpoint) -> None:
    found = server.client.get("/v2/models/selfheal-ensemble").json()
    assert (found["name"], found["versions"]) == ("selfheal-ensemble", ["7"])
    assert found["parameters"]["metrics"] == list(NAMES)
    assert found["inputs"][0] == {"name": "windows", "datatype": "FP32", "shape": [-1, -1, 3]}
    assert {tensor["name"] for tensor in found["outputs"]} >= {"anomaly", "confidence", "votes", "scores"}


def test_the_metrics_tell_latency_by_status_and_the_model_that_answers(server: Endpoint) -> None:
    server.client.post(PREDICT, json={"instances": batch()})
    server.client.post(PREDICT, content=b"{")
    text = server.client.get("/metrics").text
    assert 'selfheal_endpoint_request_duration_seconds_count{code="200",protocol="v1"}' in text
    assert 'selfheal_endpoint_request_duration_seconds_count{code="400",protocol="v1"}' in text
    assert f'catalogue="{catalogue_hash(NAMES)}",name="selfheal-ensemble",run_id="abc",version="7"}} 1.0' in text


def test_nobody_can_unload_the_model_over_the_network(server: Endpoint) -> None:
    assert server.client.post("/v2/repository/models/selfheal-ensemble/unload").status_code == 403
    assert server.client.get("/v2/health/ready").status_code == 200


def test_another_models_name_is_not_found(server: Endpoint) -> None:
    assert server.client.post("/v1/models/other:predict", json={"instances": batch()}).status_code == 404
    assert server.client.post("/v2/models/selfheal-ensemble/versions/6/infer", json=v2_json(batch())).status_code == 404
    assert server.client.post("/v2/models/selfheal-ensemble/versions/7/infer", json=v2_json(batch())).status_code == 200


def test_a_kserve_client_is_answered(server: Endpoint) -> None:
    from kserve import InferInput, InferRequest, InferResponse

    windows, workloads = tensors(batch())
    first = InferInput("windows", list(windows.shape), "FP32")
    first.set_data_from_numpy(windows)
    second = InferInput("workloads", [3], "BYTES")
    second.set_data_from_numpy(np.array(workloads, dtype=np.object_))
    body, size = InferRequest("selfheal-ensemble", [first, second], parameters={"end": END}).to_rest()
    assert isinstance(body, bytes)
    answer = server.client.post(INFER, content=body, headers={"Inference-Header-Content-Length": str(size)})
    found = InferResponse.from_rest(answer.json())
    anomaly = found.get_output_by_name("anomaly")
    assert anomaly is not None
    assert anomaly.as_numpy().tolist() == [1, 0, 0]
