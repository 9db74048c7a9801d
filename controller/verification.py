"""Whether a fix has worked. Pure; the findings are made in evidence.py, undos are judged in undoing.py.

Successful only when every known finding has held for ``stabilizationPeriod``, and ReplicasReady and SignalClear are
known (for what only the ensemble saw, EndpointCalm too). Failed when the time is up, when trouble comes back after it
was gone, or when the change is gone. Inconclusive when the time is up and nothing contradicts, but too little is known.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from controller.applied import with_seen
from controller.evidence import (
    SETTLING,
    endpoint_calm,
    last_death,
    ready_since,
    replicas_ready,
    restarts_flat,
    signal_clear,
    spec_kept,
)
from controller.leaks import still_leaks
from controller.model import Finding, Judgement, Progress
from controller.resizing import DEFERRED, IN_PROGRESS, INFEASIBLE, REVERTED
from controller.syncing import SYNCING
from selfheal.policy import Action, AnomalyType, Verification
from selfheal.remediation import Outcome, RemediationStatus, Source

WAITED_FOR = frozenset({DEFERRED, IN_PROGRESS, SYNCING})
"""Where a resize or a sync may stand without having failed, until the time is up."""
LEAK = "UnboundedLeak"
USELESS = frozenset({REVERTED, INFEASIBLE, LEAK})
"""Reasons of failed attempts after which the same action is not tried again."""


def settings_of(progress: Progress) -> Verification:
    """The policy's verification; the defaults once the policy is gone."""
    return progress.policy.spec.verification if progress.policy else Verification()


def judge(progress: Progress) -> Judgement:
    """Where the verification of the newest attempt stands."""
    status, workload = with_seen(progress), progress.workload
    if workload is None:
        return Judgement(Outcome.INCONCLUSIVE, (), "WorkloadGone")
    applied, settings = status.times.applied or progress.now, settings_of(progress)
    kept, why = spec_kept(workload, status.attempts[-1], applied)
    findings = (
        replicas_ready(workload),
        restarts_flat(workload, applied, progress.now, settings.stabilization_period),
        signal_clear(progress, applied),
        kept,
        endpoint_calm(progress, applied),
    )
    if why and why not in WAITED_FOR:
        return Judgement(Outcome.FAILED, findings, why)
    leak = still_leaks(workload, status.attempts[-1], applied)
    if leak:
        return Judgement(Outcome.FAILED, (*findings, Finding("GrowthBounded", False, leak)), LEAK)
    recovered = _recovered(progress, status, findings, applied)
    found = _verdict(progress, findings, recovered, applied, _came_back(progress, status, applied))
    if why and found.reason in ("NotRecovered", "TimedOut"):
        return replace(found, reason=why)
    return replace(found, reason=LEAK) if found.reason == "TimedOut" and _leaks_by_forecast(progress, found) else found


def _leaks_by_forecast(progress: Progress, found: Judgement) -> bool:
    """Whether more memory was given, and the endpoint forecasts that it runs out all the same."""
    attempt, kind = progress.remediation.status.attempts[-1], progress.remediation.spec.anomaly.type
    calm = next((one.holds for one in found.findings if one.name == "EndpointCalm"), None)
    return attempt.action is Action.ADJUST_RESOURCES and kind is AnomalyType.MEMORY_LEAK and calm is False


def _recovered(
    progress: Progress, status: RemediationStatus, findings: tuple[Finding, ...], applied: datetime
) -> datetime | None:
    """Since when all that is known holds without a break; None while it does not, or too little is known."""
    needed = {"ReplicasReady", "SignalClear"}
    if progress.remediation.spec.verdict.source is Source.ENSEMBLE:
        needed.add("EndpointCalm")
    known = {finding.name for finding in findings if finding.holds}
    if progress.workload is None or not needed <= known or any(finding.holds is False for finding in findings):
        return None
    moments = (applied, status.times.recovered, ready_since(progress.workload), last_death(progress.workload))
    return min(max(moment for moment in moments if moment is not None), progress.now)


def _came_back(progress: Progress, status: RemediationStatus, applied: datetime) -> bool:
    """Whether a symptom is there again after all had been well, and not as a consequence of the write itself."""
    settled = progress.now - applied > 2 * SETTLING
    return settled and status.times.recovered is not None and signal_clear(progress, applied).holds is False


def _verdict(
    progress: Progress,
    findings: tuple[Finding, ...],
    recovered: datetime | None,
    applied: datetime,
    came_back: bool,
) -> Judgement:
    settings = settings_of(progress)
    if recovered is not None:
        # What recovered in time may prove itself to the end, so that a good fix is not undone for its last seconds.
        if progress.now - recovered >= settings.stabilization_period:
            return Judgement(Outcome.SUCCESSFUL, findings, "Stable", recovered)
        return Judgement(None, findings, "Stabilizing", recovered)
    if came_back:
        return Judgement(Outcome.FAILED, findings, "FailedAgain")
    if progress.now - applied < settings.timeout:
        return Judgement(None, findings, "NotRecovered")
    contradicted = any(finding.holds is False for finding in findings)
    return (
        Judgement(Outcome.FAILED, findings, "TimedOut")
        if contradicted
        else Judgement(Outcome.INCONCLUSIVE, findings, "CannotTell")
    )
