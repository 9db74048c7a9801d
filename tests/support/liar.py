"""A real HTTP server in the endpoint's place, which says what a test wants about the workloads it is asked about."""

from __future__ import annotations

import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Lie = Callable[[BaseHTTPRequestHandler, Sequence[str]], None]
"""Answers a request about these workloads."""

METADATA = {"name": "selfheal-ensemble", "versions": ["7"], "parameters": {"metrics": ["pod_memory_usage"], "step": 10}}


def answer(request: BaseHTTPRequestHandler, body: bytes, *, status: int = 200, missing: int = 0) -> None:
    """An answer that is ``missing`` so many bytes of what it promises."""
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body) + missing))
    request.end_headers()
    request.wfile.write(body)


def predictions(workloads: Sequence[str], **more: Any) -> bytes:
    """Predictions of one kind about all of them."""
    return json.dumps({"predictions": [{"workload": name} | more for name in workloads]}).encode()


def truth(request: BaseHTTPRequestHandler, workloads: Sequence[str]) -> None:
    """All of them are well."""
    answer(request, predictions(workloads, anomaly=False, confidence=0.02))


def accusing(confidence: float) -> Lie:
    """All of them leak, with such a confidence."""
    leak = {"anomaly": True, "anomalyType": "MemoryLeak", "confidence": confidence}
    return lambda request, workloads: answer(request, predictions(workloads, **leak))


def others(request: BaseHTTPRequestHandler, workloads: Sequence[str]) -> None:
    """As many answers as questions, about workloads that nobody asked about."""
    names = [f"{name}-other" for name in workloads]
    answer(request, predictions(names, anomaly=True, anomalyType="MemoryLeak", confidence=0.99))


def saying(body: bytes, *, status: int = 200, missing: int = 0) -> Lie:
    """The same to everybody."""
    return lambda request, _: answer(request, body, status=status, missing=missing)


def late(seconds: float) -> Lie:
    """The truth, after a while."""

    def lie(request: BaseHTTPRequestHandler, workloads: Sequence[str]) -> None:
        time.sleep(seconds)
        truth(request, workloads)

    return lie


def dripping(request: BaseHTTPRequestHandler, _: Sequence[str]) -> None:
    """Something always comes, and it never ends."""
    answer(request, b"{", missing=1_000_000)
    while True:
        request.wfile.write(b" ")
        time.sleep(0.2)


def silent(*_: object) -> None:
    """Nothing, for longer than anybody waits."""
    time.sleep(600)


def slow(seconds: float) -> Lie:
    """In turn something that never ends, and the truth after a while."""
    ways = itertools.cycle([dripping, late(seconds)])

    def lie(request: BaseHTTPRequestHandler, workloads: Sequence[str]) -> None:
        next(ways)(request, workloads)

    return lie


class Liar:
    """The server.

    Attributes:
        lie: What it answers; the truth at first.
        url: Where it is.
        answered: Questions so far that it did not leave without an answer.
        token: That everybody has to show; none by default.
        ready: Whether it has a model.

    Args:
        certificate: Files of its certificate and key; none: without TLS.
    """

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.token = ""
        self.ready = True
        self.lie: Lie = truth
        self.answered = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self, json.dumps(METADATA).encode(), status=200 if owner.ready else 503)

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if owner.token and self.headers["Authorization"] != f"Bearer {owner.token}":
                    answer(self, b"{}", status=403)
                    return
                try:
                    owner.lie(self, [one["workload"] for one in asked["instances"]])
                    owner.answered += 1
                except ConnectionError:
                    self.close_connection = True  # nobody waits that long

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self._server.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def lying(certificate: tuple[Path, Path] | None = None) -> Iterator[Liar]:
    """A server for the length of a block."""
    liar = Liar(certificate)
    liar.start()
    try:
        yield liar
    finally:
        liar.stop()
