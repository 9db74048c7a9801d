"""The ensemble's four types, and when something that grows is exhausted."""

import numpy as np
import pytest

from selfheal.anomaly_type import anomaly_type
from selfheal.forecast import exhaustion
from selfheal.trend import growth
from selfheal.window import Floats, MetricWindow, grid
from tests.unit.detection.series import MONDAY

RISING = np.linspace(4e8, 6e8, 60)


def window(**metrics: Floats) -> MetricWindow:
    rows = len(next(iter(metrics.values())))
    return MetricWindow("a/b/c", grid(MONDAY, rows, 60), np.column_stack(list(metrics.values())), tuple(metrics), 60)


@pytest.mark.parametrize(
    ("carrier", "values", "kind"),
    [
        ("pod_memory_usage", RISING, "MemoryLeak"),
        ("alt_memory_usage", RISING, "MemoryLeak"),
        ("pod_memory_usage", np.r_[np.full(30, 4e8), np.full(30, 6e8)] + np.sin(np.arange(60)) * 1e7, "MetricAnomaly"),
        ("pod_memory_usage", RISING[::-1], "MetricAnomaly"),
        ("cpu_throttled_ratio", RISING, "CPUThrottling"),
        ("persistent_volume_usage", RISING, "StorageExhaustion"),
        ("http_request_duration", RISING, "MetricAnomaly"),
    ],
)
def test_the_metric_that_carries_it_names_the_type(carrier: str, values: Floats, kind: str) -> None:
    usual = float(values[0])
    assert anomaly_type(window(**{carrier: values}), {carrier: 0.9, "other": 0.1}, {carrier: usual}) == kind


def test_a_metric_far_below_expectation_names_no_exhaustion() -> None:
    seen = window(persistent_volume_usage=RISING)
    assert anomaly_type(seen, {"persistent_volume_usage": 1.0}, {"persistent_volume_usage": 7e8}) == "MetricAnomaly"


def test_growth_is_told_since_the_last_restart_and_from_where_it_begins() -> None:
    restarted = np.r_[np.linspace(1, 9, 30), np.linspace(1, 4, 30)]
    assert growth(restarted) is not None
    begun = np.r_[np.full(60, 5.0), np.linspace(5, 9, 60)] + 0.01 * np.sin(np.arange(120))
    found = growth(begun)
    assert found is not None
    assert 55 <= found.since <= 65
    assert growth(np.full(60, 5.0)) is None
    assert growth(np.random.default_rng(0).normal(5, 1, 60)) is None


def test_a_straight_line_reaches_its_limit_when_arithmetic_says() -> None:
    forecast = exhaustion(window(pod_memory_usage=RISING, memory_limit_ratio=RISING / 1e9 * 100))
    assert forecast is not None
    assert forecast.metric == "pod_memory_usage"
    assert forecast.limit == pytest.approx(1e9)
    assert forecast.exhausted_in == pytest.approx((1e9 - 6e8) / (2e8 / 59) * 60, rel=0.01)
    assert forecast.exhausted_in_lower <= forecast.exhausted_in


def test_without_a_limit_or_growth_there_is_no_forecast() -> None:
    assert exhaustion(window(pod_memory_usage=RISING)) is None
    assert exhaustion(window(pod_memory_usage=RISING, memory_limit_ratio=np.full(60, np.nan))) is None
    assert exhaustion(window(persistent_volume_usage=np.full(60, 50.0))) is None


def test_the_nearer_exhaustion_is_told() -> None:
    both = window(
        pod_memory_usage=RISING, memory_limit_ratio=RISING / 1e9 * 100, persistent_volume_usage=np.linspace(50, 98, 60)
    )
    forecast = exhaustion(both)
    assert forecast is not None
    assert forecast.metric == "persistent_volume_usage"
    assert forecast.limit == 100
