"""A few hundred of the fuzz bench's requests at a real endpoint; ``make bench-fuzz`` sends thousands."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing

import pytest

from bench.fuzz import Gun
from bench.fuzz_requests import draw
from selfheal.protocol import parse_predictions
from tests.support.endpoint import PREDICT, Endpoint, batch

pytest_plugins = ["tests.support.endpoint_fixtures"]
pytestmark = pytest.mark.integration


def test_no_mutated_request_makes_the_server_fail(server: Endpoint) -> None:
    gun, answers = Gun(server.client.base_url.port or 80, patience=60.0), Counter[str]()
    judged: list[tuple[bool | None, float | None]] = []
    with closing(gun):
        for number in range(400):
            shot = draw(11, number)
            status, text = gun.fire(shot)
            assert status.startswith(("2", "3", "4", "left in the middle")), (number, shot.kind, status, text)
            answers[status] += 1
            if status == "200" and shot.path == PREDICT:
                judged += [(one.anomaly, one.confidence) for one in parse_predictions(json.loads(text))]
    assert judged
    assert all((anomaly is None) == (confidence is None) for anomaly, confidence in judged)
    assert all(confidence is None or 0 <= confidence <= 1 for _, confidence in judged)
    assert answers["200"] > 50
    assert answers["400"] > 50
    assert "Traceback" not in server.log.read_text()
    assert server.client.post(PREDICT, json={"instances": batch()}).status_code == 200
