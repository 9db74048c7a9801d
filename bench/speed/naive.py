"""What a person would write first: the libraries' own calls, one metric and one sample after the other.

It is here to be measured beside ours and used nowhere else. It takes the libraries' defaults and is not made slow on
purpose: sequences of the LSTM do not overlap, ARIMA has the order that ours has.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bench.speed.workloads import ROWS
from selfheal.window import Floats, MetricWindow, fill_gaps

EPOCHS = 20
_HIDDEN = 32


class Naive:
    """The four libraries, fitted for one workload.

    Args:
        window: The whole history.
        metrics: How many of them to fit ARIMA and Prophet for; the rest is extrapolated.
        epochs: Of the LSTM.
    """

    def __init__(self, window: MetricWindow, metrics: int, epochs: int = EPOCHS) -> None:
        self._window = window
        self._values = fill_gaps(window.values)
        self._part = min(metrics, len(window.names))
        self._epochs = epochs
        self._models: dict[str, Any] = {}

    @property
    def factor(self) -> float:
        """By how much ARIMA and Prophet are extrapolated."""
        return len(self._window.names) / self._part

    def train(self) -> dict[str, float]:
        """Fit all four.

        Returns:
            Seconds by detector, for all metrics.
        """
        return self._timed(
            isolation_forest=self._train_forest,
            arima=self._train_arima,
            prophet=self._train_prophet,
            lstm=self._train_lstm,
        )

    def score(self, window: MetricWindow) -> dict[str, float]:
        """Score a request's window with all four.

        Returns:
            Seconds by detector, for all metrics.
        """
        values = fill_gaps(window.values)
        return self._timed(
            isolation_forest=lambda: self._models["isolation_forest"].score_samples(values),
            arima=lambda: self._score_arima(values),
            prophet=lambda: self._score_prophet(window),
            lstm=lambda: self._score_lstm(values),
        )

    def _timed(self, **work: Callable[[], object]) -> dict[str, float]:
        found = {}
        for name, call in work.items():
            start = time.perf_counter()
            with _quiet():
                call()
            found[name] = (time.perf_counter() - start) * (self.factor if name in ("arima", "prophet") else 1.0)
        return found

    def _train_forest(self) -> None:
        from sklearn.ensemble import IsolationForest

        self._models["isolation_forest"] = IsolationForest(random_state=0).fit(self._values)

    def _train_arima(self) -> None:
        from statsmodels.tsa.arima.model import ARIMA

        self._models["arima"] = [ARIMA(column, order=(1, 1, 1)).fit() for column in self._columns()]

    def _train_prophet(self) -> None:
        import pandas as pd
        from prophet import Prophet

        moments = pd.DatetimeIndex(self._window.times)
        frames = [pd.DataFrame({"ds": moments, "y": column}) for column in self._columns()]
        self._models["prophet"] = [Prophet().fit(frame) for frame in frames]

    def _train_lstm(self) -> None:
        import torch

        torch.manual_seed(0)
        network = torch.nn.LSTM(self._values.shape[1], _HIDDEN, batch_first=True)
        head = torch.nn.Linear(_HIDDEN, self._values.shape[1])
        optimiser = torch.optim.Adam([*network.parameters(), *head.parameters()])
        data = torch.tensor(self._scaled(self._values), dtype=torch.float32)
        for _ in range(self._epochs):
            for start in range(0, len(data) - ROWS - 1, ROWS):
                inputs = data[None, start : start + ROWS]
                target = data[None, start + 1 : start + ROWS + 1]
                loss = torch.nn.functional.mse_loss(head(network(inputs)[0]), target)
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
        self._models["lstm"] = (network, head)

    def _score_arima(self, values: Floats) -> None:
        for model, column in zip(self._models["arima"], values.T, strict=False):
            _ = model.apply(column).resid

    def _score_prophet(self, window: MetricWindow) -> None:
        import pandas as pd

        frame = pd.DataFrame({"ds": pd.DatetimeIndex(window.times)})
        for model in self._models["prophet"]:
            model.predict(frame)

    def _score_lstm(self, values: Floats) -> None:
        import torch

        network, head = self._models["lstm"]
        with torch.no_grad():
            head(network(torch.tensor(self._scaled(values)[None], dtype=torch.float32))[0])

    def _columns(self) -> Iterator[Floats]:
        """Metrics that move, evenly picked: a constant would take no time."""
        moving = np.flatnonzero(self._values.std(axis=0) > 0)
        for column in moving[np.linspace(0, len(moving) - 1, self._part).round().astype(int)]:
            yield self._values[:, column]

    def _scaled(self, values: Floats) -> Floats:
        found: Floats = (values - self._values.mean(axis=0)) / (self._values.std(axis=0) + 1e-9)
        return found


@contextmanager
def _quiet() -> Iterator[None]:
    """The libraries warn about starting values and missing extras; nobody who measures them reads that."""
    for name in ("cmdstanpy", "prophet", "prophet.plot"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
