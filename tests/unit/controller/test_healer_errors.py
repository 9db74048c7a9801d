"""What an answer of the API server means to us."""

from __future__ import annotations

import json

import pytest

from controller.cluster.client import AlreadyExists, NotFound, translate
from selfheal.errors import Conflict, Forbidden, Refused, SelfhealError, Unavailable


def status(reason: str, message: str, cause: str = "") -> str:
    details = {"causes": [{"reason": cause, "message": "details"}]} if cause else {}
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details})


RBAC = 'pods is forbidden: User "system:serviceaccount:a:b" cannot patch resource "pods"'


@pytest.mark.parametrize(
    ("method", "code", "body", "meaning"),
    [
        ("GET", 404, status("NotFound", "gone"), NotFound),
        ("POST", 409, status("AlreadyExists", "there"), AlreadyExists),
        ("PATCH", 409, status("Conflict", "changed"), Conflict),
        ("PATCH", 403, status("Forbidden", RBAC), Forbidden),
        ("GET", 401, status("Unauthorized", "who?"), Forbidden),
        ("PATCH", 403, status("Forbidden", "admission webhook denied the request"), Refused),
        ("PATCH", 422, status("Invalid", "replicas must not be negative"), Refused),
        ("POST", 429, status("TooManyRequests", "Cannot evict", "DisruptionBudget"), Refused),
        ("GET", 429, status("TooManyRequests", "slow down"), Unavailable),
        ("GET", 500, "boom", Unavailable),
        ("GET", 503, "", Unavailable),
        ("GET", 0, "TLS", Unavailable),
    ],
)
def test_answers_become_errors_of_our_own(method: str, code: int, body: str, meaning: type[SelfhealError]) -> None:
    assert type(translate(method, "/api/v1/pods", code, body)) is meaning


@pytest.mark.parametrize(
    ("code", "body", "reason"),
    [
        (403, status("Forbidden", "exceeded quota: compute"), "QuotaExceeded"),
        (403, status("Forbidden", "policy says no"), "AdmissionDenied"),
        (429, status("TooManyRequests", "Cannot evict", "DisruptionBudget"), "DisruptionBudget"),
        (422, status("Invalid", "no"), "Invalid"),
    ],
)
def test_a_refusal_carries_its_reason(code: int, body: str, reason: str) -> None:
    error = translate("PATCH", "/x", code, body)
    assert isinstance(error, Refused)
    assert error.reason == reason


def test_missing_rights_come_with_what_to_do() -> None:
    assert "selfheal enable" in str(translate("PATCH", "/x", 403, status("Forbidden", RBAC)))


def test_the_place_and_the_servers_words_are_in_the_message() -> None:
    text = str(translate("PATCH", "/api/v1/x", 422, status("Invalid", "must be positive")))
    assert "PATCH /api/v1/x" in text
    assert "must be positive" in text
