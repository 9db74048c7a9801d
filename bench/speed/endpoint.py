"""The endpoint as a process, and clients that measure how long it takes to answer."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.speed.memory import resident
from bench.speed.requests import Body
from selfheal.errors import Unavailable

_ROOT = Path(__file__).parents[2]
_PATIENCE = 300.0  # seconds until a model is loaded, and for an answer


@dataclass(frozen=True)
class Endpoint:
    """A running process.

    Attributes:
        port: Of 127.0.0.1.
        process: Its number.
        cold_start: Seconds from its start until it was ready.
    """

    port: int
    process: int
    cold_start: float

    @property
    def memory(self) -> int:
        """Bytes it holds now."""
        return resident(self.process)

    def latencies(self, body: Body, *, clients: int, requests: int) -> list[float]:
        """Send a request again and again.

        Args:
            body: The request.
            clients: Each waits for its answer before it asks again; one connection each.
            requests: Of all clients together.

        Returns:
            Seconds of each request, from its first byte to the last of the answer.

        Raises:
            Unavailable: When an answer is none.
        """
        each = max(1, requests // clients)
        with ThreadPoolExecutor(clients) as pool:
            return [one for found in pool.map(self._ask, [body] * clients, [each] * clients) for one in found]

    def _ask(self, body: Body, times: int) -> list[float]:
        return self.sequence([body] * times)

    def sequence(self, bodies: list[Body]) -> list[float]:
        """Send requests one after the other over one connection; seconds of each."""
        found = []
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        try:
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for body in bodies:
                start = time.perf_counter()
                connection.request("POST", body.path, body.content, dict(body.headers))
                answer = connection.getresponse()
                content = answer.read()
                found.append(time.perf_counter() - start)
                if answer.status != http.client.OK:
                    raise Unavailable(f"the endpoint answers {answer.status}: {content[:300]!r}")
        finally:
            connection.close()
        return found


@contextmanager
def endpoint(model: Path, log: Path) -> Iterator[Endpoint]:
    """Start ``python -m serving`` for a model in a folder and end it afterwards.

    Raises:
        Unavailable: When it does not become ready.
    """
    port = _free_port()
    environment = {**os.environ, "PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "serving", "--model-dir", str(model), "--port", str(port), "--once"]
    start = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        _wait_ready(process, port, log, start + _PATIENCE)
        yield Endpoint(port, process.pid, time.perf_counter() - start)
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path, deadline: float) -> None:
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise Unavailable(f"the endpoint ended with {process.returncode}: {log.read_text()[-1000:]}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == http.client.OK:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.02)
    raise Unavailable(f"the endpoint is not ready within {_PATIENCE:.0f} s: {log.read_text()[-1000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
