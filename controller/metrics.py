"""What the controller tells Prometheus; names are a contract (docs/operations.md). No pod names in labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from selfheal import __version__
from selfheal.policy import Action, AnomalyType
from selfheal.remediation import Outcome

_STEP_BUCKETS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800)
_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """All metrics of one controller.

    Args:
        registry: Where they are registered; a new one by default, so that tests do not share counts.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._anomalies = Counter(
            "selfheal_anomalies_detected",
            "Anomalies for which a remediation was opened.",
            ["type"],
            registry=self.registry,
        )
        self._remediations = Counter(
            "selfheal_remediations", "Remediations that ended.", ["action", "outcome"], registry=self.registry
        )
        self._duration = Histogram(
            "selfheal_remediation_duration_seconds",
            "Seconds from detection to a step of a remediation.",
            ["step"],
            buckets=_STEP_BUCKETS,
            registry=self.registry,
        )
        self._inference = Histogram(
            "selfheal_inference_request_duration_seconds",
            "Seconds one request to the inference endpoint took, failed ones included.",
            buckets=_CALL_BUCKETS,
            registry=self.registry,
        )
        self._budget = Gauge(
            "selfheal_budget_remaining", "Remediations that may still be opened now.", registry=self.registry
        )
        self._suspended = Gauge("selfheal_suspended", "1 while the kill switch is on.", registry=self.registry)
        self._leader = Gauge("selfheal_leader", "1 while this replica acts.", registry=self.registry)
        self._observed = Gauge(
            "selfheal_last_observation_timestamp_seconds",
            "Unix time of the newest complete look at the policy targets.",
            registry=self.registry,
        )
        self._events = Gauge(
            "selfheal_events_waiting",
            "Steps of remediations that the Kafka topic has not confirmed yet.",
            registry=self.registry,
        )
        info = Gauge("selfheal_build_info", "Always 1; the labels tell.", ["version"], registry=self.registry)
        info.labels(version=__version__).set(1)

    def detected(self, kind: AnomalyType) -> None:
        """A remediation was opened for an anomaly of this type."""
        self._anomalies.labels(type=kind.value).inc()

    def ended(self, action: Action | None, outcome: Outcome) -> None:
        """A remediation ended; ``action`` is the last one tried, None when none was."""
        self._remediations.labels(action=action.value if action else "none", outcome=outcome.value).inc()

    def reached(self, step: str, detected: datetime | None, now: datetime) -> None:
        """A remediation reached a step (``decided``, ``applied``, ``recovered``, ``verified``, ...)."""
        if detected is not None:
            self._duration.labels(step=step).observe(max(0.0, (now - detected).total_seconds()))

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Time one request to the endpoint."""
        with self._inference.time():
            yield

    def safety(self, suspended: bool, budget_left: int) -> None:
        """The kill switch, and what is left of the budget."""
        self._suspended.set(int(suspended))
        self._budget.set(budget_left)

    def leads(self, now: bool) -> None:
        """Whether this replica acts."""
        self._leader.set(int(now))

    def events_waiting(self, count: int) -> None:
        """So many steps are not in the Kafka topic yet."""
        self._events.set(count)

    def observed(self, now: datetime) -> None:
        """All policy targets were looked at."""
        self._observed.set(now.timestamp())
