"""The sentence and the numbers that a person reads."""

import numpy as np

from selfheal.detectors import DETECTORS
from selfheal.explanation import explain
from tests.unit.detection.series import daily


def test_what_a_counter_should_have_read_is_its_last_reading_and_the_usual_increase() -> None:
    window = daily(("requests_total", "memory"), 4)
    window.values[:, 0] = np.cumsum(window.values[:, 0])
    voter = DETECTORS["arima"](0).fit(window)
    before = float(window.values[-2, 0])
    window.values[-1, 0] = before + 100_000
    found = explain(window, [voter], anomaly=True)
    top = found["top_metrics"][0]
    assert top.name == "requests_total"
    assert top.observed == before + 100_000
    assert before + 50 < top.expected < before + 200
    assert found["anomaly_type"] == "MetricAnomaly"
    assert found["message"].startswith("MetricAnomaly: requests_total is ")


def test_shares_are_heaviest_first_and_at_most_the_whole() -> None:
    window = daily(("a", "b", "c"), 4)
    voters = [kind(0).fit(window) for kind in DETECTORS.values()]
    window.values[-3:, 1] *= 3
    found = explain(window, voters, anomaly=False)
    shares = [metric.share for metric in found["top_metrics"]]
    assert found["top_metrics"][0].name == "b"
    assert shares == sorted(shares, reverse=True)
    assert 0.5 < sum(shares) <= 1.001
    assert "anomaly_type" not in found


def test_a_value_on_its_harmless_side_is_not_what_is_named_first() -> None:
    window = daily(("http_request_duration", "pod_cpu_usage"), 4)
    voters = [DETECTORS[name](0).fit(window) for name in ("isolation_forest", "arima")]
    window.values[-3:] *= [0.6, 1.3]
    top = explain(window, voters, anomaly=True)["top_metrics"]
    assert top[0].name == "pod_cpu_usage", "few requests are soon answered: that is no slowness"
    window.values[-3:] *= [1 / 0.36, 1.0]
    assert explain(window, voters, anomaly=True)["top_metrics"][0].name == "http_request_duration"


def test_what_is_back_to_normal_is_not_named_before_what_is_still_wrong() -> None:
    window = daily(("deployment_unavailable", "pod_cpu_usage"), 4)
    voters = [DETECTORS[name](0).fit(window) for name in ("isolation_forest", "prophet")]
    window.values[-3:, 0] *= [4.0, 1.01, 1.01]  # for one sample
    window.values[-3:, 1] *= 1.5
    assert explain(window, voters, anomaly=True)["top_metrics"][0].name == "pod_cpu_usage"
    window.values[-1, 0] *= 8.0  # and again, up to now
    assert explain(window, voters, anomaly=True)["top_metrics"][0].name == "deployment_unavailable"


def test_a_restart_of_long_ago_does_not_carry_the_anomaly_of_today() -> None:
    window = daily(("container_restart_count", "pod_cpu_usage"), 4)
    window.values[:, 0] = 0.0
    voters = [DETECTORS["isolation_forest"](0).fit(window)]
    window.values[:, 0] = 3.0
    window.values[-3:, 1] *= 1.3
    recent = window.rows(-60)
    assert [one.name for one in explain(recent, voters, anomaly=True)["top_metrics"]] == ["pod_cpu_usage"]
    recent.values[-1, 0] = 4.0
    assert explain(recent, voters, anomaly=True)["top_metrics"][0].name == "container_restart_count"


def test_nobody_voted_means_nothing_to_explain() -> None:
    assert explain(daily(("a",), 1), [], anomaly=False) == {}
