"""Remediation and RemediationApproval as Python types; they agree with the CRDs by test.

A Remediation is one incident of one target: the state machine and the audit record. Everything the controller knows
about an incident is in it, so that any replica can go on. Source: design api.md sections 2 and 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, ValidationError

from selfheal.apitypes import ApiModel, Finite, Text, explain
from selfheal.change import Change as Change
from selfheal.change import Loan as Loan
from selfheal.change import Operation as Operation
from selfheal.change import OutOfMemory as OutOfMemory
from selfheal.change import StoredModel
from selfheal.errors import InvalidResource
from selfheal.policy import Action, AnomalyType


class Outcome(StrEnum):
    """How a remediation ended."""

    SUCCESSFUL = "Successful"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"
    SKIPPED = "Skipped"
    DENIED = "Denied"
    OBSERVED = "Observed"


class Source(StrEnum):
    """What a verdict rests on."""

    ENSEMBLE = "Ensemble"
    SYMPTOM = "Symptom"
    BOTH = "Both"


class Hindsight(StrEnum):
    """What was seen later about a change that was observed and not made."""

    NOT_NEEDED = "NotNeeded"
    STILL_SICK = "StillSick"
    SAME_CHANGE_MADE = "SameChangeMade"


class ConditionType(StrEnum):
    """Conditions of a Remediation, in the order in which they can become true.

    PUBLISHED is there only where a Kafka topic is told; its message names the steps that the broker has confirmed.
    """

    APPROVED = "Approved"
    APPLIED = "Applied"
    VERIFIED = "Verified"
    UNDONE = "Undone"
    COMPLETE = "Complete"
    PUBLISHED = "Published"


class PolicyConditionType(StrEnum):
    """Conditions of a SelfHealingPolicy."""

    READY = "Ready"
    ANOMALY_DETECTED = "AnomalyDetected"
    REMEDIATING = "Remediating"
    SUCCEEDED = "Succeeded"


class AttemptResult(StrEnum):
    """Where an attempt stands. PLANNED is written before anything is changed, with the undo record."""

    PLANNED = "Planned"
    APPLIED = "Applied"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    REFUSED = "Refused"
    ERROR = "Error"
    UNDONE = "Undone"


class Condition(StoredModel):
    """metav1.Condition."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", max_length=1024)]
    message: Text = ""
    last_transition_time: AwareDatetime
    observed_generation: int | None = None


class PolicyRef(StoredModel):
    """The policy that started the remediation, as it was."""

    name: str
    namespace: str = ""
    uid: str
    generation: int = 1


class TargetRef(StoredModel):
    """The workload; its namespace is the Remediation's."""

    api_version: str
    kind: str
    namespace: str = ""
    name: str
    uid: str

    @property
    def workload(self) -> str:
        """``namespace/Kind/name``, as the endpoint names it."""
        return f"{self.namespace}/{self.kind}/{self.name}"


class AnomalyRecord(StoredModel):
    """What was wrong."""

    type: AnomalyType
    symptom: str = ""
    detected_time: AwareDatetime
    message: Text = ""


class VoteRecord(StoredModel):
    """One detector's vote; ``vote`` is None when it abstained."""

    detector: str
    vote: bool | None = None
    score: Finite = None


class TopMetricRecord(StoredModel):
    """A metric that carried the anomaly, in its own unit."""

    name: str
    observed: Finite = None
    expected: Finite = None


class VerdictRecord(StoredModel):
    """What the decision rested on."""

    confidence: Annotated[float, Field(ge=0, le=1)]
    votes: Annotated[tuple[VoteRecord, ...], Field(max_length=16)] = ()
    top_metrics: Annotated[tuple[TopMetricRecord, ...], Field(max_length=64)] = ()
    model_version: str = ""
    source: Source


class RemediationSpec(StoredModel):
    """Immutable: what was found and who asked for a remedy."""

    policy_ref: PolicyRef
    target: TargetRef
    anomaly: AnomalyRecord
    verdict: VerdictRecord


class Attempt(StoredModel):
    """One try of one action."""

    action: Action
    started_time: AwareDatetime
    ended_time: AwareDatetime | None = None
    change: Change = Change()
    undo: tuple[Operation, ...] = ()
    dry_run: Text = ""
    result: AttemptResult = AttemptResult.PLANNED
    reason: str = ""
    message: Text = ""
    evidence: tuple[Text, ...] = ()


class Times(StoredModel):
    """When each step was reached (UTC).

    ``cleared`` is when, after the end, the incident was seen to be over: what comes later is a new incident.
    """

    detected: AwareDatetime | None = None
    decided: AwareDatetime | None = None
    applied: AwareDatetime | None = None
    recovered: AwareDatetime | None = None
    verified: AwareDatetime | None = None
    undone: AwareDatetime | None = None
    completed: AwareDatetime | None = None
    cleared: AwareDatetime | None = None


class RemediationStatus(StoredModel):
    """The state machine: conditions, attempts and times.

    ``hindsight`` says of an Observed one, later, whether acting would have been right: ``NotNeeded`` when it cleared by
    itself within the verification's timeout, ``StillSick`` when it was there after that, ``SameChangeMade`` when
    somebody made the planned change and it cleared.
    """

    conditions: tuple[Condition, ...] = ()
    outcome: Outcome | None = None
    reason: str = ""
    attempts: tuple[Attempt, ...] = ()
    times: Times = Times()
    next_step_time: AwareDatetime | None = None
    message: Text = ""
    hindsight: Hindsight | None = None
    loan: Loan | None = None

    @property
    def owes(self) -> bool:
        """Whether something is lent and not returned yet."""
        return self.loan is not None and self.loan.returned_time is None

    def condition(self, kind: ConditionType) -> Condition | None:
        """The condition of a type, if it was ever set."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def is_true(self, kind: ConditionType) -> bool:
        """Whether the condition of a type holds."""
        found = self.condition(kind)
        return found is not None and found.status == "True"


class Remediation(StoredModel):
    """One incident of one target."""

    name: str
    namespace: str
    uid: str = ""
    resource_version: str = ""
    spec: RemediationSpec
    status: RemediationStatus = RemediationStatus()

    @property
    def is_open(self) -> bool:
        """Whether steps are still to come."""
        return not self.status.is_true(ConditionType.COMPLETE)

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any]) -> Remediation:
        """Read a resource as the API server returns it.

        Raises:
            InvalidResource: With every fault and its field.
        """
        meta = resource.get("metadata", {})
        try:
            return cls(
                name=meta.get("name", ""),
                namespace=meta.get("namespace", ""),
                uid=meta.get("uid", ""),
                resource_version=meta.get("resourceVersion", ""),
                spec=RemediationSpec.model_validate(resource.get("spec", {})),
                status=RemediationStatus.model_validate(resource.get("status") or {}),
            )
        except ValidationError as error:
            raise InvalidResource(f"Remediation {meta.get('name', '?')}: {explain(error)}") from None


class Approval(ApiModel):
    """``spec`` of a RemediationApproval."""

    remediation_name: str
    decision: Literal["Approve", "Deny"]
    approver: Annotated[str, Field(min_length=1, max_length=1024)]
    reason: Annotated[str, Field(max_length=4096)] = ""


class LastVerdict(StoredModel):
    """What the endpoint or Kubernetes last said about a target of a policy.

    Attributes:
        target: ``namespace/Kind/name``.
        votes: One entry a detector.
        confidence: 0..1.
        model: Version of the ensemble; empty for a verdict from symptoms alone.
    """

    target: str
    votes: Annotated[tuple[VoteRecord, ...], Field(max_length=16)] = ()
    confidence: Annotated[float, Field(ge=0, le=1)]
    model: str = ""


class RemediationRef(StoredModel):
    """A Remediation; it lives in its target's namespace."""

    name: str
    namespace: str


class Tally(StoredModel):
    """Remediations of a policy that ended, by outcome; those the history limit deleted are counted too."""

    successful: Annotated[int, Field(ge=0)] = 0
    failed: Annotated[int, Field(ge=0)] = 0
    inconclusive: Annotated[int, Field(ge=0)] = 0
    error: Annotated[int, Field(ge=0)] = 0
    skipped: Annotated[int, Field(ge=0)] = 0
    denied: Annotated[int, Field(ge=0)] = 0
    observed: Annotated[int, Field(ge=0)] = 0


class PolicyStatus(StoredModel):
    """``status`` of a SelfHealingPolicy.

    Attributes:
        conditions: By ``PolicyConditionType``; ``Succeeded`` carries the last outcome as its reason.
        targets: How many workloads the policy selects; None while that was never counted.
        last_verdict: The newest about any target.
        last_remediation_ref: The newest.
        remediations: How they ended.
    """

    conditions: tuple[Condition, ...] = ()
    targets: Annotated[int, Field(ge=0)] | None = None
    last_verdict: LastVerdict | None = None
    last_remediation_ref: RemediationRef | None = None
    remediations: Tally = Tally()


def undo_of(attempt: Attempt) -> tuple[Operation, ...]:
    """What takes an attempt back."""
    return attempt.undo or attempt.change.undo


def remediation_name(policy_uid: str, target_uid: str, incident_start: datetime) -> str:
    """The deterministic name: two replicas, or a restart, create one Remediation for one incident.

    Args:
        policy_uid: Of the policy.
        target_uid: Of the workload.
        incident_start: Aware; counted in whole seconds.

    Returns:
        A DNS label of 24 characters.
    """
    key = f"{policy_uid}/{target_uid}/{int(incident_start.timestamp())}"
    return "rem-" + hashlib.sha256(key.encode()).hexdigest()[:20]


def with_condition(
    conditions: Sequence[Condition],
    kind: str,
    status: Literal["True", "False", "Unknown"],
    reason: str,
    message: str,
    now: datetime,
    generation: int | None = 1,
) -> tuple[Condition, ...]:
    """Set one condition; its transition time moves only when its status does.

    Args:
        conditions: As they are.
        kind: Type of the condition to set.
        status: ``True``, ``False`` or ``Unknown``.
        reason: CamelCase constant.
        message: For people.
        now: Aware.
        generation: Observed generation of the resource; that of a Remediation, whose spec never changes, by default.

    Returns:
        All conditions, sorted by type.
    """
    old = next((condition for condition in conditions if condition.type == kind), None)
    since = old.last_transition_time if old is not None and old.status == status else now
    new = Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=generation,
    )
    others = [condition for condition in conditions if condition.type != kind]
    return tuple(sorted([*others, new], key=lambda condition: condition.type))
