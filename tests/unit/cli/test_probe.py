"""``selfheal metrics probe`` over a recorded transport."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter
from typer.testing import CliRunner

from selfheal.cli.app import app

URL = "http://prometheus:9090"
NOW = 1_800_000_000.0


def answer(request: requests.PreparedRequest, status: int, body: Any) -> requests.Response:
    found = requests.Response()
    found.status_code, found.request, found.url = status, request, str(request.url)
    found._content = json.dumps(body).encode()
    return found


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Prometheus says, by a piece of the PromQL; nothing for other questions."""
    answers: dict[str, Any] = {}

    def send(_self: HTTPAdapter, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        body = request.body.decode() if isinstance(request.body, bytes) else request.body or ""
        asked = {**parse_qs(urlsplit(str(request.url)).query), **parse_qs(body)}
        promql = asked["query"][0]
        for piece, said in answers.items():
            if piece in promql:
                if isinstance(said, int):
                    return answer(request, said, {"status": "error", "error": "too many samples"})
                value = str(float(asked["time"][0]) - 45) if promql.startswith("max(timestamp") else "1"
                result = [{"metric": {"pod": f"p{n}"}, "value": [NOW, value]} for n in range(len(said))]
                return answer(request, 200, {"status": "success", "data": {"resultType": "vector", "result": result}})
        return answer(request, 200, {"status": "success", "data": {"resultType": "vector", "result": []}})

    monkeypatch.setattr(HTTPAdapter, "send", send)
    return answers


def probe(*flags: str) -> Any:
    return CliRunner().invoke(app, ["metrics", "probe", "--prometheus", URL, *flags])


def test_the_table_tells_what_returns_data_how_many_series_and_how_old(recorded: dict[str, Any]) -> None:
    recorded["container_memory_working_set_bytes"] = ["a", "b"]
    found = probe()
    assert found.exit_code == 0, found.output
    words = [line.split() for line in found.stdout.splitlines()]
    rows = {row[1]: row for row in words if row and row[0].isdigit() and len(row) > 6}
    assert rows["pod_memory_usage"][2:6] == ["workload", "yes", "2", "45s"]
    assert rows["pod_cpu_usage"][2:6] == ["workload", "no", "-", "-"]
    assert "2 of 23 return data; of the article's 16 it is 1." in found.stdout
    assert "\x1b[" not in found.stdout


def test_all_23_are_listed(recorded: dict[str, Any]) -> None:
    recorded["apiserver_request_total"] = ["a"]
    found = json.loads(probe("--json").stdout)
    assert [metric["number"] for metric in found["metrics"]] == list(range(1, 24))
    assert found["withData"] == sum(metric["data"] for metric in found["metrics"]) > 0
    (rate,) = [metric for metric in found["metrics"] if metric["name"] == "apiserver_request_total"]
    assert rate["series"] == 1
    assert rate["ageSeconds"] == pytest.approx(45, abs=1)
    assert rate["form"] == "sum(rate(apiserver_request_total[5m]))"


def test_a_query_that_fails_is_no_query_without_data(recorded: dict[str, Any]) -> None:
    recorded["kube_resourcequota"] = 422
    recorded["container_memory_working_set_bytes"] = ["a"]
    metrics = {metric["name"]: metric for metric in json.loads(probe("--json").stdout)["metrics"]}
    assert "too many samples" in metrics["cluster_resource_quota"]["error"]
    assert metrics["pods_failed"]["error"] == ""


def test_a_prometheus_without_any_of_them_ends_with_3_and_a_hint(recorded: dict[str, Any]) -> None:
    assert not recorded
    found = probe()
    assert found.exit_code == 3
    assert "kube-state-metrics" in found.stderr
    assert "0 of 23 return data" in found.stdout


def test_a_refused_question_ends_with_1_and_is_not_read_as_no_data(recorded: dict[str, Any]) -> None:
    recorded["node"] = 403
    found = probe()
    assert found.exit_code == 1
    assert "cluster-monitoring-view" in str(found.exception)
