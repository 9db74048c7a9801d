"""Faults injected into normal data, to calibrate confidence and to judge a challenger without labels.

Shapes that operators know: a leak's ramp, a hog, a crash loop's saw-tooth, a latency shift, a level shift of one metric
and of several metrics together. Sizes are drawn so that some are easy and some are hard to see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from selfheal.window import Floats, MetricWindow

Flags = npt.NDArray[np.bool_]
Shape = Callable[[int, np.random.Generator], Floats]


def _ramp(length: int, _: np.random.Generator) -> Floats:
    return np.linspace(0.0, 1.0, length)


def _plateau(length: int, _: np.random.Generator) -> Floats:
    return np.ones(length)


def _saw(length: int, random: np.random.Generator) -> Floats:
    period = int(random.integers(4, 10))
    found: Floats = (np.arange(length) % period) / period
    return found


_VISIBLE = 1.0  # in spreads of the metric

FAULTS: Mapping[str, tuple[Shape, int]] = MappingProxyType(
    {
        "leak": (_ramp, 1),
        "hog": (_plateau, 1),
        "crash_loop": (_saw, 2),
        "shift": (_plateau, 1),
        "correlated_shift": (_plateau, 4),
    }
)
"""Shape and number of metrics it touches."""


AFTERMATH = 20
"""Rows after a fault in which detectors may still remember it: neither normal nor faulty."""


def clear_of(faulty: Flags) -> Flags:
    """Which rows are either faulty or far enough behind a fault to be normal, shape [t].

    Args:
        faulty: Rows with a visible fault, shape [t].
    """
    recent = np.convolve(faulty, np.ones(AFTERMATH + 1))[: len(faulty)] > 0
    found: Flags = faulty | ~recent
    return found


def inject(window: MetricWindow, random: np.random.Generator, share: float = 0.25) -> tuple[MetricWindow, Flags]:
    """Copy a window of normal data and put faults into a share of its rows.

    Args:
        window: Normal data, shape [t, m].
        random: Source of chance.
        share: Of rows to be faulty, at most.

    Returns:
        The copy, and which rows are visibly faulty, shape [t].
    """
    values = window.values.copy()
    faulty = np.zeros(len(window), dtype=bool)
    known = np.isfinite(values).any(axis=0)
    spread = np.zeros(values.shape[1])
    spread[known] = np.nanstd(values[:, known], axis=0)
    live = np.flatnonzero(spread > 0)
    if not live.size:
        return window, faulty
    kinds = list(FAULTS)
    at = 30 + int(random.integers(10, 60))
    while at < len(window) - 20 and float(faulty.mean()) < share:
        shape, width = FAULTS[kinds[int(random.integers(len(kinds)))]]
        length = min(int(random.integers(10, 90)), len(window) - at)
        for column in random.choice(live, min(width, int(live.size)), replace=False):
            grown = random.uniform(2.0, 10.0) * shape(length, random)
            values[at : at + length, column] += spread[column] * grown
            # The first minutes of a leak are in nobody's data: a row is faulty once something can be seen.
            faulty[at : at + length] |= grown >= _VISIBLE
        at += length + int(random.integers(60, 240))
    return window.with_values(values), faulty
