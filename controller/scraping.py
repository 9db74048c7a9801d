"""Who may scrape: ``/metrics`` behind TLS and the API server's word on the bearer token."""

from __future__ import annotations

import hashlib
import logging
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server

from controller.logs import log
from selfheal.errors import SelfhealError, WrongUse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_KEPT = 60.0  # seconds for which an answer about a token counts: as long as a revoked one goes on to work
_MOST = 100  # tokens; more are asked about again
_BEARER = "Bearer "

MayGet = Callable[[str, str], bool]
"""Whether a token is of somebody who may get a path."""


class Guard:
    """A WSGI application that asks before another one answers.

    Args:
        inner: Answers those who may.
        may_get: Asked about a token once a minute.
        clock: Monotonic seconds; tests put their own in.
    """

    def __init__(self, inner: WSGIApplication, may_get: MayGet, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner = inner
        self._may_get = may_get
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, bool]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 401 without a token, 403 to whom may not, 503 while nobody can tell."""
        shown = str(environ.get("HTTP_AUTHORIZATION", ""))
        if not shown.startswith(_BEARER):
            return _refuse(start_response, "401 Unauthorized", "show a bearer token that may get /metrics")
        try:
            allowed = self._allowed(shown.removeprefix(_BEARER).strip())
        except SelfhealError as error:
            log("cannot tell who may scrape", level=logging.WARNING, cause=str(error))
            return _refuse(start_response, "503 Service Unavailable", "the API server cannot be asked about the token")
        if not allowed:
            return _refuse(start_response, "403 Forbidden", "this token may not get /metrics")
        return self._inner(environ, start_response)

    def _allowed(self, token: str) -> bool:
        key, now = hashlib.sha256(token.encode()).digest(), self._clock()
        with self._lock:
            asked, allowed = self._known.get(key, (float("-inf"), False))
        if now - asked < _KEPT:
            return allowed
        allowed = bool(token) and self._may_get(token, "/metrics")
        with self._lock:
            self._known[key] = (now, allowed)
            self._known.move_to_end(key)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return allowed


def _refuse(start_response: StartResponse, status: str, text: str) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain; charset=utf-8")]
    if status.startswith("401"):
        headers.append(("WWW-Authenticate", "Bearer"))
    start_response(status, headers)
    return [f"{text}\n".encode()]


def serve_metrics(
    registry: CollectorRegistry,
    port: int,
    *,
    certificate: tuple[Path, Path] | None = None,
    may_get: MayGet | None = None,
) -> int:
    """Serve ``/metrics`` in a thread of its own.

    Args:
        registry: What is told.
        port: TCP port; 0 takes a free one.
        certificate: Files of a certificate and its key, read at the start; none: without TLS.
        may_get: Whom to ask about tokens; none: everybody may scrape.

    Returns:
        The port.

    Raises:
        WrongUse: When the port is taken, or the certificate cannot be read.
    """
    cert, key = map(str, certificate) if certificate else (None, None)
    try:
        if certificate:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*certificate)  # before a socket is open
        # It serves at once, so it gets nothing to tell before it is guarded.
        server, _ = start_http_server(port, registry=CollectorRegistry(), certfile=cert, keyfile=key)
    except OSError as error:  # ssl.SSLError is one
        raise WrongUse(f"cannot serve metrics on port {port}: {error}: check SELFHEAL_METRICS_*") from None
    answers = make_wsgi_app(registry)
    server.set_app(Guard(answers, may_get) if may_get else answers)
    return int(server.server_port)
