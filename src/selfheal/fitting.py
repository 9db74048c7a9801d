"""Fits one detector for many workloads, in as many processes as there are cores to use.

Every fit runs on one thread, here as in a worker: matrices are so small that threads only wait for each other, and
sums are then taken in the same order, so that the numbers do not depend on the number of workers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

from selfheal.detectors.base import Detector
from selfheal.errors import InsufficientData, PermanentError, SelfhealError, Unavailable
from selfheal.window import MetricWindow

MOST_WORKERS = 8
"""Training LSTMs takes 0.95 GB for torch and 0.11 GB a worker; a node of a cluster may have far more cores."""

_HEAVY = {
    "isolation_forest": "sklearn.ensemble",
    "arima": "statsmodels.tsa.arima.estimators.hannan_rissanen",
    "prophet": "selfheal.prophet_season",
    "lstm": "torch",
}
"""What fitting a detector imports: read once by the server that workers are forked from, so that they share it. A task
that trains all detectors has one such server for all of them."""


class Lack(NamedTuple):
    """What keeps a workload from having a model.

    Attributes:
        need: Samples that would do.
        got: Samples there are.
    """

    need: int
    got: int


def cores() -> int:
    """How many workers this machine is good for: one a core, while they fit into 2 GB."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, MOST_WORKERS)


def fit_each(
    kind: type[Detector], windows: Sequence[MetricWindow], *, seed: int = 0, workers: int = 1
) -> Iterator[Detector | Lack]:
    """Fit a detector for each window.

    Args:
        kind: A class of DETECTORS.
        windows: One for each workload.
        seed: For everything that draws lots.
        workers: Processes; with one, or for one window, everything happens in this process.

    Yields:
        The fitted detector or what it lacks, in the order of the windows, each as soon as it is there.

    Raises:
        Unavailable: When a worker is killed, as happens when memory runs out, or cannot start.
        PermanentError: When the numbers of a workload break a detector; names the workload.
    """
    fit = partial(_fit, kind, seed)
    workers = min(workers, len(windows))
    if workers <= 1:
        yield from map(fit, windows)
        return
    context = get_context("forkserver")
    context.set_forkserver_preload(["selfheal.detectors", *(_HEAVY.values() if kind.name in _HEAVY else ())])
    try:
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield from pool.map(fit, windows)
    except BrokenProcessPool:
        raise Unavailable(
            f"a process that trained {kind.name} ended too early: killed for want of memory, or it could not start and "
            f"said why above. Train with fewer workers than {workers}"
        ) from None


def _fit(kind: type[Detector], seed: int, window: MetricWindow) -> Detector | Lack:
    from threadpoolctl import threadpool_limits

    try:
        with threadpool_limits(1):
            return kind(seed).fit(window)
    except InsufficientData as error:
        return Lack(error.need, error.got)
    except SelfhealError:
        raise
    except Exception as error:  # whatever a library raises: only here is known for which workload
        why = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        broken = f"{kind.name} cannot be trained for {window.workload}: {why}"
        raise PermanentError(f"{broken}. Nothing of this run goes into service") from error
