from collections.abc import Mapping
from typing import Any

class Client:
    def __init__(
        self,
        host: str | None = ...,
        *,
        existing_token: str | None = ...,
        ssl_ca_cert: str | None = ...,
        namespace: str = ...,
    ) -> None: ...
    def create_run_from_pipeline_package(
        self,
        pipeline_file: str,
        arguments: Mapping[str, Any] | None = ...,
        run_name: str | None = ...,
        experiment_name: str | None = ...,
        enable_caching: bool | None = ...,
    ) -> Any: ...
    def wait_for_run_completion(self, run_id: str, timeout: int, sleep_duration: int = ...) -> Any: ...
