"""A real HTTP server on a free port that remembers what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Listener:
    """What arrived, and what to answer.

    Args:
        answers: Status codes of the first answers; 200 after them.
    """

    def __init__(self, answers: Sequence[int] = ()) -> None:
        self.bodies: list[Any] = []
        self._answers = list(answers)
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with owner._lock:
                    owner.bodies.append(json.loads(text))
                    code = owner._answers.pop(0) if owner._answers else 200
                self.send_response(code)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def listening(answers: Sequence[int] = ()) -> Iterator[Listener]:
    """A listener for the length of a block."""
    listener = Listener(answers)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()
