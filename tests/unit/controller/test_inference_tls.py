"""A real server with TLS and a token: whom the client trusts, and what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.pki import Authority
from controller.inference import InferenceClient, secured
from controller.metrics import Metrics
from selfheal.errors import Unavailable, WrongUse
from selfheal.protocol import Instance
from tests.support.liar import Liar, lying

WORKLOAD = "shop/Deployment/cart"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def endpoint(authority: Authority) -> Iterator[Liar]:
    with lying(authority.issue("endpoint", "endpoint", hosts=("127.0.0.1",))) as found:
        yield found


def ask(endpoint: Liar, ca_file: Path | None = None, token_file: Path | None = None) -> set[str]:
    client = InferenceClient(endpoint.url, Metrics(), client=secured(ca_file, token_file))
    end = datetime(2026, 11, 24, 3, tzinfo=UTC)
    return set(client.predict([Instance(workload=WORKLOAD, end=end, step=60, window={"pod_memory_usage": [1.0]})]))


def test_a_certificate_of_the_given_authority_is_trusted(endpoint: Liar, authority: Authority) -> None:
    assert ask(endpoint, authority.folder / "ca.crt") == {WORKLOAD}


def test_a_certificate_of_somebody_else_is_not(endpoint: Liar) -> None:
    with pytest.raises(Unavailable, match="SELFHEAL_ENDPOINT_CA_FILE"):
        ask(endpoint)
    assert endpoint.answered == 0


def test_the_token_is_read_anew_for_every_request(endpoint: Liar, authority: Authority, tmp_path: Path) -> None:
    token = tmp_path / "token"
    for endpoint.token in ("first", "rotated"):
        token.write_text(endpoint.token + "\n")
        assert ask(endpoint, authority.folder / "ca.crt", token) == {WORKLOAD}


def test_without_the_token_it_is_said_what_is_missing(endpoint: Liar, authority: Authority, tmp_path: Path) -> None:
    endpoint.token = "secret"
    for token in (None, tmp_path / "none"):
        with pytest.raises(Unavailable, match="SELFHEAL_ENDPOINT_TOKEN_FILE"):
            ask(endpoint, authority.folder / "ca.crt", token)


def test_an_authority_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("no certificate")
    for file in (tmp_path / "junk", tmp_path / "none"):
        with pytest.raises(WrongUse, match="SELFHEAL_ENDPOINT_CA_FILE"):
            secured(file)
