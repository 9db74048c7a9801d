"""Many fitted models of one detector, scored together.

Parameters of n models stand in arrays whose first axis is the model's. The models go on as views of them, so that
those of a thousand workloads are kept once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from selfheal.detectors.base import Batched, Detector, Sight, Testimony
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

    def look(self, windows: Windows, places: Places) -> Sight:
        """See :class:`selfheal.detectors.base.Batched`."""
        return _Looks([(self._models[place], window) for place, window in zip(places, windows.each(), strict=True)])


class _Looks:
    def __init__(self, pairs: Sequence[tuple[Detector, MetricWindow]]) -> None:
        self._pairs = pairs
        self._scores = np.stack([model.score(window) for model, window in pairs], axis=1)

    def score(self, newest: int, which: Places) -> Floats:
        return self._scores[len(self._scores) - newest :, which]

    def testify(self, place: int) -> Testimony:
        model, window = self._pairs[place]
        return Testimony(model.deviations(window), model.expected(window), model.counters)


@dataclass(frozen=True)
class Seen:
    """A :class:`selfheal.detectors.base.Sight` made of two functions."""

    score: Callable[[int, Places], Floats]
    testify: Callable[[int], Testimony]


END_TO_END = {"week": "week_at", "nodes": "root"}
"""Parameters that differ in length are laid end to end. Which one says where a model's begin: negative where it has
none."""


def stacked_arrays(models: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Parameters of many models as arrays with one more axis, the first; the models keep views of them.

    Args:
        models: Parameters by name, of each model. Changed in place.
    """
    found = {}
    for key in models[0]:
        parts = [model[key] for model in models]
        joined = key in END_TO_END
        found[key] = np.concatenate(parts) if joined else np.stack(parts)
        starts = np.cumsum([0, *map(len, parts)]) if joined else None
        for place, model in enumerate(models):
            model[key] = found[key][place] if starts is None else found[key][starts[place] : starts[place + 1]]
    for key, at in END_TO_END.items():
        if key in found:
            ahead = np.cumsum([0, *(len(model[key]) for model in models[:-1])])[:, None]
            found[at] = np.where(found[at] < 0, found[at], found[at] + ahead)
    return found


def of_models(arrays: Mapping[str, Array], which: Places) -> dict[str, Array]:
    """Parameters of the models at some places of a stack."""
    return {key: array if key in END_TO_END else taken(array, which) for key, array in arrays.items()}


def taken(array: Array, which: Places) -> Array:
    """The models at some places; a view where they stand side by side, as in a request of all workloads."""
    start = int(which[0]) if len(which) else 0
    if np.array_equal(which, np.arange(start, start + len(which))):
        return array[start : start + len(which)]
    return array[which]
