"""Bytes of a request to what the predictor takes; every fault of the client is a :class:`Mistake` that names its place.

KServe's own decoder lets a missing key, a short body or a wrong header end as 500, and turns binary tensors into Python
lists. This one reads them in place.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import orjson
from kserve import InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from serving.mistakes import Mistake, faults

_DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}
_DIGITS = 15  # of a length; int() refuses thousands of them with an error of its own
_JSON = ("application/json", "application/octet-stream", "application/x-www-form-urlencoded")

_Parameters = dict[str, StrictBool | StrictInt | StrictFloat | StrictStr | list[StrictStr]]
_Size = Annotated[int, Field(strict=True, ge=0)]


class _Tensor(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: StrictStr
    shape: list[_Size] = Field(min_length=1, max_length=8)
    datatype: StrictStr
    parameters: _Parameters = Field(default_factory=dict)
    data: list[Any] | None = None


class _Output(BaseModel):
    name: StrictStr
    parameters: _Parameters = Field(default_factory=dict)


class _Request(BaseModel):
    id: StrictStr | None = None
    parameters: _Parameters = Field(default_factory=dict)
    inputs: list[_Tensor] = Field(min_length=1)
    outputs: list[_Output] | None = None


def check_content_type(value: str | None, encoding: str | None = None) -> None:
    """Refuse what is no JSON and no binary extension, and what is compressed.

    curl says ``application/x-www-form-urlencoded`` when nobody says anything, so that passes for JSON as well.

    Args:
        value: Of the header Content-Type.
        encoding: Of the header Content-Encoding.

    Raises:
        Mistake: Naming the header.
    """
    if (encoding or "identity").strip().lower() != "identity":
        raise Mistake(f"header Content-Encoding: {encoding!r} is not understood, send the body as it is")
    kind = (value or _JSON[0]).partition(";")[0].strip().lower()
    if kind not in _JSON and not kind.endswith("+json"):
        raise Mistake(f"header Content-Type: {kind!r} is not understood, send application/json")


def parse_json(body: bytes, what: str = "body") -> Any:
    """Decode JSON.

    Raises:
        Mistake: With line and column.
    """
    if not body.strip():
        raise Mistake(f"{what} is empty: send a JSON object")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Mistake(
            f"{what} is not valid JSON: {error}. (JSON has no NaN and no Infinity: write null for a gap.)"
        ) from None


def parse_v2(body: bytes, json_length: str | None, model_name: str) -> InferRequest:
    """Read a V2 request, with or without the binary extension.

    Args:
        body: As received.
        json_length: The header ``Inference-Header-Content-Length``; None where all of the body is JSON.
        model_name: From the path.

    Returns:
        The request; floating-point tensors hold numpy arrays of their shape, BYTES tensors flat lists of str.

    Raises:
        Mistake: With every fault of the header or the first one of the tensors.
    """
    split = _json_length(json_length, len(body))
    header = parse_json(body[:split], "body" if json_length is None else "the JSON part of the body")
    try:
        request = _Request.model_validate(header)
    except ValidationError as error:
        raise Mistake(faults(error)) from None
    return InferRequest(
        model_name=model_name,
        request_id=request.id,
        parameters=request.parameters,
        infer_inputs=_inputs(request.inputs, memoryview(body)[split:]),
        request_outputs=[RequestedOutput(o.name, o.parameters) for o in request.outputs] if request.outputs else None,
    )


def _json_length(header: str | None, size: int) -> int:
    if header is None:
        return size
    text = header.strip()
    if not text.isascii() or not text.isdecimal() or len(text) > _DIGITS or not 0 < int(text) <= size:
        raise Mistake(
            f"header Inference-Header-Content-Length: {header[:_DIGITS]!r} is not the length of the JSON part of a "
            f"body of {size} bytes"
        )
    return int(text)


def _inputs(tensors: list[_Tensor], rest: memoryview) -> list[InferInput]:
    found: list[InferInput] = []
    for index, tensor in enumerate(tensors):
        place = f"inputs[{index}] ({tensor.name})"
        if tensor.name in {other.name for other in found}:
            raise Mistake(f"{place}: this name stands twice")
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            data: Any = _from_json(tensor, place)
        else:
            if type(size) is not int or not 0 <= size <= len(rest):
                raise Mistake(f"{place}: binary_data_size {size!r} but {len(rest)} bytes are left in the body")
            data, rest = _from_bytes(tensor, place, rest[:size]), rest[size:]
        found.append(InferInput(tensor.name, tensor.shape, tensor.datatype, data, tensor.parameters))
    if len(rest):
        raise Mistake(f"{len(rest)} bytes after the last tensor: check binary_data_size of each input")
    return found


def _from_bytes(tensor: _Tensor, place: str, data: memoryview) -> Any:
    count = _count(tensor)
    if tensor.datatype == "BYTES":
        strings = _strings(data, place)
        if len(strings) != count:
            raise Mistake(f"{place}: shape {tensor.shape} needs {count} strings, the data holds {len(strings)}")
        return strings
    dtype = _dtype(tensor, place)
    if len(data) != count * dtype.itemsize:
        raise Mistake(f"{place}: shape {tensor.shape} needs {count * dtype.itemsize} bytes, got {len(data)}")
    return np.frombuffer(data, dtype).reshape(tensor.shape)


def _strings(data: memoryview, place: str) -> list[str]:
    """Each string stands after its length, four bytes little-endian."""
    found: list[str] = []
    offset = 0
    while offset < len(data):
        if offset + 4 > len(data):
            raise Mistake(f"{place}: string {len(found)} is cut off in its length")
        (length,) = struct.unpack_from("<I", data, offset)
        offset += 4
        if offset + length > len(data):
            raise Mistake(f"{place}: string {len(found)} says {length} bytes, {len(data) - offset} are left")
        try:
            found.append(str(data[offset : offset + length], "utf-8"))
        except UnicodeDecodeError:
            raise Mistake(f"{place}: string {len(found)} is not UTF-8") from None
        offset += length
    return found


def _from_json(tensor: _Tensor, place: str) -> Any:
    if tensor.data is None:
        raise Mistake(f"{place}: no data (a list) and no parameters.binary_data_size")
    if tensor.datatype == "BYTES":
        return _json_strings(tensor, place)
    dtype = _dtype(tensor, place)
    try:
        raw = np.array(tensor.data)
    except ValueError:
        raise Mistake(f"{place}: data is ragged: send rows of one length, null for a gap") from None
    if raw.dtype.kind not in "iufO" or (raw.dtype.kind == "O" and not _numeric(raw)):
        raise Mistake(f"{place}: data must hold numbers, and null for a gap")
    if raw.size != _count(tensor):
        raise Mistake(f"{place}: shape {tensor.shape} needs {_count(tensor)} numbers, data holds {raw.size}")
    with np.errstate(over="ignore"):  # too large for FP32 becomes infinite, which is refused with its place later
        values: npt.NDArray[np.floating[Any]] = raw.astype(np.float64).astype(dtype)
    return values.reshape(tensor.shape)


def _numeric(raw: npt.NDArray[Any]) -> bool:
    return {type(value) for value in raw.ravel().tolist()} <= {int, float, type(None)}


def _json_strings(tensor: _Tensor, place: str) -> list[str]:
    data = tensor.data or []
    if not all(isinstance(value, str) for value in data):
        raise Mistake(f"{place}: data must be a flat list of strings")
    if len(data) != _count(tensor):
        raise Mistake(f"{place}: shape {tensor.shape} needs {_count(tensor)} strings, data holds {len(data)}")
    return list(data)


def _count(tensor: _Tensor) -> int:
    count = 1
    for size in tensor.shape:
        count *= size
    return count


def _dtype(tensor: _Tensor, place: str) -> np.dtype[Any]:
    if tensor.datatype not in _DTYPES:
        raise Mistake(
            f"{place}: datatype {tensor.datatype!r} is not understood here, use {', '.join(_DTYPES)} or BYTES"
        )
    return _DTYPES[tensor.datatype]
