"""Asks the endpoint: one batch a request, bounded waits, answers checked. No answer is None, never "healthy"."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from controller.metrics import Metrics
from selfheal.catalogue import catalogue_hash
from selfheal.errors import BadModel, BadRequest, Unavailable, WrongUse
from selfheal.policy import explain
from selfheal.protocol import MODEL_NAME, Instance, Prediction, parse_predictions, to_request

_JSON = {"Content-Type": "application/json"}
_TRIES = 2
_WANTS_FOR = 300.0  # seconds for which the model's metadata are used again
_MOST_BYTES = 64 * 1024 * 1024  # of an answer: a thousand workloads take about one MiB
_BRIEFLY = 1.0  # seconds that somebody waits who can do without the answer
_REST = 15.0  # seconds in which an endpoint that did not answer is not asked again


class Wants(BaseModel):
    """What windows a model takes.

    Attributes:
        metrics: Names, in the model's order.
        step: Seconds between samples; None where the server does not say.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class _TokenFile(httpx.Auth):
    """Reads the token at every request: a ServiceAccount's token is rotated under a running process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        try:
            token = self._path.read_text().strip()
        except OSError as error:
            raise Unavailable(
                f"cannot read the endpoint's token: {error}: check SELFHEAL_ENDPOINT_TOKEN_FILE"
            ) from None
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


def secured(ca_file: Path | None = None, token_file: Path | None = None) -> httpx.Client:
    """A client that verifies TLS, by an authority of one's own if need be, and shows a token.

    Args:
        ca_file: Certificate authorities to trust, PEM; the system's by default.
        token_file: Holds a bearer token, read at every request.

    Raises:
        WrongUse: When the authorities cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    except OSError as error:  # ssl.SSLError is one
        raise WrongUse(f"cannot read certificates from {ca_file}: {error}: check SELFHEAL_ENDPOINT_CA_FILE") from None
    return httpx.Client(verify=context or True, auth=_TokenFile(token_file) if token_file else None)


class InferenceClient:
    """The endpoint of the ensemble.

    Args:
        url: Base URL.
        metrics: Counts and times the requests.
        timeout: Seconds one request may take; its answer has to be complete by then, but for one read.
        client: How it is reached (``secured``); tests put their own transport in.
        clock: Seconds; tests put their own in.
    """

    def __init__(
        self,
        url: str,
        metrics: Metrics,
        timeout: float = 5.0,
        *,
        client: httpx.Client | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._metrics = metrics
        self._client = client or httpx.Client()
        self._timeout = timeout
        self._clock = clock
        self._wants: Wants | None = None
        self._wants_read = float("-inf")
        self._rest: tuple[float, str] = (float("-inf"), "")

    def wants(self) -> Wants:
        """What windows the model takes, from its V2 metadata.

        Raises:
            Unavailable: When the endpoint does not answer, or has no model.
            BadModel: When the metadata do not say.
        """
        if self._clock() - self._wants_read > _WANTS_FOR or self._wants is None:
            self._wants = read_wants(self._call("GET", f"/v2/models/{MODEL_NAME}"))
            self._wants_read = self._clock()
        return self._wants

    def predict(self, instances: Iterable[Instance], *, briefly: bool = False) -> dict[str, Prediction]:
        """The endpoint's answers by workload; none where nothing is asked.

        Args:
            instances: Of one model's metrics; taken one by one.
            briefly: Whether one try of a second is enough. Its failure says nothing about the endpoint, which may
                only be busy: the next caller asks as usual.

        Raises:
            Unavailable: When it does not answer in time.
            BadRequest: When it does not understand us, or we do not understand it.
            BadModel: When the model was trained with other queries than ours.
        """
        asked = _Asked(instances)
        body = to_request(asked)
        if not asked.workloads:
            return {}
        predictions = parse_predictions(self._call("POST", f"/v1/models/{MODEL_NAME}:predict", body, briefly))
        if sorted(asked.workloads) != sorted(one.workload for one in predictions):
            raise BadRequest(
                f"asked about {len(asked.workloads)} workloads, the endpoint answered about others ({len(predictions)})"
            )
        for prediction in predictions:
            _check_model(prediction, asked.metrics)
        return {prediction.workload: prediction for prediction in predictions}

    def _call(self, method: str, path: str, body: bytes | None = None, briefly: bool = False) -> Any:
        until, cause = self._rest
        if self._clock() < until:
            raise Unavailable(cause)
        if briefly:
            return self._once(method, path, body, min(_BRIEFLY, self._timeout))
        tries = Retrying(
            stop=stop_after_attempt(_TRIES),
            wait=wait_random_exponential(multiplier=0.2, max=1),
            retry=retry_if_exception_type(Unavailable),
            reraise=True,
        )
        try:
            return tries(self._once, method, path, body, self._timeout)
        except Unavailable as error:
            self._rest = (self._clock() + _REST, str(error))
            raise

    def _once(self, method: str, path: str, body: bytes | None, timeout: float) -> Any:
        try:
            with self._metrics.inference():
                answer = self._read(method, path, body, timeout)
        except httpx.RequestError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                hint = "its certificate is of nobody we trust: check SELFHEAL_ENDPOINT_CA_FILE"
                raise Unavailable(f"the endpoint at {self.url}: {hint}") from None
            raise Unavailable(
                f"the endpoint at {self.url} does not answer ({type(error).__name__}): check SELFHEAL_ENDPOINT_URL"
            ) from None
        if answer.status_code in (401, 403):
            raise Unavailable(
                f"the endpoint at {self.url} answered {answer.status_code}: it wants a token that may get its "
                "InferenceService: check SELFHEAL_ENDPOINT_TOKEN_FILE and the RoleBinding"
            )
        if answer.status_code in (400, 422):
            self._wants = None  # a new model may want other metrics
            raise BadRequest(f"the endpoint does not take our request: {answer.text[:500]}")
        if not answer.is_success:
            raise Unavailable(f"the endpoint at {self.url} answered {answer.status_code}: is the model loaded?")
        try:
            return answer.json()
        except (ValueError, RecursionError):
            raise BadRequest(f"the endpoint at {self.url} did not answer JSON: check SELFHEAL_ENDPOINT_URL") from None

    def _read(self, method: str, path: str, body: bytes | None, timeout: float) -> httpx.Response:
        """The whole answer. httpx limits the time of each read, so that a slow enough server could go on for ever."""
        until, found = self._clock() + timeout, bytearray()
        with self._client.stream(method, self.url + path, content=body, headers=_JSON, timeout=timeout) as answer:
            for chunk in answer.iter_bytes():
                found += chunk
                if self._clock() > until:
                    raise Unavailable(f"the endpoint at {self.url} takes longer than {timeout:g} s to answer")
                if len(found) > _MOST_BYTES:
                    raise BadRequest(f"the endpoint at {self.url} answers with more than {_MOST_BYTES} bytes")
            return httpx.Response(answer.status_code, content=bytes(found))


class _Asked:
    """What goes by on its way into a request."""

    def __init__(self, instances: Iterable[Instance]) -> None:
        self._instances = instances
        self.workloads: list[str] = []
        self.metrics: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Instance]:
        for one in self._instances:
            self.workloads.append(one.workload)
            self.metrics = self.metrics or tuple(one.window)
            yield one


def read_wants(metadata: object) -> Wants:
    """What V2 model metadata say about windows: ``parameters.metrics``, ``parameters.step``.

    Raises:
        BadModel: When they do not.
    """
    parameters = metadata.get("parameters") if isinstance(metadata, dict) else None
    try:
        return Wants.model_validate(parameters or {})
    except ValidationError as error:
        raise BadModel(
            f"the model's V2 metadata do not say what windows it takes ({explain(error)}): serve one of this release"
        ) from None


def _check_model(prediction: Prediction, metrics: Iterable[str]) -> None:
    """A model that was trained with other queries judges other numbers."""
    theirs, ours = prediction.model.catalogue, catalogue_hash(metrics)
    if theirs and theirs != ours:
        raise BadModel(
            f"model version {prediction.model.version or '?'} was trained with another catalogue ({theirs[:19]}) "
            f"than this controller's ({ours[:19]}): train again, or run the controller of that release"
        )
