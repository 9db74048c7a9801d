"""The names that dashboards and alerts rely on are the ones that are exposed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client import generate_latest

from controller.metrics import Metrics
from selfheal.policy import Action, AnomalyType
from selfheal.remediation import Outcome

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
NAMES = (
    "selfheal_anomalies_detected_total",
    "selfheal_remediations_total",
    "selfheal_remediation_duration_seconds",
    "selfheal_inference_request_duration_seconds",
    "selfheal_budget_remaining",
    "selfheal_suspended",
    "selfheal_leader",
    "selfheal_last_observation_timestamp_seconds",
    "selfheal_events_waiting",
    "selfheal_build_info",
)


def used() -> Metrics:
    metrics = Metrics()
    metrics.detected(AnomalyType.OOM_KILLED)
    metrics.ended(Action.ROLLBACK, Outcome.SUCCESSFUL)
    metrics.reached("applied", NOW, NOW + timedelta(seconds=4))
    metrics.safety(suspended=False, budget_left=3)
    metrics.observed(NOW)
    with metrics.inference():
        pass
    return metrics


def test_every_name_of_the_contract_is_exposed_and_documented() -> None:
    exposed = generate_latest(used().registry).decode()
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    for name in NAMES:
        assert f"\n{name}" in f"\n{exposed}", name
        assert f"`{name}" in page, name


def test_counts_carry_type_action_and_outcome() -> None:
    registry = used().registry
    assert registry.get_sample_value("selfheal_anomalies_detected_total", {"type": "OOMKilled"}) == 1
    labels = {"action": "rollback", "outcome": "Successful"}
    assert registry.get_sample_value("selfheal_remediations_total", labels) == 1


def test_steps_are_timed_from_detection() -> None:
    total = used().registry.get_sample_value("selfheal_remediation_duration_seconds_sum", {"step": "applied"})
    assert total == 4


def test_a_step_is_not_timed_when_nobody_knows_the_detection() -> None:
    metrics = Metrics()
    metrics.reached("applied", None, NOW)
    assert metrics.registry.get_sample_value("selfheal_remediation_duration_seconds_count", {"step": "applied"}) is None


def test_the_kill_switch_shows() -> None:
    metrics = Metrics()
    metrics.safety(suspended=True, budget_left=5)
    assert metrics.registry.get_sample_value("selfheal_suspended") == 1
