"""Many fitted models of one detector, scored together.

Parameters of n models stand in arrays whose first axis is the model's. The models go on as views of them, so that
those of a thousand workloads are kept once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from selfheal.detectors.base import Batched, Detector, Flags
from selfheal.window import Floats, MetricWindow, Places, Windows

Array = npt.NDArray[Any]


def stacked(models: Sequence[Detector]) -> Batched | Loop:
    """One for all, in their order; at least one model, all of one kind and for the same metrics."""
    kind: Any = type(models[0])
    return kind.stack(models) if hasattr(kind, "stack") else Loop(models)


class Loop:
    """What stands in for a stack where a detector has none: its models, asked one by one.

    Args:
        models: All of one kind.
    """

    def __init__(self, models: Sequence[Detector]) -> None:
        self._models = list(models)
        self.warmup = models[0].warmup

    def take(self, which: Places) -> Self:
        """See :class:`selfheal.detectors.base.Batched`."""
        return type(self)([self._models[place] for place in which])

    def score(self, window: Windows, _newest: int = 0) -> Floats:
        """See :class:`selfheal.detectors.base.Batched`."""
        return np.stack([model.score(one) for model, one in self._pairs(window)], axis=1)

    def deviations(self, window: Windows) -> Floats:
        """See :class:`selfheal.detectors.base.Batched`."""
        return np.stack([model.deviations(one) for model, one in self._pairs(window)], axis=1)

    def expected(self, window: Windows) -> Floats:
        """See :class:`selfheal.detectors.base.Batched`."""
        return np.stack([model.expected(one) for model, one in self._pairs(window)], axis=1)

    @property
    def counters(self) -> Flags:
        """See :class:`selfheal.detectors.base.Batched`."""
        return np.array([model.counters for model in self._models])

    def _pairs(self, window: Windows) -> Iterator[tuple[Detector, MetricWindow]]:
        return zip(self._models, window.each(), strict=True)


def stacked_arrays(models: Sequence[dict[str, Array]], *, end_to_end: Sequence[str] = ()) -> dict[str, Array]:
    """Parameters of many models as arrays with one more axis, the first; the models keep views of them.

    Args:
        models: Parameters by name, of each model. Changed in place.
        end_to_end: Names of those that differ in length and are laid end to end, without another axis.
    """
    found = {}
    for key in models[0]:
        parts = [model[key] for model in models]
        joined = key in end_to_end
        found[key] = np.concatenate(parts) if joined else np.stack(parts)
        starts = np.cumsum([0, *map(len, parts)]) if joined else None
        for place, model in enumerate(models):
            model[key] = found[key][place] if starts is None else found[key][starts[place] : starts[place + 1]]
    return found


def taken(array: Array, which: Places) -> Array:
    """The models at some places; a view where they stand side by side, as in a request of all workloads."""
    start = int(which[0]) if len(which) else 0
    if np.array_equal(which, np.arange(start, start + len(which))):
        return array[start : start + len(which)]
    return array[which]
