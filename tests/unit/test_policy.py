"""SelfHealingPolicy and HealingConfig as Python types."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal.errors import InvalidResource
from selfheal.policy import (
    Action,
    AnomalyType,
    HealingConfig,
    LabelSelector,
    Mode,
    Policy,
    Window,
    parse_duration,
    parse_quantity,
    unfit,
)

SPEC: dict[str, Any] = {
    "anomalyType": "CrashLoopBackOff",
    "action": "rollback",
    "confidenceThreshold": 0.85,
    "cooldownPeriod": "5m",
    "maxRetries": 3,
}
ARTICLE: dict[str, Any] = {
    "apiVersion": "aiops.example.com/v1alpha1",
    "kind": "SelfHealingPolicy",
    "metadata": {"name": "crashloop-healing"},
    "spec": SPEC,
}


def policy(**spec: Any) -> Policy:
    return Policy.from_resource({"metadata": {"name": "p"}, "spec": SPEC | spec})


def test_the_articles_policy_is_understood_verbatim() -> None:
    spec = Policy.from_resource(ARTICLE).spec
    assert (spec.anomaly_type, spec.action) == (AnomalyType.CRASH_LOOP_BACK_OFF, Action.ROLLBACK)
    assert (spec.confidence_threshold, spec.cooldown_period, spec.max_retries) == (0.85, timedelta(minutes=5), 3)


def test_what_the_article_leaves_out_gets_the_documented_defaults() -> None:
    spec = Policy.from_resource(ARTICLE).spec
    assert (spec.enabled, spec.mode, spec.undo_on_failure, spec.priority) == (True, Mode.AUTO, True, 0)
    assert spec.verification.stabilization_period == timedelta(seconds=60)
    assert spec.verification.timeout == timedelta(minutes=5)
    assert spec.remediation_history_limit == 50


@pytest.mark.parametrize(
    ("said", "meant"),
    [("memory_leak", "MemoryLeak"), ("cpu_throttling", "CPUThrottling"), ("oom_killed", "OOMKilled")],
)
def test_the_articles_spelling_of_types_is_taken_too(said: str, meant: str) -> None:
    assert policy(anomalyType=said).spec.anomaly_type == meant


def test_the_articles_spelling_of_actions_is_taken_too() -> None:
    assert policy(action="adjust_resources", escalation=["notify_only"]).spec.action is Action.ADJUST_RESOURCES


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"anomalyType": "Sadness"}, "anomalyType"),
        ({"confidenceThreshold": 1.5}, "confidenceThreshold"),
        ({"cooldownPeriod": "soon"}, "write for example 90s"),
        ({"parameters": {"adjustResources": {"maxMemory": "lots"}}}, "128Mi"),
        ({"windows": [{"timezone": "Mars/Olympus"}]}, "IANA"),
        ({"colour": "red"}, "colour"),
        ({"anomalyType": "storage_exhaustion"}, "for StorageExhaustion write restart or notify-only"),
        ({"anomalyType": "JobFailed", "action": "restart"}, "for JobFailed write notify-only"),
        ({"anomalyType": "job_failed", "action": "adjust_resources"}, "for JobFailed write notify-only"),
        ({"escalation": ["rollback"]}, "other actions than action"),
        ({"escalation": ["notify-only", "restart"]}, "nothing comes after notify-only"),
        ({"verification": {"timeout": "59s"}}, "must not be shorter than stabilizationPeriod"),
        ({"windows": [{"days": []}]}, "days"),
        ({"windows": [{"days": ["Mon", "Mon"]}]}, "each day once"),
        ({"parameters": {"adjustResources": {"factor": "0.5"}}}, "would shrink"),
        ({"parameters": {"adjustResources": {"maxCpu": 0}}}, "leaves nothing"),
    ],
)
def test_what_is_wrong_is_named_with_its_field(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidResource) as told:
        policy(**spec)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5h", 5400), ("0s", 0), ("250ms", 0.25)]
)
def test_durations_are_those_of_kubernetes(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "5", "-5m", "five minutes", "5m5"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("500m", "0.5"), ("128Mi", "134217728"), ("1Gi", "1073741824"), ("1e3", "1000"), ("2E", "2e18"), (".5", "0.5")],
)
def test_quantities_are_those_of_kubernetes(text: str, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_sentence(text: str) -> None:
    with suppress(ValueError):
        assert parse_quantity(text) >= 0


@given(st.integers(0, 10**12))
def test_binary_suffixes_are_exact(number: int) -> None:
    assert parse_quantity(f"{number}Ki") == number * 1024


def test_a_quantity_may_be_a_bare_number_as_in_kubernetes() -> None:
    assert policy(parameters={"adjustResources": {"maxCpu": 2}}).spec.parameters.adjust_resources.max_cpu == "2"


def test_an_action_that_may_help_has_nothing_against_it() -> None:
    restartable = [kind for kind in AnomalyType if kind is not AnomalyType.JOB_FAILED]
    assert all(not unfit(kind, [Action.RESTART, Action.NOTIFY_ONLY]) for kind in restartable)
    assert not unfit(AnomalyType.JOB_FAILED, [Action.NOTIFY_ONLY])


MONDAY_NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_a_policy_without_windows_may_always_act() -> None:
    assert policy().spec.is_open(MONDAY_NOON)


def test_a_window_is_read_in_its_own_time_zone() -> None:
    office = Window(days=("Mon",), start="09:00", end="17:00", timezone="America/New_York")
    assert not office.is_open(MONDAY_NOON)  # 07:00 there
    assert office.is_open(MONDAY_NOON + timedelta(hours=3))


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    night = Window(days=("Mon",), start="22:00", end="04:00")
    assert night.is_open(datetime(2026, 11, 23, 23, 0, tzinfo=UTC))
    assert night.is_open(datetime(2026, 11, 24, 3, 59, tzinfo=UTC))
    assert not night.is_open(datetime(2026, 11, 23, 3, 0, tzinfo=UTC))
    assert not night.is_open(datetime(2026, 11, 24, 4, 0, tzinfo=UTC))


@given(st.integers(1_500_000_000, 1_900_000_000).map(lambda second: datetime.fromtimestamp(second, UTC)))
def test_a_window_of_all_days_without_hours_is_always_open(moment: datetime) -> None:
    assert Window().is_open(moment)


@pytest.mark.parametrize(
    ("expression", "labels", "matches"),
    [
        ({"key": "tier", "operator": "In", "values": ["web"]}, {"tier": "web"}, True),
        ({"key": "tier", "operator": "In", "values": ["web"]}, {}, False),
        ({"key": "tier", "operator": "NotIn", "values": ["web"]}, {}, True),
        ({"key": "tier", "operator": "NotIn", "values": ["web"]}, {"tier": "web"}, False),
        ({"key": "tier", "operator": "Exists"}, {"tier": ""}, True),
        ({"key": "tier", "operator": "DoesNotExist"}, {"tier": ""}, False),
    ],
)
def test_selectors_follow_the_rules_of_kubernetes(
    expression: dict[str, Any], labels: dict[str, str], matches: bool
) -> None:
    assert LabelSelector.model_validate({"matchExpressions": [expression]}).matches(labels) is matches


def test_an_empty_selector_takes_everything() -> None:
    assert LabelSelector().matches({"any": "thing"})


def test_without_a_healing_config_the_documented_limits_hold() -> None:
    config = HealingConfig.from_resource(None)
    assert (config.budget.max_concurrent, config.budget.max_per_hour, config.budget.max_per_namespace_per_hour) == (
        5,
        20,
        6,
    )
    assert config.storm.max_unhealthy_percent == 40
    assert config.protected_namespaces == ("openshift-*", "kube-*", "default")
    assert config.approval_timeout == timedelta(minutes=15)
    assert not config.suspended
