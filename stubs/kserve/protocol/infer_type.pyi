from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

class InferInput:
    def __init__(
        self,
        name: str,
        shape: list[int],
        datatype: str,
        data: Any = ...,
        parameters: Mapping[str, Any] | None = ...,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def datatype(self) -> str: ...
    @property
    def data(self) -> Any: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def parameters(self) -> Any: ...
    def as_numpy(self) -> npt.NDArray[Any]: ...
    def set_data_from_numpy(self, input_tensor: npt.NDArray[Any], binary_data: bool = ...) -> None: ...

class InferOutput:
    def __init__(
        self,
        name: str,
        shape: list[int],
        datatype: str,
        data: npt.NDArray[Any] | list[Any] | None = ...,
        parameters: Mapping[str, Any] | None = ...,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def datatype(self) -> str: ...
    @property
    def data(self) -> Any: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def parameters(self) -> Any: ...
    def as_numpy(self) -> npt.NDArray[Any]: ...

class RequestedOutput:
    def __init__(self, name: str, parameters: Mapping[str, Any] | None = ...) -> None: ...
    @property
    def name(self) -> str: ...

class InferRequest:
    id: str | None
    model_name: str
    parameters: Any
    inputs: list[InferInput]
    from_grpc: bool
    request_outputs: list[RequestedOutput] | None
    def __init__(
        self,
        model_name: str,
        infer_inputs: list[InferInput],
        request_id: str | None = ...,
        raw_inputs: Any = ...,
        from_grpc: bool | None = ...,
        parameters: Mapping[str, Any] | None = ...,
        request_outputs: list[RequestedOutput] | None = ...,
        model_version: str | None = ...,
    ) -> None: ...
    @property
    def use_binary_outputs(self) -> bool: ...
    def to_rest(self) -> tuple[bytes | dict[str, Any], int | None]: ...

class InferResponse:
    id: str | None
    model_name: str
    outputs: list[InferOutput]
    def __init__(
        self,
        response_id: str | None,
        model_name: str,
        infer_outputs: list[InferOutput],
        model_version: str | None = ...,
        raw_outputs: Any = ...,
        from_grpc: bool | None = ...,
        parameters: Mapping[str, Any] | None = ...,
        use_binary_outputs: bool | None = ...,
        requested_outputs: list[RequestedOutput] | None = ...,
    ) -> None: ...
    @classmethod
    def from_rest(cls, response: Mapping[str, Any]) -> InferResponse: ...
    @classmethod
    def from_bytes(cls, res_bytes: bytes, json_length: int) -> InferResponse: ...
    def to_rest(self) -> tuple[bytes | dict[str, Any], int | None]: ...
    def get_output_by_name(self, name: str) -> InferOutput | None: ...
