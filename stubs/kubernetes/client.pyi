from collections.abc import Mapping, Sequence
from typing import Any

class Configuration:
    host: str
    retries: int | None
    def __init__(self) -> None: ...

class ApiException(Exception):
    status: int | None
    reason: str | None
    body: str | bytes | None

class RESTClientObject:
    pool_manager: Any

class ApiClient:
    rest_client: RESTClientObject
    def __init__(self, configuration: Configuration | None = None) -> None: ...
    def call_api(
        self,
        resource_path: str,
        method: str,
        *,
        query_params: Sequence[tuple[str, str]] | None = None,
        header_params: Mapping[str, str] | None = None,
        body: object = None,
        response_type: str | None = None,
        auth_settings: Sequence[str] | None = None,
        _return_http_data_only: bool | None = None,
        _request_timeout: tuple[float, float] | None = None,
    ) -> Any: ...
    def close(self) -> None: ...
