"""What all detectors share: the contract, the scaling of metrics, the way from many metrics to one score, storage.

A model is one ``.npz`` of numbers and nothing that could run (docs/adr/0004-models-as-data.md).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from selfheal.errors import BadModel, InsufficientData, MetricMismatch
from selfheal.window import Floats, MetricWindow, fill_gaps, increases, is_counter

Flags = npt.NDArray[np.bool_]

KNEE = 4.0
"""Deviation of one metric, in units of its spread, beyond which more counts by its logarithm only. Without a knee a
metric that was constant in training decides alone; with a hard cap the worst hour looks like the first minute."""

WILD = 50.0
"""Scaled values and deviations are cut here."""

SILENCE = 6 * 3600.0
"""Seconds without any sample after which nobody knows what has changed: level and spread are measured anew."""

YARD = 30
"""Rows from which a level is measured where none is known: of a stranger's window, and after a long silence."""


@runtime_checkable
class Detector(Protocol):
    """The contract. Metric-agnostic, deterministic under its seed, tolerant of gaps, constants and resets.

    Attributes:
        name: In DETECTORS, and of the stored file.
        need: Usable rows of history without which it cannot be trained, at the least.
        warmup: First rows of a window that it needs to find its feet; their score is neutral.
        seasonal: Whether it knows times of the day, which nobody knows of a workload never seen.
        names: Metrics fitted, in the model's order.
    """

    name: ClassVar[str]
    need: ClassVar[int]
    warmup: ClassVar[int]
    seasonal: ClassVar[bool]
    names: tuple[str, ...]

    def __init__(self, seed: int = 0) -> None:
        """An untrained detector."""
        ...

    def fit(self, window: MetricWindow) -> Self:
        """Learn what is normal.

        Raises:
            InsufficientData: With how many samples would do.
        """
        ...

    def score(self, window: MetricWindow) -> Floats:
        """How unusual each row is, shape [t], higher is more anomalous, never NaN. Causal.

        Raises:
            MetricMismatch: When the window has other metrics than the ones fitted.
        """
        ...

    def deviations(self, window: MetricWindow) -> Floats:
        """How far each metric is from what was expected, in units of its usual spread, shape [t, m]."""
        ...

    def expected(self, window: MetricWindow) -> Floats:
        """What each metric should have been, in its unit (increases for counters), shape [t, m]."""
        ...

    @property
    def counters(self) -> Flags:
        """Which metrics were counters in training, shape [m]."""
        ...

    def save(self, folder: Path) -> None:
        """Write ``NAME.npz`` into a folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            BadModel: When that is damaged.
        """
        ...


def require(window: MetricWindow, need: int, what: str) -> None:
    """Raise InsufficientData unless a window has enough usable rows."""
    if window.usable < need:
        raise InsufficientData(need, window.usable, what)


def check_names(window: MetricWindow, names: tuple[str, ...]) -> MetricWindow:
    """The window with its metrics in the model's order.

    Raises:
        MetricMismatch: When they are not the same set.
    """
    if window.names == names:
        return window
    missing, unknown = set(names) - set(window.names), set(window.names) - set(names)
    if missing or unknown:
        raise MetricMismatch(window.workload, missing, unknown)
    return window.select(names)


@dataclass(frozen=True)
class Scaling:
    """How metrics become comparable numbers; learned on training data.

    Attributes:
        counter: Which metrics are counters, shape [m] (bool).
        centre: Usual value, shape [m].
        spread: Usual deviation, in the metric's unit, shape [m]; never zero.
        alive: Which metrics had data, shape [m] (bool); the others do not count.
    """

    counter: Floats
    centre: Floats
    spread: Floats
    alive: Floats

    @classmethod
    def learn(cls, window: MetricWindow) -> Scaling:
        """From a training window."""
        counter = is_counter(window.values)
        values = increases(window.values, counter)
        known = np.isfinite(values)
        alive = known.any(axis=0)
        filled = fill_gaps(values)
        # Winsorised moments: one wild training sample must not widen the band for good.
        low, high = np.quantile(filled, [0.002, 0.998], axis=0)
        clipped = np.clip(filled, low, high)
        centre, spread = clipped.mean(axis=0), clipped.std(axis=0)
        floor = 1e-6 * (1 + np.abs(centre)) + 0.005 * np.abs(centre)
        return cls(counter.astype(float), centre, np.maximum(spread, floor), alive.astype(float))

    def apply(self, window: MetricWindow) -> Floats:
        """Scaled values, shape [t, m], capped, gaps carried forward, metrics without data 0."""
        scaled = self._plain(window)
        if silences(window):
            offset, width = measured_anew(scaled, window)
            scaled = (scaled - offset) / width
        result: Floats = np.clip(scaled, -WILD, WILD) * self.alive
        return result

    def invert(self, scaled: Floats, window: MetricWindow) -> Floats:
        """Scaled values of a window back in the metrics' units (increases for counters)."""
        if silences(window):
            offset, width = measured_anew(self._plain(window), window)
            scaled = scaled * width + offset
        result: Floats = scaled * self.spread + self.centre
        return result

    def _plain(self, window: MetricWindow) -> Floats:
        values = increases(window.values, self.counter.astype(bool))
        found: Floats = (fill_gaps(values, self.centre) - self.centre) / self.spread
        return found

    def arrays(self) -> dict[str, Floats]:
        """For storage."""
        return {"counter": self.counter, "centre": self.centre, "spread": self.spread, "alive": self.alive}


def silences(window: MetricWindow) -> list[tuple[int, int, int]]:
    """Where samples come back after a silence of at least SILENCE seconds.

    Returns:
        For each silence the first row after it, the first row that can be judged again (YARD rows later), and the row
        where the next silence ends, or the window does.
    """
    rows = np.flatnonzero(np.isfinite(window.values).any(axis=1))
    starts = rows[1:][np.diff(rows) * window.step >= SILENCE].tolist()
    return [(start, min(start + YARD, stop), stop) for start, stop in pairwise([*starts, len(window)])]


def measured_anew(scaled: Floats, window: MetricWindow) -> tuple[Floats, Floats]:
    """What is usual after a long silence, by the first YARD rows after it; nobody can judge those, they count as usual.

    Args:
        scaled: In units of the spread in training, shape [t, m].
        window: Where its samples are missing.

    Returns:
        Level and spread of each row in the same units, shape [t, m] each: 0 and 1 where nothing is measured anew.
        Spreads are widened where the first rows are wilder than training was, never narrowed.
    """
    offset, width = np.zeros_like(scaled), np.ones_like(scaled)
    for start, judged, stop in silences(window):
        first = scaled[start:judged]
        offset[start:judged] = first
        offset[judged:stop] = np.median(first, axis=0)
        width[judged:stop] = np.maximum(first.std(axis=0), 1.0)
    return offset, width


def soften(deviations: Floats) -> Floats:
    """Sizes of deviations, logarithmic beyond KNEE, of the same shape."""
    size = np.abs(deviations)
    result: Floats = np.where(size < KNEE, size, KNEE * (1 + np.log(np.maximum(size, KNEE) / KNEE)))
    return result


def combine(deviations: Floats, alive: Floats) -> Floats:
    """From many metrics to one score: root mean square of the worse half (at least three), each softened.

    Args:
        deviations: Shape [t, m], in units of each metric's spread.
        alive: Which metrics count, shape [m].

    Returns:
        Shape [t].
    """
    live = soften(deviations[:, alive.astype(bool)]) ** 2
    if live.shape[1] == 0:
        return np.zeros(len(deviations))
    top = min(live.shape[1], max(3, live.shape[1] // 2))
    worst = np.partition(live, live.shape[1] - top, axis=1)[:, -top:]
    result: Floats = np.sqrt(worst.mean(axis=1))
    return result


def smooth(values: Floats, span: float) -> Floats:
    """Causal exponential smoothing along time; ``span`` is the samples after which 63 % is forgotten."""
    from scipy.signal import lfilter

    keep = float(np.exp(-1.0 / span))
    start = values[:1] * keep
    result: Floats = lfilter([1 - keep], [1, -keep], values, axis=0, zi=start)[0]
    return result


def save_arrays(folder: Path, name: str, names: tuple[str, ...], arrays: Mapping[str, Floats]) -> None:
    """Write numbers and metric names to ``NAME.npz``; big tables in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / f"{name}.npz", names=np.array(names, dtype=np.str_), allow_pickle=False, **dict(arrays)
    )


def load_arrays(folder: Path, name: str) -> tuple[tuple[str, ...], dict[str, Floats]]:
    """Read what :func:`save_arrays` wrote.

    Raises:
        BadModel: When the file is missing, damaged, or holds objects.
    """
    path = folder / f"{name}.npz"
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        names = tuple(str(metric) for metric in arrays.pop("names"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadModel(f"{path.name} of the model cannot be read ({error}): train or fetch the model again") from None
    return names, arrays


def pick(arrays: Mapping[str, Floats], *keys: str) -> tuple[Floats, ...]:
    """Arrays by key.

    Raises:
        BadModel: When one is missing.
    """
    lacking = [key for key in keys if key not in arrays]
    if lacking:
        raise BadModel(f"the model lacks {', '.join(lacking)}: it was written by another version, train it again")
    return tuple(arrays[key] for key in keys)


def scaling_of(arrays: Mapping[str, Floats]) -> Scaling:
    """The scaling stored among a detector's arrays."""
    return Scaling(*pick(arrays, "counter", "centre", "spread", "alive"))
