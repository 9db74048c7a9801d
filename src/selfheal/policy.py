"""SelfHealingPolicy and HealingConfig as Python types; they agree with the CRDs by test.

Source: design api.md sections 1, 4 and 5. Group ``aiops.example.com``, version ``v1alpha1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from selfheal.apitypes import ApiModel as ApiModel
from selfheal.apitypes import Duration, Quantity
from selfheal.apitypes import LabelSelector as LabelSelector
from selfheal.apitypes import SelectorRequirement as SelectorRequirement
from selfheal.apitypes import explain as explain
from selfheal.apitypes import parse_duration as parse_duration
from selfheal.apitypes import parse_quantity as parse_quantity
from selfheal.errors import InvalidResource

GROUP = "aiops.example.com"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
OPT_IN_LABEL = f"{GROUP}/self-healing"
"""On a namespace, ``enabled`` opts in; as an annotation on a workload, ``disabled`` opts out."""
FIELD_MANAGER = "selfheal-controller"
CLI_FIELD_MANAGER = "selfheal-cli"
SYSTEM_NAMESPACE = "selfheal-system"
SERVICE_ACCOUNT = "selfheal-controller"
HEALER_ROLE = "selfheal-healer"
REMEDIATION_ANNOTATION = f"{GROUP}/remediation"
"""On a workload we changed: ``remediation-name/attempt``, written in the same patch, so that a restart of the
controller sees whether an attempt was applied before it died."""


class AnomalyType(StrEnum):
    """What can be healed: eight facts that Kubernetes reports, then four types of the ensemble."""

    CRASH_LOOP_BACK_OFF = "CrashLoopBackOff"
    OOM_KILLED = "OOMKilled"
    IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
    CONFIG_ERROR = "ConfigError"
    PROBE_FAILURE = "ProbeFailure"
    ROLLOUT_STUCK = "RolloutStuck"
    POD_PENDING = "PodPending"
    JOB_FAILED = "JobFailed"
    MEMORY_LEAK = "MemoryLeak"
    CPU_THROTTLING = "CPUThrottling"
    STORAGE_EXHAUSTION = "StorageExhaustion"
    METRIC_ANOMALY = "MetricAnomaly"

    @property
    def is_symptom(self) -> bool:
        """Whether Kubernetes reports it as a fact."""
        return self not in _ENSEMBLE_TYPES


_ENSEMBLE_TYPES = frozenset(
    {
        AnomalyType.MEMORY_LEAK,
        AnomalyType.CPU_THROTTLING,
        AnomalyType.STORAGE_EXHAUSTION,
        AnomalyType.METRIC_ANOMALY,
    }
)


class Action(StrEnum):
    """What can be done about it."""

    RESTART = "restart"
    ROLLBACK = "rollback"
    SCALE = "scale"
    ADJUST_RESOURCES = "adjust-resources"
    NOTIFY_ONLY = "notify-only"


class Mode(StrEnum):
    """How much the controller may do by itself."""

    AUTO = "Auto"
    APPROVE = "Approve"
    OBSERVE = "Observe"


_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _snake(name: str) -> str:
    return _WORD.sub("_", name).lower()


# memory_leak = MemoryLeak; by hand only where the words do not show in the capitals.
ANOMALY_ALIASES: Mapping[str, AnomalyType] = MappingProxyType(
    {_snake(kind.value): kind for kind in AnomalyType} | {"crashloop_backoff": AnomalyType.CRASH_LOOP_BACK_OFF}
)
ACTION_ALIASES: Mapping[str, Action] = MappingProxyType(
    {action.value.replace("-", "_"): action for action in Action if "-" in action.value}
)


# What cannot work, by type, and why. A restart is here for Jobs alone: elsewhere a new pod may land on a better node,
# and begins with fresh emptyDir volumes; a Job that gave up gets no new pod.
UNFIT: Mapping[AnomalyType, tuple[frozenset[Action], str]] = MappingProxyType(
    {
        AnomalyType.IMAGE_PULL_BACK_OFF: (
            frozenset({Action.SCALE, Action.ADJUST_RESOURCES}),
            "more replicas or memory do not bring an image",
        ),
        AnomalyType.CONFIG_ERROR: (
            frozenset({Action.SCALE, Action.ADJUST_RESOURCES}),
            "more replicas or memory do not mend a broken reference",
        ),
        AnomalyType.ROLLOUT_STUCK: (
            frozenset({Action.SCALE}),
            "more replicas of a revision that does not get ready are stuck too",
        ),
        AnomalyType.POD_PENDING: (
            frozenset({Action.SCALE, Action.ADJUST_RESOURCES}),
            "a pod that finds no room finds none for more of it",
        ),
        AnomalyType.JOB_FAILED: (
            frozenset(Action) - {Action.NOTIFY_ONLY},
            "a Job that gave up is not run again, and its template must not change",
        ),
        AnomalyType.STORAGE_EXHAUSTION: (
            frozenset({Action.ROLLBACK, Action.SCALE, Action.ADJUST_RESOURCES}),
            "no revision, replica or memory limit frees a full volume",
        ),
    }
)


def unfit(anomaly_type: AnomalyType, actions: Iterable[Action]) -> str:
    """Why one of these actions cannot work for a type, and what to write instead; empty when all may."""
    bad, why = UNFIT.get(anomaly_type, (frozenset(), ""))
    if bad.isdisjoint(actions):
        return ""
    *others, last = [action.value for action in Action if action not in bad]
    instead = f"{', '.join(others)} or {last}" if others else last
    return f"{why}: for {anomaly_type} write {instead}"


def _check_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no IANA time zone: write for example UTC or Europe/Zurich")
    return name


Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Zone = Annotated[str, AfterValidator(_check_zone)]
Weekday = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
WEEKDAYS: tuple[Weekday, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _check_factor(text: str) -> str:
    if float(text) < 1:
        raise ValueError(f"a factor of {text} would shrink: write 1 or more, for example 1.5")
    return text


Factor = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$", max_length=8), AfterValidator(_check_factor)]


class AdjustResourcesParameters(ApiModel):
    """How far limits may grow.

    Attributes:
        factor: The new limit is at least this times the old one.
        max_memory: Never above it. 4Gi: enough for most services, small beside a node.
        max_cpu: Never above it.
    """

    factor: Factor = "1.5"
    max_memory: Quantity = "4Gi"
    max_cpu: Quantity = "4"


class ScaleParameters(ApiModel):
    """How far replicas may grow: ``step`` more at a time, never above ``maxReplicas``."""

    step: Annotated[int, Field(ge=1, le=100)] = 1
    max_replicas: Annotated[int, Field(ge=1, le=10000)] = 10


class RollbackParameters(ApiModel):
    """How far back to look, and whether Git's owner may be asked (design gitops.md)."""

    search_depth: Annotated[int, Field(ge=1, le=50)] = 10
    gitops: Literal["Never", "Application", "Revert"] = "Never"


class RestartParameters(ApiModel):
    """Rollout replaces all pods by the workload's own strategy, Evict only the worst pod."""

    strategy: Literal["Rollout", "Evict"] = "Rollout"


class Parameters(ApiModel):
    """Parameters by action."""

    adjust_resources: AdjustResourcesParameters = AdjustResourcesParameters()
    scale: ScaleParameters = ScaleParameters()
    rollback: RollbackParameters = RollbackParameters()
    restart: RestartParameters = RestartParameters()


class Verification(ApiModel):
    """How long a fix must hold (``stabilizationPeriod``), and how long to wait for that (``timeout``)."""

    stabilization_period: Duration = timedelta(seconds=60)
    timeout: Duration = timedelta(minutes=5)

    @model_validator(mode="after")
    def _has_time_enough(self) -> Self:
        if not timedelta(0) < self.stabilization_period <= self.timeout:
            raise ValueError("timeout must not be shorter than stabilizationPeriod, which is more than 0s")
        return self


def _each_once(days: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
    if len(set(days)) < len(days):
        raise ValueError("write each day once")
    return days


class Window(ApiModel):
    """When acting is allowed.

    Attributes:
        days: All by default; never none, for such a window never opens.
        start: Local time, inclusive.
        end: Local time, exclusive; not after ``start`` means that the window runs over midnight and belongs to the
            day on which it starts. The same as ``start`` means 24 hours.
        timezone: IANA name.
    """

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7), AfterValidator(_each_once)] = WEEKDAYS
    start: Clock = "00:00"
    end: Clock = "00:00"
    timezone: Zone = "UTC"

    def is_open(self, moment: datetime) -> bool:
        """Whether an aware moment lies inside."""
        local = moment.astimezone(ZoneInfo(self.timezone))
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        today, yesterday = WEEKDAYS[local.weekday()], WEEKDAYS[local.weekday() - 1]
        clock = local.time()
        if start < end:
            return today in self.days and start <= clock < end
        return (today in self.days and clock >= start) or (yesterday in self.days and clock < end)


AnyAnomalyType = Annotated[AnomalyType, BeforeValidator(lambda v: ANOMALY_ALIASES.get(str(v), v))]
AnyAction = Annotated[Action, BeforeValidator(lambda v: ACTION_ALIASES.get(str(v), v))]


class PolicySpec(ApiModel):
    """``spec`` of a SelfHealingPolicy; every field is explained in docs/reference/selfhealingpolicy.md."""

    anomaly_type: AnyAnomalyType
    action: AnyAction
    confidence_threshold: Annotated[float, Field(ge=0, le=1)] = 0.85
    cooldown_period: Duration = timedelta(minutes=5)
    max_retries: Annotated[int, Field(ge=0, le=20)] = 3
    enabled: bool = True
    target_namespace: Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=63)] = ""
    selector: LabelSelector = LabelSelector()
    mode: Mode = Mode.AUTO
    parameters: Parameters = Parameters()
    verification: Verification = Verification()
    undo_on_failure: bool = True
    escalation: Annotated[tuple[AnyAction, ...], Field(max_length=4)] = ()
    windows: Annotated[tuple[Window, ...], Field(max_length=32)] = ()
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    remediation_history_limit: Annotated[int, Field(ge=1, le=1000)] = 50

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        actions = (self.action, *self.escalation)
        if sentence := unfit(self.anomaly_type, actions):
            raise ValueError(sentence)
        if len(set(actions)) < len(actions):
            raise ValueError("escalation names other actions than action, each once")
        if Action.NOTIFY_ONLY in actions[:-1]:
            raise ValueError("nothing comes after notify-only: write it last in escalation, or alone as action")
        return self

    def is_open(self, moment: datetime) -> bool:
        """Whether acting is allowed at an aware moment."""
        return not self.windows or any(window.is_open(moment) for window in self.windows)


class Policy(ApiModel):
    """A SelfHealingPolicy as the controller works with it.

    Attributes:
        name, namespace, uid, generation: Of the resource.
        spec: With all defaults filled in.
    """

    name: str
    namespace: str
    uid: str
    generation: int = 1
    spec: PolicySpec

    @property
    def target_namespace(self) -> str:
        """Where its targets live."""
        return self.spec.target_namespace or self.namespace

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any]) -> Policy:
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
                generation=meta.get("generation", 1),
                spec=PolicySpec.model_validate(resource.get("spec", {})),
            )
        except ValidationError as error:
            raise InvalidResource(f"SelfHealingPolicy {meta.get('name', '?')}: {explain(error)}") from None


NamespacePattern = Annotated[str, Field(pattern=r"^[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?$", max_length=63)]


class Budget(ApiModel):
    """How many remediations the whole cluster may see."""

    max_concurrent: Annotated[int, Field(ge=0, le=1000)] = 5
    max_per_hour: Annotated[int, Field(ge=0, le=100_000)] = 20
    max_per_namespace_per_hour: Annotated[int, Field(ge=0, le=100_000)] = 6


class Storm(ApiModel):
    """Above this share of unhealthy targets nothing is done to single workloads until the cooldown has passed."""

    max_unhealthy_percent: Annotated[int, Field(ge=1, le=100)] = 40
    cooldown: Duration = timedelta(minutes=10)


class HealingConfig(ApiModel):
    """``spec`` of the cluster-wide HealingConfig named ``cluster``; these defaults hold without one."""

    suspended: bool = False
    budget: Budget = Budget()
    storm: Storm = Storm()
    protected_namespaces: tuple[NamespacePattern, ...] = ("openshift-*", "kube-*", "default")
    approval_timeout: Duration = timedelta(minutes=15)

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any] | None) -> HealingConfig:
        """Read the resource; None gives the defaults.

        Raises:
            InvalidResource: With every fault and its field.
        """
        try:
            return cls.model_validate((resource or {}).get("spec", {}))
        except ValidationError as error:
            raise InvalidResource(f"HealingConfig cluster: {explain(error)}") from None
