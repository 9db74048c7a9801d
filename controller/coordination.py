"""What holds an action back: refusals, each with a reason and a sentence; and who owns a workload. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from itertools import filterfalse

from controller import argocd
from controller.incidents import WRITTEN, ended, lasting, may_repeat, of_target, taken_back_at
from controller.leave import why_not
from controller.model import Resource, Situation, Symptom, Workload
from controller.owners import autoscalers, owner_of
from controller.rollouts import Rollout, in_progress
from selfheal.errors import Refused
from selfheal.policy import OPT_IN_LABEL, SYSTEM_NAMESPACE, Action, Budget, HealingConfig, Mode, Policy
from selfheal.remediation import Outcome, Remediation

STORM_FLOOR = 5
"""Fewer sick workloads are no storm, however small the cluster: the budget bounds what is done about them."""
HOUR = timedelta(hours=1)

_UNTIL = "nothing more until the incident clears or the policy is edited"


def standing(workload: Workload, config: HealingConfig) -> Refused | None:
    """Rules about the target alone, which hold at every step of a Remediation."""
    name = workload.ref.namespace
    if name == SYSTEM_NAMESPACE:
        return Refused("NamespaceProtected", f"namespace {name} is the product's own: it does not heal itself")
    pattern = next((one for one in config.protected_namespaces if fnmatchcase(name, one)), None)
    if pattern is not None:
        return Refused("NamespaceProtected", f"namespace {name} is protected ({pattern} in HealingConfig)")
    leaving = _leaving(workload)
    if leaving:
        return Refused("BeingDeleted", f"{leaving} is being deleted: nothing is changed on its way out")
    if ((workload.namespace.get("metadata") or {}).get("labels") or {}).get(OPT_IN_LABEL) != "enabled":
        return Refused("NamespaceNotOptedIn", f"run `selfheal enable {name}` to opt the namespace in")
    if workload.annotations.get(OPT_IN_LABEL) == "disabled":
        return Refused("WorkloadOptedOut", f"{workload.ref.workload} has annotation {OPT_IN_LABEL}: disabled")
    return None


def _leaving(workload: Workload) -> str:
    """What of the target is on its way out; the empty text when nothing is."""
    if workload.resource["metadata"].get("deletionTimestamp"):
        return workload.ref.workload
    metadata, status = workload.namespace.get("metadata") or {}, workload.namespace.get("status") or {}
    going = metadata.get("deletionTimestamp") or status.get("phase") == "Terminating"
    return f"namespace {workload.ref.namespace}" if going else ""


def refusal(situation: Situation, policy: Policy, symptom: Symptom | None) -> Refused | None:
    """The first rule that forbids to open a Remediation now; None when all allow it."""
    if situation.config.suspended:
        return Refused("Suspended", "healing is suspended: run `selfheal resume`")
    return next(_refusals(situation, policy, symptom), None)


def _refusals(situation: Situation, policy: Policy, symptom: Symptom | None) -> Iterator[Refused]:
    yield from filter(None, [standing(situation.workload, situation.config)])
    if not policy.spec.enabled:
        yield Refused("PolicyDisabled", f"policy {policy.name} has enabled: false")
    if not policy.spec.is_open(situation.now):
        yield Refused("OutsideWindow", f"policy {policy.name} allows no action at this time (windows)")
    yield from filter(None, [_exhausted(situation, policy, symptom), _cooldown(situation, policy)])
    if symptom is not None and disturbs_rollout(situation.workload, symptom):
        yield Refused("RolloutInProgress", "a newer rollout goes on, and the trouble is not in its pods")
    yield from filter(None, [_syncing(situation.workload, policy), _storm(situation), _budget(situation)])


def _syncing(workload: Workload, policy: Policy) -> Refused | None:
    """A sync that goes on cannot be replaced by another one: it takes seconds, and a Remediation would end at once."""
    application, way = workload.application, policy.spec.parameters.rollback.gitops
    if application is None or way != "Application" or not argocd.is_syncing(application):
        return None
    return Refused("SyncInProgress", f"Argo CD is still syncing Application {argocd.full_name(application)}")


def open_for(situation: Situation) -> Remediation | None:
    """The open Remediation of the target, whoever's policy opened it."""
    return next((one for one in of_target(situation.history, situation.workload.ref.uid) if one.is_open), None)


def _exhausted(situation: Situation, policy: Policy, symptom: Symptom | None) -> Refused | None:
    past = lasting(situation, policy, symptom)
    if not past:
        return None
    last, most = past[-1], max(policy.spec.max_retries, 1)
    if may_repeat(last, policy) and len(past) < most:
        return None
    if taken_back_at(last) is not None:
        return Refused("AlreadyHandled", f"somebody took back what remediation {last.name} had changed: {_UNTIL}")
    tried = last.status.outcome in (Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.ERROR)
    return Refused(
        "RetriesExhausted" if tried else "AlreadyHandled",
        f"remediation {last.name} of this incident ended with {last.status.outcome or 'no outcome'} "
        f"({last.status.reason or 'no reason'}): {_UNTIL}",
    )


def _cooldown(situation: Situation, policy: Policy) -> Refused | None:
    past = [one for one in of_target(situation.history, situation.workload.ref.uid) if not one.is_open]
    if not past:
        return None
    last = max(past, key=ended)
    left = ended(last) + policy.spec.cooldown_period - situation.now
    if left <= timedelta(0):
        return None
    return Refused(
        "Cooldown", f"remediation {last.name} ended just now: {int(left.total_seconds())} s of cooldown left"
    )


def disturbs_rollout(workload: Workload, symptom: Symptom) -> bool:
    """Whether a newer rollout goes on as it should and the trouble is in older pods, which it replaces anyway."""
    pod = next((one for one in workload.pods if one["metadata"]["name"] == symptom.pod), None)
    if pod is None or symptom.by_rollout or not in_progress(workload):
        return False
    return not Rollout.of(workload).is_newest(pod)


def is_storm(config: HealingConfig, sick: int | None, percent: float) -> bool:
    """Whether so many workloads are sick that the trouble is none of theirs."""
    return (sick is None or sick >= STORM_FLOOR) and percent > config.storm.max_unhealthy_percent


def storm(config: HealingConfig, sick: int | None, percent: float, last: datetime | None, now: datetime) -> str:
    """Why single workloads are left alone now: a storm, or one that has just passed; the empty text without one.

    Args:
        config: The cluster-wide settings.
        sick: How many targets are sick; None where that was not counted, so that the share alone decides.
        percent: Their share.
        last: When the share was last above the limit.
        now: Aware.
    """
    if is_storm(config, sick, percent):
        return (
            f"{percent:.0f} % of the workloads are sick (limit {config.storm.max_unhealthy_percent} %): "
            "look for what they have in common; single workloads are left alone"
        )
    if last is not None and now - last < config.storm.cooldown:
        left = config.storm.cooldown - (now - last)
        return f"a storm has just passed: {int(left.total_seconds())} s of its cooldown left"
    return ""


def _storm(situation: Situation) -> Refused | None:
    seen = (situation.unhealthy, situation.unhealthy_percent, situation.last_storm, situation.now)
    text = storm(situation.config, *seen)
    return Refused("Storm", text) if text else None


def counts(remediation: Remediation) -> bool:
    """Whether a Remediation uses budget: one that is open, or that ended and may have changed something."""
    harmless = (Outcome.OBSERVED, Outcome.SKIPPED, Outcome.DENIED)
    return remediation.is_open or remediation.status.outcome not in harmless


def has_changed(remediation: Remediation) -> bool:
    """Whether it may have changed something; one that is open and has written nothing may still end without."""
    if not remediation.is_open:
        return counts(remediation)
    return any(attempt.result in WRITTEN for attempt in remediation.status.attempts)


def _budget(situation: Situation) -> Refused | None:
    known, here = (*situation.deleted, *situation.history), situation.workload.ref.namespace
    for found, most, what in _limits(situation.config.budget, known, situation.now, here):
        if found >= most:
            return Refused("BudgetExhausted", f"{found} remediations {what}, {most} are allowed")
    return None


def budget_left(budget: Budget, known: Iterable[Remediation], now: datetime) -> int:
    """How many Remediations may still be opened now, in namespaces that have used nothing of their own limits.

    Args:
        budget: The limits.
        known: All records; of two with the same name the last one counts.
        now: Aware.
    """
    return max(0, min(most - found for found, most, _ in _limits(budget, known, now)))


def _limits(
    budget: Budget, known: Iterable[Remediation], now: datetime, here: str = ""
) -> Iterator[tuple[int, int, str]]:
    """Two budgets of the same size: of what acts or may have acted, and of records without a change.

    Yields:
        How much of a limit is used, the limit, and what it is about; the limits of a namespace where one is named.
    """
    records = {(one.namespace, one.name): one for one in known}.values()
    recent = [one for one in records if now - _begun(one) < HOUR]
    yield sum(one.is_open for one in records), budget.max_concurrent, "open (maxConcurrent)"
    for found, what in (
        (list(filter(counts, recent)), ""),
        (list(filterfalse(has_changed, recent)), "without a change "),
    ):
        yield len(found), budget.max_per_hour, f"{what}in the last hour (maxPerHour)"
        if here:
            local = f"{what}in this namespace in the last hour (maxPerNamespacePerHour)"
            yield sum(one.namespace == here for one in found), budget.max_per_namespace_per_hour, local


def _begun(remediation: Remediation) -> datetime:
    return remediation.status.times.decided or remediation.spec.anomaly.detected_time


def effective_mode(policy: Policy, workload: Workload, action: Action | None = None) -> tuple[Mode, str]:
    """The policy's mode, or Observe where somebody else owns what the action would change.

    Args:
        policy: Whose mode.
        workload: The target.
        action: The action; the policy's own by default.

    Returns:
        The mode, and who owns the target, where that took the mode down; else the empty text.
    """
    action = action or policy.spec.action
    if action is Action.NOTIFY_ONLY:
        return policy.spec.mode, ""
    owner = _foreign_owner(policy, workload, action)
    return (Mode.OBSERVE, owner) if owner else (policy.spec.mode, "")


def held_by(workload: Workload) -> str:
    """The reason of an Observed Remediation whose workload is somebody else's: ``OwnedByArgoCD``, ``OwnedByOther``."""
    tool = owner_of(workload.resource)
    return tool.reason if tool is not None else "OwnedByOther"


def _foreign_owner(policy: Policy, workload: Workload, action: Action) -> str:
    labels = workload.labels
    operator = _controller_of(workload.resource)
    evicts = action is Action.RESTART and policy.spec.parameters.restart.strategy == "Evict"
    if operator and not evicts:
        return f"{operator} controls {workload.ref.workload} and would take a change back: change it there"
    if any(label == "olm.owner" or label.startswith("olm.owner.") for label in labels) and not evicts:
        return f"the Operator Lifecycle Manager ({labels.get('olm.owner', 'OLM')}) owns {workload.ref.workload}"
    held = why_not(workload, action, policy.spec.parameters)
    if held:
        return held
    if action is Action.SCALE and autoscalers(workload, "ScaledObject"):
        return f"a KEDA ScaledObject decides about the replicas of {workload.ref.workload}"
    if action is Action.ADJUST_RESOURCES and any(map(_writes, autoscalers(workload, "VerticalPodAutoscaler"))):
        return f"a VerticalPodAutoscaler decides about the resources of {workload.ref.workload}"
    return ""


def _writes(vpa: Resource) -> bool:
    return bool(((vpa.get("spec") or {}).get("updatePolicy") or {}).get("updateMode", "Auto") != "Off")


def _controller_of(resource: Resource) -> str:
    """The controller that made the workload, other than Kubernetes' own (a CronJob's Job is nobody else's)."""
    owners = resource["metadata"].get("ownerReferences") or ()
    found = next((one for one in owners if one.get("controller")), None)
    return "" if found is None or found["kind"] == "CronJob" else f"{found['kind']} {found['name']}"
