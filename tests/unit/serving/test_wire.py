"""Bytes to tensors: whatever comes is either understood or a Mistake with its place."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kserve import InferInput, InferRequest

from serving.mistakes import Mistake
from serving.tensors import to_windows
from serving.wire import check_content_type, parse_v2

NAMES = ("cpu", "memory")


def request(values: np.ndarray[Any, Any], **parameters: Any) -> tuple[bytes, str]:
    """A binary request with one workload a window."""
    raw = values.astype("<f4").tobytes()
    names = b"".join(struct.pack("<I", 3) + b"a/b" for _ in values)
    sizes = [{"binary_data_size": len(data)} for data in (raw, names)]
    windows = {"name": "windows", "datatype": "FP32", "shape": values.shape, "parameters": sizes[0]}
    workloads = {"name": "workloads", "datatype": "BYTES", "shape": [len(values)], "parameters": sizes[1]}
    header = {"parameters": {"end": "2026-11-23T20:00:00Z", **parameters}, "inputs": [windows, workloads]}
    head = json.dumps(header).encode()
    return head + raw + names, str(len(head))


@given(st.binary(max_size=400), st.none() | st.text(max_size=6) | st.integers(-1, 400).map(str))
def test_any_bytes_are_understood_or_a_mistake(body: bytes, length: str | None) -> None:
    with suppress(Mistake):
        assert parse_v2(body, length, "m").inputs


@given(st.data())
def test_a_binary_request_cut_off_or_altered_is_understood_or_a_mistake(data: st.DataObject) -> None:
    body, length = request(np.zeros((2, 3, 2)))
    at = data.draw(st.integers(0, len(body)))
    sent = body[:at] + data.draw(st.binary(max_size=4)) + body[data.draw(st.integers(at, len(body))) :]
    with suppress(Mistake):
        assert to_windows(parse_v2(sent, length, "m"), NAMES, 60.0)


def test_windows_arrive_metric_by_metric_with_gaps_as_gaps() -> None:
    values = np.array([[[1.0, 10.0], [np.nan, 20.0]]])
    (found,) = to_windows(parse_v2(*request(values), "m"), NAMES, 60.0)
    np.testing.assert_array_equal(found.values, values[0])
    assert (found.workload, found.step, found.names) == ("a/b", 60.0, NAMES)
    assert [str(moment) for moment in found.times] == ["2026-11-23T19:59:00", "2026-11-23T20:00:00"]


@pytest.mark.parametrize("metrics", ["memory,cpu", '["memory", "cpu"]', ["memory", "cpu"]], ids=str)
def test_the_order_of_the_metrics_is_the_clients(metrics: Any) -> None:
    (found,) = to_windows(parse_v2(*request(np.array([[[1.0, 10.0]]]), metrics=metrics), "m"), NAMES, 60.0)
    assert found.names == ("memory", "cpu")
    assert found.values.tolist() == [[1.0, 10.0]]


def test_what_is_now_overlays_the_newest_sample_and_nan_says_nothing() -> None:
    values = np.array([[[1.0, 10.0], [2.0, 20.0]]])
    body, length = request(values)
    asked = parse_v2(body, length, "m")
    now = InferInput("now", [1, 2], "FP32", np.array([[np.nan, 99.0]], np.float32))
    (found,) = to_windows(InferRequest("m", [*asked.inputs, now], parameters=asked.parameters), NAMES, 60.0)
    assert found.values.tolist() == [[1.0, 10.0], [2.0, 99.0]]
    (again,) = to_windows(asked, NAMES, 60.0)
    assert again.values.tolist() == values[0].tolist(), "the request itself stays as it is"


def test_infinity_is_a_mistake_that_names_its_index() -> None:
    values = np.zeros((2, 3, 2))
    values[1, 2, 0] = np.inf
    with pytest.raises(Mistake, match=r"windows\[1, 2, 0\] is infinite"):
        to_windows(parse_v2(*request(values), "m"), NAMES, 60.0)


def test_more_windows_than_allowed_are_a_mistake() -> None:
    with pytest.raises(Mistake, match="3 in one request, at most 2"):
        to_windows(parse_v2(*request(np.zeros((3, 1, 2))), "m"), NAMES, 60.0, limit=2)


@pytest.mark.parametrize("kind", [None, "application/json", "Application/JSON; charset=utf-8", "application/ld+json"])
def test_json_content_types_pass(kind: str | None) -> None:
    check_content_type(kind)
