"""What makes training fast must not change what is learned."""

import logging
import os
import warnings
from typing import Self

import numpy as np
import pandas as pd
import pytest

from selfheal.detectors import DETECTORS
from selfheal.detectors.arima import ArimaDetector
from selfheal.errors import Unavailable
from selfheal.fitting import MOST_WORKERS, Lack, cores, fit_each
from selfheal.members import Members
from selfheal.prophet_season import most_probable, seasons
from selfheal.window import Floats, MetricWindow, Times, grid
from tests.unit.detection.series import daily

MONDAY = np.datetime64("2026-11-02T00:00:00", "s")
HOURS = 14 * 24
NAMES = ("requests", "memory")


def _series(seed: int, noise: float) -> Floats:
    """Two weeks by the hour: a day, a quiet weekend, a level far from zero."""
    hours = np.arange(HOURS)
    weekend = (hours // 24) % 7 >= 5
    day = np.sin(2 * np.pi * hours / 24) + 0.4 * np.cos(6 * np.pi * hours / 24)
    found: Floats = 3 + day * np.where(weekend, 0.3, 1) + noise * np.random.default_rng(seed).standard_normal(HOURS)
    return found


def _by_stan(values: Floats, times: Times, moments: Times, *, weekly: int | bool) -> Floats:
    """Prophet as everybody uses it."""
    for name in ("cmdstanpy", "prophet", "prophet.plot"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    from prophet import Prophet

    model = Prophet(
        growth="flat",
        yearly_seasonality=False,
        weekly_seasonality=weekly,
        daily_seasonality=6,
        uncertainty_samples=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(pd.DataFrame({"ds": pd.DatetimeIndex(times), "y": values}))
        found: Floats = model.predict(pd.DataFrame({"ds": pd.DatetimeIndex(moments)}))["yhat"].to_numpy(dtype=float)
    return found


@pytest.mark.parametrize("weekly", [False, 20])
def test_a_season_is_the_one_that_stan_finds(weekly: int | bool) -> None:
    times, moments = grid(MONDAY, HOURS, 3600.0, first=True), grid(MONDAY, 336, 1800.0, first=True)
    values = np.column_stack([_series(0, 0.1), _series(1, 1.0), -50 * _series(2, 0.01)])
    ours = seasons(values, times, moments, daily=6, weekly=weekly)
    for column, spread in enumerate(values.std(axis=0)):
        theirs = _by_stan(values[:, column], times, moments, weekly=weekly)
        np.testing.assert_allclose(ours[:, column], theirs, rtol=0, atol=1e-3 * spread)


def test_metrics_fitted_together_are_fitted_as_if_alone() -> None:
    times, moments = grid(MONDAY, HOURS, 3600.0, first=True), grid(MONDAY, 336, 1800.0, first=True)
    values = np.column_stack([_series(0, 0.1), 1e6 * _series(1, 1.0)])
    together = seasons(values, times, moments, daily=6, weekly=20)
    for column in (0, 1):
        alone = seasons(values[:, [column]], times, moments, daily=6, weekly=20)
        np.testing.assert_allclose(together[:, [column]], alone, rtol=1e-9)


def test_a_constant_metric_has_a_level_and_no_season() -> None:
    times, moments = grid(MONDAY, HOURS, 3600.0, first=True), grid(MONDAY, 48, 1800.0, first=True)
    values = np.column_stack([np.zeros(HOURS), np.full(HOURS, 7.0)])
    found = seasons(values, times, moments, daily=6, weekly=False)
    np.testing.assert_allclose(found, [[0.0, 7.0]] * 48, atol=1e-3)


def test_the_most_probable_parameters_are_a_top_of_the_posterior() -> None:
    random = np.random.default_rng(0)
    features, priors = random.standard_normal((20, 4)), np.array([5.0, 0.1, 0.2, 10.0])
    values = np.clip(features @ [0.1, 0.2, -0.1, 0.05] + 0.7 * random.standard_normal(20), -1, 1)
    best = most_probable(features, values[:, None], priors)[:, 0]

    def log_posterior(weights: Floats, noise: float) -> float:
        rest: Floats = values - features @ weights
        likelihood = -20 * np.log(noise) - float(rest @ rest) / (2 * noise**2)
        return float(likelihood - ((weights / priors) ** 2).sum() / 2 - (noise / 0.5) ** 2 / 2)

    noise = float(np.std(values - features @ best))
    top = max(log_posterior(best, noise * factor) for factor in np.linspace(0.5, 1.5, 1001))
    for step in 0.001 * np.vstack([np.eye(4), -np.eye(4)]):
        assert max(log_posterior(best + step, noise * factor) for factor in np.linspace(0.5, 1.5, 1001)) < top


class Killed(ArimaDetector):
    """A detector whose training runs out of memory, as the kernel ends it."""

    def fit(self, window: MetricWindow) -> Self:
        del window
        os._exit(137)


@pytest.mark.parametrize("name", DETECTORS)
def test_models_do_not_depend_on_the_number_of_workers(name: str) -> None:
    windows = [daily(NAMES, 3, seed=seed, workload=f"shop/Deployment/{seed}") for seed in range(3)]
    alone, together = Members.fit(name, windows), Members.fit(name, windows, workers=2)
    fresh = daily(NAMES, 1, seed=9)
    assert list(alone.models) == list(together.models)
    for workload, model in alone.models.items():
        np.testing.assert_array_equal(model.score(fresh), together.models[workload].score(fresh))


def test_a_workload_that_is_too_young_is_named_by_workers_too() -> None:
    windows = [daily(NAMES, days, workload=f"shop/Deployment/{days}") for days in (3, 0.1)]
    told: list[tuple[str, int, int]] = []
    found = Members.fit("arima", windows, workers=2, progress=lambda *what: told.append(what))
    assert list(found.models) == ["shop/Deployment/3"]
    assert found.silent == {"shop/Deployment/0.1": "needs 8.33 h of history, has 2.33 h"}
    assert told == [("train arima", 1, 2), ("train arima", 2, 2)]


def test_results_come_in_the_order_of_the_windows() -> None:
    windows = [daily(NAMES, days, workload=f"w{days}") for days in (0.1, 3, 0.2, 2)]
    found = list(fit_each(ArimaDetector, windows, workers=2))
    assert [isinstance(one, Lack) for one in found] == [True, False, True, False]
    assert [one.got for one in found if isinstance(one, Lack)] == [14, 29]


def test_a_killed_worker_says_what_to_do() -> None:
    with pytest.raises(Unavailable, match="fewer workers than 2"):
        list(fit_each(Killed, [daily(NAMES, 1), daily(NAMES, 1)], workers=2))


@pytest.mark.parametrize(("cpus", "workers"), [(1, 1), (2, 2), (64, MOST_WORKERS)])
def test_there_are_as_many_workers_as_cores_until_memory_is_short(
    cpus: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(cpus)), raising=False)
    assert cores() == workers
