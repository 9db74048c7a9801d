"""What detection is measured with must itself be right."""

import numpy as np
import pytest

from bench.detection.synthetic import NAMES, SERVICES, normal_weeks
from bench.detection.typing_faults import FAULTS, leak_at
from bench.detection.typing_measure import LENGTH, SAMPLES, Ask
from bench.detection.typing_report import as_text, summary
from selfheal.catalogue import workload_metrics
from selfheal.window import MetricWindow

PLAIN, STORING = "shop/Deployment/cart", "shop/StatefulSet/orders"


@pytest.fixture(scope="module")
def calm() -> MetricWindow:
    return normal_weeks(STORING, 1.0, seed=3)


def asked(
    fault: str,
    case: int,
    since: float,
    said: str,
    left: float | None = None,
    forecast: tuple[float, float] | None = None,
) -> Ask:
    named = True if said else None
    return Ask(fault, case, since, bool(said), said, first=named, among=named, left=left, forecast=forecast)


def test_services_have_the_catalogues_metrics_and_the_same_seed_draws_the_same_week(calm: MetricWindow) -> None:
    assert workload_metrics(calm.names) == NAMES
    again = normal_weeks(STORING, 1.0, seed=3)
    assert np.array_equal(again.values, calm.values, equal_nan=True)
    assert not np.array_equal(normal_weeks(STORING, 1.0, seed=4).values, calm.values, equal_nan=True)


@pytest.mark.parametrize("name", list(SERVICES))
def test_memory_stays_below_its_limit_while_all_is_well(name: str) -> None:
    window = normal_weeks(name, 2.0)
    assert window.values[:, NAMES.index("pod_memory_usage")].max() < 0.8 * SERVICES[name].limit


def test_a_leak_is_exhausted_when_memory_first_meets_the_limit() -> None:
    window = normal_weeks(PLAIN, 2.0)
    injected = leak_at(window, 300, 3000, rate=0.3)
    usage = injected.window.values[:, NAMES.index("pod_memory_usage")]
    met = int(np.flatnonzero(usage >= SERVICES[PLAIN].limit)[0])
    assert injected.exhaustion == met * window.step
    assert injected.stop == met
    assert np.array_equal(usage[:300], window.values[:300, NAMES.index("pod_memory_usage")])


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_fault_changes_nothing_before_it_starts_and_its_metrics_after(fault: str, calm: MetricWindow) -> None:
    injected = FAULTS[fault].inject(calm, SAMPLES, LENGTH, np.random.default_rng(1))
    before, after = injected.window.values[:SAMPLES], injected.window.values[SAMPLES : injected.stop]
    assert np.array_equal(before, calm.values[:SAMPLES], equal_nan=True)
    changed = {
        name for i, name in enumerate(NAMES) if not np.array_equal(after[:, i], calm.values[SAMPLES : injected.stop, i])
    }
    assert set(injected.metrics) <= changed
    assert bool(changed) is (fault != "no fault")


def test_the_report_counts_first_alarms_later_types_and_near_ends_that_held() -> None:
    forecasts = [(3000.0, 2000.0), (3000.0, 2900.0), None]
    lefts = [2500.0, 2500.0, 2500.0]
    said = ["MetricAnomaly", "MemoryLeak", "MemoryLeak"]
    asks = [
        asked("leak", 0, since, kind, left, forecast)
        for since, kind, left, forecast in zip((600, 2400, 3000), said, lefts, forecasts, strict=True)
    ]
    asks.append(asked("no fault", 1, 600, ""))
    figures = summary(asks)
    assert figures["type at the first alarm"]["leak"]["MetricAnomaly"] == 1
    assert figures["type half an hour later"]["leak"]["MemoryLeak"] == 1
    assert figures["type at the first alarm"]["no fault"]["none"] == 1
    assert figures["minutes to the first alarm"]["leak"] == 10
    assert figures["forecast"]["leak"]["forecasts"] == 2
    assert figures["forecast"]["leak"]["near end held (95 %)"] == 0.5
    assert figures["forecast"]["leak"]["off by at most a quarter"] == 1.0
    assert "forecast of leak" in as_text(figures)
