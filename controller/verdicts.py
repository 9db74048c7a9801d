"""The endpoint's verdicts: windows from Prometheus at every tick, one batch for all, and one more look in an incident.

Whatever is missing (no Prometheus, no endpoint, no model, no history) makes a verdict None and ``degraded`` a sentence;
symptoms are healed without it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from controller.cluster.paths import Key
from controller.eviction import is_live, name_of
from controller.inference import InferenceClient, Wants
from controller.logs import log
from controller.model import LOOKS, Resource, Workload
from controller.settings import Settings
from selfheal.catalogue import BY_NAME, workload_metrics
from selfheal.errors import SelfhealError, Unavailable
from selfheal.prometheus import PrometheusClient
from selfheal.protocol import Instance, Prediction
from selfheal.series import WindowSet

_RENEWED_AFTER = timedelta(seconds=15)  # a scrape interval or so: sooner there is nothing new to read
_STALE_TICKS = 3  # windows older than this many ticks say nothing about now


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer of the endpoint and the end of the window that it rests on."""

    prediction: Prediction
    end: datetime


class Verdicts:
    """Asks Prometheus and the endpoint, and remembers the newest answers.

    Args:
        settings: The controller's.
        prometheus: None when there is none.
        endpoint: None when there is none.
        clock: Aware time; tests put their own in.
    """

    def __init__(
        self,
        settings: Settings,
        prometheus: PrometheusClient | None,
        endpoint: InferenceClient | None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._prometheus = prometheus
        self._endpoint = endpoint
        self._clock = clock
        self._lock = threading.Lock()
        self._instances: dict[str, Instance] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._streaks: dict[str, tuple[float, ...]] = {}
        self.degraded = self._missing()

    def _missing(self) -> str:
        if self._endpoint is None:
            return "no endpoint is set (SELFHEAL_ENDPOINT_URL): verdicts rest on symptoms alone"
        if self._prometheus is None:
            return "no Prometheus is set (SELFHEAL_PROMETHEUS_URL): verdicts rest on symptoms alone"
        return ""

    def look(self, targets: Collection[Key]) -> list[Key]:
        """Read the windows of all targets and have them judged in one batch.

        Returns:
            The targets that the endpoint calls anomalous.
        """
        if self._prometheus is None or self._endpoint is None or not targets:
            return []
        try:
            windows, instances, verdicts = self._judge(self._prometheus, self._endpoint, targets)
        except SelfhealError as error:
            self._degrade(error)
            return []
        with self._lock:
            self._instances, self._verdicts = instances, verdicts
            self._streaks = {str(key): self._longer(str(key)) for key in targets}
        self.degraded = _what_failed(windows)
        return [key for key in targets if (one := verdicts.get(str(key))) and one.prediction.anomaly]

    def _longer(self, key: str) -> tuple[float, ...]:
        """The streak of a workload with the newest answer; a look without an anomaly ends it."""
        prediction = found.prediction if (found := self._verdicts.get(key)) else None
        if prediction is None or not prediction.anomaly or prediction.confidence is None:
            return ()
        return (*self._streaks.get(key, ()), prediction.confidence)[-LOOKS:]

    def streak(self, key: str) -> tuple[float, ...]:
        """Confidence of the last looks in a row that saw an anomaly, the newest last; ``LOOKS`` at most."""
        with self._lock:
            return self._streaks.get(key, ())

    def _judge(
        self, prometheus: PrometheusClient, endpoint: InferenceClient, targets: Collection[Key]
    ) -> tuple[WindowSet, dict[str, Instance], dict[str, Verdict]]:
        wants = endpoint.wants()
        windows = self._read(prometheus, wants, targets)
        instances = _instances(windows, wants)
        predictions = endpoint.predict(list(instances.values()))
        return windows, instances, {name: Verdict(one, windows.end) for name, one in predictions.items()}

    def renewed(self, workload: Workload) -> Verdict | None:
        """The newest verdict about a workload whose fix is being verified, from a window that is read for it alone.

        Between two ticks a window says nothing about a change that was just made. One that is a few seconds old is not
        read again.
        """
        key = workload.ref.workload
        found = self.newest(key)
        fresh = found is not None and self._clock() - found.end < _RENEWED_AFTER
        if fresh or self._prometheus is None or self._endpoint is None:
            return found
        try:
            _, instances, verdicts = self._judge(self._prometheus, self._endpoint, [Key.parse(key)])
        except SelfhealError as error:
            log("the endpoint did not judge", level=logging.WARNING, workload=key, cause=str(error))
            return found
        with self._lock:
            self._instances |= instances
            self._verdicts |= verdicts
        return self.newest(key)

    def throttling(self, workload: Workload, since: datetime) -> float | None:
        """Percent of CPU periods in which the worst pod was throttled since a moment; None when that is not known."""
        now, pods = self._clock(), [name_of(pod) for pod in workload.pods if is_live(pod)]
        if self._prometheus is None or now - since < timedelta(seconds=1):
            return None
        try:
            return self._prometheus.worst_since("cpu_throttled_ratio", workload.ref.namespace, pods, since, now)
        except SelfhealError as error:
            log("throttling is not known", level=logging.WARNING, workload=workload.ref.workload, cause=str(error))
            return None

    def _read(self, prometheus: PrometheusClient, wants: Wants, targets: Collection[Key]) -> WindowSet:
        step = wants.step or self._settings.step_seconds
        names = [name for name in workload_metrics(wants.metrics) if name in BY_NAME]
        if not names:
            raise Unavailable(f"the model wants metrics that this controller cannot read: {', '.join(wants.metrics)}")
        return prometheus.workload_windows(
            self._clock(), self._settings.window_samples, step, workloads=[str(key) for key in targets], names=names
        )

    def _degrade(self, error: SelfhealError) -> None:
        self.degraded = f"{error}. Until then verdicts rest on symptoms alone."
        log("no verdicts from the endpoint", level=logging.WARNING, cause=str(error))

    def ask(self, workload: Workload) -> Verdict | None:
        """Judge one workload now: its newest window, overlaid with what the API server says this second."""
        key = workload.ref.workload
        instance = self._instance(key, facts(workload))
        if instance is None or self._endpoint is None:
            return self.newest(key)
        try:
            found = self._endpoint.predict([instance])[key]
        except (SelfhealError, KeyError) as error:
            log("the endpoint did not judge", level=logging.WARNING, workload=key, cause=str(error))
            return None
        verdict = Verdict(found, instance.end)
        with self._lock:
            self._verdicts[key] = verdict
        return verdict

    def _instance(self, key: str, now: Mapping[str, float | None]) -> Instance | None:
        with self._lock:
            found = self._instances.get(key)
        if found is None or self._is_stale(found.end):
            return None
        return found.model_copy(update={"now": dict(now)})

    def newest(self, key: str) -> Verdict | None:
        """The newest verdict about a workload, without asking anybody; None when there is none, or it is stale."""
        with self._lock:
            found = self._verdicts.get(key)
        return None if found is None or self._is_stale(found.end) else found

    def _is_stale(self, end: datetime) -> bool:
        return self._clock() - end > timedelta(seconds=_STALE_TICKS * self._settings.tick_seconds)


def _instances(windows: WindowSet, wants: Wants) -> dict[str, Instance]:
    """One a workload that has any sample at all; metrics in the model's order, gaps where nothing is known."""
    gap: list[float | None] = [None] * windows.samples
    return {
        name: Instance(
            workload=name,
            end=windows.end,
            step=windows.step,
            window={metric: window.get(metric, gap) for metric in wants.metrics},
        )
        for name, window in windows.windows.items()
        if any(value is not None for samples in window.values() for value in samples)
    }


def _what_failed(windows: WindowSet) -> str:
    if not windows.failed:
        return ""
    name, cause = next(iter(sorted(windows.failed.items())))
    return (
        f"{len(windows.failed)} of the model's metrics cannot be read ({name}: {cause}): see `selfheal metrics probe`"
    )


def facts(workload: Workload) -> dict[str, float | None]:
    """What the API server says this second, as metrics of the catalogue, aggregated like them (the worst pod)."""
    restarts = [
        int(status.get("restartCount", 0))
        for pod in workload.pods
        for status in pod.get("status", {}).get("containerStatuses") or []
    ]
    found: dict[str, float | None] = {"container_restart_count": float(max(restarts))} if restarts else {}
    if workload.ref.kind == "Deployment":
        found["deployment_unavailable"] = float(_status(workload.resource).get("unavailableReplicas", 0))
    return found


def _status(resource: Resource) -> Resource:
    status: Resource = resource.get("status") or {}
    return status
