"""Kafka: every step as one CloudEvent in binary content mode, confirmed by the broker before it counts as told.

Binary: the value is the JSON that the webhook gets, and the attributes are headers ``ce_*``. A consumer that knows
nothing of CloudEvents reads it as it is, and one that does (Knative, Camel) filters by headers without parsing; both
take this mode, which is also what Knative itself writes.
"""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Any

from cloudevents.http import CloudEvent
from cloudevents.kafka import KafkaMessage, to_binary
from confluent_kafka import KafkaError, KafkaException, Producer

from controller.notify.base import Notice
from controller.notify.webhook import body
from selfheal.errors import PermanentError, SelfhealError, Unavailable, WrongUse
from selfheal.policy import GROUP, SERVICE_ACCOUNT

_TIMEOUT = 10.0  # seconds
_PREFIX = ".".join(reversed(GROUP.split("."))) + ".remediation."
_DEFAULTS: dict[str, Any] = {
    "client.id": SERVICE_ACCOUNT,
    "log_level": 0,  # it writes to stderr; what matters comes as an error
    "partitioner": "murmur2_random",  # a key's partition is that of Java's clients
    "reconnect.backoff.max.ms": 2_000,
    "socket.timeout.ms": 10_000,
    "topic.metadata.propagation.max.ms": 5_000,  # so that a topic that is not there is named as such
}
_OURS: dict[str, Any] = {"acks": "all", "enable.idempotence": True}
_NOT_YOURS = _OURS.keys() | {
    "bootstrap.servers",
    "metadata.broker.list",
    "request.required.acks",
    "message.timeout.ms",
    "delivery.timeout.ms",
}
_LOGIN = {
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
}


class Kafka:
    """Produces to one topic.

    Args:
        servers: ``HOST:PORT`` of brokers, with commas between.
        topic: Its name.
        cluster: Name of the Kubernetes cluster in the events' source; empty for none.
        properties: File of librdkafka properties for TLS and SASL. It is read at every connection and after every
            refusal, so that a rotated Secret works without a restart.
        seconds: In which the broker has to confirm an event.

    Raises:
        WrongUse: The file cannot be read, or librdkafka does not take what is in it.
    """

    name = "kafka"

    def __init__(
        self, servers: str, topic: str, cluster: str = "", properties: Path | None = None, seconds: float = _TIMEOUT
    ) -> None:
        self._servers = servers
        self._topic = topic
        self._source = source(cluster)
        self._file = properties
        self._seconds = seconds
        self._said: KafkaError | None = None
        self._producer: Producer | None = None
        self._connect()  # to see whether it can; nobody is reached for until there is something to tell

    def _connect(self) -> Producer:
        """A producer; it reaches for the brokers in the background."""
        given = read_properties(self._file) if self._file is not None else {}
        ours = {
            "bootstrap.servers": self._servers,
            "error_cb": self._hear,
            "message.timeout.ms": int(1000 * self._seconds),
        }
        try:
            return Producer(_DEFAULTS | given | _OURS | ours)
        except KafkaException as error:
            said = error.args[0].str()
            raise WrongUse(f"{self._where()}: {said}. Write librdkafka's properties, not the Java client's") from None

    def _where(self) -> str:
        return f"the file of SELFHEAL_KAFKA_PROPERTIES_FILE ({self._file})" if self._file else "the Kafka settings"

    def _hear(self, error: KafkaError) -> None:
        """What is wrong with connections; a refusal says more than the outage that follows from it."""
        if self._said is None or self._said.code() not in _LOGIN:
            self._said = error

    def send(self, notice: Notice) -> None:
        """Produce it, and wait until all in-sync replicas have it.

        Raises:
            TemporaryError: No broker has confirmed it in time; it may be there all the same.
            PermanentError: Somebody has to change a right, the topic or the credentials.
        """
        self._said = None
        if self._producer is None:
            self._producer = self._connect()
        reports: list[KafkaError | None] = []
        try:
            message = to_binary(event(notice, self._source))
            self._produce(self._producer, message, reports)
        except KafkaException as error:
            reports = [error.args[0]]
        failed = reports[0] if reports else KafkaError(KafkaError._MSG_TIMED_OUT)
        if failed is not None:
            raise self._failure(failed)

    def rest(self) -> None:
        """Close the connection: one that nobody looks at collects errors for as long as the broker is away."""
        self._producer = None

    def _produce(self, producer: Producer, message: KafkaMessage, reports: list[KafkaError | None]) -> None:
        producer.produce(
            self._topic,
            message.value,
            message.key,
            headers=dict(message.headers),
            on_delivery=lambda error, _: reports.append(error),
        )
        producer.flush(2 * self._seconds)

    def _failure(self, error: KafkaError) -> SelfhealError:
        """What a failed delivery means; after anything but an outage a new producer is made."""
        said, code = self._said, error.code()
        if code == KafkaError._MSG_TIMED_OUT and said is not None and said.code() in _LOGIN:
            code, error = said.code(), said
        advice = self._advice(code)
        if advice or error.fatal():
            self._producer = None
        if advice:
            return PermanentError(f"{advice} ({error.str()})")
        cause = f"{error.str()}; {said.str()}" if said is not None else error.str()
        return Unavailable(f"Kafka at {self._servers} has not confirmed the event ({cause}): it is tried again")

    def _advice(self, code: int) -> str:
        """What somebody has to do; empty where time may help."""
        if code in _LOGIN:
            return f"Kafka at {self._servers} and we do not trust each other: check {self._where()}"
        match code:
            case KafkaError.TOPIC_AUTHORIZATION_FAILED:
                return f"no right to write to topic {self._topic}: give our principal Describe and Write on it"
            case KafkaError.CLUSTER_AUTHORIZATION_FAILED:
                return "no right to write idempotently: give our principal IdempotentWrite on the cluster"
            case KafkaError.UNKNOWN_TOPIC_OR_PART | KafkaError._UNKNOWN_TOPIC:
                return f"topic {self._topic} is not there: create it, or name another one in SELFHEAL_KAFKA_TOPIC"
            case KafkaError.MSG_SIZE_TOO_LARGE | KafkaError.RECORD_LIST_TOO_LARGE:
                return f"topic {self._topic} takes only smaller events: raise its max.message.bytes"
            case _:
                return ""


def source(cluster: str) -> str:
    """Attribute ``source``: the controller, in its cluster where that has a name."""
    return f"/{cluster}/{SERVICE_ACCOUNT}" if cluster else f"/{SERVICE_ACCOUNT}"


def event(notice: Notice, origin: str) -> CloudEvent:
    """A notice as a CloudEvent; the same step always has the same id.

    The partition key is the remediation's uid, so that its steps stay in order.
    """
    attributes = {
        "id": f"{notice.uid}/{notice.step}",
        "source": origin,
        "type": _PREFIX + notice.step.partition("-")[0].lower(),
        "subject": notice.workload,
        "time": notice.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "partitionkey": notice.uid,
    }
    return CloudEvent(attributes, body(notice))


def read_properties(file: Path) -> dict[str, str]:
    """``name=value`` lines; ``#`` begins a comment line. Messages never hold a line, which can be a secret.

    Raises:
        WrongUse: With the number of the line.
    """
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"cannot read the Kafka properties: {error}. Check SELFHEAL_KAFKA_PROPERTIES_FILE.") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not name or name.startswith("#"):
            continue
        if not equals:
            raise WrongUse(f"{file}, line {number}: write name=value, for example security.protocol=SASL_SSL")
        if name in _NOT_YOURS:
            raise WrongUse(f"{file}, line {number}: leave {name} out, the controller sets it")
        found[name] = value
    return found
