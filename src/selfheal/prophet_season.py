"""Prophet's seasons, solved exactly and for all metrics of a window at once.

With a flat trend and additive seasons Prophet is a linear model with normal priors: given the noise, its most probable
parameters have a closed form. Stan descends to the same ones, in a process for each metric. Features, scaling, priors
stay the prophet package's, only the search is replaced (tests hold it against Stan's). Importing this takes a second.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from prophet import Prophet

from selfheal.window import Floats, Times

_PRIOR_OF_LEVEL = 5.0  # m ~ normal(0, 5) in prophet.stan
_PRIOR_OF_NOISE = 0.5  # sigma_obs ~ normal(0, 0.5)
_ROUNDS = 50  # the noise hardly depends on itself: it stands after three to ten
_LEAST_NOISE = 1e-6  # standard deviation; a series without noise has no most probable one


class _Unsearched(Prophet):
    """Prophet without Stan: loading that costs more than all seasons together."""

    def _load_stan_backend(self, _stan_backend: str | None, /) -> None:
        self.stan_backend = None


def seasons(values: Floats, times: Times, moments: Times, *, daily: int, weekly: int | bool) -> Floats:
    """What Prophet expects of each series.

    Args:
        values: Series without gaps, shape [t, m].
        times: Their moments, shape [t].
        moments: When to tell, shape [s].
        daily: Order of the daily season.
        weekly: Order of the weekly one; False for none.

    Returns:
        Shape [s, m], in the unit of the values.
    """
    largest = np.abs(values).max(axis=0)
    scale = np.where(largest > 0, largest, 1.0)
    then, now, priors = _features(times, moments, daily, weekly)
    found: Floats = now @ most_probable(then, values / scale, priors) * scale
    return found


def _features(times: Times, moments: Times, daily: int, weekly: int | bool) -> tuple[Floats, Floats, Floats]:
    """A column of ones and Prophet's features, at both times, and the spread that each parameter has beforehand."""
    model = _Unsearched(
        growth="flat", yearly_seasonality=False, weekly_seasonality=weekly, daily_seasonality=daily,
        uncertainty_samples=0,
    )  # fmt: skip
    given = model.preprocess(pd.DataFrame({"ds": pd.DatetimeIndex(times), "y": 0.0}))
    later = model.make_all_seasonality_features(pd.DataFrame({"ds": pd.DatetimeIndex(moments)}))[0]
    then, now = (np.column_stack([np.ones(len(part)), np.asarray(part, dtype=float)]) for part in (given.X, later))
    return then, now, np.array([_PRIOR_OF_LEVEL, *given.sigmas])


def most_probable(features: Floats, values: Floats, priors: Floats) -> Floats:
    """Parameters at the top of Prophet's posterior.

    Args:
        features: Shape [t, p].
        values: Scaled to at most one, shape [t, m].
        priors: Standard deviation of each parameter, shape [p].

    Returns:
        Shape [p, m].
    """
    scaled = features * priors
    strengths, axes = np.linalg.eigh(scaled.T @ scaled)
    strengths = np.maximum(strengths, 0.0)[:, None]
    pull = axes.T @ (scaled.T @ values)
    energy = (values**2).sum(axis=0)
    noise = np.maximum(values.var(axis=0), _LEAST_NOISE**2)
    for _ in range(_ROUNDS):
        along = pull / (strengths + noise)
        rest = np.maximum(energy - 2 * (pull * along).sum(axis=0) + (strengths * along**2).sum(axis=0), 0.0)
        noise = np.maximum(_likely_noise(rest, len(values)), _LEAST_NOISE**2)
    found: Floats = priors[:, None] * (axes @ (pull / (strengths + noise)))
    return found


def _likely_noise(rest: Floats, rows: int) -> Floats:
    """Variance of the noise that makes a sum of squared residuals most probable, under Prophet's prior."""
    found: Floats = 2 * rest / (rows + np.sqrt(rows**2 + 4 * rest / _PRIOR_OF_NOISE**2))
    return found
