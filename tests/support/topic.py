"""What an independent consumer reads from a topic: CloudEvents, checked as such."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from cloudevents.http import CloudEvent
from cloudevents.kafka import KafkaMessage, from_binary
from confluent_kafka import Consumer, Message, TopicPartition

from bench.kafka import Broker


@contextmanager
def broker(folder: Path, **settings: str) -> Iterator[Broker]:
    """A broker that runs for the length of a block.

    Args:
        folder: Holds all of it.
        settings: See :meth:`Broker.create`.
    """
    found = Broker.create(folder, **settings)
    found.start()
    try:
        yield found
    finally:
        found.stop()


def messages(server: Broker, topic: str) -> list[Message]:
    """All messages of a topic of one partition, from its beginning to its end as it is now."""
    consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": uuid4().hex, "log_level": 0})
    try:
        partition = TopicPartition(topic, 0, 0)
        _, end = consumer.get_watermark_offsets(partition, timeout=20)
        consumer.assign([partition])
        return _read(consumer, end)
    finally:
        consumer.close()


def _read(consumer: Consumer, end: int) -> list[Message]:
    found: list[Message] = []
    deadline = time.monotonic() + 20
    while len(found) < end and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message)
    return found


def events(server: Broker, topic: str) -> list[CloudEvent]:
    """The same as CloudEvents.

    Raises:
        cloudevents.exceptions.GenericException: When one is none.
    """
    return [from_binary(_plain(message)) for message in messages(server, topic)]


def _plain(message: Message) -> KafkaMessage:
    headers = {name: value for name, value in dict(message.headers() or ()).items() if isinstance(value, bytes)}
    key, value = message.key(), message.value()
    assert value is not None
    return KafkaMessage(headers, key, value)


def steps(found: list[CloudEvent]) -> list[str]:
    """The steps that events are about, in order."""
    return [str(event["id"]).partition("/")[2] for event in found]
