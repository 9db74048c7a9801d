"""SelfHealingPolicy and HealingConfig as Python types; they agree with the CRDs by test.

Source: design api.md sections 1, 4 and 5. Group ``aiops.example.com``, version ``v1alpha1``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import durationpy
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from selfheal.errors import InvalidResource

GROUP = "aiops.example.com"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
OPT_IN_LABEL = f"{GROUP}/self-healing"
"""On a namespace, ``enabled`` opts in; as an annotation on a workload, ``disabled`` opts out."""
FIELD_MANAGER = "selfheal-controller"
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


def parse_duration(text: object) -> timedelta:
    """Read a duration such as ``90s``, ``5m`` or ``1h30m`` (the format of Go and Kubernetes).

    Raises:
        ValueError: With an example of what would do.
    """
    if isinstance(text, timedelta):
        return text
    try:
        found: timedelta = durationpy.from_str(str(text))
    except durationpy.DurationError:
        raise ValueError(f"{text!r} is not a duration: write for example 90s, 5m or 1h30m") from None
    if found < timedelta(0):
        raise ValueError(f"{text!r} is negative: a duration starts at 0s")
    return found


_QUANTITY = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<suffix>[eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE]?)")
_FACTOR = {suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)} | {
    suffix: Decimal(1000) ** power for power, suffix in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)
}


def parse_quantity(text: object) -> Decimal:
    """Read a Kubernetes quantity.

    Args:
        text: ``500m``, ``1.5``, ``128Mi``, ``1e3`` or a number.

    Returns:
        The plain number (cores or bytes).

    Raises:
        ValueError: When it is none.
    """
    match = _QUANTITY.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"{text!r} is not a quantity: write for example 500m, 2, 128Mi or 1Gi")
    number, suffix = Decimal(match["number"]), match["suffix"]
    if suffix[:1] in "eE" and len(suffix) > 1 and suffix != "Ei":
        return number * Decimal(10) ** int(suffix[1:])
    return number * _FACTOR[suffix]


def _check_quantity(text: str) -> str:
    parse_quantity(text)
    return text


def _check_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no IANA time zone: write for example UTC or Europe/Zurich")
    return name


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Quantity = Annotated[str, AfterValidator(_check_quantity)]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Zone = Annotated[str, AfterValidator(_check_zone)]
Weekday = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
WEEKDAYS: tuple[Weekday, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class ApiModel(BaseModel):
    """Base of all API types: camelCase outside, frozen, unknown fields refused where people write them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class SelectorRequirement(ApiModel):
    """One ``matchExpressions`` entry of a label selector."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels satisfy it, by the rules of metav1.LabelSelector."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


class LabelSelector(ApiModel):
    """metav1.LabelSelector; an empty one matches everything."""

    match_labels: dict[str, str] = Field(default_factory=dict)
    match_expressions: tuple[SelectorRequirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether all requirements hold for the labels."""
        exact = all(labels.get(key) == value for key, value in self.match_labels.items())
        return exact and all(requirement.matches(labels) for requirement in self.match_expressions)


class AdjustResourcesParameters(ApiModel):
    """How far limits may grow.

    Attributes:
        factor: The new limit is at least this times the old one.
        max_memory: Never above it. 4Gi: enough for most services, small beside a node.
        max_cpu: Never above it.
    """

    factor: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$")] = "1.5"
    max_memory: Quantity = "4Gi"
    max_cpu: Quantity = "4"


class ScaleParameters(ApiModel):
    """How far replicas may grow: ``step`` more at a time, never above ``maxReplicas``."""

    step: Annotated[int, Field(ge=1)] = 1
    max_replicas: Annotated[int, Field(ge=1)] = 10


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


class Window(ApiModel):
    """When acting is allowed.

    Attributes:
        days: All by default.
        start: Local time, inclusive.
        end: Local time, exclusive; not after ``start`` means that the window runs over midnight and belongs to the
            day on which it starts.
        timezone: IANA name.
    """

    days: tuple[Weekday, ...] = WEEKDAYS
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


class PolicySpec(ApiModel):
    """``spec`` of a SelfHealingPolicy; every field is explained in docs/reference/selfhealingpolicy.md."""

    anomaly_type: Annotated[AnomalyType, BeforeValidator(lambda v: ANOMALY_ALIASES.get(str(v), v))]
    action: Annotated[Action, BeforeValidator(lambda v: ACTION_ALIASES.get(str(v), v))]
    confidence_threshold: Annotated[float, Field(ge=0, le=1)] = 0.85
    cooldown_period: Duration = timedelta(minutes=5)
    max_retries: Annotated[int, Field(ge=0, le=20)] = 3
    enabled: bool = True
    target_namespace: str = ""
    selector: LabelSelector = LabelSelector()
    mode: Mode = Mode.AUTO
    parameters: Parameters = Parameters()
    verification: Verification = Verification()
    undo_on_failure: bool = True
    escalation: tuple[Annotated[Action, BeforeValidator(lambda v: ACTION_ALIASES.get(str(v), v))], ...] = ()
    windows: tuple[Window, ...] = ()
    priority: int = 0
    remediation_history_limit: Annotated[int, Field(ge=1, le=1000)] = 50

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


class Budget(ApiModel):
    """How many remediations the whole cluster may see."""

    max_concurrent: Annotated[int, Field(ge=0)] = 5
    max_per_hour: Annotated[int, Field(ge=0)] = 20
    max_per_namespace_per_hour: Annotated[int, Field(ge=0)] = 6


class Storm(ApiModel):
    """Above this share of unhealthy targets nothing is done to single workloads until the cooldown has passed."""

    max_unhealthy_percent: Annotated[int, Field(ge=1, le=100)] = 40
    cooldown: Duration = timedelta(minutes=10)


class HealingConfig(ApiModel):
    """``spec`` of the cluster-wide HealingConfig named ``cluster``; these defaults hold without one."""

    suspended: bool = False
    budget: Budget = Budget()
    storm: Storm = Storm()
    protected_namespaces: tuple[str, ...] = ("openshift-*", "kube-*", "default")
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


def explain(error: ValidationError) -> str:
    """A validation error in one line: each fault with the field it is about."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(".".join(str(part) for part in detail["loc"]) + ": " + detail["msg"] for detail in details)
