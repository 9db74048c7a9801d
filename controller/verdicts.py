"""The endpoint's verdicts: windows from Prometheus at every tick, one batch for all, and one more look in an incident.

Whatever is missing (no Prometheus, no endpoint, no model, no history) makes a verdict None and ``degraded`` a sentence;
symptoms are healed without it.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
from array import array
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
_NEVER = datetime.min.replace(tzinfo=UTC)
_STALE_TICKS = 3  # windows older than this many ticks say nothing about now


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer of the endpoint and the end of the window that it rests on."""

    prediction: Prediction
    end: datetime


@dataclass(frozen=True, slots=True)
class _Window:
    """What an Instance holds, at eight bytes a sample: lists of a thousand workloads' floats are many megabytes.

    Attributes:
        end: Time of the newest sample.
        step: Seconds between samples.
        metrics: In the model's order.
        values: One metric after the other; NaN is a gap.
    """

    end: datetime
    step: float
    metrics: tuple[str, ...]
    values: array[float]

    @classmethod
    def of(cls, windows: WindowSet, workload: str, metrics: tuple[str, ...]) -> _Window:
        """Of one workload; gaps where nothing is known."""
        window, gap = windows.windows[workload], [None] * windows.samples
        samples = itertools.chain.from_iterable(window.get(metric, gap) for metric in metrics)
        values = array("d", (math.nan if value is None else value for value in samples))
        return cls(windows.end, windows.step, metrics, values)

    @property
    def is_empty(self) -> bool:
        """Whether there is no sample at all."""
        return all(map(math.isnan, self.values))

    def instance(self, workload: str, now: Mapping[str, float | None] | None = None) -> Instance:
        """As the endpoint takes it."""
        size = len(self.values) // len(self.metrics)
        window: dict[str, list[float | None]] = {
            name: [*self.values[n * size : (n + 1) * size]] for n, name in enumerate(self.metrics)
        }
        return Instance(workload=workload, end=self.end, step=self.step, window=window, now=dict(now or {}))


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
        self._windows: dict[str, _Window] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._streaks: dict[str, tuple[float, ...]] = {}
        self._looked = _NEVER
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
            windows, verdicts, failed = self._judge(self._prometheus, self._endpoint, targets)
        except SelfhealError as error:
            self._degrade(error)
            return []
        now = self._clock()
        with self._lock:
            if self._is_stale(self._looked):
                self._streaks = {}  # too long ago to be in a row with this one
            self._looked = now
            self._windows, self._verdicts = windows, verdicts
            self._streaks = {str(key): self._longer(str(key)) for key in targets}
        self.degraded = failed if windows else self._knows_nobody(targets)
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
    ) -> tuple[dict[str, _Window], dict[str, Verdict], str]:
        """Windows and verdicts by workload, and which metrics cannot be read."""
        wants = endpoint.wants()
        windows, failed = self._read(prometheus, wants, targets)
        predictions = endpoint.predict(one.instance(name) for name, one in windows.items())
        return (
            windows,
            {name: Verdict(one, windows[name].end) for name, one in predictions.items() if name in windows},
            failed,
        )

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
            windows, verdicts, _ = self._judge(self._prometheus, self._endpoint, [Key.parse(key)])
        except SelfhealError as error:
            log("the endpoint did not judge", level=logging.WARNING, workload=key, cause=str(error))
            return found
        with self._lock:
            self._windows |= windows
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

    def _read(
        self, prometheus: PrometheusClient, wants: Wants, targets: Collection[Key]
    ) -> tuple[dict[str, _Window], str]:
        """A window for each workload that has any sample at all."""
        step = wants.step or self._settings.step_seconds
        names = [name for name in workload_metrics(wants.metrics) if name in BY_NAME]
        if not names:
            raise Unavailable(f"the model wants metrics that this controller cannot read: {', '.join(wants.metrics)}")
        found = prometheus.workload_windows(
            self._clock(), self._settings.window_samples, step, workloads=[str(key) for key in targets], names=names
        )
        windows = {name: _Window.of(found, name, wants.metrics) for name in found.windows}
        return {name: one for name, one in windows.items() if not one.is_empty}, _what_failed(found)

    def _knows_nobody(self, targets: Collection[Key]) -> str:
        return (
            f"Prometheus at {self._settings.prometheus_url} has no sample of any of the {len(targets)} targets: is it "
            "this cluster's? `selfheal metrics probe` says more. Until then verdicts rest on symptoms alone."
        )

    def _degrade(self, error: SelfhealError) -> None:
        self.degraded = f"{error}. Until then verdicts rest on symptoms alone."
        log("no verdicts from the endpoint", level=logging.WARNING, cause=str(error))

    def ask(self, workload: Workload) -> Verdict | None:
        """Judge one workload with a symptom now: its newest window, and what the API server says this second over it.

        The symptom is acted upon without the endpoint, too: that gets a second, no more.
        """
        key = workload.ref.workload
        instance = self._instance(key, facts(workload))
        if instance is None or self._endpoint is None:
            return self.newest(key)
        try:
            found = self._endpoint.predict([instance], briefly=True)[key]
        except (SelfhealError, KeyError) as error:
            log("the endpoint did not judge", level=logging.WARNING, workload=key, cause=str(error))
            return None
        verdict = Verdict(found, instance.end)
        with self._lock:
            self._verdicts[key] = verdict
        return verdict

    def _instance(self, key: str, now: Mapping[str, float | None]) -> Instance | None:
        with self._lock:
            found = self._windows.get(key)
        if found is None or self._is_stale(found.end):
            return None
        return found.instance(key, now)

    def newest(self, key: str) -> Verdict | None:
        """The newest verdict about a workload, without asking anybody; None when there is none, or it is stale."""
        with self._lock:
            found = self._verdicts.get(key)
        return None if found is None or self._is_stale(found.end) else found

    def _is_stale(self, end: datetime) -> bool:
        return self._clock() - end > timedelta(seconds=_STALE_TICKS * self._settings.tick_seconds)


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
