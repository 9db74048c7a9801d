"""A shift of time between the controller and its sources: a day of metrics passes in minutes, and nobody notices.

The controller asks about now. Its questions to Prometheus are passed on as questions about another moment, the answers
come back with the times it expects, and what it sends to the endpoint is put back to the moment it is really from: the
time of the day is a part of what models know. Everything behind is real.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

_PAUSE = 0.7
"""Seconds without a question after which the next one begins another reading; all of one are about one moment."""


@dataclass(frozen=True)
class Answer:
    """What the endpoint said of one workload.

    Attributes:
        at: Moment of the day that it was asked about.
        workload: Its name.
        anomaly: None where it could not tell.
        confidence: Of an anomaly.
        kind: Type of the anomaly.
    """

    at: datetime
    workload: str
    anomaly: bool | None
    confidence: float
    kind: str


@dataclass
class TimeShift:
    """The shift, and what passed through it.

    Attributes:
        moment: Seconds since 1970 that a reading beginning now is about.
        step: Seconds; shifts are whole steps, so that grids stay grids.
        prometheus: Base URL behind.
        endpoint: Base URL behind; may change while it is restarted.
        answers: Of the endpoint.
        readings: How many moments were asked about.
        unanswered: Requests that nobody behind took.
    """

    moment: Callable[[], float]
    step: float
    prometheus: str
    endpoint: str
    answers: list[Answer] = field(default_factory=list)
    readings: int = 0
    unanswered: int = 0
    _delta: float = 0.0
    _asked: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def delta(self) -> float:
        """Seconds to go back for a question that arrives now."""
        with self._lock:
            now = time.monotonic()
            if now - self._asked > _PAUSE:
                self._delta = round((time.time() - self.moment()) / self.step) * self.step
                self.readings += 1
            self._asked = now
            return self._delta

    def ask_prometheus(self, path: str, form: dict[str, str]) -> httpx.Response:
        """Pass a question on; in the answer, times are those that were asked about."""
        delta = self.delta()
        shifted = {
            key: str(float(text) - delta) if key in ("start", "end", "time") else text for key, text in form.items()
        }
        answer = httpx.post(self.prometheus + path, data=shifted, timeout=30)
        if not answer.is_success:
            return answer
        body, is_time = answer.json(), "timestamp(" in form.get("query", "")
        for series in body["data"].get("result", ()):
            for sample in _samples(series):
                sample[0] += delta
                sample[1] = str(float(sample[1]) + delta) if is_time else sample[1]
        return httpx.Response(200, json=body)

    def ask_endpoint(self, method: str, path: str, content: bytes) -> httpx.Response:
        """Pass a request on, with its windows at the time they are really from."""
        with self._lock:
            delta = timedelta(seconds=self._delta)
        if content:
            body = json.loads(content)
            for instance in body.get("instances", ()):
                instance["end"] = (datetime.fromisoformat(instance["end"]) - delta).isoformat()
            content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        answer = httpx.request(method, self.endpoint + path, content=content, headers=headers, timeout=30)
        if content and answer.is_success:
            self._note(body["instances"], answer.json()["predictions"])
        return answer

    def _note(self, instances: list[Any], predictions: list[Any]) -> None:
        for asked, said in zip(instances, predictions, strict=True):
            at, kind = datetime.fromisoformat(asked["end"]), str(said.get("anomalyType") or "")
            confidence = float(said.get("confidence") or 0.0)
            self.answers.append(Answer(at, said["workload"], said.get("anomaly"), confidence, kind))


def _samples(series: dict[str, Any]) -> list[list[Any]]:
    return series["values"] if "values" in series else [series["value"]]


@contextmanager
def shifted(shift: TimeShift) -> Iterator[str]:
    """Serve a shift for the length of a block; yields the URL that stands for Prometheus and the endpoint both."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self._pass(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def do_GET(self) -> None:
            self._pass(b"")

        def _pass(self, content: bytes) -> None:
            parts = urlsplit(self.path)
            try:
                if parts.path.startswith("/api/"):
                    form = parse_qs(parts.query) | parse_qs(content.decode())
                    answer = shift.ask_prometheus(parts.path, {key: found[-1] for key, found in form.items()})
                else:
                    answer = shift.ask_endpoint(self.command, self.path, content)
            except httpx.TransportError:
                shift.unanswered += 1
                self.close_connection = True  # whoever is down does not say so
                return
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
