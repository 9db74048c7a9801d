"""The speed of serving: one workload, a thousand in one request, many clients, memory, start."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.mttr import percentile
from bench.speed.crowd import crowd, size, trained
from bench.speed.endpoint import Endpoint, endpoint
from bench.speed.figures import Figure, Findings, machine, seconds
from bench.speed.naive import Naive
from bench.speed.requests import Body, instances, v1, v2
from bench.speed.workloads import NAMES, ROWS, name
from selfheal.ensemble import Ensemble
from selfheal.window import MetricWindow

Say = Callable[[str], None]

_CLIENTS = (1, 8, 32)
_LOOPED = 200  # requests of the naive loop that are really sent
_FORMATS: tuple[tuple[str, Callable[[Sequence[MetricWindow]], Body]], ...] = (("V1 JSON", v1), ("V2 binary", v2))


def measure(*, runs: int, workloads: int, requests: int, naive_metrics: int, say: Say) -> Findings:
    """Measure all of it.

    Args:
        runs: Of everything.
        workloads: That the model knows, and that one big request asks about.
        requests: In a run of requests about one workload.
        naive_metrics: How many metrics the naive ARIMA and Prophet are really fitted for; 0 leaves that out.
        say: Told what is being done.
    """
    facts = machine() | {"metrics": len(NAMES), "rows": ROWS, "workloads": workloads, "seed": 0}
    found = Findings("Serving", facts)
    say("train a few workloads")
    few, past = trained()
    windows = [_request(past[number % len(past)], number) for number in range(workloads)]
    with tempfile.TemporaryDirectory() as folder:
        model, log = Path(folder, "model"), Path(folder, "endpoint.log")
        say(f"store them as {workloads}")
        many = crowd(few, map(name, range(workloads)))
        many.save(model)
        stored = size(model) / workloads / 1e3
        found.figures.append(Figure("artefact of one workload", "KB", (stored,), must=200.0, reach=60.0))
        say("start the endpoint")
        found.figures.append(_cold_starts(model, log, runs))
        with endpoint(model, log) as server:
            found.figures.append(Figure("memory when ready", "MB", (server.memory / 1e6,), must=600.0, reach=350.0))
            found.figures += _one_workload(server, windows[0], runs, requests, say)
            found.figures += _all_workloads(server, windows, runs, say)
            found.figures.append(Figure("memory at the end", "MB", (server.memory / 1e6,), must=600.0, reach=350.0))
    found.figures.append(_in_process(many, windows, runs, say))
    if naive_metrics:
        found.figures.append(_naive(past[0], workloads, naive_metrics, runs, many, say))
    return found


def _request(past: MetricWindow, number: int) -> MetricWindow:
    """The newest rows of a history as the request about another workload of the same kind."""
    newest = past.rows(-ROWS)
    return MetricWindow(name(number), newest.times, newest.values, newest.names, newest.step)


def _cold_starts(model: Path, log: Path, runs: int) -> Figure:
    starts = []
    for _ in range(runs):
        with endpoint(model, log) as server:
            starts.append(server.cold_start)
    return Figure("cold start to ready", "s", tuple(starts), must=10.0, reach=3.0)


def _one_workload(server: Endpoint, window: MetricWindow, runs: int, requests: int, say: Say) -> list[Figure]:
    found = []
    for label, encode in _FORMATS:
        body = encode([window])
        server.latencies(body, clients=1, requests=20)  # the first ones find caches empty
        for clients in _CLIENTS:
            say(f"one workload, {label}, {clients} clients")
            spent = [server.latencies(body, clients=clients, requests=requests) for _ in range(runs)]
            for share, must, reach in ((0.5, 15.0, 3.0), (0.99, 40.0, 10.0)):
                figures = tuple(1e3 * percentile(run, share) for run in spent)
                work = f"one workload, {label}, {clients} client{'s' if clients > 1 else ''}, p{share * 100:.0f}"
                goals = (must, reach) if clients == 1 else (None, None)
                found.append(Figure(work, "ms", figures, must=goals[0], reach=goals[1]))
    return found


def _all_workloads(server: Endpoint, windows: Sequence[MetricWindow], runs: int, say: Say) -> list[Figure]:
    """One request about all of them, beside one request for each."""
    found = []
    for label, encode in _FORMATS:
        say(f"{len(windows)} workloads in one request, {label}")
        body = encode(windows)
        server.latencies(body, clients=1, requests=1)
        spent = tuple(server.latencies(body, clients=1, requests=runs))
        looped = [encode([window]) for window in windows[:_LOOPED]]
        naive = sum(server.sequence(looped)) * len(windows) / len(looped)
        note = f"{len(body.content) / 1e6:.1f} MB; naive: a request for each, {len(looped)} sent and extrapolated"
        share = len(windows) / 1000
        work = f"{len(windows)} workloads in one request, {label}"
        found.append(Figure(work, "s", spent, naive, note, 1.0 * share, 0.15 * share))
    return found


def _in_process(many: Ensemble, windows: Sequence[MetricWindow], runs: int, say: Say) -> Figure:
    """The same without HTTP and its formats: what judging alone takes."""
    say(f"{len(windows)} workloads in process")
    asked = instances(windows)
    many.predict(asked)
    spent = tuple(seconds(lambda: many.predict(asked)) for _ in range(runs))
    return Figure(f"{len(windows)} workloads in process, no HTTP", "s", spent)


def _naive(past: MetricWindow, workloads: int, metrics: int, runs: int, ours: Ensemble, say: Say) -> Figure:
    """The libraries' own models asked about one workload, beside ours."""
    say(f"the naive models of one workload (ARIMA and Prophet for {metrics} of {len(NAMES)} metrics)")
    libraries = Naive(past, metrics, epochs=1)
    libraries.train()
    window = past.rows(-ROWS)
    spent = [libraries.score(window) for _ in range(runs)]
    naive = {part: statistics.median(run[part] for run in spent) for part in spent[0]}
    asked = instances([_request(past, 0)])
    ours.predict(asked)
    found = tuple(1e3 * seconds(lambda: ours.predict(asked)) for _ in range(runs))
    detail = ", ".join(f"{part} {1e3 * took:.0f} ms" for part, took in naive.items())
    total = sum(naive.values())
    note = (
        f"naive: {detail}; ARIMA and Prophet measured for {metrics} of {len(NAMES)} metrics and extrapolated in "
        f"proportion; {workloads} workloads would take {total * workloads:.0f} s"
    )
    return Figure("one workload in process, no HTTP", "ms", found, 1e3 * total, note)
