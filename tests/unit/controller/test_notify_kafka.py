"""The event that a step becomes, and the properties by which Kafka is reached."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cloudevents.kafka import from_binary, to_binary
from hypothesis import given
from hypothesis import strategies as st

from controller.notify.kafka import Kafka, event, read_properties, source
from controller.notify.webhook import body
from selfheal.errors import WrongUse
from tests.unit.controller.test_notify_slack import NOTICE

ROOT = Path(__file__).parents[3]
STEPS = ["Opened", "Planned-1", "Applied-1", "Successful-2", "Inconclusive-1", "Undone-12", "Refused-1", "Completed"]


@given(
    step=st.sampled_from(STEPS),
    message=st.text(st.characters(codec="utf-8")),
    time=st.datetimes(timezones=st.just(UTC)),
    confidence=st.floats(0, 1),
)
def test_any_notice_survives_the_way_to_a_consumer(step: str, message: str, time: datetime, confidence: float) -> None:
    notice = replace(NOTICE, step=step, message=message, time=time, confidence=confidence)
    read = from_binary(to_binary(event(notice, source(""))))
    assert read.data == json.loads(json.dumps(body(notice)))
    assert read["id"] == f"{notice.uid}/{step}"


@pytest.mark.parametrize(("step", "kind"), [("Opened", "opened"), ("Applied-1", "applied"), ("Undone-12", "undone")])
def test_the_type_says_the_step_without_its_number_so_that_a_filter_needs_no_pattern(step: str, kind: str) -> None:
    assert event(replace(NOTICE, step=step), "/x")["type"] == f"com.example.aiops.remediation.{kind}"


def test_attributes_are_headers_and_the_uid_is_the_key() -> None:
    message = to_binary(event(NOTICE, source("prod-1")))
    assert message.key == NOTICE.uid
    assert message.headers["ce_source"] == b"/prod-1/selfheal-controller"
    assert message.headers["ce_specversion"] == b"1.0"
    assert message.headers["ce_subject"] == b"shop/Deployment/cart"
    assert message.headers["content-type"] == b"application/json"


def test_times_are_utc_whatever_zone_they_came_in() -> None:
    zone = timezone(timedelta(hours=2))
    assert event(replace(NOTICE, time=datetime(2026, 11, 24, 5, tzinfo=zone)), "/x")["time"] == "2026-11-24T03:00:00Z"


def test_the_source_without_a_name_of_the_cluster_is_the_controller() -> None:
    assert source("") == "/selfheal-controller"


def write(folder: Path, text: str) -> Path:
    file = folder / "kafka.properties"
    file.write_text(text)
    return file


def test_properties_are_lines_with_comments_and_values_may_hold_the_sign(tmp_path: Path) -> None:
    file = write(tmp_path, "# login\n\nsasl.username = selfheal\nsasl.password=a=b#c\n")
    assert read_properties(file) == {"sasl.username": "selfheal", "sasl.password": "a=b#c"}


def test_a_line_that_is_none_is_named_by_its_number_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="line 2: write name=value") as caught:
        read_properties(write(tmp_path, "sasl.username=selfheal\nSECRET\n"))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["acks", "enable.idempotence", "bootstrap.servers", "delivery.timeout.ms"])
def test_what_delivery_rests_on_cannot_be_set(tmp_path: Path, name: str) -> None:
    with pytest.raises(WrongUse, match=f"leave {name} out"):
        Kafka("kafka:9092", "t", properties=write(tmp_path, f"{name}=0\n"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("sasl.passwrd=SECRET", "sasl.passwrd"),
        ("security.protocol=TSL", "security.protocol"),
        ("ssl.truststore.location=/etc/trust.jks", "not the Java client's"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512", "sasl.username and sasl.password must be set"),
    ],
)
def test_properties_that_librdkafka_does_not_take_end_the_start_with_what_is_wrong(
    tmp_path: Path, line: str, says: str
) -> None:
    with pytest.raises(WrongUse, match=says) as caught:
        Kafka("kafka:9092", "t", properties=write(tmp_path, line + "\n"))
    assert "SECRET" not in str(caught.value)
    assert "SELFHEAL_KAFKA_PROPERTIES_FILE" in str(caught.value)


def test_a_missing_file_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="SELFHEAL_KAFKA_PROPERTIES_FILE"):
        Kafka("kafka:9092", "t", properties=tmp_path / "missing")


def test_a_controller_that_tells_no_topic_does_not_load_kafkas_client() -> None:
    code = "import controller.runtime, sys; sys.exit(bool({'confluent_kafka', 'cloudevents'} & sys.modules.keys()))"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": "src:."}, check=False).returncode == 0
    )
