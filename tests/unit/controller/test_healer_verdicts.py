"""Verdicts: one look for all targets, one more with the facts of this second, and None where nobody can tell."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import requests
from requests.adapters import BaseAdapter

from controller.cluster import Key
from controller.inference import InferenceClient
from controller.metrics import Metrics
from controller.settings import Settings
from controller.verdicts import Verdicts, facts
from selfheal.prometheus import PrometheusClient
from selfheal.protocol import Prediction, to_wire
from tests.unit.controller import objects, pods

NAME = f"{objects.NAMESPACE}/Deployment/cart"
CART = Key.parse(NAME)
OWNER = {"namespace": objects.NAMESPACE, "pod": "cart-1", "owner_kind": "ReplicaSet", "owner_name": "cart-abc"}
ABOVE = {"namespace": objects.NAMESPACE, "replicaset": "cart-abc", "owner_kind": "Deployment", "owner_name": "cart"}


class FakePrometheus(BaseAdapter):
    """A transport that knows one pod and its memory."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.queries: list[str] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        if self.down:
            raise requests.ConnectionError("refused")
        form = dict(httpx.URL(request.url or "").params) | dict(httpx.QueryParams(request.body or ""))
        self.queries.append(form["query"])
        answer = requests.Response()
        answer.status_code = 200
        answer._content = json.dumps({"status": "success", "data": {"result": self._result(form)}}).encode()
        return answer

    def _result(self, form: dict[str, str]) -> list[Any]:
        query = form["query"]
        if "kube_pod_owner" in query:
            return [{"metric": OWNER, "value": [0, "1"]}]
        if "kube_replicaset_owner" in query:
            return [{"metric": ABOVE, "value": [0, "1"]}]
        if "working_set" in query and "start" in form:
            return [{"metric": OWNER, "values": [[float(form["end"]), "5e8"]]}]
        return []

    def close(self) -> None:
        """Nothing to close."""


class Stage:
    """Prometheus and the endpoint by their transports, and a clock moved by hand."""

    prometheus_type = FakePrometheus

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 3, tzinfo=UTC)
        self.prometheus = self.prometheus_type()
        self.asked: list[Any] = []
        self.anomaly = True
        self.endpoint_down = False
        session = requests.Session()
        client = httpx.Client(transport=httpx.MockTransport(self._endpoint))
        self.verdicts = Verdicts(
            Settings(window_samples=5),
            PrometheusClient("http://prometheus", session=session, retries=0),
            InferenceClient("http://endpoint", Metrics(), client=client, clock=self._seconds),
            lambda: self.now,
        )
        session.mount("http://prometheus", self.prometheus)  # over the client's own adapter

    def _seconds(self) -> float:
        return self.now.timestamp()

    def _endpoint(self, request: httpx.Request) -> httpx.Response:
        if self.endpoint_down:
            raise httpx.ConnectError("refused", request=request)
        if request.url.path.startswith("/v2"):
            parameters = {"metrics": ["pod_memory_usage", "container_restart_count"], "step": 60}
            return httpx.Response(200, json={"parameters": parameters})
        instances = json.loads(request.content)["instances"]
        self.asked.append(instances)
        found = [Prediction(workload=one["workload"], anomaly=self.anomaly, confidence=0.9) for one in instances]
        return httpx.Response(200, json=to_wire(found))


def crashing() -> Any:
    owner = objects.deployment(ready=1)
    return objects.workload(owner, [pods.pod(objects.replica_set(owner), statuses=[pods.crashlooping(restarts=4)])])


def test_all_targets_are_judged_in_one_request_and_the_anomalous_ones_returned() -> None:
    stage = Stage()
    assert stage.verdicts.look([CART]) == [CART]
    assert len(stage.asked) == 1
    assert stage.verdicts.degraded == ""
    stage.anomaly = False
    assert stage.verdicts.look([CART]) == []


def test_looks_in_a_row_with_an_anomaly_make_a_streak_and_a_calm_one_ends_it() -> None:
    stage = Stage()
    for _ in range(3):
        stage.verdicts.look([CART])
    assert stage.verdicts.streak(NAME) == (0.9, 0.9, 0.9)
    stage.endpoint_down = True
    stage.now += timedelta(seconds=60)
    stage.verdicts.look([CART])
    assert stage.verdicts.streak(NAME) == (0.9, 0.9, 0.9)
    stage.endpoint_down, stage.anomaly = False, False
    stage.now += timedelta(seconds=60)
    stage.verdicts.look([CART])
    assert stage.verdicts.streak(NAME) == ()


def test_looks_with_a_long_gap_between_them_are_not_in_a_row() -> None:
    stage = Stage()
    for _ in range(3):
        stage.verdicts.look([CART])
    stage.endpoint_down = True
    stage.now += timedelta(hours=1)
    stage.verdicts.look([CART])
    stage.endpoint_down = False
    stage.now += timedelta(seconds=16)
    stage.verdicts.look([CART])
    assert stage.verdicts.streak(NAME) == (0.9,)


def test_a_prometheus_that_knows_no_target_is_said_to_and_the_endpoint_is_not_asked() -> None:
    stage = Stage()
    assert stage.verdicts.look([Key.parse("elsewhere/Deployment/cart")]) == []
    assert "no sample of any of the 1 targets" in stage.verdicts.degraded
    assert stage.asked == []
    stage.verdicts.look([CART])
    assert stage.verdicts.degraded == ""


def test_only_the_metrics_that_the_model_wants_are_read() -> None:
    stage = Stage()
    stage.verdicts.look([CART])
    assert not [query for query in stage.prometheus.queries if "cpu" in query]


def test_the_window_has_the_models_metrics_in_its_order_with_gaps_for_what_is_unknown() -> None:
    stage = Stage()
    stage.verdicts.look([CART])
    window = stage.asked[0][0]["window"]
    assert list(window) == ["pod_memory_usage", "container_restart_count"]
    assert window["pod_memory_usage"] == [None, None, None, None, 5e8]
    assert window["container_restart_count"] == [None] * 5


def test_a_workload_without_any_sample_is_not_asked_about() -> None:
    stage = Stage()
    assert stage.verdicts.look([CART, Key("other", "Deployment", "x")]) == [CART]
    assert [one["workload"] for one in stage.asked[0]] == [NAME]


def test_in_an_incident_the_newest_window_carries_what_the_api_server_says_this_second() -> None:
    stage = Stage()
    stage.verdicts.look([CART])
    verdict = stage.verdicts.ask(crashing())
    assert verdict is not None
    assert stage.asked[-1][0]["now"] == {"container_restart_count": 4.0, "deployment_unavailable": 1.0}


def test_a_window_that_is_too_old_says_nothing_about_now() -> None:
    stage = Stage()
    stage.verdicts.look([CART])
    stage.now += timedelta(minutes=4)
    assert stage.verdicts.ask(crashing()) is None
    assert stage.verdicts.newest(NAME) is None


def test_an_endpoint_that_is_down_is_no_verdict_and_is_said() -> None:
    stage = Stage()
    stage.endpoint_down = True
    assert stage.verdicts.look([CART]) == []
    assert stage.verdicts.newest(NAME) is None
    assert "symptoms alone" in stage.verdicts.degraded


def test_a_prometheus_that_is_down_is_no_verdict_and_is_said() -> None:
    stage = Stage()
    stage.prometheus.down = True
    assert stage.verdicts.look([CART]) == []
    assert "Prometheus" in stage.verdicts.degraded


def test_after_an_outage_it_recovers_by_itself() -> None:
    stage = Stage()
    stage.endpoint_down = True
    stage.verdicts.look([CART])
    stage.endpoint_down = False
    stage.now += timedelta(minutes=1)
    assert stage.verdicts.look([CART]) == [CART]
    assert stage.verdicts.degraded == ""


def test_without_endpoint_or_prometheus_nobody_is_asked_and_it_is_said() -> None:
    alone = Verdicts(Settings(), None, None)
    assert alone.look([CART]) == []
    assert alone.ask(crashing()) is None
    assert "SELFHEAL_ENDPOINT_URL" in alone.degraded


def test_without_pods_nobody_claims_that_there_were_no_restarts() -> None:
    assert "container_restart_count" not in facts(objects.workload(objects.deployment()))
