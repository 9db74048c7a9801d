"""What the controller's parts hand to each other: plain frozen values, no I/O and no kubernetes types.

Kubernetes objects travel as the dictionaries that the API server returned; nothing here changes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from selfheal.policy import Action, AnomalyType, HealingConfig, Parameters, Policy
from selfheal.protocol import Prediction
from selfheal.remediation import (
    Approval,
    Attempt,
    AttemptResult,
    Change,
    Hindsight,
    Outcome,
    Remediation,
    RemediationSpec,
    TargetRef,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Symptom:
    """A fact that Kubernetes reports about a workload.

    Attributes:
        type: One of the eight symptom types.
        cause: CamelCase constant of the table in controller/symptoms.py (``BadCommand``, ``LimitTooLow``, ...).
        message: For people; text from the cluster is quoted, never interpreted.
        since: When Kubernetes knew (UTC).
        pod: Name of the pod that shows it, if one does.
        container: Name of the container, if one does.
        by_rollout: Whether it came with the newest revision of the workload: older revisions were healthy.
        shown: When it last showed itself, where that is in the past (a container that died and runs again); None where
            it shows itself now. A kill from before a fix is no evidence against the fix.
    """

    type: AnomalyType
    cause: str
    message: str
    since: datetime
    pod: str = ""
    container: str = ""
    by_rollout: bool = False
    shown: datetime | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """A target and all that belongs to it, read at one moment.

    Attributes:
        ref: Its identity.
        resource: The Deployment, StatefulSet, DaemonSet, Job or CronJob.
        pods: Its pods, through its current and older ReplicaSets or directly.
        revisions: Its ReplicaSets or ControllerRevisions, the newest first.
        namespace: The Namespace object.
        autoscalers: HorizontalPodAutoscalers, KEDA ScaledObjects and VPAs that point at it.
        disruption_budgets: PodDisruptionBudgets that select its pods.
        limit_ranges: LimitRanges of the namespace.
        quotas: ResourceQuotas of the namespace.
        nodes: Nodes its pods run on (for allocatable).
        remembered: How many replicas a watch of this process saw last, before there were none; 0 where it saw none.
        noted: The same by a note from when it was healthy, which any replica may have made; 0 where there is none.
        bare_since: When what explained that it has none went, as this process saw it; None where nothing did.
        recorded: Names of revisions that were noted as healthy while they were, the newest note first.
        application: The Argo CD Application that has it by its own status; None where none does or it may not be read.
        argocd: Argo CD's settings (ConfigMap argocd-cm), where an Application has it and they may be read.
    """

    ref: TargetRef
    resource: Resource
    pods: tuple[Resource, ...] = ()
    revisions: tuple[Resource, ...] = ()
    namespace: Resource = field(default_factory=dict)
    autoscalers: tuple[Resource, ...] = ()
    disruption_budgets: tuple[Resource, ...] = ()
    limit_ranges: tuple[Resource, ...] = ()
    quotas: tuple[Resource, ...] = ()
    nodes: tuple[Resource, ...] = ()
    remembered: int = 0
    noted: int = 0
    bare_since: datetime | None = None
    recorded: tuple[str, ...] = ()
    application: Resource | None = None
    argocd: Resource | None = None

    @property
    def annotations(self) -> Mapping[str, str]:
        """Of the workload itself."""
        return self.resource.get("metadata", {}).get("annotations") or {}

    @property
    def labels(self) -> Mapping[str, str]:
        """Of the workload itself."""
        return self.resource.get("metadata", {}).get("labels") or {}


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What an action needs to know to plan.

    Attributes:
        workload: The target as it is now.
        parameters: The policy's.
        anomaly_type: What is to be healed.
        symptom: The fact, where there is one.
        prediction: The endpoint's answer, where there is one.
        attempt: 1 for the first attempt of the incident.
        earlier: Attempts of this action in this incident that were written, the newest last: a second try is bolder.
        before: The same of earlier incidents of this target.
        mark: Value for the remediation annotation, ``name/attempt``.
    """

    workload: Workload
    parameters: Parameters
    anomaly_type: AnomalyType
    symptom: Symptom | None
    prediction: Prediction | None
    attempt: int
    mark: str
    earlier: tuple[Attempt, ...] = ()
    before: tuple[Attempt, ...] = ()


class ActionPlanner(Protocol):
    """One action: one file in controller/actions, one line in ACTIONS. Plans purely; the cluster adapter applies."""

    name: Action
    rights: tuple[tuple[str, str, str], ...]
    """API group, resource, verb of every write it may plan; RBAC is generated from these."""

    def plan(self, request: PlanRequest) -> Change:
        """The change that would help.

        Raises:
            selfheal.errors.Refused: With a CamelCase reason and a sentence that says what would be needed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of evidence about a fix.

    Attributes:
        name: ``ReplicasReady``, ``RestartsFlat``, ``SignalClear``, ``SpecKept``, ``EndpointCalm``; ``GrowthBounded``
            where a leak was found; ``SpecRestored``, ``PodsRestored`` and ``SizesRestored`` of an undo.
        holds: True, False, or None for "cannot tell".
        message: For people, with the numbers.
    """

    name: str
    holds: bool | None
    message: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """Where verification stands.

    Attributes:
        outcome: None while it is too early to say.
        findings: The evidence.
        reason: CamelCase constant (``Stable``, ``StillFailing``, ``RevertedByOwner``, ``TimedOut``, ...).
        recovered: When all findings began to hold without a break; None while they don't.
    """

    outcome: Outcome | None
    findings: tuple[Finding, ...]
    reason: str
    recovered: datetime | None = None


LOOKS = 6
"""Looks in a row at which an anomaly without a cause must be believed before anything is done: five minutes at the
default tick. On healthy days of synthetic metrics no such belief lasted longer (bench/controller/day.py)."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision about one workload may rest on, read at one moment.

    Attributes:
        workload: The target.
        symptoms: Facts that Kubernetes reports about it, the most telling first.
        prediction: The endpoint's answer; None when there is none (down, stale, not asked).
        policies: Valid policies whose target namespace is the workload's.
        history: All Remediations of the cluster, open and closed.
        config: The cluster-wide settings.
        unhealthy_percent: Share of watched workloads with a symptom (storm), 0..100.
        now: Aware.
        unhealthy: How many watched workloads have a symptom; a storm needs several (None: not counted, so the share
            alone decides).
        last_storm: When the share was last above the limit, for the storm's cooldown; None for never.
        deleted: Closed Remediations that the history limit has deleted: they still use the hourly budget.
        streak: Confidence of the last looks in a row at which the endpoint called the workload anomalous, the newest
            last; ``LOOKS`` at most.
    """

    workload: Workload
    symptoms: tuple[Symptom, ...]
    prediction: Prediction | None
    policies: tuple[Policy, ...]
    history: tuple[Remediation, ...]
    config: HealingConfig
    unhealthy_percent: float
    now: datetime
    unhealthy: int | None = None
    last_storm: datetime | None = None
    deleted: tuple[Remediation, ...] = ()
    streak: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done about a situation.

    Attributes:
        open: Name and spec of the Remediation to create; None when nothing is to be opened.
        policy: The policy that won, or that would have and was refused; None when none matches.
        reason: CamelCase constant: ``Healthy``, ``NoPolicy``, ``BelowThreshold``, ``TooBrief``, ``AlreadyOpen``,
            ``Opened``, and the refusals of controller/coordination.py.
        message: For people, with the numbers.
        refused: Whether a rule held back what a policy wanted: people are told (Event), a healthy workload is not.
        cleared: Names of closed Remediations of this target whose incident is over by what is seen now: store
            ``controller.status.cleared(remediation, now)`` for each, so that the next incident counts as new.
        taken_back: Closed Remediations whose change somebody has taken back, as they are to be stored.
        hindsight: What is seen now about changes that were observed and not made, by name of the Remediation.
    """

    open: tuple[str, RemediationSpec] | None
    policy: Policy | None
    reason: str
    message: str
    refused: bool = False
    cleared: tuple[str, ...] = ()
    hindsight: tuple[tuple[str, Hindsight], ...] = ()
    taken_back: tuple[Remediation, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing until a moment (or until something changes).

    Attributes:
        until: The moment.
        reason: CamelCase constant.
        message: For people.
        judgement: Where verification stands meanwhile.
        looks: Whether the moment is only that of the next look: it moves at each, and is no news.
    """

    until: datetime
    reason: str
    message: str
    judgement: Judgement | None = None
    looks: bool = False


@dataclass(frozen=True, slots=True)
class Propose:
    """Plan the next attempt with this action, try it dry and store it with its undo record."""

    action: Action


@dataclass(frozen=True, slots=True)
class Apply:
    """Write the operations of the newest attempt, which is stored as Planned."""


@dataclass(frozen=True, slots=True)
class Conclude:
    """Close the newest attempt with what verification found."""

    result: AttemptResult
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Undo:
    """Write the undo record of the newest attempt."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Complete the Remediation."""

    outcome: Outcome
    reason: str
    message: str


Step = Wait | Propose | Apply | Conclude | Undo | Finish


@dataclass(frozen=True, slots=True)
class Progress:
    """What the next step of an open Remediation may rest on.

    Attributes:
        remediation: As stored.
        policy: The policy as it is now; None when it was deleted or disabled.
        workload: The target as it is now; None when it is gone or another object has its name.
        symptoms: Facts about it now.
        prediction: The endpoint's newest answer about it; None when there is none.
        approval: A person's decision, where there is one.
        config: The cluster-wide settings.
        now: Aware.
        predicted: End of the window that ``prediction`` rests on; an answer from before a change says nothing about
            the change. None where that is not known, which counts as new.
        storm: Why no change may begin now, where so many workloads are sick at once; else the empty text.
        throttling: Percent of CPU periods in which the worst pod was throttled since the change; None where that is not
            known or of no interest.
    """

    remediation: Remediation
    policy: Policy | None
    workload: Workload | None
    symptoms: tuple[Symptom, ...]
    prediction: Prediction | None
    approval: Approval | None
    config: HealingConfig
    now: datetime
    predicted: datetime | None = None
    answered: datetime | None = None
    throttling: float | None = None
    storm: str = ""
