"""LSTM over all metrics jointly: what comes a little later, given what came before and the time of the day.

Trained with torch (on a GPU if there is one), kept as weight matrices and run with numpy: the endpoint needs no torch.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from selfheal.detectors.base import pick
from selfheal.detectors.residual import ResidualDetector
from selfheal.window import DAY, Floats, MetricWindow

_HIDDEN = 32
_LENGTH = 64  # samples of a training sequence
_BURN_IN = 16  # samples before the state means anything
_HORIZON = 5  # samples ahead: one step ahead a network learns to repeat the last sample
_SEQUENCES = 384
_EPOCHS = 12
_MIDNIGHT = np.datetime64("2024-01-01T00:00:00", "s")


class LstmDetector(ResidualDetector):
    """Catches sequences that never ran this way."""

    name: ClassVar[str] = "lstm"
    need: ClassVar[int] = 200
    warmup: ClassVar[int] = _BURN_IN + _HORIZON
    memory: ClassVar[float] = 5.0

    def _learn(self, scaled: Floats, window: MetricWindow, /) -> dict[str, Floats]:
        # Who has not seen two days cannot know what is usual at which time of the day.
        clock = float(window.span.total_seconds() >= 2 * DAY * 0.98)
        return _train(_inputs(scaled, window, clock), scaled.shape[1], self.seed) | {"clock": np.array([clock])}

    def _forecast(self, scaled: Floats, window: MetricWindow, /) -> Floats:
        ahead = _run(_inputs(scaled, window, float(pick(self._arrays, "clock")[0][0])), self._arrays)
        # The forecast for row i was made at row i - _HORIZON; the first rows have none and are taken as they are.
        return np.vstack([scaled[: self.warmup], ahead[_BURN_IN:-_HORIZON]])[: len(scaled)]


def _inputs(scaled: Floats, window: MetricWindow, clock: float) -> Floats:
    """Metrics, and the time of the day as a point on a circle of radius ``clock``, shape [t, m + 2]."""
    angle = (window.times - _MIDNIGHT).astype(float) * (2 * np.pi / DAY)
    return np.column_stack([np.clip(scaled, -6, 6), clock * np.sin(angle), clock * np.cos(angle)])


def _train(inputs: Floats, metrics: int, seed: int) -> dict[str, Floats]:
    import torch

    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(mode=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = torch.nn.LSTM(inputs.shape[1], _HIDDEN, batch_first=True).to(device)
    head = torch.nn.Linear(_HIDDEN, metrics).to(device)
    optimiser = torch.optim.Adam([*network.parameters(), *head.parameters()], lr=0.01)
    data = torch.tensor(inputs, dtype=torch.float32, device=device)
    random = np.random.default_rng(seed)
    length = min(_LENGTH, len(inputs) - _HORIZON - 1)
    for epoch in range(_EPOCHS):
        for group in optimiser.param_groups:
            group["lr"] = 0.01 * (1 - epoch / _EPOCHS)
        starts = random.integers(0, len(inputs) - length - _HORIZON + 1, _SEQUENCES)
        for batch in np.split(starts, 8):
            past = torch.stack([data[s : s + length] for s in batch])
            targets = torch.stack([data[s + _HORIZON : s + _HORIZON + length, :metrics] for s in batch])
            # The level itself, not its change: a forecast that starts from the last sample follows every fault.
            forecast = head(network(past)[0])
            loss = torch.nn.functional.smooth_l1_loss(forecast[:, _BURN_IN:], targets[:, _BURN_IN:])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
    return _weights(network, head)


def _weights(network: Any, head: Any) -> dict[str, Floats]:
    def plain(tensor: Any) -> Floats:
        found: Floats = tensor.detach().cpu().numpy().astype(np.float32)
        return found

    return {
        "w_in": plain(network.weight_ih_l0),
        "w_state": plain(network.weight_hh_l0),
        "w_bias": plain(network.bias_ih_l0 + network.bias_hh_l0),
        "w_out": plain(head.weight),
        "b_out": plain(head.bias),
    }


def _run(inputs: Floats, arrays: dict[str, Floats]) -> Floats:
    """Forecast made at each row for _HORIZON rows later, shape [t, m]."""
    size = arrays["w_state"].shape[1]
    drive = inputs.astype(np.float32) @ arrays["w_in"].T + arrays["w_bias"]
    w_state = arrays["w_state"].T
    state, cell = np.zeros(size, np.float32), np.zeros(size, np.float32)
    states = np.empty((len(inputs), size), np.float32)
    for i, row in enumerate(drive):
        gates = row + state @ w_state
        gates[: 2 * size] = _sigmoid(gates[: 2 * size])
        gates[3 * size :] = _sigmoid(gates[3 * size :])
        cell = gates[size : 2 * size] * cell + gates[:size] * np.tanh(gates[2 * size : 3 * size])
        state = gates[3 * size :] * np.tanh(cell)
        states[i] = state
    found: Floats = (states @ arrays["w_out"].T + arrays["b_out"]).astype(float)
    return found


def _sigmoid(x: Any) -> Any:
    return 0.5 * (1 + np.tanh(0.5 * x))
