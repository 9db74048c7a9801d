"""The speed of training: one workload, many workloads, the memory it takes."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from bench.speed.figures import Figure, Findings, busy, machine, seconds
from bench.speed.memory import peak
from bench.speed.naive import EPOCHS, Naive
from bench.speed.workloads import DAYS, NAMES, history
from selfheal.detectors import DETECTORS
from selfheal.ensemble import Ensemble, Members
from selfheal.window import MetricWindow

Say = Callable[[str], None]

_MANY = (210.0, 90.0)  # seconds for 100 workloads: must, reach
_COLD = (
    "from bench.speed.workloads import history; from selfheal.ensemble import Members; "
    "from selfheal.detectors import DETECTORS; [Members.fit(name, [history(0)]) for name in DETECTORS]"
)


def measure(*, runs: int, workloads: int, workers: int, naive_metrics: int, naive_runs: int, say: Say) -> Findings:
    """Measure all of it.

    Args:
        runs: Of what is repeated.
        workloads: How many to train at once; 0 for none.
        workers: Processes for that.
        naive_metrics: How many metrics the naive ARIMA and Prophet are really fitted for; 0 leaves it out.
        naive_runs: How often.
        say: Told what is being done.
    """
    facts = machine() | {"metrics": len(NAMES), "days": DAYS, "workers": workers, "seed": 0}
    found = Findings("Training", facts)
    # Many first: later this process holds what the naive method imports, and memory is to be ours.
    many = _many(workloads, workers, say) if workloads else None
    window = history(0)
    _fit_all([window], {})  # imports are measured apart
    say("one workload")
    parts: dict[str, list[float]] = {}
    before = busy()
    whole = [_fit_all([window], parts) for _ in range(runs)]
    processor = (busy() - before) / runs
    say("one workload with everything")
    full = tuple(seconds(partial(Ensemble.fit, [window])) for _ in range(runs))
    say("one workload in a new process")
    cold = tuple(seconds(_cold) for _ in range(runs))
    naive = _naive(window, naive_metrics, naive_runs, say)
    note = f"{processor:.2f} s of processor time" + (_about_naive(naive, naive_metrics, naive_runs) if naive else "")
    found.figures.append(Figure("one workload, all four", "s", tuple(whole), naive.get("all"), note, 4.0, 1.5))
    for name, spent in parts.items():
        found.figures.append(Figure(f"one workload, {name}", "s", tuple(spent), naive.get(name)))
    found.figures.append(Figure("one workload, with pooled models and calibration", "s", full))
    found.figures.append(Figure("one workload, all four, in a new process", "s", cold, note="with all imports"))
    if many:
        spent_on_many, memory = many
        told = f"{spent_on_many.note}; naive: {workloads} times one workload"
        total = naive["all"] * workloads if naive else None
        found.figures += [replace(spent_on_many, naive=total, note=told if naive else spent_on_many.note), memory]
    return found


def _fit_all(windows: Sequence[MetricWindow], parts: dict[str, list[float]], workers: int = 1) -> float:
    """Seconds to fit all four detectors; those of each are added to ``parts``."""
    total = 0.0
    for name, kind in DETECTORS.items():
        if len(windows) == 1:  # the table's line is about models of one workload, not about pooled ones
            spent = seconds(partial(kind(0).fit, windows[0]))
        else:
            spent = seconds(partial(Members.fit, name, windows, workers=workers))
        parts.setdefault(name, []).append(spent)
        total += spent
    return total


def _many(workloads: int, workers: int, say: Say) -> tuple[Figure, Figure]:
    """Seconds and peak memory."""
    say(f"draw {workloads} workloads")
    windows = [history(number) for number in range(workloads)]
    say(f"train {workloads} workloads with {workers} workers")
    parts: dict[str, list[float]] = {}
    with peak() as most:
        spent = _fit_all(windows, parts, workers)
    detail = ", ".join(f"{name} {took[0]:.1f} s" for name, took in parts.items())
    note = f"one run with pooled models and all imports; {detail}"
    must, reach = (goal * workloads / 100 for goal in _MANY)
    shared = "all processes together, shared pages once (PSS)"
    return (
        Figure(f"{workloads} workloads, all four", "s", (spent,), note=note, must=must, reach=reach),
        Figure(f"{workloads} workloads, peak memory", "MB", (most[0] / 1e6,), note=shared, must=2000.0),
    )


def _naive(window: MetricWindow, metrics: int, runs: int, say: Say) -> dict[str, float]:
    """Medians of seconds by detector, and of all."""
    if not metrics or not runs:
        return {}
    found = []
    for run in range(runs):
        say(f"the naive method, run {run + 1} of {runs}")
        before, libraries = busy(), Naive(window, metrics)
        spent = libraries.train()
        found.append(spent | {"all": sum(spent.values()), "processor": busy() - before})
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def _about_naive(naive: Mapping[str, float], metrics: int, runs: int) -> str:
    how = f"ARIMA and Prophet fitted for {metrics} of {len(NAMES)} metrics and extrapolated in proportion"
    if metrics >= len(NAMES):
        how = "ARIMA and Prophet fitted for every metric"
    return (
        f"; naive: {runs} run(s), what was really run took {naive['processor']:.0f} s of processor time; {how}, "
        f"{EPOCHS} epochs of an LSTM one sequence at a time, a forest on raw rows"
    )


def _cold() -> None:
    subprocess.run([sys.executable, "-c", _COLD], check=True)
