"""Why something is wrong, and which actions can help: one table, one row a cause.

"No safe action" is a correct answer: an empty row sends people a notice with its sentence, and nothing is changed.
A rollback only ever makes sense where the trouble came with the newest revision (``Symptom.by_rollout``), whatever the
row says. ``notify-only`` is always possible and stands in no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from controller.model import Symptom
from selfheal.policy import Action, AnomalyType


@dataclass(frozen=True, slots=True)
class Cause:
    """One row.

    Attributes:
        actions: What can help.
        advice: What a person would do, in a sentence; shown where no action is left.
    """

    actions: frozenset[Action]
    advice: str


def _row(advice: str, *actions: Action) -> Cause:
    return Cause(frozenset(actions), advice)


_BACK, _AGAIN, _MORE, _WIDE = Action.ROLLBACK, Action.RESTART, Action.ADJUST_RESOURCES, Action.SCALE

CAUSES: Mapping[str, Cause] = MappingProxyType(
    {
        # CrashLoopBackOff, by exit code.
        "ProgramError": _row("Read the container's log: the program ended itself.", _BACK, _AGAIN),
        "WrongUse": _row("Exit code 2 is mostly a wrong flag or a shell syntax error: check args.", _BACK),
        "NotExecutable": _row("The command is there and may not be run: check its file mode.", _BACK),
        "CommandNotFound": _row("The command is not in the image: check command and image.", _BACK),
        "Aborted": _row("The program aborted itself (SIGABRT): read its log.", _BACK, _AGAIN),
        "Segfault": _row("The program crashed (SIGSEGV): get its maker a core dump.", _BACK, _AGAIN),
        "Killed": _row("Somebody killed the container, and it was not for its memory limit.", _BACK, _AGAIN),
        "Terminated": _row("The container was asked to end (SIGTERM) again and again.", _BACK, _AGAIN),
        "Completed": _row("The program ends with success, and its kind of workload expects it to run on.", _BACK),
        "MemoryLimit": _row("The container dies of its memory limit: see the OOMKilled symptom.", _BACK, _AGAIN, _MORE),
        "KilledByProbe": _row("Its liveness or startup probe kills it: give it more time.", _BACK),
        "OtherExit": _row("Read the container's log: the exit code is the program's own.", _BACK, _AGAIN),
        # OOMKilled.
        "LimitTooLow": _row("Raise the memory limit, or find the leak.", _MORE, _BACK, _AGAIN),
        "NoLimit": _row("The node ran out of memory and the container has no limit: give it one.", _AGAIN),
        # ImagePullBackOff.
        "ImageNotFound": _row("No such image or tag: check its name, or push it.", _BACK),
        "ImageUnauthorized": _row("The registry wants other credentials: check imagePullSecrets.", _BACK),
        "RegistryUnknown": _row("The registry's host has no address: check the image's name, then the DNS.", _BACK),
        "RegistryUnavailable": _row("The registry does not answer: nothing in the workload can change that.", _BACK),
        "InvalidImageName": _row("The image's name is malformed.", _BACK),
        "ImageNeverPull": _row("imagePullPolicy is Never and the node lacks the image.", _BACK),
        "ImagePull": _row("The image cannot be pulled: see the message.", _BACK),
        # ConfigError.
        "MissingConfigMap": _row("Create the ConfigMap, or correct its name.", _BACK),
        "MissingSecret": _row("Create the Secret, or correct its name; selfheal may not read or write Secrets.", _BACK),
        "MissingKey": _row("The ConfigMap or Secret lacks that key.", _BACK),
        "BadMount": _row("A volume cannot be mounted: see the message.", _BACK),
        "BadSecurityContext": _row("The image's user and securityContext contradict each other.", _BACK),
        "BadConfig": _row("The container cannot be created as it is written: see the message.", _BACK),
        # ProbeFailure.
        "ReadinessFailing": _row("The container runs and its readiness probe says no.", _BACK, _AGAIN, _WIDE),
        "LivenessFailing": _row("The liveness probe kills the container: give it more time, never remove it.", _BACK),
        "StartupFailing": _row("The container does not start within its startup probe's time.", _BACK),
        # RolloutStuck.
        "DeadlineExceeded": _row("The rollout made no progress within progressDeadlineSeconds.", _BACK, _AGAIN),
        "UpdateFailing": _row("Pods of the new revision do not get ready.", _BACK, _AGAIN),
        # PodPending.
        "InsufficientCpu": _row("No node has that much CPU free: lower requests or add a node.", _BACK),
        "InsufficientMemory": _row("No node has that much memory free: lower requests or add a node.", _BACK),
        "InsufficientResource": _row("No node has that resource free: see the message.", _BACK),
        "AntiAffinity": _row("No node satisfies the (anti-)affinity or spread rules.", _BACK),
        "NodeSelector": _row("No node has the labels asked for.", _BACK),
        "Taint": _row("Nodes are tainted, and whoever did it had a reason: add a toleration, or wait."),
        "Cordoned": _row("Nodes are cordoned: `kubectl uncordon` is for whoever cordoned them."),
        "UnboundPVC": _row("A PersistentVolumeClaim is not bound: check its StorageClass. Data is never touched."),
        "QuotaExceeded": _row("The namespace's ResourceQuota is used up: an administrator has to raise it."),
        "AdmissionDenied": _row("An admission rule refuses the pod: see the message.", _BACK),
        "Unschedulable": _row("The scheduler finds no node: see the message.", _BACK),
        # What hangs, and what is missing although nothing failed.
        "StuckTerminating": _row(
            "A finalizer, or a node that is gone, holds it: see to that; selfheal never forces it."
        ),
        "ScaledToZero": _row("Scale it up again, or annotate it aiops.example.com/scaled-to-zero: intended.", _WIDE),
        # JobFailed: a Job has neither revisions nor replicas, and to create it anew is its owner's.
        "BackoffLimitExceeded": _row("Its pods failed too often: read their logs, then create the Job anew."),
        "JobDeadlineExceeded": _row("It ran longer than activeDeadlineSeconds."),
        "PodFailurePolicy": _row("Its podFailurePolicy ended it."),
        "JobFailed": _row("See the Job's condition."),
    }
)
"""By ``Symptom.cause``."""

ENSEMBLE_CAUSES: Mapping[AnomalyType, Cause] = MappingProxyType(
    {
        AnomalyType.MEMORY_LEAK: _row("Memory grows without bound: its maker has to mend that.", _AGAIN, _MORE, _BACK),
        AnomalyType.CPU_THROTTLING: _row("The CPU limit is too low for the load.", _MORE, _WIDE, _BACK),
        AnomalyType.STORAGE_EXHAUSTION: _row("A volume fills: extend or clean it.", _AGAIN),
        AnomalyType.METRIC_ANOMALY: _row("See the metrics that carry it.", _AGAIN, _WIDE, _MORE, _BACK),
    }
)
"""By anomaly type, for what only the ensemble sees."""

REPEATS: Mapping[Action, int] = MappingProxyType({Action.ADJUST_RESOURCES: 2, Action.SCALE: 3})
"""How often an action may be tried in one incident; the others once: a second rollback or restart would do the same
once more, a second bump is a bigger one, and a third would be feeding a leak."""


def sensible(action: Action, anomaly_type: AnomalyType, symptom: Symptom | None) -> tuple[bool, str]:
    """Whether an action can help.

    Args:
        action: What a policy wants to do.
        anomaly_type: What is wrong.
        symptom: The fact, where there is one.

    Returns:
        True and nothing, or False and why not, with what would be needed.
    """
    if action is Action.NOTIFY_ONLY:
        return True, ""
    cause, name = _cause_of(anomaly_type, symptom)
    if action not in cause.actions:
        return False, f"{action} does not help against {name}. {cause.advice}"
    if action is Action.ROLLBACK and symptom is not None and not symptom.by_rollout:
        return False, f"{name} did not come with the newest revision, so an older one would not help. {cause.advice}"
    return True, ""


def _cause_of(anomaly_type: AnomalyType, symptom: Symptom | None) -> tuple[Cause, str]:
    if symptom is None:
        return ENSEMBLE_CAUSES.get(anomaly_type, Cause(frozenset(), "Look at it.")), str(anomaly_type)
    return CAUSES.get(symptom.cause, Cause(frozenset(), "The cause is not known.")), symptom.cause


def has_safe_action(anomaly_type: AnomalyType, symptom: Symptom | None) -> bool:
    """Whether any action but a notice is in the row of this cause."""
    return bool(_cause_of(anomaly_type, symptom)[0].actions)


def advice_of(anomaly_type: AnomalyType, cause: str) -> str:
    """What a person would do about a cause, or about what only the ensemble sees, in a sentence."""
    row = CAUSES.get(cause) or ENSEMBLE_CAUSES.get(anomaly_type)
    return row.advice if row else "Look at it: the cause is not known."


def knows_no_action(cause: str) -> bool:
    """Whether it is known of a cause that no action can help against it."""
    return cause in CAUSES and not CAUSES[cause].actions
