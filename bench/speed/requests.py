"""Bodies of requests, as clients send them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from selfheal.protocol import MODEL_NAME, Instance, to_request
from selfheal.window import MetricWindow, fill_gaps

PREDICT = f"/v1/models/{MODEL_NAME}:predict"
INFER = f"/v2/models/{MODEL_NAME}/infer"


@dataclass(frozen=True)
class Body:
    """One request, ready to be sent.

    Attributes:
        path: Where to.
        content: Its bytes.
        headers: That go with it.
    """

    path: str
    content: bytes
    headers: Mapping[str, str]


def v1(windows: Sequence[MetricWindow]) -> Body:
    """KServe's V1 protocol: JSON."""
    return Body(PREDICT, to_request(instances(windows)), {"Content-Type": "application/json"})


def v2(windows: Sequence[MetricWindow]) -> Body:
    """The V2 protocol with its binary extension: float32, windows of one length that end together."""
    first = windows[0]
    values = np.stack([one.values for one in windows]).astype("<f4")
    names = b"".join(struct.pack("<I", len(one.workload.encode())) + one.workload.encode() for one in windows)
    parts = {"windows": ("FP32", list(values.shape), values.tobytes()), "workloads": ("BYTES", [len(windows)], names)}
    header = {
        "parameters": {"end": _end(first).isoformat(), "step": first.step, "metrics": ",".join(first.names)},
        "inputs": [
            {"name": name, "datatype": kind, "shape": shape, "parameters": {"binary_data_size": len(data)}}
            for name, (kind, shape, data) in parts.items()
        ],
    }
    head = json.dumps(header).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Body(INFER, head + b"".join(data for _, _, data in parts.values()), headers)


def instances(windows: Sequence[MetricWindow]) -> list[Instance]:
    """The windows as the protocol has them, gaps filled."""
    return [Instance(workload=one.workload, end=_end(one), step=one.step, window=_columns(one)) for one in windows]


def _end(window: MetricWindow) -> datetime:
    return datetime.fromisoformat(str(window.times[-1])).replace(tzinfo=UTC)


def _columns(window: MetricWindow) -> dict[str, list[float | None]]:
    filled = fill_gaps(window.values)
    return {name: filled[:, place].tolist() for place, name in enumerate(window.names)}
