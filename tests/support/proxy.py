"""A proxy in front of an API server that can cut a controller's life at an exact request."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

Matches = Callable[[str, str], bool]
"""Whether a request, by method and path, is the one."""

_HOPS = frozenset({"connection", "transfer-encoding", "content-length", "host", "accept-encoding"})


@dataclass(frozen=True)
class Heard:
    """A request that arrived.

    Attributes:
        method: Of HTTP.
        path: With its query.
        body: As it was sent.
        at: Monotonic seconds.
    """

    method: str
    path: str
    body: bytes
    at: float


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is what a test is about, not an error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Proxy:
    """Plain HTTP in, TLS to the API server out; watches are streamed.

    Args:
        kubeconfig: Whose server is meant, and whose credentials a client of the proxy uses.

    Attributes:
        is_cut: While it is set, nothing new is passed on; watches that run go on.
        heard: All requests but GET, whether they were passed on or not.
        calls: How many requests arrived, GET among them.
        refusals: How many requests are still to be refused.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._config = yaml.safe_load(kubeconfig.read_text())
        cluster = self._config["clusters"][0]["cluster"]
        self._upstream = urlsplit(cluster["server"])
        self._trust = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._rule: tuple[Matches, Callable[[], None], bool] | None = None
        self._lock = threading.Lock()
        self.is_cut = threading.Event()
        self.heard: list[Heard] = []
        self.calls = 0
        self._meddling: tuple[Matches, Callable[[], None]] | None = None
        self._refusal: tuple[Matches, int, dict[str, str]] | None = None
        self.refusals = 0
        self._slowness = 0.0
        self._watches: list[socket.socket] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                owner._pass(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def kubeconfig(self, path: Path) -> Path:
        """The same credentials, through the proxy."""
        self._config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self._server.server_port}"}
        path.write_text(yaml.safe_dump(self._config))
        return path

    def before(self, matches: Matches, act: Callable[[], None]) -> None:
        """At the first request that matches, act instead of passing it on; the client hears nothing."""
        self._rule = (matches, act, False)

    def after(self, matches: Matches, act: Callable[[], None]) -> None:
        """At the first request that matches, pass it on, then act instead of answering."""
        self._rule = (matches, act, True)

    def meddle(self, matches: Matches, act: Callable[[], None]) -> None:
        """At the first request that matches, act, then pass it on."""
        self._meddling = (matches, act)

    def refuse(self, matches: Matches, status: int, times: int, **headers: str) -> None:
        """Answer the next requests that match as a server does that is busy or was faster, and pass none of them on.

        Args:
            matches: Which ones.
            status: The HTTP status.
            times: How many.
            headers: Of the answers; ``Retry_After="1"`` is ``Retry-After: 1``.
        """
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        self._refusal, self.refusals = (matches, status, named), times

    def delay(self, seconds: float) -> None:
        """Take so long for every request from now on; 0 ends it."""
        self._slowness = seconds

    def drop_watches(self) -> None:
        """Close the watches that run; the clients have to begin new ones."""
        with self._lock:
            running, self._watches = self._watches, []
        for one in running:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _refused(self, method: str, path: str) -> tuple[int, dict[str, str]] | None:
        with self._lock:
            if self._refusal is None or not self.refusals or not self._refusal[0](method, path):
                return None
            self.refusals -= 1
            return self._refusal[1:]

    def _meddle(self, method: str, path: str) -> None:
        with self._lock:
            if self._meddling is None or not self._meddling[0](method, path):
                return
            act, self._meddling = self._meddling[1], None
        act()

    def _take(self, method: str, path: str) -> tuple[Callable[[], None], bool] | None:
        with self._lock:
            if self._rule is None or not self._rule[0](method, path):
                return None
            _, act, passed_on = self._rule
            self._rule = None
            return act, passed_on

    def _pass(self, request: BaseHTTPRequestHandler) -> None:
        if self.is_cut.is_set():
            request.close_connection = True
            return
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self._lock:
            self.calls += 1
        if request.command != "GET":
            self.heard.append(Heard(request.command, request.path, body, time.monotonic()))
        rule = self._take(request.command, request.path)
        if rule is not None and not rule[1]:
            rule[0]()
            request.close_connection = True
            return
        if refused := self._refused(request.command, request.path):
            _refuse(request, *refused)
            return
        time.sleep(self._slowness)
        self._meddle(request.command, request.path)
        if "watch=true" in request.path:
            with self._lock:
                self._watches.append(request.connection)
        upstream = http.client.HTTPSConnection(self._upstream.netloc, context=self._trust)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOPS}
        try:
            upstream.request(request.command, request.path, body or None, headers)
            answer = upstream.getresponse()
            if rule is not None:
                answer.read()
                rule[0]()
                request.close_connection = True
                return
            _stream(answer, request)
        except (OSError, http.client.HTTPException):  # the server or the client went away
            request.close_connection = True
        finally:
            upstream.close()

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _refuse(request: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str]) -> None:
    reason = {409: "Conflict", 429: "TooManyRequests", 503: "ServiceUnavailable"}.get(status, "InternalError")
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason}
    content = json.dumps(body | {"message": "the proxy says so"}).encode()
    request.send_response(status)
    for name, text in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
        request.send_header(name, text)
    request.end_headers()
    request.wfile.write(content)


def _stream(answer: http.client.HTTPResponse, request: BaseHTTPRequestHandler) -> None:
    request.send_response_only(answer.status)  # Server and Date are the API server's
    for name, value in answer.getheaders():
        if name.lower() not in _HOPS:
            request.send_header(name, value)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    while chunk := answer.read1(65_536):
        request.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        request.wfile.flush()
    request.wfile.write(b"0\r\n\r\n")


@contextmanager
def proxied(kubeconfig: Path, folder: Path) -> Iterator[tuple[Proxy, Path]]:
    """A proxy and a kubeconfig that leads through it."""
    proxy = Proxy(kubeconfig)
    proxy.start()
    try:
        yield proxy, proxy.kubeconfig(folder / "proxied.kubeconfig")
    finally:
        proxy.stop()
