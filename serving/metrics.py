"""What the endpoint tells Prometheus at ``/metrics``, beside kserve's own ``request_*_seconds``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from selfheal.protocol import ModelInfo, Prediction

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

REQUESTS = Histogram(
    "selfheal_endpoint_request_duration_seconds",
    "Time from the first byte of a prediction request to the last byte of its answer.",
    ["protocol", "code"],
    buckets=_BUCKETS,
)
VERDICTS = Counter(
    "selfheal_endpoint_verdicts_total",
    "Workloads judged, by verdict (anomaly: true, false, unknown) and by whose model judged (basis: workload, pooled).",
    ["anomaly", "basis"],
)
MODEL = Gauge(
    "selfheal_endpoint_model_info",
    "The model that answers; always 1.",
    ["name", "version", "run_id", "catalogue"],
)
LOADED = Gauge(
    "selfheal_endpoint_model_loaded_timestamp_seconds", "When the model that answers was loaded; 0 without one."
)
LOAD_FAILURES = Counter("selfheal_endpoint_model_load_failures_total", "Tries to load a model that failed.")

_WORD = {True: "true", False: "false", None: "unknown"}


def count_verdicts(predictions: Iterable[Prediction]) -> None:
    """Count what was answered."""
    for prediction in predictions:
        VERDICTS.labels(_WORD[prediction.anomaly], prediction.basis).inc()


def model_loaded(info: ModelInfo) -> None:
    """Say which model answers from now on."""
    MODEL.clear()
    MODEL.labels(info.name, info.version, info.run_id, info.catalogue).set(1)
    LOADED.set_to_current_time()


class Timed:
    """ASGI middleware that times prediction requests by protocol and status, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        protocol = _protocol(scope)
        if protocol is None:
            await self._app(scope, receive, send)
            return
        code = 500  # what the server answers when the application fails

        async def watch(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        start = time.perf_counter()
        try:
            await self._app(scope, receive, watch)
        finally:
            REQUESTS.labels(protocol, str(code)).observe(time.perf_counter() - start)


def _protocol(scope: Scope) -> str | None:
    if scope["type"] != "http":
        return None
    path: str = scope["path"]
    if path.startswith("/v1/") and path.endswith(":predict"):
        return "v1"
    return "v2" if path.startswith("/v2/") and path.endswith("/infer") else None
