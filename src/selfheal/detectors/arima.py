"""ARIMA(1,1,1) for each metric: what the next sample should be, given the last ones.

Estimated with statsmodels (Hannan-Rissanen), scored by the recursion alone: coefficients are all that is kept. Metrics
of one workload are surprised together by nature; what counts is a combination of surprises that is not usual.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from selfheal.detectors.base import decay
from selfheal.detectors.residual import ResidualDetector
from selfheal.window import Floats, MetricWindow, Windows

_LONGEST = 12_000  # samples that estimation looks at: more do not move two coefficients


class ArimaDetector(ResidualDetector):
    """Catches breaks of trend and level the moment they happen."""

    name: ClassVar[str] = "arima"
    need: ClassVar[int] = 50
    memory: ClassVar[float] = 3.0
    joint: ClassVar[bool] = True

    def _learn(self, scaled: Floats, _window: MetricWindow, /) -> dict[str, Floats]:
        steps = np.diff(scaled[-_LONGEST:], axis=0)
        pairs = np.array([_estimate(column) for column in steps.T]).reshape(-1, 2)
        return {"phi": pairs[:, 0], "theta": pairs[:, 1]}

    def _forecast(self, scaled: Floats, _window: MetricWindow | Windows, /) -> Floats:
        steps = np.diff(scaled, axis=0, prepend=scaled[:1])
        surprise = steps.copy()
        surprise[1:] -= self._arrays["phi"] * steps[:-1]
        decay(surprise, -self._arrays["theta"])
        return scaled - surprise


def _estimate(steps: Floats) -> tuple[float, float]:
    """AR and MA coefficient of one differenced series, kept inside the stable region."""
    from statsmodels.tsa.arima.estimators.hannan_rissanen import hannan_rissanen

    if len(steps) < 40 or float(np.ptp(steps)) < 1e-9:
        return 0.0, 0.0
    fitted = hannan_rissanen(steps, ar_order=1, ma_order=1, demean=False, unbiased=False)[0]
    phi, theta = float(fitted.ar_params[0]), float(fitted.ma_params[0])
    if not np.isfinite([phi, theta]).all():
        return 0.0, 0.0
    return float(np.clip(phi, -0.98, 0.98)), float(np.clip(theta, -0.98, 0.98))
