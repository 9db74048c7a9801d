"""Ask an ensemble about injected faults as the endpoint would, and keep what it said beside what is true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from bench.detection.synthetic import DAY, SERVICES, STEP, normal_weeks
from bench.detection.typing_faults import FAULTS, Injected
from selfheal.ensemble import Ensemble
from selfheal.protocol import Instance, Prediction
from selfheal.window import MetricWindow

HISTORY_DAYS = 7.0
TEST_DAYS = 2.0
SAMPLES = 120
"""Rows of a window as it is sent: two hours."""
EVERY = 3
"""Rows between two asks."""
LENGTH = 240
"""Rows that a fault lasts at most: four hours."""
_REPEATS = 3  # faults of each kind, service and seed


@dataclass(frozen=True)
class Ask:
    """One question and its answer.

    Attributes:
        fault: Name in FAULTS.
        case: Which injection it belongs to.
        since: Seconds from the fault's first row to the newest sample.
        anomaly: The verdict.
        said: The type said; empty without an anomaly.
        first: Whether the heaviest metric is one that the fault is about; None without an anomaly.
        among: Whether one of the three heaviest is.
        left: Seconds until the limit is really reached; None where nothing runs out.
        forecast: Seconds until then as forecast, best guess and near end; None without a forecast.
    """

    fault: str
    case: int
    since: float
    anomaly: bool
    said: str
    first: bool | None
    among: bool | None
    left: float | None
    forecast: tuple[float, float] | None

    def moved(self, offset: int) -> Ask:
        """The same under another case number."""
        return replace(self, case=self.case + offset)


def train(seed: int) -> tuple[Ensemble, dict[str, MetricWindow]]:
    """An ensemble of all services, and the two days after its history, which it has not seen."""
    drawn = {name: normal_weeks(name, HISTORY_DAYS + TEST_DAYS, seed=seed) for name in SERVICES}
    cut = round(HISTORY_DAYS * DAY / STEP)
    ensemble = Ensemble.fit([window.rows(0, cut) for window in drawn.values()], seed=seed)
    return ensemble, {name: window.rows(cut) for name, window in drawn.items()}


def instance(window: MetricWindow) -> Instance:
    """A window as a client sends it."""
    gaps = window.values.astype(object)
    gaps[~np.isfinite(window.values)] = None
    return Instance(
        workload=window.workload,
        end=datetime.fromisoformat(str(window.times[-1])).replace(tzinfo=UTC),
        step=window.step,
        window={name: gaps[:, column].tolist() for column, name in enumerate(window.names)},
    )


def measure(seed: int, repeats: int = _REPEATS) -> list[Ask]:
    """Train one ensemble and ask it about every kind of fault in every service."""
    ensemble, tests = train(seed)
    return list(ask_all(ensemble, tests, seed, repeats))


def ask_all(ensemble: Ensemble, tests: Mapping[str, MetricWindow], seed: int, repeats: int) -> Iterator[Ask]:
    """Inject, ask, compare."""
    case = 0
    for fault, kind in FAULTS.items():
        for name, window in tests.items():
            if not kind.everywhere and not np.isfinite(SERVICES[name].volume):
                continue
            for repeat in range(repeats):
                random = np.random.default_rng([seed, case, repeat])
                start = int(random.integers(SAMPLES, len(window) - LENGTH))
                yield from ask(ensemble, fault, case, kind.inject(window, start, LENGTH, random))
                case += 1


def ask(ensemble: Ensemble, fault: str, case: int, injected: Injected) -> Iterator[Ask]:
    """Ask every few minutes from the fault's start to its end."""
    rows = range(injected.start + EVERY, injected.stop, EVERY)
    windows = [injected.window.rows(row + 1 - SAMPLES, row + 1) for row in rows]
    for row, answer in zip(rows, ensemble.predict([instance(window) for window in windows]), strict=True):
        yield _compared(fault, case, injected, row, answer)


def _compared(fault: str, case: int, injected: Injected, row: int, answer: Prediction) -> Ask:
    top = [metric.name for metric in answer.top_metrics]
    named = bool(answer.anomaly) and bool(injected.metrics)
    forecast = answer.forecast
    return Ask(
        fault=fault,
        case=case,
        since=(row - injected.start) * injected.window.step,
        anomaly=bool(answer.anomaly),
        said=answer.anomaly_type or "",
        first=bool(top) and top[0] in injected.metrics if named else None,
        among=bool(set(top[:3]) & set(injected.metrics)) if named else None,
        left=None if injected.exhaustion is None else injected.exhaustion - row * injected.window.step,
        forecast=None if forecast is None else (forecast.exhausted_in, forecast.exhausted_in_lower),
    )
