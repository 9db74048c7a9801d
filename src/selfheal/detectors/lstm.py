"""LSTM over all metrics jointly: what comes a little later, given what came before and the time of the day.

Trained with torch (on a GPU if there is one), kept as weight matrices and run with numpy: the endpoint needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from selfheal.detectors.residual import ResidualDetector
from selfheal.detectors.storage import pick
from selfheal.window import DAY, Floats, MetricWindow, Windows

_HIDDEN = 32
_LENGTH = 64  # samples of a training sequence
_BURN_IN = 16  # samples before the state means anything
_HORIZON = 5  # samples ahead: one step ahead a network learns to repeat the last sample
_SEQUENCES = 384
_EPOCHS = 12
_BATCHES = 8  # of an epoch
_MIDNIGHT = np.datetime64("2024-01-01T00:00:00", "s")


class LstmDetector(ResidualDetector):
    """Catches sequences that never ran this way."""

    name: ClassVar[str] = "lstm"
    need: ClassVar[int] = 200
    warmup: ClassVar[int] = _BURN_IN + _HORIZON
    memory: ClassVar[float] = 3.0
    beside: ClassVar[bool] = True

    def _learn(self, scaled: Floats, window: MetricWindow, /) -> dict[str, Floats]:
        # Who has not seen two days cannot know what is usual at which time of the day.
        clock = np.array([window.span.total_seconds() >= 2 * DAY * 0.98], dtype=float)
        return _train(_inputs(scaled, window, clock[0]), scaled.shape[1], self.seed) | {"clock": clock}

    def _forecast(self, scaled: Floats, window: MetricWindow | Windows, /) -> Floats:
        inputs = _inputs(scaled, window, pick(self._arrays, "clock")[0][..., 0])
        # The forecast for row i was made at row i - _HORIZON; the first rows have none and are taken as they are.
        found = scaled.copy()
        if len(scaled) > self.warmup:
            found[self.warmup :] = _run(inputs[:-_HORIZON], self._arrays)[_BURN_IN:]
        return found


def _inputs(scaled: Floats, window: MetricWindow | Windows, clock: Floats) -> Floats:
    """Metrics, and the time of the day as a point on a circle of radius ``clock``, shape [t, .., m + 2]."""
    angle = (window.times - _MIDNIGHT).astype(float) * (2 * np.pi / DAY)
    hands = [(clock * hand)[..., None] for hand in (np.sin(angle), np.cos(angle))]
    return np.concatenate([np.clip(scaled, -6, 6), *hands], axis=-1)


def _train(inputs: Floats, metrics: int, seed: int) -> dict[str, Floats]:
    import torch

    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":  # a CPU computes in order anyway, and this imports torch's compiler
        torch.use_deterministic_algorithms(mode=True)
    network = torch.nn.LSTM(inputs.shape[1], _HIDDEN, batch_first=True).to(device)
    head = torch.nn.Linear(_HIDDEN, metrics).to(device)
    parameters = [*network.parameters(), *head.parameters()]
    moments = [(torch.zeros_like(one), torch.zeros_like(one)) for one in parameters]
    data = torch.tensor(inputs, dtype=torch.float32, device=device)
    random = np.random.default_rng(seed)
    length = min(_LENGTH, len(inputs) - _HORIZON - 1)
    rows = np.arange(length)
    with _one_thread():
        for turn in range(_EPOCHS * _BATCHES):
            if turn % _BATCHES == 0:
                starts = random.integers(0, len(inputs) - length - _HORIZON + 1, (_BATCHES, _SEQUENCES // _BATCHES, 1))
            batch = torch.from_numpy(starts[turn % _BATCHES] + rows).to(device)
            past, targets = data[batch], data[batch + _HORIZON][..., :metrics]
            # The level itself, not its change: a forecast that starts from the last sample follows every fault.
            forecast = head(network(past)[0])
            loss = torch.nn.functional.smooth_l1_loss(forecast[:, _BURN_IN:], targets[:, _BURN_IN:])
            torch.autograd.backward(loss)
            _step(parameters, moments, turn, 0.01 * (1 - turn // _BATCHES / _EPOCHS))
    return _weights(network, head)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Matrices are so small that threads only wait for each other; and sums keep their order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _step(parameters: Sequence[Any], moments: Sequence[tuple[Any, Any]], turn: int, rate: float) -> None:
    """One step of Adam. torch's own does the same, but making one imports its compiler: two seconds and 150 MB."""
    import torch

    with torch.no_grad():
        for one, (mean, square) in zip(parameters, moments, strict=True):
            mean.lerp_(one.grad, 0.1)
            square.mul_(0.999).addcmul_(one.grad, one.grad, value=0.001)
            spread = (square / (1 - 0.999 ** (turn + 1))).sqrt_().add_(1e-8)
            one.addcdiv_(mean, spread, value=-rate / (1 - 0.9 ** (turn + 1)))
            one.grad = None


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
    """Forecast made at each row for _HORIZON rows later, shape [t, .., m].

    Products are taken row by row, so that no row's last digit depends on how many others there are.
    """
    width, size = inputs.shape[-1], arrays["w_state"].shape[-1]
    # A sigmoid is a tanh at half the input, so one tanh does for all gates: input, forget, candidate, output.
    sigmoid = np.repeat(np.array([1, 1, 0, 1], dtype=bool), size)
    half, rest = np.where(sigmoid, np.float32(0.5), np.float32(1)), np.where(sigmoid, np.float32(0.5), np.float32(0))
    weights = np.empty((*arrays["w_state"].shape[:-1], width + size), np.float32)
    np.multiply(arrays["w_in"], half[:, None], out=weights[..., :width])
    np.multiply(arrays["w_state"], half[:, None], out=weights[..., width:])
    bias = arrays["w_bias"] * half
    seen = np.zeros((len(inputs) + 1, *inputs.shape[1:-1], width + size), np.float32)  # a row and the state before it
    seen[:-1, ..., :width] = inputs
    cell = np.zeros(seen[0, ..., width:].shape, np.float32)
    for now, after in pairwise(seen):
        gates = np.matvec(weights, now)
        gates += bias
        np.tanh(gates, out=gates)
        gates *= half
        gates += rest
        cell *= gates[..., size : 2 * size]
        cell += gates[..., :size] * gates[..., 2 * size : 3 * size]
        np.multiply(gates[..., 3 * size :], np.tanh(cell), out=after[..., width:])
    states = np.ascontiguousarray(seen[1:, ..., width:])
    found: Floats = (np.matvec(arrays["w_out"], states) + arrays["b_out"]).astype(float)
    return found
