"""The endpoint's client: bounded, checked, and None-safe; the transport is replaced, nothing else."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import httpx
import pytest

from controller.inference import InferenceClient, Wants
from controller.metrics import Metrics
from selfheal.catalogue import catalogue_hash
from selfheal.errors import BadModel, BadRequest, Unavailable
from selfheal.protocol import Instance, ModelInfo, Prediction, to_wire

NAMES = ("pod_memory_usage", "container_restart_count")
WORKLOAD = "shop/Deployment/cart"
Answer = Callable[[httpx.Request], httpx.Response]


def instance(name: str = WORKLOAD) -> Instance:
    end = datetime(2026, 11, 24, 3, tzinfo=UTC)
    return Instance(workload=name, end=end, step=60, window={metric: [1.0, None] for metric in NAMES})


class Endpoint:
    """Counts requests and moves a clock by hand."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[httpx.Request] = []
        self.now = 0.0
        self.metrics = Metrics()
        self._answer = answer
        client = httpx.Client(transport=httpx.MockTransport(self._handle))
        self.client = InferenceClient("http://endpoint", self.metrics, client=client, clock=lambda: self.now)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer(request)


def judged(*workloads: str, catalogue: str = "") -> Answer:
    info = ModelInfo(version="7", catalogue=catalogue)
    found = [Prediction(workload=name, anomaly=True, confidence=0.9, model=info) for name in workloads]
    return lambda _: httpx.Response(200, json=to_wire(found))


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def test_answers_come_back_by_workload() -> None:
    found = Endpoint(judged(WORKLOAD)).client.predict([instance()])
    assert found[WORKLOAD].confidence == 0.9


def test_many_workloads_are_one_request() -> None:
    endpoint = Endpoint(judged("a/Deployment/x", "a/Deployment/y"))
    endpoint.client.predict([instance("a/Deployment/x"), instance("a/Deployment/y")])
    assert [request.url.path for request in endpoint.requests] == ["/v1/models/selfheal-ensemble:predict"]


def test_nobody_is_asked_about_nothing() -> None:
    endpoint = Endpoint(judged())
    assert endpoint.client.predict([]) == {}
    assert endpoint.requests == []


def test_an_endpoint_that_is_down_is_unavailable_after_bounded_tries() -> None:
    endpoint = Endpoint(refuse)
    with pytest.raises(Unavailable, match="SELFHEAL_ENDPOINT_URL"):
        endpoint.client.predict([instance()])
    assert len(endpoint.requests) == 2


def test_an_endpoint_that_is_down_is_left_alone_for_a_while_then_asked_again() -> None:
    endpoint = Endpoint(refuse)
    for _ in range(5):
        with pytest.raises(Unavailable):
            endpoint.client.predict([instance()])
    assert len(endpoint.requests) == 2
    endpoint.now = 16.0
    with pytest.raises(Unavailable):
        endpoint.client.predict([instance()])
    assert len(endpoint.requests) == 4


def test_who_can_do_without_the_answer_tries_once_for_a_second() -> None:
    def later() -> None:
        endpoint.now += 0.4

    endpoint = Endpoint(lambda _: httpx.Response(200, stream=Drops(itertools.repeat(b" "), later)))
    with pytest.raises(Unavailable, match="takes longer than 1 s"):
        endpoint.client.predict([instance()], briefly=True)
    assert len(endpoint.requests) == 1
    assert endpoint.requests[0].extensions["timeout"]["read"] == 1.0


def test_a_brief_failure_does_not_keep_others_from_asking() -> None:
    codes = [503, 200]
    endpoint = Endpoint(lambda request: judged(WORKLOAD)(request) if codes.pop(0) == 200 else httpx.Response(503))
    with pytest.raises(Unavailable):
        endpoint.client.predict([instance()], briefly=True)
    assert WORKLOAD in endpoint.client.predict([instance()])


def test_who_asks_briefly_heeds_the_rest_that_an_endpoint_gets() -> None:
    endpoint = Endpoint(refuse)
    for briefly in (False, True):
        with pytest.raises(Unavailable):
            endpoint.client.predict([instance()], briefly=briefly)
    assert len(endpoint.requests) == 2


def test_one_failure_is_healed_by_the_second_try() -> None:
    codes = [503, 200]
    endpoint = Endpoint(lambda request: judged(WORKLOAD)(request) if codes.pop(0) == 200 else httpx.Response(503))
    assert WORKLOAD in endpoint.client.predict([instance()])


def test_a_request_that_the_endpoint_does_not_take_is_not_repeated() -> None:
    endpoint = Endpoint(lambda _: httpx.Response(400, json={"error": "metrics differ"}))
    with pytest.raises(BadRequest, match="metrics differ"):
        endpoint.client.predict([instance()])
    assert len(endpoint.requests) == 1


def said(**changes: object) -> bytes:
    """An answer about the workload, with something wrong."""
    return json.dumps({"predictions": [{"workload": WORKLOAD, "anomaly": True, "confidence": 0.9} | changes]}).encode()


NONSENSE = [
    b"<html>",
    b"[]",
    b'{"predictions": [{"workload": 3}]}',
    b'{"predictions": []}',
    b"[" * 100_000,
    said(workload="shop/Deployment/other"),
    said(confidence=1.7),
    said(confidence=-0.1),
    said(confidence=float("nan")),
    said(scores={"prophet": float("inf")}),
    said(topMetrics=[{"name": "a", "observed": 1, "expected": float("nan"), "share": 1}]),
    said(forecast={"metric": "a", "limit": 1, "exhaustedIn": float("nan"), "exhaustedInLower": 1}),
]


@pytest.mark.parametrize("body", NONSENSE, ids=lambda body: body[:60].decode())
def test_an_answer_that_makes_no_sense_is_refused(body: bytes) -> None:
    endpoint = Endpoint(lambda _: httpx.Response(200, content=body))
    with pytest.raises(BadRequest):
        endpoint.client.predict([instance()])


def test_an_answer_that_cannot_be_unpacked_is_none() -> None:
    endpoint = Endpoint(lambda _: httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Drops([b"junk"])))
    with pytest.raises(Unavailable):
        endpoint.client.predict([instance()])


class Drops(httpx.SyncByteStream):
    """A body in pieces, with something done before each."""

    def __init__(self, pieces: Iterable[bytes], between: Callable[[], None] = lambda: None) -> None:
        self._pieces, self._between = pieces, between

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._between()
            yield piece


def test_an_answer_that_never_ends_is_given_up_when_its_time_is_over() -> None:
    def later() -> None:
        endpoint.now += 1.0

    endpoint = Endpoint(lambda _: httpx.Response(200, stream=Drops(itertools.repeat(b" "), later)))
    with pytest.raises(Unavailable, match="takes longer than 5 s"):
        endpoint.client.predict([instance()])
    assert endpoint.now == 12.0


def test_an_answer_that_is_too_long_is_not_read_to_its_end() -> None:
    endpoint = Endpoint(lambda _: httpx.Response(200, stream=Drops(itertools.repeat(b" " * 2**20))))
    with pytest.raises(BadRequest, match="more than"):
        endpoint.client.predict([instance()])


def test_a_model_of_another_catalogue_is_not_believed() -> None:
    with pytest.raises(BadModel, match="another catalogue"):
        Endpoint(judged(WORKLOAD, catalogue="sha256:other")).client.predict([instance()])


def test_a_model_of_our_catalogue_is() -> None:
    endpoint = Endpoint(judged(WORKLOAD, catalogue=catalogue_hash(NAMES)))
    assert endpoint.client.predict([instance()])[WORKLOAD].anomaly is True


def metadata(**parameters: object) -> Answer:
    return lambda _: httpx.Response(200, json={"name": "selfheal-ensemble", "parameters": parameters})


def test_the_model_says_what_windows_it_takes_and_is_asked_once_in_a_while() -> None:
    endpoint = Endpoint(metadata(metrics=list(NAMES), step=30.0))
    assert endpoint.client.wants() == Wants(metrics=NAMES, step=30.0)
    endpoint.client.wants()
    assert len(endpoint.requests) == 1
    endpoint.now = 301.0
    endpoint.client.wants()
    assert len(endpoint.requests) == 2


def test_after_a_400_the_model_is_asked_again_what_it_takes() -> None:
    answers = [metadata(metrics=list(NAMES)), lambda _: httpx.Response(400), metadata(metrics=["pod_cpu_usage"])]

    def answer(request: httpx.Request) -> httpx.Response:
        return answers.pop(0)(request)

    endpoint = Endpoint(answer)
    endpoint.client.wants()
    with pytest.raises(BadRequest):
        endpoint.client.predict([instance()])
    assert endpoint.client.wants().metrics == ("pod_cpu_usage",)


@pytest.mark.parametrize(
    "parameters", [{}, {"metrics": []}, {"metrics": "pod_cpu_usage"}, {"metrics": ["a"], "step": 0}]
)
def test_metadata_that_do_not_say_it_are_a_bad_model(parameters: dict[str, object]) -> None:
    with pytest.raises(BadModel):
        Endpoint(metadata(**parameters)).client.wants()


def test_every_request_is_timed_failed_ones_too() -> None:
    endpoint = Endpoint(refuse)
    with pytest.raises(Unavailable):
        endpoint.client.predict([instance()])
    assert endpoint.metrics.registry.get_sample_value("selfheal_inference_request_duration_seconds_count") == 2
