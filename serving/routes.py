"""HTTP routes in front of kserve's own.

kserve answers a malformed V2 body with 422, a missing key or a short tensor with 500, says "ready" without a model, and
lets anybody unload the model. The routes here are registered first, so they are the ones that answer; everything they
do not name is kserve's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from kserve.errors import InvalidInput, ModelNotFound
from kserve.protocol.dataplane import DataPlane
from starlette.requests import ClientDisconnect

from serving.metrics import Timed
from serving.mistakes import Mistake, NoSuchModel, NotLoaded, TooLarge
from serving.predictor import Predictor
from serving.wire import check_content_type, parse_json, parse_v2

_LOG = logging.getLogger("serving")
_JSON_LENGTH = "inference-header-content-length"
_SHOWN = 1000  # characters of one log line
_SMALL = 32_768  # bytes that are decoded faster than a thread is asked to do it
MOST_BYTES = 256 * 2**20  # 10,000 windows of 16 metrics and 60 samples are 180 MB of JSON

T = TypeVar("T")


class EndpointDataPlane(DataPlane):
    """kserve's data plane, ready only with a loaded model."""

    async def ready(self) -> bool:
        """Whether every registered model can answer."""
        models = self.model_registry.get_models()
        return bool(models) and all([await model.healthy() for model in models.values()])

    def metadata(self) -> dict[str, Any]:
        """Server metadata, with the extensions we answer."""
        return {**super().metadata(), "extensions": ["binary_tensor_data"]}


class Routes:
    """Prediction, metadata and the refused repository calls.

    Args:
        plane: Where requests go.
        most_bytes: The largest body taken.
    """

    def __init__(self, plane: EndpointDataPlane, most_bytes: int = MOST_BYTES) -> None:
        self._plane = plane
        self._most_bytes = most_bytes

    def register(self, app: FastAPI) -> None:
        """Put the routes, the error answers and the clock into kserve's application; call before the server starts."""
        router = APIRouter()
        for path in ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"):
            router.add_api_route(path, self.infer, methods=["POST"], response_model=None)
        router.add_api_route("/v1/models/{name}:predict", self.predict, methods=["POST"], response_model=None)
        router.add_api_route("/v1/models/{name}:explain", self.explain, methods=["POST"], response_model=None)
        router.add_api_route("/v2/models/{name}", self.metadata, methods=["GET"], response_model=None)
        router.add_api_route("/v2/health/ready", self.server_ready, methods=["GET"], response_model=None)
        for path in ("/v1/models/{name}", "/v2/models/{name}/ready"):
            router.add_api_route(path, self.model_ready, methods=["GET"], response_model=None)
        for verb in ("load", "unload"):
            path = f"/v2/repository/models/{{name}}/{verb}"
            router.add_api_route(path, self.refuse, methods=["POST"], response_model=None)
        app.include_router(router)
        for kind in (Mistake, NoSuchModel, NotLoaded, ClientDisconnect):
            app.add_exception_handler(kind, _refused)
        app.add_middleware(Timed)

    async def predict(self, name: str, request: Request) -> Response:
        """V1; a CloudEvent is taken as well."""
        await self._ready(name)
        body = await self._body(request)
        headers = dict(request.headers)
        payload, attributes = await _off_loop(len(body), self._decode_v1, body, headers)
        return await self._answer(name, payload, headers, attributes)

    async def infer(self, name: str, request: Request, version: str = "") -> Response:
        """V2, as JSON or with the binary extension."""
        await self._ready(name, version)
        body = await self._body(request)
        headers = dict(request.headers)
        check_content_type(headers.get("content-type"), headers.get("content-encoding"))
        payload = await _off_loop(len(body), parse_v2, body, headers.get(_JSON_LENGTH), name)
        return await self._answer(name, payload, headers, {})

    async def server_ready(self) -> Response:
        """Whether the server can answer predictions."""
        ready = await self._plane.ready()
        return _json({"ready": ready}, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def model_ready(self, name: str) -> Response:
        """Whether the model is loaded."""
        ready = await self._model(name).healthy()
        return _json({"name": name, "ready": ready}, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def metadata(self, name: str) -> Response:
        """Model metadata, with the metrics' names."""
        await self._ready(name)
        return _json(self._model(name).describe())

    async def explain(self, name: str) -> Response:
        """There is no explainer beside the model; kserve's own route would call that a failure of the server."""
        error = f"{name} has no explainer: each prediction holds its topMetrics"
        return _json({"error": error}, HTTPStatus.NOT_FOUND)

    async def refuse(self, name: str) -> Response:
        """Loading and unloading over the network: nobody may switch the endpoint off."""
        return _json(
            {"error": f"{name} is loaded by the server itself: promote another version in the registry"},
            HTTPStatus.FORBIDDEN,
        )

    def _model(self, name: str) -> Predictor:
        try:
            model = self._plane.get_model_from_registry(name)
        except ModelNotFound:
            raise NoSuchModel(name) from None  # kserve's own is logged with a traceback
        if not isinstance(model, Predictor):
            raise NoSuchModel(name)
        return model

    async def _ready(self, name: str, version: str = "") -> None:
        """Known and loaded; of versions there is one."""
        model = self._model(name)
        info = model.ensemble.info
        if version and version != info.version:
            raise NoSuchModel(f"{name} version {version} (version {info.version or 'unknown'} is served)")

    async def _body(self, request: Request) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._most_bytes:
                raise TooLarge(f"body: more than {self._most_bytes} bytes, split the batch")
            chunks.append(chunk)
        return b"".join(chunks)

    def _decode_v1(self, body: bytes, headers: Mapping[str, str]) -> tuple[Any, Mapping[str, Any]]:
        check_content_type(headers.get("content-type"), headers.get("content-encoding"))
        parsed = parse_json(body)
        if not any(name.startswith("ce-") for name in headers) and not _is_event(headers):
            return parsed, {}
        try:
            return self._plane.decode(body, headers)
        except (InvalidInput, ValueError, LookupError) as error:
            raise Mistake(f"this CloudEvent is not understood: {error}") from None

    async def _answer(
        self, name: str, payload: object, headers: Mapping[str, str], attributes: Mapping[str, Any]
    ) -> Response:
        try:
            result, _ = await self._plane.infer(name, payload, headers)
        except InvalidInput as error:
            raise Mistake(error.reason) from None  # ours already, or kserve's first look at a V1 body
        encoded, extra = await _off_loop(_SMALL + 1, self._plane.encode, name, result, headers, attributes)
        if isinstance(encoded, bytes):
            kind = "application/octet-stream" if _JSON_LENGTH in map(str.lower, extra) else "application/json"
            return Response(encoded, headers={"content-type": kind, **extra})
        return await _off_loop(_SMALL + 1, _json, encoded, HTTPStatus.OK, extra)


def _is_event(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").startswith("application/cloudevents+json")


async def _off_loop(size: int, work: Callable[..., T], *args: Any) -> T:
    """Large bodies are decoded in a thread, so that health checks are answered meanwhile."""
    return work(*args) if size <= _SMALL else await asyncio.to_thread(work, *args)


def _json(content: object, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers={"content-type": "application/json", **(headers or {})})


_STATUS: tuple[tuple[type[Exception], HTTPStatus], ...] = (
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (Mistake, HTTPStatus.BAD_REQUEST),
    (NoSuchModel, HTTPStatus.NOT_FOUND),
    (NotLoaded, HTTPStatus.SERVICE_UNAVAILABLE),
    (ClientDisconnect, HTTPStatus.BAD_REQUEST),  # for the log and the metrics: nobody is left to read it
)


def _escaped(text: str) -> str:
    shown = text.encode("unicode_escape").decode("ascii")
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


async def _refused(request: Request, error: Exception) -> Response:
    """One line in the log and the reason to the client; a client's mistake is no news worth a traceback."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    reason = str(error) or "the client left before its body was complete"
    # The client chose path and names: escaped, so that no request writes lines of its own into the log.
    _LOG.info("%s %s: %d %s", request.method, _escaped(request.url.path), status, _escaped(reason))
    return _json({"error": reason}, status)
