import argparse

from fastapi import FastAPI
from kserve.model import Model
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane

parser: argparse.ArgumentParser
app: FastAPI

class ModelServer:
    dataplane: DataPlane
    registered_models: ModelRepository
    def __init__(
        self,
        http_port: int = ...,
        grpc_port: int = ...,
        workers: int = ...,
        max_threads: int = ...,
        max_asyncio_workers: int | None = ...,
        enable_grpc: bool = ...,
        enable_latency_logging: bool = ...,
        access_log_format: str | None = ...,
        event_loop: str = ...,
        timeout_keep_alive: int = ...,
        grace_period: int = ...,
        ssl_certfile: str | None = ...,
        ssl_keyfile: str | None = ...,
    ) -> None: ...
    def register_model(self, model: Model, name: str | None = ...) -> None: ...
    def start(self, models: list[Model]) -> None: ...
