"""What the fuzz bench sends, and what it takes for a failure."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.fuzz import Tally, _broken, _told
from bench.fuzz_requests import draw
from serving.wire import parse_v2

GOOD = ("200", "400", "404", "405", "413", "307", "left in the middle")


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10), st.integers(0, 10**6))
def test_a_request_is_drawn_from_seed_and_number_alone(seed: int, number: int) -> None:
    assert draw(seed, number) == draw(seed, number)


def test_no_request_depends_on_those_drawn_before() -> None:
    numbers = range(3000)
    forward = {number: draw(2, number) for number in numbers}
    assert all(draw(2, number) == forward[number] for number in reversed(numbers))


def test_every_mutation_of_every_protocol_is_drawn() -> None:
    kinds = {draw(0, number).kind for number in range(2000)}
    assert len({kind.partition(" ")[2] for kind in kinds}) == 11
    assert {kind.partition(" ")[0] for kind in kinds} == {"v1", "v2-json", "v2-binary"}


def test_a_request_that_is_called_valid_is_valid() -> None:
    for shot in (draw(1, number) for number in range(400)):
        if shot.kind.startswith("v2") and shot.kind.endswith("valid"):
            length = dict(shot.headers).get("Inference-Header-Content-Length")
            assert parse_v2(shot.body, length, "m").inputs
        elif shot.kind == "v1 valid":
            assert json.loads(shot.body)["instances"]


def outcome(*answers: str, loaded: bool = True, course: tuple[float, ...] = (300.0, 310.0), log: str = "") -> Any:
    tally = Tally()
    for number, status in enumerate(answers):
        tally.add(number, draw(0, number), status, "", 0.1, loaded=loaded)
    return _told(tally, list(course), Counter(), log, alive=True)


def test_refusals_and_clients_that_leave_are_no_failure() -> None:
    found = outcome(*GOOD)
    assert _broken(found, 0.25) == []
    assert found["requests"] == len(GOOD)
    assert sum(found["status"].values()) == len(GOOD)


@pytest.mark.parametrize("status", ["500", "501", "502", "503", "dropped", "too late"])
def test_whatever_else_is_one_and_is_kept_with_its_number(status: str) -> None:
    found = outcome("200", status)
    assert _broken(found, 0.25) == ["1 requests were answered by a failure of the server"]
    assert found["failures"][0]["number"] == 1


def test_503_is_right_without_a_model_and_nothing_else_is() -> None:
    assert outcome("503", loaded=False)["failed"] == 0
    assert outcome("500", loaded=False)["failed"] == 1


def test_memory_that_grows_and_tracebacks_break_the_promise() -> None:
    assert _broken(outcome("200", course=(300.0, 380.0)), 0.25) == ["its memory grew by 27%, more than 25%"]
    log = "x\nTraceback (most recent call last)\n"
    assert _broken(outcome("200", log=log), 0.25) == ["its log has 1 tracebacks"]
