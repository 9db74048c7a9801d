"""The controller's settings: one frozen model, read from ``SELFHEAL_*`` environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from selfheal.errors import WrongUse
from selfheal.policy import SYSTEM_NAMESPACE, explain

PREFIX = "SELFHEAL_"


def _check_url(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no URL: write for example http://prometheus.monitoring:9090")
    return url.rstrip("/")


def _check_servers(text: str) -> str:
    found = [one.strip() for one in text.split(",") if one.strip()]
    for one in found:
        host, _, port = one.rpartition(":")
        if not host or set("/ ") & set(host) or not port.isdigit():
            raise ValueError(f"{one!r} is no HOST:PORT: write for example kafka-0.kafka:9092,kafka-1.kafka:9092")
    return ",".join(found)


def _path_or_none(value: object) -> object:
    return value or None


Url = Annotated[str, AfterValidator(_check_url)]
Servers = Annotated[str, AfterValidator(_check_servers)]
Topic = Annotated[str, Field(max_length=249, pattern=r"^[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*$")]
OptionalPath = Annotated[Path | None, BeforeValidator(_path_or_none)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65_535)]


class Settings(BaseModel):
    """What may differ between installations; the environment variable is ``SELFHEAL_`` and the name in capitals.

    Every description says the unit and why the default; docs/operations.md prints them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field(
        default=SYSTEM_NAMESPACE,
        description="The controller's own namespace; only policies in it may target another one.",
    )
    prometheus_url: Url = Field(
        default="",
        description="Base URL of Prometheus or Thanos. Empty: no metrics are read, symptoms alone are healed.",
    )
    prometheus_token_file: OptionalPath = Field(
        default=None,
        description="File with a bearer token, read at every request because such tokens are rotated.",
    )
    prometheus_ca_file: OptionalPath = Field(
        default=None,
        description="Certificate authority of Prometheus. Unset: the system's.",
    )
    endpoint_url: Url = Field(
        default="",
        description="Base URL of the inference endpoint. Empty: nobody is asked, verdicts rest on symptoms.",
    )
    endpoint_timeout_seconds: Seconds = Field(
        default=5.0,
        description="Seconds one request to the endpoint may take: 1,000 workloads need about one.",
    )
    endpoint_token_file: OptionalPath = Field(
        default=None,
        description="File with a bearer token for the endpoint, read at every request because such tokens are rotated.",
    )
    endpoint_ca_file: OptionalPath = Field(
        default=None,
        description="Certificate authority of the endpoint. Unset: the system's.",
    )
    slack_webhook_file: OptionalPath = Field(
        default=None,
        description="File with the URL of a Slack incoming webhook (a mounted Secret). Unset: no Slack.",
    )
    webhook_url: Url = Field(
        default="",
        description="Every step of a remediation is posted to it as JSON. Empty: none.",
    )
    kafka_bootstrap_servers: Servers = Field(
        default="",
        description="HOST:PORT of Kafka brokers, with commas between. Empty: no events are published.",
    )
    kafka_topic: Topic = Field(
        default="selfheal.remediations",
        description="Every step of a remediation is published to it as a CloudEvent; has to exist.",
    )
    kafka_properties_file: OptionalPath = Field(
        default=None,
        description="File of librdkafka properties for TLS and SASL (a mounted Secret). Unset: plain text.",
    )
    cluster_name: Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9._-]*$")] = Field(
        default="",
        description="Name of this cluster in the source of events. Empty: the source does not name one.",
    )
    argocd_namespace: str = Field(
        default="argocd",
        description="Where Argo CD keeps its Applications and settings: openshift-gitops with OpenShift GitOps.",
    )
    tick_seconds: Seconds = Field(
        default=60.0,
        description="Seconds between two looks at all policy targets: one scrape interval of most clusters.",
    )
    window_samples: Annotated[int, Field(ge=2, le=10_000)] = Field(
        default=60,
        description="Samples in a window: an hour at the default step, as models are trained by default.",
    )
    step_seconds: Seconds = Field(
        default=60.0,
        description="Seconds between samples, where the model's metadata do not say: one scrape interval.",
    )
    metrics_port: Port = Field(
        default=9090,
        description="TCP port of /metrics. 0: none is opened.",
    )
    metrics_auth: bool = Field(
        default=False,
        description="Whether who scrapes has to show a token that may get /metrics; the API server is asked.",
    )
    metrics_cert_file: OptionalPath = Field(
        default=None,
        description="Certificate of /metrics, with metrics_key_file. Unset: plain HTTP.",
    )
    metrics_key_file: OptionalPath = Field(
        default=None,
        description="Key of that certificate.",
    )
    liveness_port: Port = Field(
        default=8081,
        description="TCP port of /healthz. 0: none is opened.",
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        default=4,
        description="Workloads handled at the same time; each takes about ten short API calls.",
    )
    api_timeout_seconds: Seconds = Field(
        default=10.0,
        description="Seconds one call to the API server may take: bounded waits, never a hang.",
    )
    lease_seconds: Seconds = Field(
        default=15.0,
        description="Seconds after which another replica takes over from one that is silent.",
    )
    renew_deadline_seconds: Seconds = Field(
        default=10.0,
        description="Seconds after which a replica that cannot renew the Lease writes nothing; less than the former.",
    )
    lease_retry_seconds: Seconds = Field(
        default=2.0,
        description="Seconds between two looks at the Lease; less than half of the former.",
    )
    recheck_seconds: Seconds = Field(
        default=3.0,
        description="Seconds after which a workload that looks sick, but shows no symptom yet, is looked at again.",
    )
    resync_seconds: Seconds = Field(
        default=15.0,
        description="Seconds after which a workload that is still sick is looked at again without any event.",
    )

    @model_validator(mode="after")
    def _check_lease(self) -> Settings:
        if not 2 * self.lease_retry_seconds < self.renew_deadline_seconds < self.lease_seconds:
            raise ValueError(
                "two replicas could act at once: make lease_seconds > renew_deadline_seconds > 2 * lease_retry_seconds"
                ", for example 15, 10, 2"
            )
        return self

    @model_validator(mode="after")
    def _check_certificate(self) -> Settings:
        if (self.metrics_cert_file is None) != (self.metrics_key_file is None):
            raise ValueError("a certificate needs its key: set metrics_cert_file and metrics_key_file, or neither")
        return self

    @model_validator(mode="after")
    def _check_kafka(self) -> Settings:
        if self.kafka_properties_file is not None and not self.kafka_bootstrap_servers:
            raise ValueError("kafka_properties_file has no effect alone: set kafka_bootstrap_servers too, or neither")
        return self

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read ``SELFHEAL_*`` variables; an empty one counts as not set.

        Others with that prefix are ignored: Kubernetes itself makes some for every Service.

        Raises:
            WrongUse: With every faulty variable.
        """
        names = {name: PREFIX + name.upper() for name in cls.model_fields}
        given = {name: environ[variable] for name, variable in names.items() if environ.get(variable)}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise WrongUse(f"settings ({PREFIX}* environment variables): {explain(error)}") from None
