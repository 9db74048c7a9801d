"""``python -m bench.fuzz``: thousands of broken requests at a real endpoint, which may refuse them but never fail.

The endpoint starts without a model (503 is right then, and only then), gets one, and while it is asked the model is
changed again and again, every other time for a damaged one. The run fails on any other 5xx, on an answer that takes too
long, on a connection that the server drops, on a traceback in its log, and when its memory grows.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench.__main__ import run_app
from bench.fuzz_requests import KNOWN, NAMES, Shot, draw
from bench.paths import SOURCE, State
from bench.processes import Processes
from selfheal.ensemble import Ensemble
from selfheal.errors import SelfhealError, WrongUse
from selfheal.protocol import ModelInfo
from selfheal.window import MetricWindow, grid

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_SERVER = "endpoint"
_SWAP = 1.0  # seconds between two models
_LOOKS = 6  # at the memory
_FEW = 5  # failures shown
_LOST, _LATE, _GONE = "dropped", "too late", "left in the middle"


@dataclass(frozen=True)
class Failure:
    """A request that the server should have answered otherwise."""

    number: int
    kind: str
    status: str
    answer: str


@dataclass
class Tally:
    """What came back. Threads add to it under the lock."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    slowest: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, number: int, shot: Shot, status: str, answer: str, seconds: float, *, loaded: bool) -> None:
        """Count an answer, and keep it when it is none that was promised."""
        with self.lock:
            mutation = shot.kind.partition(" ")[2]
            self.counts[mutation, status] += 1
            self.slowest = max(self.slowest, seconds)
            if not _fine(status, loaded=loaded):
                self.failures.append(Failure(number, shot.kind, status, answer[:300]))


def _fine(status: str, *, loaded: bool) -> bool:
    if status == "503":
        return not loaded
    return status == _GONE or status.startswith(("2", "3", "4"))


class Gun:
    """Sends requests to one address, over one connection a thread.

    Args:
        port: On this machine.
        patience: Seconds that an answer may take.
    """

    def __init__(self, port: int, patience: float) -> None:
        self._port, self._patience = port, patience
        self._local = threading.local()
        self._all: list[http.client.HTTPConnection] = []

    def fire(self, shot: Shot) -> tuple[str, str]:
        """Status (or what happened instead of one) and the answer's text."""
        used = self._reused()
        status, text = self._try(shot)
        # A kept connection may have been closed since: every client asks again over a fresh one, which must hold.
        return self._try(shot) if status == _LOST and used else (status, text)

    def _try(self, shot: Shot) -> tuple[str, str]:
        try:
            return self._ask(shot)
        except TimeoutError:
            found = _LATE, f"no answer in {self._patience:g} s"
        except (OSError, http.client.HTTPException) as error:
            found = (_LOST if shot.announced is None else _GONE), f"{type(error).__name__}: {error}"
        self._close()
        return found

    def _ask(self, shot: Shot) -> tuple[str, str]:
        connection = self._connection()
        connection.putrequest(shot.method, shot.path, skip_accept_encoding=True)
        length = len(shot.body) if shot.announced is None else shot.announced
        for name, value in (*shot.headers, ("Content-Length", str(length))):
            connection.putheader(name, value.encode())
        connection.endheaders(shot.body)
        if shot.announced is not None:
            self._close()
            return _GONE, ""
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        if answer.will_close:
            self._close()
        return str(answer.status), text

    def _reused(self) -> bool:
        return getattr(self._local, "connection", None) is not None

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if found is None:
            found = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._patience)
            self._local.connection = found
            self._all.append(found)
        return found

    def _close(self) -> None:
        self._connection().close()
        self._local.connection = None

    def close(self) -> None:
        """End the connections of all threads."""
        for connection in self._all:
            connection.close()


def _models(folder: Path) -> tuple[list[Path], list[Path]]:
    """Sound models in folders of their own, and damaged ones."""
    draw_ = np.random.default_rng(0)
    level, spread = np.array([1.0, 5e8, 0.0]), np.array([0.05, 1e7, 0.0])
    times = grid(np.datetime64("2026-11-23T10:00:00", "s"), 400, 60.0)
    window = MetricWindow(KNOWN, times, level + spread * draw_.standard_normal((400, 3)), NAMES, 60.0)
    ensemble = Ensemble.fit([window])
    sound = [folder / "one", folder / "two"]
    for version, path in enumerate(sound, start=1):
        ensemble.with_info(ModelInfo(version=str(version))).save(path)
    damaged = [folder / "altered", folder / "cut-off"]
    for path in damaged:
        shutil.copytree(sound[0], path)
    victim = next(damaged[0].rglob("*.npz"))
    victim.write_bytes(victim.read_bytes()[:-9] + b"123456789")
    manifest = damaged[1] / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:200])
    return sound, damaged


def _point(link: Path, target: Path) -> None:
    fresh = link.with_suffix(".fresh")
    fresh.symlink_to(target)
    fresh.replace(link)


@contextmanager
def _swapping(link: Path, sound: list[Path], damaged: list[Path]) -> Iterator[Counter[str]]:
    """Change the model all the time; the counter says how often."""
    done, swaps = threading.Event(), Counter[str]()

    def swap() -> None:
        turn = 0
        while not done.wait(_SWAP):
            choice = (sound, damaged)[turn % 2]
            _point(link, choice[turn // 2 % len(choice)])
            swaps["sound" if choice is sound else "damaged"] += 1
            turn += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield swaps
    finally:
        done.set()
        thread.join()


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _resident(pid: int) -> float:
    """MiB of memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SelfhealError(f"the endpoint (process {pid}) ended while it was asked")


@dataclass(frozen=True)
class Range:
    """A server, and how it is asked."""

    processes: Processes
    gun: Gun
    seed: int
    clients: int
    tally: Tally

    def resident(self) -> float:
        """MiB; the server must be alive.

        Raises:
            SelfhealError: When it is not.
        """
        pid = self.processes.pid(_SERVER)
        if pid is None:
            raise SelfhealError(f"the endpoint ended while it was asked. {self.processes.tail(_SERVER)}")
        return _resident(pid)

    def run(self, numbers: range, *, loaded: bool, told: Callable[[int], None] = lambda _: None) -> None:
        """Fire these requests."""

        def one(number: int) -> None:
            shot, start = draw(self.seed, number), time.monotonic()
            status, answer = self.gun.fire(shot)
            self.tally.add(number, shot, status, answer, time.monotonic() - start, loaded=loaded)

        with ThreadPoolExecutor(self.clients) as pool:
            for done, _ in enumerate(pool.map(one, numbers), start=1):
                told(done)

    def ready(self) -> bool:
        """Whether the endpoint has a model."""
        return self.gun.fire(Shot("", "GET", "/v2/health/ready", b""))[0] == "200"

    def live(self) -> bool:
        """Whether it answers at all."""
        return self.gun.fire(Shot("", "GET", "/v2/health/live", b""))[0] == "200"


def _campaign(place: Path, numbers: range, seed: int, clients: int, patience: float, *, swap: bool) -> dict[str, Any]:
    """Start the endpoint, ask it, and say what came of it."""
    sound, damaged = _models(place)
    processes, port = Processes(State(place / "state")), _port()
    link = place / "model"
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "serving",
        "--model-dir",
        link,
        "--port",
        str(port),
        "--reload-seconds",
        "0.5",
    ]
    environment = {"PYTHONPATH": f"{SOURCE.parent}/src:{SOURCE.parent}", "OMP_NUM_THREADS": "1"}
    site = Range(processes, Gun(port, patience), seed, clients, Tally())
    processes.start(_SERVER, command, environment)
    try:
        processes.wait(_SERVER, site.live)
        empty, warm = _cuts(numbers)
        site.run(empty, loaded=False, told=_teller("without a model", len(empty)))
        _point(link, sound[0])
        processes.wait(_SERVER, site.ready)
        site.run(warm, loaded=True, told=_teller("warm-up", len(warm)))
        course, rest = [site.resident()], range(warm.stop, numbers.stop)
        with _swapping(link, sound, damaged if swap else sound) as swaps:
            for part in _parts(rest):
                site.run(part, loaded=True, told=_teller("model changing", len(part)))
                course.append(site.resident())
        alive = site.ready()
    finally:
        site.gun.close()
        processes.stop(_SERVER)
    log = (processes.state.logs / f"{_SERVER}.log").read_text(errors="replace")
    return _told(site.tally, course, swaps, log, alive=alive)


def _cuts(numbers: range) -> tuple[range, range]:
    """The part without a model, and the part that warms the server up before its memory is measured."""
    first = numbers.start + len(numbers) // 20
    return range(numbers.start, first), range(first, first + len(numbers) // 5)


def _parts(numbers: range) -> list[range]:
    """Between which memory is looked at: a leak goes on to the end, what a heap needs does not."""
    size = max(1, -(-len(numbers) // _LOOKS))
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _teller(what: str, of: int) -> Callable[[int], None]:
    def tell(done: int) -> None:
        if done == of or done % max(of // 5, 1000) == 0:
            typer.echo(f"{what}: {done} of {of}", err=True)

    return tell


def _told(tally: Tally, course: list[float], swaps: Counter[str], log: str, *, alive: bool) -> dict[str, Any]:
    by_status: Counter[str] = Counter()
    by_kind: dict[str, dict[str, int]] = {}
    for (kind, status), count in sorted(tally.counts.items()):
        by_status[status] += count
        by_kind.setdefault(kind, {})[status] = count
    return {
        "requests": sum(by_status.values()),
        "status": dict(sorted(by_status.items())),
        "kinds": by_kind,
        "failures": [vars(one) for one in tally.failures[:_FEW]],
        "failed": len(tally.failures),
        "slowest_seconds": round(tally.slowest, 2),
        "memory_mib": {"course": [round(one) for one in course], "growth": round(course[-1] / course[0] - 1, 3)},
        "model_changes": dict(swaps),
        "tracebacks": log.count("Traceback (most recent call last)"),
        "ready_at_the_end": alive,
    }


def _broken(result: dict[str, Any], memory: float) -> list[str]:
    """Every promise that was not kept."""
    growth = result["memory_mib"]["growth"]
    found = [f"{result['failed']} requests were answered by a failure of the server"] if result["failed"] else []
    found += [f"its log has {result['tracebacks']} tracebacks"] if result["tracebacks"] else []
    found += [f"its memory grew by {growth:.0%}, more than {memory:.0%}"] if growth > memory else []
    return found + ([] if result["ready_at_the_end"] else ["it was not ready at the end"])


def _show(result: dict[str, Any]) -> None:
    console, statuses = Console(highlight=False), list(result["status"])
    table = Table(title=f"{result['requests']} requests: answers by mutation", title_justify="left")
    table.add_column("mutation")
    for status in statuses:
        table.add_column(status, justify="right")
    for kind, counts in result["kinds"].items():
        table.add_row(kind, *(str(counts.get(status, "")) for status in statuses))
    table.add_row("all", *(str(result["status"][status]) for status in statuses))
    console.print(table)
    memory = result["memory_mib"]
    growth, changes = f"{memory['growth']:+.1%}", result["model_changes"]
    console.print(f"memory {', '.join(map(str, memory['course']))} MiB from warm to the end ({growth})")
    console.print(f"slowest answer {result['slowest_seconds']} s")
    console.print(
        f"models changed {sum(changes.values())} times, {changes.get('damaged', 0)} of them for a damaged one"
    )
    for failure in result["failures"]:
        told = f"request {failure['number']} ({failure['kind']}): {failure['status']} {failure['answer']}"
        console.print(told, markup=False)


@app.command(help=__doc__)
def fuzz(
    requests: Annotated[int, typer.Option(min=1, help="How many.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Draws the requests; the same seed sends the same.")] = 0,
    first: Annotated[int, typer.Option(help="Number of the first request.")] = 0,
    clients: Annotated[int, typer.Option(min=1, help="Connections at a time.")] = 4,
    patience: Annotated[float, typer.Option(help="Seconds after which an answer counts as a hang.")] = 30.0,
    memory: Annotated[float, typer.Option(help="Share by which the warm server's memory may grow.")] = 0.25,
    swap: Annotated[bool, typer.Option(help="Change the model for damaged ones too.")] = True,
    keep: Annotated[Path | None, typer.Option(help="Folder for the models and the server's log; kept.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as one JSON object.")] = False,
) -> None:
    """Ask, count, and fail when the server did."""
    with tempfile.TemporaryDirectory() as scratch:
        place = (keep or Path(scratch)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        if any(place.iterdir()):
            raise WrongUse(f"{place} is not empty: name a new folder with --keep")
        result = _campaign(place, range(first, first + requests), seed, clients, patience, swap=swap)
    broken = _broken(result, memory)
    if as_json:
        typer.echo(json.dumps(result | {"broken": broken}))
    else:
        _show(result)
    if broken:
        raise SelfhealError("; ".join(broken))


if __name__ == "__main__":
    run_app(app)
