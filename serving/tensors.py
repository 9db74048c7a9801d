"""V2 tensors to windows, and predictions to V2 tensors. docs/endpoint.md describes both for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from kserve import InferInput, InferOutput, InferRequest, InferResponse
from pydantic import ValidationError

from selfheal.protocol import Instance, ModelInfo, Prediction
from selfheal.window import MetricWindow, grid
from serving.mistakes import Mistake, faults

INPUTS: tuple[dict[str, Any], ...] = (
    {"name": "windows", "datatype": "FP32", "shape": [-1, -1, -1]},
    {"name": "workloads", "datatype": "BYTES", "shape": [-1]},
    {"name": "now", "datatype": "FP32", "shape": [-1, -1], "parameters": {"optional": True}},
)
OUTPUTS: tuple[dict[str, Any], ...] = (
    {"name": "workload", "datatype": "BYTES", "shape": [-1]},
    {"name": "anomaly", "datatype": "INT8", "shape": [-1]},
    {"name": "confidence", "datatype": "FP64", "shape": [-1]},
    {"name": "votes", "datatype": "INT8", "shape": [-1, -1]},
    {"name": "scores", "datatype": "FP64", "shape": [-1, -1]},
    {"name": "abstained", "datatype": "BYTES", "shape": [-1, -1]},
    {"name": "anomaly_type", "datatype": "BYTES", "shape": [-1]},
    {"name": "top_metrics", "datatype": "BYTES", "shape": [-1, -1]},
    {"name": "top_values", "datatype": "FP64", "shape": [-1, -1, 3]},
    {"name": "forecast_metric", "datatype": "BYTES", "shape": [-1]},
    {"name": "forecast", "datatype": "FP64", "shape": [-1, 3]},
    {"name": "basis", "datatype": "BYTES", "shape": [-1]},
    {"name": "message", "datatype": "BYTES", "shape": [-1]},
)
_DATATYPES = {str(output["name"]): str(output["datatype"]) for output in OUTPUTS}

Array = npt.NDArray[Any]


def to_windows(request: InferRequest, names: Sequence[str], step: float, *, limit: int = 10_000) -> list[MetricWindow]:
    """Read the tensors of a request.

    Args:
        request: With ``windows`` FP32 or FP64 [n, t, m], ``workloads`` BYTES [n], optionally ``now`` [n, m], and the
            parameters ``metrics``, ``end`` and ``step``.
        names: The model's metrics, which the last axis has where ``metrics`` does not say.
        step: The model's seconds between samples, where ``step`` does not say.
        limit: Most windows that one request may hold.

    Returns:
        The windows, in order, with ``now`` laid over their newest samples; NaN is a gap.

    Raises:
        Mistake: With the tensor or the parameter that is wrong.
    """
    tensors = _by_name(request)
    parameters = {**(request.parameters or {}), **(tensors["windows"].parameters or {})}
    windows = _floats(tensors["windows"], 3)
    count, _, width = windows.shape
    if count > limit:
        raise Mistake(f"windows: {count} in one request, at most {limit}: split the batch")
    workloads = _workloads(tensors["workloads"], count)
    metrics = tuple(_metrics(parameters, names, width))
    shared = {"end": parameters.get("end", datetime.now(UTC)), "step": parameters.get("step", step)}
    now = _floats(tensors["now"], 2) if "now" in tensors else None
    if now is not None and now.shape != (count, width):
        raise Mistake(f"now: shape {list(now.shape)} does not fit windows: expected {[count, width]}")
    values = windows.astype(np.float64)
    if now is not None:
        np.copyto(values[:, -1], now, where=~np.isnan(now))
    judged = [_instance(f"workloads[{index}]", workload, shared) for index, workload in enumerate(workloads)]
    # Values are checked above as arrays; nobody looks at each float again. One grid serves all.
    end, seconds = np.datetime64(judged[0].end.replace(tzinfo=None), "s"), judged[0].step
    times = grid(end, values.shape[1], seconds)
    return [MetricWindow(one.workload, times, each, metrics, seconds) for one, each in zip(judged, values, strict=True)]


def _by_name(request: InferRequest) -> dict[str, InferInput]:
    tensors = {tensor.name: tensor for tensor in request.inputs}
    known = [str(tensor["name"]) for tensor in INPUTS]
    unknown = sorted(tensors.keys() - set(known))
    missing = sorted({"windows", "workloads"} - tensors.keys())
    if unknown or missing:
        said = [f"{label} {', '.join(which)}" for label, which in (("missing", missing), ("unknown", unknown)) if which]
        raise Mistake(f"inputs: {'; '.join(said)}. The model takes {', '.join(known)}.")
    return tensors


def _floats(tensor: InferInput, dimensions: int) -> Array:
    place = tensor.name
    if tensor.datatype not in ("FP32", "FP64"):
        raise Mistake(f"{place}: datatype {tensor.datatype}, expected FP32 or FP64")
    if len(tensor.shape) != dimensions or not all(tensor.shape):
        raise Mistake(f"{place}: shape {tensor.shape}, expected {dimensions} dimensions of at least 1")
    try:
        values: Array = tensor.data if isinstance(tensor.data, np.ndarray) else tensor.as_numpy()
    except ValueError as error:  # over gRPC kserve decodes
        raise Mistake(f"{place}: {error}") from None
    infinite = np.isinf(values)
    if infinite.any():
        raise Mistake(
            f"{place}{list(map(int, np.argwhere(infinite)[0]))} is infinite or too large for {tensor.datatype}: "
            "send NaN (null in JSON) for a gap"
        )
    return values


def _workloads(tensor: InferInput, count: int) -> list[str]:
    if tensor.datatype != "BYTES":
        raise Mistake(f"workloads: datatype {tensor.datatype}, expected BYTES")
    try:
        raw = tensor.data if isinstance(tensor.data, list) and tensor.data else tensor.as_numpy().ravel().tolist()
        found = [value if isinstance(value, str) else bytes(value).decode() for value in raw]
    except ValueError as error:
        raise Mistake(f"workloads: {error}") from None
    if list(tensor.shape) != [count] or len(found) != count:
        raise Mistake(f"workloads: shape {tensor.shape} with {len(found)} names for {count} windows")
    return found


def _metrics(parameters: Mapping[str, Any], names: Sequence[str], width: int) -> list[str]:
    """As a comma-separated text, a JSON list in a text, or a list."""
    given = parameters.get("metrics")
    if given is None:
        found = list(names)
    elif isinstance(given, list):
        found = given
    elif isinstance(given, str):
        found = _split(given)
    else:
        raise Mistake(f"parameters.metrics: {given!r}, expected names separated by commas")
    if len(found) != width:
        raise Mistake(
            f"parameters.metrics: {len(found)} names for the {width} columns of windows. The model's metrics are "
            f"{', '.join(names)}."
        )
    if len(set(found)) != width:
        raise Mistake(f"parameters.metrics: a name stands twice in {', '.join(found)}")
    return found


def _split(text: str) -> list[str]:
    if not text.lstrip().startswith("["):
        return [name.strip() for name in text.split(",")]
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise Mistake("parameters.metrics: not a JSON list of names")
    return found


def _instance(place: str, workload: str, shared: Mapping[str, Any]) -> Instance:
    try:
        return Instance.model_validate({"workload": workload, "window": {"any": [None]}, **shared})
    except ValidationError as error:
        said = faults(error)
        raise Mistake(f"{place}: {said}" if said.startswith("workload:") else f"parameters.{said}") from None


def to_response(request: InferRequest, predictions: Sequence[Prediction], info: ModelInfo) -> InferResponse:
    """Answer a V2 request.

    Args:
        request: Says which outputs are wanted, and whether in binary.
        predictions: One an instance, in order.
        info: Which model answered.

    Raises:
        Mistake: When an output is wanted that does not exist.
    """
    arrays, parameters = _arrays(predictions)
    for index, wanted in enumerate(request.request_outputs or ()):
        if wanted.name not in arrays:
            raise Mistake(f"outputs[{index}]: no output {wanted.name!r}, the model has {', '.join(arrays)}")
    return InferResponse(
        response_id=request.id or str(uuid4()),
        model_name=request.model_name,
        model_version=info.version or None,
        parameters={"run_id": info.run_id, "catalogue": info.catalogue},
        infer_outputs=[
            InferOutput(name, list(array.shape), _DATATYPES[name], array, parameters.get(name))
            for name, array in arrays.items()
        ],
        use_binary_outputs=bool(request.use_binary_outputs),
        requested_outputs=request.request_outputs,
    )


def _arrays(predictions: Sequence[Prediction]) -> tuple[dict[str, Array], dict[str, dict[str, str]]]:
    detectors = sorted({name for p in predictions for name in (*p.votes, *p.abstained)})
    most = max((len(p.top_metrics) for p in predictions), default=0)
    by_detector = {"detectors": ",".join(detectors)}
    arrays = {
        "workload": _text([p.workload for p in predictions]),
        "anomaly": np.array([_flag(p.anomaly) for p in predictions], np.int8),
        "confidence": _numbers([p.confidence for p in predictions]),
        "votes": np.array([[_flag(p.votes.get(name)) for name in detectors] for p in predictions], np.int8),
        "scores": _numbers([[p.scores.get(name) for name in detectors] for p in predictions]),
        "abstained": _text([[p.abstained.get(name, "") for name in detectors] for p in predictions]),
        "anomaly_type": _text([p.anomaly_type or "" for p in predictions]),
        "top_metrics": _text(
            [[t.name for t in p.top_metrics] + [""] * (most - len(p.top_metrics)) for p in predictions]
        ),
        "top_values": _numbers([_top(p, most) for p in predictions]).reshape(len(predictions), most, 3),
        "forecast_metric": _text([p.forecast.metric if p.forecast else "" for p in predictions]),
        "forecast": _numbers([_forecast(p) for p in predictions]),
        "basis": _text([p.basis for p in predictions]),
        "message": _text([p.message for p in predictions]),
    }
    return arrays, {"votes": by_detector, "scores": by_detector, "abstained": by_detector}


def _flag(value: bool | None) -> int:
    return -1 if value is None else int(value)


def _text(values: Sequence[Any]) -> Array:
    return np.array(values, dtype=np.object_)


def _numbers(values: Sequence[Any]) -> Array:
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _top(prediction: Prediction, most: int) -> list[tuple[float | None, ...]]:
    rows: list[tuple[float | None, ...]] = [(t.observed, t.expected, t.share) for t in prediction.top_metrics]
    return rows + [(None, None, None)] * (most - len(rows))


def _forecast(prediction: Prediction) -> tuple[float | None, ...]:
    found = prediction.forecast
    return (found.limit, found.exhausted_in, found.exhausted_in_lower) if found else (None, None, None)
