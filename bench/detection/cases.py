"""The article's three cases, played against a trained ensemble on data with a real-looking background.

1. A leak of 10 % an hour, and the same services without it: one of them has a garbage collector's saw-tooth.
2. A correlated failure: every metric stays within three of its own standard deviations, at any time of the day.
3. A peak of traffic on Mondays at nine: seen twice it is no news in week three, and news where it does not come.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from bench.detection.synthetic import DAY, HOUR, STEP, normal_weeks
from bench.detection.typing_faults import Injected, collector, leak_at
from bench.detection.typing_measure import instance
from selfheal.ensemble import Ensemble
from selfheal.protocol import Prediction
from selfheal.window import Floats, MetricWindow, Times

PLAIN, SAWTOOTH, FRONTEND = "shop/Deployment/cart", "shop/Deployment/search", "shop/Deployment/frontend"
TOGETHER = (
    "pod_cpu_usage",
    "alt_cpu_usage",
    "http_request_duration",
    "pod_memory_usage",
    "alt_memory_usage",
    "memory_limit_ratio",
)
"""What the correlated failure moves: a service that works harder and holds more requests open."""

LEAK_RATE = 0.10  # of the level, an hour
SAMPLES = 120
_HISTORY = 7.0  # days
_WEEKLY_STEP = 300.0
_FIRST_TOOTH = 51  # rows: until the first collection a rising edge is all there is
_SIGMAS, _OWN_NOISE, _OWN_LIMIT = 2.5, 0.3, 2.95
_NINE, _ELEVEN = 9 * HOUR, 11 * HOUR


@dataclass(frozen=True)
class Story:
    """One series and what the endpoint said of it.

    Attributes:
        window: What happened.
        rows: Rows at which the endpoint was asked.
        answers: Its answers, one a row asked.
        start: Row where the fault begins; None without one.
        stop: The row after its end.
    """

    window: MetricWindow
    rows: tuple[int, ...]
    answers: tuple[Prediction, ...]
    start: int | None = None
    stop: int | None = None

    @property
    def alarmed(self) -> npt.NDArray[np.bool_]:
        """Whether each answer was an anomaly, shape [asked]."""
        return np.array([bool(answer.anomaly) for answer in self.answers])

    def first(self, kind: str | None = None) -> int | None:
        """Index of the first answer from the start on that says anomaly (of a type), None without one."""
        for index, (row, answer) in enumerate(zip(self.rows, self.answers, strict=True)):
            if row >= (self.start or 0) and answer.anomaly and kind in (None, answer.anomaly_type):
                return index
        return None


def ask(ensemble: Ensemble, window: MetricWindow, rows: range, fault: tuple[int, int] | None = None) -> Story:
    """Ask about the window that ends at each row, as the controller does."""
    windows = [window.rows(max(0, row + 1 - SAMPLES), row + 1) for row in rows]
    answers = ensemble.predict([instance(one) for one in windows])
    start, stop = fault or (None, None)
    return Story(window, tuple(rows), tuple(answers), start, stop)


def leak_world(seed: int = 0) -> tuple[Ensemble, dict[str, MetricWindow]]:
    """An ensemble of a plain service and of one with a saw-tooth, and their two days after its history."""
    drawn = {name: normal_weeks(name, _HISTORY + 2, seed=seed) for name in (PLAIN, SAWTOOTH)}
    cut = round(_HISTORY * DAY / STEP)
    ensemble = Ensemble.fit([window.rows(0, cut) for window in drawn.values()], seed=seed)
    return ensemble, {name: window.rows(cut) for name, window in drawn.items()}


def leaks(world: tuple[Ensemble, dict[str, MetricWindow]], every: int = 5) -> dict[str, tuple[Story, Story, Injected]]:
    """Case 1: by workload, the day with the leak, the same day without it, and the truth about the leak."""
    ensemble, tests = world
    found = {}
    for name, test in tests.items():
        start = round(9.5 * HOUR / STEP)
        injected = leak_at(test, start, len(test), LEAK_RATE)
        rows = range(start - 120, injected.stop, every)
        found[name] = (
            ask(ensemble, injected.window, rows, (start, injected.stop)),
            ask(ensemble, test, rows),
            injected,
        )
    return found


def wider_teeth(world: tuple[Ensemble, dict[str, MetricWindow]], seed: int = 0, every: int = 5) -> dict[str, Story]:
    """Case 1, the other side: by workload, hours in which the collector waits longer, from the second tooth on."""
    ensemble, tests = world
    found = {}
    for name, test in tests.items():
        injected = collector(test, round(9.5 * HOUR / STEP), 240, np.random.default_rng(seed))
        found[name] = ask(
            ensemble,
            injected.window,
            range(injected.start + _FIRST_TOOTH, injected.stop, every),
            (injected.start, injected.stop),
        )
    return found


def correlated(seed: int = 0, every: int = 2) -> tuple[Story, Story, Floats]:
    """Case 2: the evening with the failure, the same without it, and how many sigmas each metric is off, [t, m]."""
    whole = normal_weeks(FRONTEND, _HISTORY + 1, seed=seed)
    cut = round(_HISTORY * DAY / STEP)
    history, test = whole.rows(0, cut), whole.rows(cut)
    usual, sigma = _usual(history, test.times)
    start = round(20 * HOUR / STEP)
    stop = start + round(1.5 * HOUR / STEP)
    columns = [test.names.index(name) for name in TOGETHER]
    values = test.values.copy()
    off = (values[start:stop, columns] - usual[start:stop, columns]) / sigma[columns]
    # Shifted by two and a half sigmas, and cut where the noise on top would pass three.
    moved = np.clip(_SIGMAS + _OWN_NOISE * (off - off.mean(axis=0)), -_OWN_LIMIT, _OWN_LIMIT)
    values[start:stop, columns] = usual[start:stop, columns] + moved * sigma[columns]
    failing = test.with_values(values)
    ensemble = Ensemble.fit([history], seed=seed)
    rows = range(start - 180, stop, every)
    sigmas = (failing.values - usual) / sigma
    return ask(ensemble, failing, rows, (start, stop)), ask(ensemble, test, rows), sigmas


def _usual(history: MetricWindow, times: Times) -> tuple[Floats, Floats]:
    """Mean of each metric in each moment's half hour of the day, shape [t, m]; deviation from it, shape [m]."""
    slots, known = _slots(history.times), np.isfinite(history.values).any(axis=0)
    table = np.full((48, len(history.names)), np.nan)
    for slot in range(48):
        table[slot, known] = history.values[slots == slot][:, known].mean(axis=0)
    rest = history.values - table[slots]
    return table[_slots(times)], np.maximum(np.sqrt(np.nan_to_num((rest**2).mean(axis=0))), 1e-12)


def _slots(times: Times) -> npt.NDArray[np.int64]:
    return (times.astype("datetime64[s]").astype(np.int64) % int(DAY)) // 1800


def crowd(times: Times, weeks: tuple[int, ...]) -> Floats:
    """Twice and a half the traffic on Mondays from nine to eleven, in the weeks named, shape [t]."""
    seconds = (times - times[0]).astype(float)
    into_day, day = seconds % DAY, seconds // DAY
    inside = (day % 7 == 0) & (into_day >= _NINE) & (into_day < _ELEVEN) & np.isin(day // 7, weeks)
    return np.where(inside, 2.5, 1.0)


def mondays(seed: int = 0, history_days: float = 14.0) -> tuple[Story, Story]:
    """Case 3: the first Monday after the history with the peak, and without it."""
    weeks = tuple(range(int(np.ceil(history_days / 7))))
    test = int(np.ceil(history_days / 7)) * 7
    stories = []
    ensemble: Ensemble | None = None
    for peaks in ((*weeks, test // 7), weeks):
        whole = normal_weeks(
            FRONTEND,
            test + 1.0,
            seed=seed,
            step=_WEEKLY_STEP,
            crowds=partial(crowd, weeks=peaks),
        )
        a_day = round(DAY / _WEEKLY_STEP)
        if ensemble is None:
            ensemble = Ensemble.fit([whole.rows(0, round(history_days * a_day))], seed=seed)
        start = test * a_day + round(_NINE / _WEEKLY_STEP)
        stop = test * a_day + round(_ELEVEN / _WEEKLY_STEP)
        rows = range(test * a_day, test * a_day + round(15 * HOUR / _WEEKLY_STEP))
        stories.append(ask(ensemble, whole, rows, (start, stop)))
    return stories[0], stories[1]
