"""What all detectors share: the contract, what is usual after a silence, the way from many metrics to one score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Protocol, Self, overload, runtime_checkable

import numpy as np
import numpy.typing as npt

from selfheal.errors import InsufficientData, MetricMismatch
from selfheal.window import Floats, MetricWindow, Places, Windows

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


class Witness(Protocol):
    """Who can say why a row is unusual: a detector, or what it said beforehand."""

    def deviations(self, window: MetricWindow, /) -> Floats:
        """As :meth:`Detector.deviations`."""
        ...

    def expected(self, window: MetricWindow, /) -> Floats:
        """As :meth:`Detector.expected`."""
        ...

    @property
    def counters(self) -> Flags:
        """As :attr:`Detector.counters`."""
        ...


@dataclass(frozen=True)
class Testimony:
    """What a detector says of one window, said beforehand; to be asked like the detector itself.

    Attributes:
        seen: Its deviations, shape [t, m].
        usual: What it expected, shape [t, m].
        counters: Which metrics are counters, shape [m].
    """

    seen: Floats
    usual: Floats
    counters: Flags

    def deviations(self, _window: MetricWindow, /) -> Floats:
        """As :meth:`Detector.deviations`."""
        return self.seen

    def expected(self, _window: MetricWindow, /) -> Floats:
        """As :meth:`Detector.expected`."""
        return self.usual


class Sight(Protocol):
    """What stacked models make of windows: worked out once, told as far as it is asked for."""

    def score(self, newest: int, which: Places) -> Floats:
        """Scores of the newest rows of some of the windows, shape [newest, len(which)]."""
        ...

    def testify(self, place: int) -> Testimony:
        """Of one of the windows."""
        ...


@runtime_checkable
class Batched(Protocol):
    """What a detector may have beside the contract: many models of its kind in one, for requests of many workloads.

    A detector without it is scored window by window (:class:`selfheal.detectors.stack.Loop`).
    """

    @classmethod
    def stack(cls, models: Sequence[Self]) -> Self:
        """One detector out of n fitted for the same metrics; they go on as views of its numbers."""
        ...

    def look(self, windows: Windows, places: Places) -> Sight:
        """Look at windows with the models at some places, one for each."""
        ...


def require(window: MetricWindow, need: int, what: str) -> None:
    """Raise InsufficientData unless a window has enough usable rows."""
    if window.usable < need:
        raise InsufficientData(need, window.usable, what)


@overload
def check_names(window: MetricWindow, names: tuple[str, ...]) -> MetricWindow: ...
@overload
def check_names(window: Windows, names: tuple[str, ...]) -> Windows: ...
def check_names(window: MetricWindow | Windows, names: tuple[str, ...]) -> MetricWindow | Windows:
    """The window with its metrics in the model's order; stacked windows are in it.

    Raises:
        MetricMismatch: When they are not the same set.
    """
    if window.names == names or isinstance(window, Windows):
        return window
    missing, unknown = set(names) - set(window.names), set(window.names) - set(names)
    if missing or unknown:
        raise MetricMismatch(window.workload, missing, unknown)
    return window.select(names)


def silences(window: MetricWindow | Windows) -> list[tuple[int, int, int]]:
    """Where samples come back after a silence of at least SILENCE seconds. Windows with any are never stacked.

    Returns:
        For each silence the first row after it, the first row that can be judged again (YARD rows later), and the row
        where the next silence ends, or the window does.
    """
    if isinstance(window, Windows) or len(window) * window.step <= SILENCE:
        return []
    rows = np.flatnonzero(np.isfinite(window.values).any(axis=1))
    starts = rows[1:][np.diff(rows) * window.step >= SILENCE].tolist()
    return [(start, min(start + YARD, stop), stop) for start, stop in pairwise([*starts, len(window)])]


def measured_anew(scaled: Floats, window: MetricWindow | Windows) -> tuple[Floats, Floats]:
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
    size: Floats = np.abs(deviations)
    far = size > KNEE
    if far.any():
        size[far] = KNEE * (1 + np.log(size[far] / KNEE))
    return size


def combine(deviations: Floats, alive: Floats) -> Floats:
    """From many metrics to one score: root mean square of the worse half (at least three), each softened.

    Args:
        deviations: Shape [t, .., m], in units of each metric's spread, 0 where a metric does not count.
        alive: Which metrics count, shape [.., m].

    Returns:
        Shape [t, ..].
    """
    count = alive.astype(bool).sum(axis=-1)
    top = np.minimum(count, np.maximum(3, count // 2))[..., None]
    worst = np.sort(soften(deviations) ** 2, axis=-1)[..., ::-1]
    worst *= np.arange(alive.shape[-1]) < top
    result: Floats = np.sqrt(worst.sum(axis=-1) / np.maximum(top[..., 0], 1))
    return result


def whitening(deviations: Floats, alive: Floats) -> Floats:
    """What makes usual deviations of the metrics independent of each other and equally wide, shape [m, m].

    The covariance is shrunk (Ledoit and Wolf 2004), and no direction counts as narrower than a twentieth of the usual:
    a combination that never varied in training would otherwise decide alone.

    Args:
        deviations: Of training, shape [t, m].
        alive: Which metrics count, shape [m]; rows of the others are 0.
    """
    from sklearn.covariance import ledoit_wolf

    live = np.flatnonzero(alive)
    found = np.zeros((len(alive), len(alive)))
    if not live.size:
        return found
    covariance = ledoit_wolf(deviations[:, live], assume_centered=True)[0]
    width, directions = np.linalg.eigh(covariance)
    width = np.maximum(width, max(0.05 * float(np.median(np.diag(covariance))), 1e-6))
    found[np.ix_(live, live)] = (directions / np.sqrt(width)).T
    return found


def combine_jointly(deviations: Floats, alive: Floats, whitened: Floats) -> Floats:
    """From many metrics to one score where metrics deviate together by nature: how unusual the combination is.

    Args:
        deviations: Shape [t, .., m], in units of each metric's spread, 0 where a metric does not count.
        alive: Which metrics count, shape [.., m].
        whitened: See :func:`whitening`, shape [.., m, m].

    Returns:
        Root mean square of independent parts, each softened, shape [t, ..].
    """
    parts = soften(np.matvec(whitened, soft(deviations))) ** 2
    result: Floats = np.sqrt(parts.sum(axis=-1) / np.maximum(alive.sum(axis=-1), 1))
    return result


def within(deviations: Floats) -> Flags:
    """Rows in which no metric stands out alone, shape [t, ..]."""
    found: Flags = np.logical_and.reduce(np.abs(deviations) <= KNEE, axis=-1)
    return found


def soft(deviations: Floats) -> Floats:
    """Deviations with their sign, softened (:func:`soften`)."""
    result: Floats = np.sign(deviations) * soften(deviations)
    return result


def smooth(values: Floats, span: float) -> Floats:
    """Causal exponential smoothing along time; ``span`` is the samples after which 63 % is forgotten."""
    keep = float(np.exp(-1.0 / span))
    result: Floats = values * (1 - keep)
    result[:1] = values[:1]
    decay(result, keep)
    return result


def decay(values: Floats, keep: Floats | float) -> None:
    """Add to each row, in place, what is kept of the row before: a recursion along time, all else at once.

    Args:
        values: Shape [t, .., m].
        keep: Share kept, shape [.., m] or one for all.
    """
    kept = np.empty(values.shape[1:])
    for before, row in pairwise(values):
        np.multiply(before, keep, out=kept)
        np.add(row, kept, out=row)
