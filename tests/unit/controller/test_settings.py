"""Settings come from the environment, and say what is wrong with it."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from controller.settings import Settings
from selfheal.errors import WrongUse

DOCS = Path(__file__).parents[3] / "docs" / "operations.md"


def test_without_an_environment_the_documented_defaults_hold() -> None:
    settings = Settings.from_env({})
    assert settings.namespace == "selfheal-system"
    assert settings.tick_seconds == 60
    assert settings.slack_webhook_file is None


def test_variables_are_read_and_typed() -> None:
    given = {
        "SELFHEAL_PROMETHEUS_URL": "http://prometheus:9090/",
        "SELFHEAL_SLACK_WEBHOOK_FILE": "/var/run/slack/url",
        "SELFHEAL_TICK_SECONDS": "5",
    }
    settings = Settings.from_env(given)
    assert settings.prometheus_url == "http://prometheus:9090"
    assert settings.slack_webhook_file == Path("/var/run/slack/url")
    assert settings.tick_seconds == 5


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_env({"SELFHEAL_WINDOW_SAMPLES": "", "SELFHEAL_SLACK_WEBHOOK_FILE": ""}) == Settings()


def test_variables_that_kubernetes_makes_for_services_are_ignored() -> None:
    assert Settings.from_env({"SELFHEAL_CONTROLLER_SERVICE_HOST": "10.0.0.1"}) == Settings()


def test_every_faulty_variable_is_named() -> None:
    with pytest.raises(WrongUse, match=r"tick_seconds.*workers|workers.*tick_seconds") as caught:
        Settings.from_env({"SELFHEAL_TICK_SECONDS": "soon", "SELFHEAL_WORKERS": "0"})
    assert caught.value.exit_code == 2


def test_something_that_is_no_url_is_refused_with_an_example() -> None:
    with pytest.raises(WrongUse, match="http://"):
        Settings.from_env({"SELFHEAL_ENDPOINT_URL": "endpoint:8080"})


def test_a_lease_by_which_two_replicas_could_act_is_refused() -> None:
    with pytest.raises(WrongUse, match="15, 10, 2"):
        Settings.from_env({"SELFHEAL_LEASE_SECONDS": "10", "SELFHEAL_RENEW_DEADLINE_SECONDS": "10"})


@pytest.mark.parametrize("servers", ["kafka", "kafka:http", "http://kafka:9092", "kafka:9092,:9092", "kafka:9092 b:1"])
def test_a_broker_that_is_no_host_and_port_is_refused_with_an_example(servers: str) -> None:
    with pytest.raises(WrongUse, match=r"kafka-0\.kafka:9092,kafka-1\.kafka:9092"):
        Settings.from_env({"SELFHEAL_KAFKA_BOOTSTRAP_SERVERS": servers})


def test_brokers_may_be_written_with_spaces_and_as_addresses() -> None:
    settings = Settings.from_env({"SELFHEAL_KAFKA_BOOTSTRAP_SERVERS": "kafka-0:9092, [::1]:9092"})
    assert settings.kafka_bootstrap_servers == "kafka-0:9092,[::1]:9092"
    assert settings.kafka_topic == "selfheal.remediations"


@pytest.mark.parametrize("topic", ["a topic", "x/y", ".", "..", "x" * 250])
def test_a_topic_that_no_broker_has_is_refused(topic: str) -> None:
    with pytest.raises(WrongUse, match="kafka_topic"):
        Settings.from_env({"SELFHEAL_KAFKA_TOPIC": topic})


def test_properties_without_a_broker_are_refused() -> None:
    with pytest.raises(WrongUse, match="set kafka_bootstrap_servers too, or neither"):
        Settings.from_env({"SELFHEAL_KAFKA_PROPERTIES_FILE": "/etc/kafka/properties"})


def test_settings_cannot_be_changed_after_the_start() -> None:
    with pytest.raises(ValidationError):
        Settings().__setattr__("workers", 2)


def test_every_setting_is_in_the_docs_with_its_default() -> None:
    page = DOCS.read_text()
    for name, field in Settings.model_fields.items():
        assert f"`SELFHEAL_{name.upper()}`" in page
        assert field.description, f"{name} does not say its unit and why the default"
