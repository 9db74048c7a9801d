"""Kafka as a real broker: CloudEvents in order, a heal that does not wait for it, and nothing lost by an outage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from tenacity import wait_fixed

from bench.cluster import ApiCluster
from bench.kafka import Broker
from controller.notify.base import Notice
from controller.notify.journal import Journal
from controller.notify.kafka import Kafka
from controller.notify.webhook import body
from selfheal.errors import PermanentError, Unavailable
from tests.integration.conftest import wait_until
from tests.integration.test_notify import NOTICE
from tests.support.controller import Controller, Shop, running
from tests.support.topic import broker, events, messages, steps

_STRICT = {
    "auto_create_topics_enable": "false",
    "listener_security_protocol_map": "CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
    "sasl_enabled_mechanisms": "PLAIN",
    "sasl_mechanism_inter_broker_protocol": "PLAIN",
    "listener_name_clients_plain_sasl_jaas_config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="selfheal" password="right" user_selfheal="right";'
    ),
}
_HEAL = ["Opened", "Planned-1", "Applied-1", "Successful-1", "Completed"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that makes topics on demand; tests that end it start it again."""
    with broker(tmp_path_factory.mktemp("kafka")) as found:
        yield found


@pytest.fixture
def topic() -> str:
    """A name that nobody has used."""
    return f"selfheal.{uuid4().hex[:8]}"


def story(*names: str) -> list[Notice]:
    """Steps of one remediation."""
    return [replace(NOTICE, step=name) for name in names]


@pytest.mark.integration
def test_a_consumer_reads_a_cloud_event_whose_value_is_what_the_webhook_gets(server: Broker, topic: str) -> None:
    Kafka(server.bootstrap, topic, cluster="prod-1").send(NOTICE)
    (event,), (message,) = events(server, topic), messages(server, topic)
    assert event["specversion"] == "1.0"
    assert event["type"] == "com.example.aiops.remediation.applied"
    assert event["source"] == "/prod-1/selfheal-controller"
    assert event["subject"] == "shop/Deployment/cart"
    assert event["time"] == "2026-11-24T03:00:00Z"
    assert event.data == body(NOTICE)
    assert message.key() == NOTICE.uid.encode()
    assert dict(message.headers() or ())["content-type"] == b"application/json"


@pytest.mark.integration
def test_a_step_that_is_sent_twice_has_one_id(server: Broker, topic: str) -> None:
    kafka = Kafka(server.bootstrap, topic)
    kafka.send(NOTICE)
    kafka.rest()
    kafka.send(NOTICE)
    assert len({event["id"] for event in events(server, topic)}) == 1


@pytest.mark.integration
def test_an_event_that_the_topic_refuses_says_what_to_raise(server: Broker, topic: str) -> None:
    with pytest.raises(PermanentError, match=r"raise its max\.message\.bytes"):
        Kafka(server.bootstrap, topic).send(replace(NOTICE, diff="x" * 2_000_000))


@pytest.mark.integration
def test_what_waits_while_the_broker_is_away_arrives_in_order(server: Broker, topic: str) -> None:
    kafka = Kafka(server.bootstrap, topic, seconds=3)
    journal = Journal(kafka, wait=wait_fixed(0.2))
    journal.start()
    journal.tell(story("Opened"))
    wait_until(lambda: journal.waiting == 0, "the first step to be confirmed")
    server.stop()
    try:
        journal.tell(story(*_HEAL))
        with pytest.raises(Unavailable, match="has not confirmed"):
            Kafka(server.bootstrap, topic, seconds=0.5).send(replace(NOTICE, uid="another"))
        assert journal.confirmed(NOTICE.uid) == {"Opened"}
    finally:
        server.start()
    wait_until(lambda: journal.confirmed(NOTICE.uid) == set(_HEAL), "all to be confirmed")
    journal.stop()
    assert list(dict.fromkeys(steps(events(server, topic)))) == _HEAL


@pytest.mark.integration
def test_a_strict_broker_gets_advice_out_of_us_and_a_rotated_secret_works_without_a_restart(
    tmp_path: Path, topic: str
) -> None:
    secret = tmp_path / "kafka.properties"
    login = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=selfheal\nsasl.password={}\n"
    secret.write_text(login.format("WRONG"))
    with broker(tmp_path / "kafka", **_STRICT) as strict:
        kafka = Kafka(strict.bootstrap, topic, properties=secret, seconds=7)
        with pytest.raises(PermanentError, match="SELFHEAL_KAFKA_PROPERTIES_FILE") as caught:
            kafka.send(NOTICE)
        secret.write_text(login.format("right"))
        with pytest.raises(PermanentError, match=f"topic {topic} is not there: create it"):
            kafka.send(NOTICE)
    assert "WRONG" not in str(caught.value)


@pytest.mark.api
def test_a_heal_is_told_in_order_waits_for_no_broker_and_nothing_is_lost(
    api_cluster: ApiCluster, namespace: str, server: Broker, topic: str, tmp_path: Path
) -> None:
    shop, start = _shop(api_cluster, namespace), _controller(api_cluster, server, topic, tmp_path)
    with start() as first:
        shop.deploy("cart", fault="image")
        wait_until(lambda: shop.outcomes() == ["Successful"], "the first heal")
        wait_until(lambda: _published(shop) == [_HEAL], "the record to say what is published")
        told = events(server, topic)
        assert steps(told) == _HEAL
        assert {event["subject"] for event in told} == {f"{namespace}/Deployment/cart"}

        server.stop()
        try:
            shop.deploy("pay", fault="image")
            wait_until(lambda: _results(shop) == ["Successful", "Applied"], "the middle of a heal without the broker")
            first.kill()
            with start():
                wait_until(lambda: shop.outcomes() == ["Successful"] * 2, "its end without the broker")
                server.start()
                wait_until(lambda: _published(shop) == [_HEAL, _HEAL], "the record of the second heal")
        finally:
            server.start()
    uids = [one["metadata"]["uid"] for one in shop.remediations()]
    found = events(server, topic)
    assert list(dict.fromkeys(event["id"] for event in found)) == [f"{uid}/{step}" for uid in uids for step in _HEAL]
    assert [event["id"] for event in found[: len(_HEAL)]] == [event["id"] for event in told]


@pytest.mark.api
def test_a_controller_that_starts_anew_tells_nothing_twice(
    api_cluster: ApiCluster, namespace: str, server: Broker, topic: str, tmp_path: Path
) -> None:
    shop, start = _shop(api_cluster, namespace), _controller(api_cluster, server, topic, tmp_path)
    with start():
        shop.deploy("cart", fault="image")
        wait_until(lambda: _published(shop) == [_HEAL], "the record to say what is published")
    with start():
        shop.deploy("pay", fault="image")
        wait_until(lambda: _published(shop) == [_HEAL, _HEAL], "the record of the second heal")
    assert steps(events(server, topic)) == [*_HEAL, *_HEAL]


@pytest.mark.api
def test_steps_are_told_as_they_are_taken_and_wait_for_no_tick(
    api_cluster: ApiCluster, namespace: str, server: Broker, topic: str, tmp_path: Path
) -> None:
    shop = _shop(api_cluster, namespace)
    with _controller(api_cluster, server, topic, tmp_path, SELFHEAL_TICK_SECONDS="600")():
        shop.deploy("cart", fault="image")
        wait_until(lambda: shop.outcomes() == ["Successful"], "the heal")
        wait_until(lambda: steps(events(server, topic)) == _HEAL, "its steps")


def _shop(cluster: ApiCluster, namespace: str) -> Shop:
    shop = Shop(cluster, namespace)
    for name in ("cart", "pay"):
        shop.deploy(name)
    wait_until(lambda: shop.healthy("cart") and shop.healthy("pay"), "a healthy shop")
    shop.opt_in()
    shop.policy(anomalyType="ImagePullBackOff")
    return shop


def _controller(
    cluster: ApiCluster, server: Broker, topic: str, folder: Path, **more: str
) -> Callable[[], AbstractContextManager[Controller]]:
    """Starts one controller after the other, all with the same settings."""
    account = cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    env = {"SELFHEAL_KAFKA_BOOTSTRAP_SERVERS": server.bootstrap, "SELFHEAL_KAFKA_TOPIC": topic, **more}
    return lambda: running(account, folder / f"log-{uuid4().hex[:8]}", env)


def _results(shop: Shop) -> list[str]:
    """Of the first attempts, the oldest record first."""
    attempts = (one.get("status", {}).get("attempts") for one in shop.remediations())
    return [found[0]["result"] for found in attempts if found]


def _published(shop: Shop) -> list[list[str]]:
    """What each record says to be confirmed, the oldest first; nothing of those that do not say it."""
    told = [one.get("status", {}).get("conditions", ()) for one in shop.remediations()]
    return [one["message"].split(", ") for found in told for one in found if one["type"] == "Published"]
