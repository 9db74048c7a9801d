"""Who may scrape, by a real HTTP server; the API server's word is replaced."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from bench.pki import Authority
from controller.scraping import Guard, serve_metrics
from selfheal.errors import Unavailable, WrongUse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Word:
    """The API server's."""

    def __init__(self) -> None:
        self.good = {"good"}
        self.down = False
        self.asked: list[tuple[str, str]] = []

    def may_get(self, token: str, path: str) -> bool:
        self.asked.append((token, path))
        if self.down:
            raise Unavailable("no answer")
        return token in self.good


@pytest.fixture
def word() -> Word:
    return Word()


@pytest.fixture
def url(word: Word) -> str:
    registry = CollectorRegistry()
    Gauge("told", "A metric.", registry=registry).set(1)
    return f"http://127.0.0.1:{serve_metrics(registry, 0, may_get=word.may_get)}/metrics"


def scrape(url: str, token: str | None = None) -> httpx.Response:
    return httpx.get(url, headers={"Authorization": f"Bearer {token}"} if token is not None else {})


def test_a_token_that_may_gets_the_metrics(url: str, word: Word) -> None:
    answer = scrape(url, "good")
    assert (answer.status_code, "told 1.0" in answer.text) == (200, True)
    assert word.asked == [("good", "/metrics")]


def test_without_a_token_nothing_is_told_and_nobody_is_asked(url: str, word: Word) -> None:
    answer = scrape(url)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert httpx.get(url, auth=("good", "good")).status_code == 401
    assert word.asked == []


@pytest.mark.parametrize("token", ["bad", "good good", "Good"])
def test_another_token_is_refused(url: str, token: str) -> None:
    answer = scrape(url, token)
    assert answer.status_code in (401, 403)
    assert "told" not in answer.text


def test_while_nobody_can_tell_nothing_is_told(url: str, word: Word) -> None:
    word.down = True
    assert scrape(url, "good").status_code == 503
    word.down = False
    assert scrape(url, "good").status_code == 200


class Asked:
    """A guard that is called as a WSGI server calls it."""

    def __init__(self, word: Word) -> None:
        self.now, self.statuses = 0.0, list[str]()
        self.guard = Guard(self._answer, word.may_get, lambda: self.now)

    def _answer(self, _: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        start("200 OK", [])
        return []

    def _start(self, status: str, *_: object) -> Callable[[bytes], object]:
        self.statuses.append(status)
        return lambda _: None

    def by(self, token: str) -> str:
        list(self.guard({"HTTP_AUTHORIZATION": f"Bearer {token}"}, self._start))
        return self.statuses[-1]


def test_an_answer_counts_for_a_minute(word: Word) -> None:
    asked = Asked(word)
    assert asked.by("good") == "200 OK"
    word.good.clear()
    assert asked.by("good") == "200 OK"
    asked.now = 61.0
    assert asked.by("good") == "403 Forbidden"
    assert len(word.asked) == 2


def test_what_is_remembered_is_bounded_and_the_oldest_is_asked_about_again(word: Word) -> None:
    asked = Asked(word)
    for number in range(101):
        asked.by(str(number))
    asked.by("100")
    assert len(word.asked) == 101
    asked.by("0")
    assert len(word.asked) == 102


def test_with_a_certificate_it_is_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    port = serve_metrics(CollectorRegistry(), 0, certificate=authority.issue("m", "m", hosts=("127.0.0.1",)))
    context = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    assert httpx.get(f"https://127.0.0.1:{port}/metrics", verify=context).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"https://127.0.0.1:{port}/metrics")


def test_a_certificate_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="SELFHEAL_METRICS"):
        serve_metrics(CollectorRegistry(), 0, certificate=(tmp_path / "none", tmp_path / "none"))
