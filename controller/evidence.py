"""The five findings about a fix. Each is True, False, or None for "cannot tell". Pure.

They rest on Kubernetes' own timestamps (when a pod became ready, when a container died), not on counters that we would
have to remember: whoever judges, and however late, sees the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from controller.applied import missing_values
from controller.eviction import is_live, is_ready
from controller.facts import condition, count, died_at, is_observed, moment, since, spec_replicas, state, statuses
from controller.model import Finding, Progress, Resource, Workload
from controller.resizing import resizes
from controller.syncing import synced
from selfheal.policy import FIELD_MANAGER, AnomalyType
from selfheal.protocol import Prediction
from selfheal.remediation import Attempt, Source

FAR = 24 * 3600.0
"""Seconds: a forecast that runs out later than in a day is no emergency."""
THROTTLED = 25.0
"""Percent of CPU periods: what the monitoring mixin of Kubernetes calls high throttling."""
RATED_OVER = timedelta(minutes=5)
"""The window of the catalogue's rates: for so long after a change they tell of the time before it too."""
SETTLING = timedelta(seconds=15)
"""After a write, containers may end because of it (a resize that restarts, a rolling update)."""


def replicas_ready(workload: Workload) -> Finding:
    """All declared replicas are ready, of the newest revision, and the status is about the spec as it is now."""
    resource, kind = workload.resource, workload.ref.kind
    if kind in ("Job", "CronJob"):
        return _job_ready(workload)
    wanted = count(resource, "desiredNumberScheduled") if kind == "DaemonSet" else spec_replicas(resource)
    ready = count(resource, "numberReady" if kind == "DaemonSet" else "readyReplicas")
    updated = count(resource, "updatedNumberScheduled" if kind == "DaemonSet" else "updatedReplicas")
    text = f"{ready} of {wanted} replicas are ready, {updated} of the newest revision"
    if not is_observed(resource):
        return Finding("ReplicasReady", False, "its controller has not seen the newest spec yet")
    if wanted == 0:
        return Finding("ReplicasReady", None, "no replicas are wanted, so nothing can prove itself")
    surplus = kind == "Deployment" and count(resource, "replicas") > wanted
    return Finding("ReplicasReady", ready >= wanted and not surplus and _is_updated(workload, updated, wanted), text)


def _is_updated(workload: Workload, updated: int, wanted: int) -> bool:
    strategy = (workload.resource.get("spec") or {}).get("updateStrategy") or {}
    held_back = strategy.get("type") == "OnDelete" or (strategy.get("rollingUpdate") or {}).get("partition")
    return bool(held_back) or updated >= wanted


def _job_ready(workload: Workload) -> Finding:
    if condition(workload.resource, "Failed").get("status") == "True":
        return Finding("ReplicasReady", False, "the Job failed")
    if condition(workload.resource, "Complete").get("status") == "True":
        return Finding("ReplicasReady", True, "the Job is complete")
    return Finding("ReplicasReady", None, "the Job has not ended")


def ready_since(workload: Workload) -> datetime | None:
    """When the last of the live pods became ready; None when there is none."""
    ready = [condition(pod, "Ready") for pod in workload.pods if is_live(pod) and is_ready(pod)]
    return max((at for one in ready if (at := moment(one.get("lastTransitionTime")))), default=None)


def last_death(workload: Workload) -> datetime | None:
    """When a container of a live pod died last; init containers end by design and do not count."""
    deaths = (died_at(status) for pod in workload.pods if is_live(pod) for _, status in _main(pod))
    return max((at for at in deaths if at is not None), default=None)


def _main(pod: Resource) -> Iterator[tuple[Resource, Resource]]:
    names = {one["name"] for one in (pod.get("spec") or {}).get("containers") or ()}
    return ((spec, status) for spec, status in statuses(pod) if status["name"] in names)


def restarts_flat(workload: Workload, applied: datetime, now: datetime, period: timedelta) -> Finding:
    """No container has died within the stabilisation period, or since the change was written."""
    died = last_death(workload)
    down = [status["name"] for pod in workload.pods if is_live(pod) for _, status in _main(pod) if _is_down(status)]
    if down:
        return Finding("RestartsFlat", False, f"{', '.join(sorted(set(down)))} does not run")
    if died is None or died <= max(applied, now - period):
        return Finding("RestartsFlat", True, "no container has died since")
    return Finding("RestartsFlat", False, f"a container died {int((now - died).total_seconds())} s ago")


def _is_down(status: Resource) -> bool:
    return not state(status, "running")


def signal_clear(progress: Progress, applied: datetime) -> Finding:
    """Kubernetes reports no symptom any more; a death from before the change is no evidence against it."""
    left = [one for one in progress.symptoms if one.shown is None or one.shown > applied]
    if left:
        return Finding("SignalClear", False, f"{left[0].type}: {left[0].message}")
    return Finding("SignalClear", True, "Kubernetes reports no symptom")


def spec_kept(workload: Workload, attempt: Attempt, applied: datetime) -> tuple[Finding, str]:
    """The spec is still what was written.

    Returns:
        The finding, and the reason where it does not hold: ``RevertedByOwner`` or where a resize or a sync stands.
    """
    gone = missing_values(attempt.change.expected, workload.resource)
    if gone:
        who = _last_writer(workload.resource, applied)
        return Finding("SpecKept", False, f"{who} has changed {', '.join(gone)} since"), "RevertedByOwner"
    if (sync := synced(workload, attempt)) is not None:
        return sync
    if (unfinished := resizes(workload, attempt)) is not None:
        return unfinished
    resized = any(one.verb == "Resize" for one in attempt.change.operations)
    if not attempt.change.expected and not resized:
        return Finding("SpecKept", None, "nothing was written to the target itself"), ""
    return Finding("SpecKept", True, "the spec is as it was written"), ""


def _last_writer(resource: Resource, applied: datetime) -> str:
    """Who else has written the spec since, as far as managedFields tell."""
    others = [
        one
        for one in resource["metadata"].get("managedFields") or ()
        if one.get("manager") != FIELD_MANAGER and not one.get("subresource")
    ]
    newest = max(others, key=lambda one: str(one.get("time", "")), default=None)
    return (
        str(newest["manager"])
        if newest and since({"lastTransitionTime": newest.get("time")}, applied) >= (applied - SETTLING)
        else "somebody"
    )


def endpoint_calm(progress: Progress, applied: datetime) -> Finding:
    """The endpoint no longer calls the target anomalous, if it can tell.

    A symptom's metrics stay in the window for as long as the window is, so after a symptom only calm is evidence. After
    an anomaly that only the endpoint saw, only the endpoint can say that it is over.
    """
    prediction, spec = progress.prediction, progress.remediation.spec
    if spec.anomaly.type is AnomalyType.CPU_THROTTLING and progress.throttling is not None:
        text = f"the worst pod was throttled in {progress.throttling:.0f} % of its CPU periods since the change"
        return Finding("EndpointCalm", progress.throttling < THROTTLED, text)
    if prediction is None or prediction.anomaly is None:
        return Finding("EndpointCalm", None, "the endpoint cannot tell")
    if progress.predicted is not None and progress.predicted <= applied:
        return Finding("EndpointCalm", None, "the endpoint has not looked since the change")
    if prediction.anomaly is False:
        return Finding("EndpointCalm", True, "the endpoint sees no anomaly")
    if spec.verdict.source is not Source.ENSEMBLE:
        return Finding("EndpointCalm", None, "the endpoint's window still holds the incident")
    if spec.anomaly.type is AnomalyType.CPU_THROTTLING and (progress.predicted or applied) - applied < RATED_OVER:
        return Finding("EndpointCalm", None, "the endpoint's window still holds what was throttled before the change")
    return _still(prediction, spec.anomaly.type)


def _still(prediction: Prediction, kind: AnomalyType) -> Finding:
    """Whether the anomaly of this kind goes on, for an endpoint that calls something anomalous.

    What grows is proven cured when nothing is forecast to run out soon: a bump leaves the metric high.
    """
    forecast = prediction.forecast
    if kind in (AnomalyType.MEMORY_LEAK, AnomalyType.STORAGE_EXHAUSTION):
        if forecast is not None and forecast.exhausted_in < FAR:
            hours = forecast.exhausted_in / 3600
            return Finding("EndpointCalm", False, f"{forecast.metric} still reaches its limit in {hours:.1f} h")
        return Finding("EndpointCalm", True, "nothing is forecast to run out within a day")
    if prediction.anomaly_type == kind or kind is AnomalyType.METRIC_ANOMALY:
        return Finding("EndpointCalm", False, f"the endpoint still sees {prediction.anomaly_type or 'an anomaly'}")
    return Finding("EndpointCalm", True, f"the endpoint sees {kind} no longer")
