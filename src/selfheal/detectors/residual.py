"""The base of forecasters: what they expected, what came, how far off that is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import ClassVar, Self

import numpy as np

from selfheal.detectors.base import (
    WILD,
    Flags,
    Sight,
    Testimony,
    check_names,
    combine,
    combine_jointly,
    require,
    silences,
    smooth,
    soft,
    whitening,
    within,
)
from selfheal.detectors.scaling import Scaling, scaling_of
from selfheal.detectors.stack import of_models, stacked_arrays
from selfheal.detectors.storage import load_arrays, pick, save_arrays
from selfheal.window import Floats, MetricWindow, Places, Times, Windows

_HIGH = 0.99  # quantile of training at which the joint score counts as much as the plain one


class ResidualDetector(ABC):
    """A detector that scores the distance between forecast and sample.

    A forecaster implements ``_learn`` and ``_forecast`` on scaled values; everything else is here. Time is the first
    axis and metrics are the last one of whatever is forecast; between them may stand the models of a stack.

    Attributes:
        name: In DETECTORS.
        need: Usable samples without which it abstains.
        warmup: See :class:`selfheal.detectors.base.Detector`.
        seasonal: See :class:`selfheal.detectors.base.Detector`.
        memory: Samples over which deviations are smoothed: where members look at different time scales they err at
            different times.
        wild: Scaled values are cut there, those of training at WILD.
        joint: Whether deviations of several metrics at once are judged by how they usually go together.
        beside: Whether that is asked beside the plain score, of rows in which no metric stands out alone.
        names: Metrics fitted.
    """

    name: ClassVar[str]
    need: ClassVar[int] = 60
    warmup: ClassVar[int] = 10
    seasonal: ClassVar[bool] = False
    memory: ClassVar[float] = 3.0
    wild: ClassVar[float] = WILD
    joint: ClassVar[bool] = False
    beside: ClassVar[bool] = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.names: tuple[str, ...] = ()
        self._arrays: dict[str, Floats] = {}

    @abstractmethod
    def _learn(self, scaled: Floats, window: MetricWindow, /) -> dict[str, Floats]:
        """Parameters from scaled training values, shape [t, m]."""

    @abstractmethod
    def _forecast(self, scaled: Floats, window: MetricWindow | Windows, /) -> Floats:
        """Expected scaled values, shape [t, .., m], each from earlier rows alone."""

    def fit(self, window: MetricWindow) -> Self:
        """Learn what is normal; see :class:`selfheal.detectors.base.Detector`."""
        require(window, self._needed(window), self.name)
        self.names = window.names
        scaling = Scaling.learn(window)
        self._arrays = scaling.arrays() | self._learn(scaling.apply(window), window)
        error = np.abs(self._residuals(window))
        # A band has a floor: a forecast that was right to the last digit in training is luck, not precision.
        self._arrays["error"] = np.maximum(np.sqrt(np.mean(np.minimum(error, 8.0) ** 2, axis=0)), 0.1)
        if self.joint or self.beside:
            self._learn_together(self.deviations(window))
        return self

    def _learn_together(self, deviations: Floats) -> None:
        """How deviations of training go together, and what makes the joint score as large as the plain one."""
        alive = self._arrays["alive"]
        turn = whitening(soft(deviations), alive)
        self._arrays["whitening"] = turn.astype(np.float32)
        if self.beside:
            rows = deviations[within(deviations)]
            plain, jointly = combine(rows, alive), combine_jointly(rows, alive, turn)
            high = [float(np.quantile(part, _HIGH)) if len(rows) else 0.0 for part in (plain, jointly)]
            self._arrays["ratio"] = np.array([high[0] / high[1] if high[1] > 0 else 0.0])

    def _needed(self, _window: MetricWindow, /) -> int:
        return self.need

    @classmethod
    def stack(cls, models: Sequence[Self]) -> Self:
        """See :class:`selfheal.detectors.base.Batched`."""
        found = cls()
        found.names, found._arrays = models[0].names, stacked_arrays([model._arrays for model in models])
        return found

    def look(self, windows: Windows, places: Places) -> Sight:
        """See :class:`selfheal.detectors.base.Batched`."""
        models = type(self)(self.seed)
        models.names, models._arrays = self.names, of_models(self._arrays, places)
        scaling = scaling_of(models._arrays)
        scaled = scaling.apply(windows, models.wild)
        forecast = models._forecast(scaled, windows)
        return _Sight(models._smoothed(scaled - forecast), forecast, scaling, windows.times, models._combined)

    def _residuals(self, window: MetricWindow) -> Floats:
        scaled = scaling_of(self._arrays).apply(window, self.wild)
        return scaled - self._usual(scaled, window)

    def _usual(self, scaled: Floats, window: MetricWindow) -> Floats:
        """The forecast; after a long silence moved by what the first rows, which nobody can judge, differ from it."""
        forecast = self._forecast(scaled, window)
        for start, judged, stop in silences(window):
            forecast[judged:stop] += np.median(scaled[start:judged] - forecast[start:judged], axis=0)
            forecast[start:judged] = scaled[start:judged]
        return forecast

    def _smoothed(self, residuals: Floats) -> Floats:
        error, alive = pick(self._arrays, "error", "alive")
        raw = residuals / error
        result = smooth(np.clip(raw, -WILD, WILD, out=raw), self.memory)
        result *= alive
        return result

    def deviations(self, window: MetricWindow) -> Floats:
        """See :class:`selfheal.detectors.base.Detector`."""
        return self._smoothed(self._residuals(check_names(window, self.names)))

    def score(self, window: MetricWindow) -> Floats:
        """See :class:`selfheal.detectors.base.Detector`."""
        return self._combined(self.deviations(window), ...)

    def _combined(self, deviations: Floats, which: Places | EllipsisType) -> Floats:
        """The score of the models at some places of a stack."""
        alive = pick(self._arrays, "alive")[0][which]
        if not (self.joint or self.beside):
            return combine(deviations, alive)
        jointly = combine_jointly(deviations, alive, pick(self._arrays, "whitening")[0][which])
        if self.joint:
            return jointly
        # A metric far out speaks for itself, and its parting from others would drown what they say together.
        jointly *= pick(self._arrays, "ratio")[0][which][..., 0] * within(deviations)
        return np.maximum(combine(deviations, alive), jointly)

    def expected(self, window: MetricWindow) -> Floats:
        """Forecast in the metrics' units (increases for counters), shape [t, m]."""
        window = check_names(window, self.names)
        scaling = scaling_of(self._arrays)
        return scaling.invert(self._usual(scaling.apply(window, self.wild), window), window)

    @property
    def counters(self) -> Flags:
        """See :class:`selfheal.detectors.base.Detector`."""
        return pick(self._arrays, "counter")[0].astype(bool)

    def save(self, folder: Path) -> None:
        """See :class:`selfheal.detectors.base.Detector`."""
        save_arrays(folder, self.name, self.names, self._arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`selfheal.detectors.base.Detector`."""
        found = cls()
        found.names, found._arrays = load_arrays(folder, cls.name)
        return found


@dataclass(frozen=True)
class _Sight:
    deviations: Floats
    forecast: Floats
    scaling: Scaling
    times: Times
    combined: Callable[[Floats, Places], Floats]

    def score(self, newest: int, which: Places) -> Floats:
        return self.combined(self.deviations[len(self.deviations) - newest :, which], which)

    def testify(self, place: int) -> Testimony:
        one = self.scaling.of(place)
        usual = one.in_units(self.forecast[:, place], self.times[:, place])
        return Testimony(self.deviations[:, place], usual, one.counter.astype(bool))
