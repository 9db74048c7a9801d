"""The ensemble's four types, and when something that grows is exhausted."""

import numpy as np
import pytest

from selfheal.anomaly_type import anomaly_type
from selfheal.forecast import exhaustion
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


@pytest.mark.parametrize(
    ("observed", "expected", "kind"),
    [
        (1.2, 0.3, "MetricAnomaly"),
        (12.0, 3.0, "CPUThrottling"),
        (0.9, 0.01, "CPUThrottling"),
        (4.0, 3.0, "MetricAnomaly"),
    ],
)
def test_a_little_throttling_is_everybodys_and_names_nothing(observed: float, expected: float, kind: str) -> None:
    seen = window(cpu_throttled_ratio=np.full(60, observed))
    assert anomaly_type(seen, {"cpu_throttled_ratio": 1.0}, {"cpu_throttled_ratio": expected}) == kind


def test_a_saw_tooth_of_memory_is_no_leak_and_a_leak_of_a_process_that_dies_of_it_is_one() -> None:
    teeth = 4e8 + 1e8 * (np.arange(60) / 17 % 1.0)
    shares, expected = {"pod_memory_usage": 1.0}, {"pod_memory_usage": 3e8}
    assert anomaly_type(window(pod_memory_usage=teeth), shares, expected) == "MetricAnomaly"
    deaths = np.floor(np.arange(60) / 17)
    dying = window(pod_memory_usage=teeth[:48], container_restart_count=deaths[:48])
    assert anomaly_type(dying, shares, expected) == "MemoryLeak"


def test_a_straight_line_reaches_its_limit_when_arithmetic_says() -> None:
    forecast = exhaustion(window(pod_memory_usage=RISING, memory_limit_ratio=RISING / 1e9 * 100))
    assert forecast is not None
    assert forecast.metric == "pod_memory_usage"
    assert forecast.limit == pytest.approx(1e9)
    assert forecast.exhausted_in == pytest.approx((1e9 - 6e8) / (2e8 / 59) * 60, rel=0.01)
    assert forecast.exhausted_in_lower <= forecast.exhausted_in


def test_the_limit_of_today_counts_not_the_one_before_it_was_raised() -> None:
    limit = np.r_[np.full(40, 7e8), np.full(20, 1.4e9)]
    forecast = exhaustion(window(pod_memory_usage=RISING, memory_limit_ratio=RISING / limit * 100))
    assert forecast is not None
    assert forecast.limit == pytest.approx(1.4e9)


def test_a_climb_is_not_drawn_out_for_more_than_thirty_times_as_long_as_it_was_seen() -> None:
    climb = np.linspace(40, 41.5, 60)  # an hour; 98 more would be needed
    assert exhaustion(window(persistent_volume_usage=climb)) is None
    assert exhaustion(window(persistent_volume_usage=climb + 50)) is not None


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
