"""Requests and answers of the endpoint, shared by both sides. No framework and no numpy.

The wire format is api.md section 6 in the design: camelCase outside, one Python name inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from selfheal.errors import BadRequest
from selfheal.vote import Vote

MODEL_NAME = "selfheal-ensemble"

Basis = Literal["workload", "pooled"]


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class Instance(_Wire):
    """One workload's recent past.

    Attributes:
        workload: ``namespace/Kind/name``.
        end: Time of the newest sample.
        step: Seconds between samples.
        window: Samples by metric, the newest last; None (or NaN, infinity) is a gap. All of one length.
        now: What the API server says this second; it overlays the newest sample, so that a crash is seen before the
            next scrape. Only metrics of the window take effect; others are ignored.
    """

    workload: Annotated[str, Field(min_length=1, max_length=512)]
    end: AwareDatetime
    step: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
    window: dict[str, list[float | None]]
    now: dict[str, float | None] = Field(default_factory=dict)

    @field_validator("end")
    @classmethod
    def _in_utc(cls, end: datetime) -> datetime:
        try:
            return end.astimezone(UTC)
        except OverflowError:
            raise ValueError("lies outside the years 1 to 9999 in UTC") from None

    @field_validator("window")
    @classmethod
    def _gaps_are_none(cls, window: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
        return {name: values if _whole(values) else [_finite(v) for v in values] for name, values in window.items()}

    @model_validator(mode="after")
    def _one_length(self) -> Instance:
        lengths = {name: len(values) for name, values in self.window.items()}
        if not lengths:
            raise ValueError("window is empty: give at least one metric")
        if len(set(lengths.values())) > 1:
            raise ValueError(f"metrics differ in length ({lengths}): send one grid, with null for gaps")
        if not next(iter(lengths.values())):
            raise ValueError("window has no samples")
        return self

    @property
    def samples(self) -> int:
        """Length of the window."""
        return len(next(iter(self.window.values())))


def _whole(values: list[float | None]) -> bool:
    """Whether there surely is no gap, which a sum tells faster than a look at each."""
    try:
        return math.isfinite(sum(cast("list[float]", values)))
    except TypeError:  # of a None
        return False


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


class _Answer(_Wire):
    model_config = ConfigDict(allow_inf_nan=False)


Probability = Annotated[float, Field(ge=0, le=1)]


class TopMetric(_Answer):
    """A metric that carries the anomaly.

    Attributes:
        name: Of the metric.
        observed: Newest value, in the metric's unit; None when the newest sample is a gap.
        expected: What the detectors expected, in the same unit.
        share: Of the anomaly's evidence, 0..1.
    """

    name: str
    observed: float | None
    expected: float | None
    share: float


class Forecast(_Answer):
    """When a growing metric reaches its limit.

    Attributes:
        metric: The one that grows.
        limit: In the metric's unit.
        exhausted_in: Seconds from ``end`` to the limit, best guess.
        exhausted_in_lower: The same at the near end of the interval (90 %).
    """

    metric: str
    limit: float
    exhausted_in: float
    exhausted_in_lower: float


class ModelInfo(_Wire):
    """Which model answered."""

    name: str = MODEL_NAME
    version: str = ""
    run_id: str = ""
    catalogue: str = ""


class Prediction(_Answer):
    """The answer for one instance.

    Attributes:
        workload: Echoed.
        anomaly: None means "cannot tell"; ``message`` says why.
        confidence: Calibrated probability that the workload is really anomalous; None when the answer is None.
        votes: By detector, those that did not abstain.
        scores: Calibrated score 0..1 by detector, those that did not abstain.
        abstained: Reason by detector.
        anomaly_type: One of MemoryLeak, CPUThrottling, StorageExhaustion, MetricAnomaly; None without an anomaly.
        top_metrics: The metrics that carry it, the heaviest first.
        forecast: Where something grows towards a known limit.
        basis: The workload's own model or the pooled one.
        message: For people, where there is something to say.
        model: Which model answered.
    """

    workload: str
    anomaly: bool | None
    confidence: Probability | None
    votes: dict[str, bool] = Field(default_factory=dict)
    scores: dict[str, Probability] = Field(default_factory=dict)
    abstained: dict[str, str] = Field(default_factory=dict)
    anomaly_type: str | None = None
    top_metrics: tuple[TopMetric, ...] = ()
    forecast: Forecast | None = None
    basis: Basis = "workload"
    message: str = ""
    model: ModelInfo = ModelInfo()

    def to_votes(self) -> tuple[Vote, ...]:
        """Votes and abstentions as :class:`selfheal.vote.Vote`, by detector name."""
        given = [Vote(name, vote, self.scores.get(name)) for name, vote in self.votes.items()]
        silent = [Vote(name, None, None, reason) for name, reason in self.abstained.items()]
        return tuple(sorted(given + silent, key=lambda vote: vote.detector))


def parse_instances(payload: object, *, limit: int = 10_000) -> list[Instance]:
    """Read a V1 request body.

    Args:
        payload: The decoded JSON body.
        limit: Most instances that one request may hold.

    Returns:
        The instances, in order.

    Raises:
        BadRequest: With every fault and its place (``instances[3].window.pod_cpu_usage``).
    """
    if not isinstance(payload, Mapping) or not isinstance(payload.get("instances"), list):
        raise BadRequest('the body must be a JSON object with a list "instances"')
    raw = payload["instances"]
    if not raw:
        raise BadRequest('"instances" is empty: send at least one workload')
    if len(raw) > limit:
        raise BadRequest(f"{len(raw)} instances in one request, at most {limit}: split the batch")
    found: list[Instance] = []
    faults: list[str] = []
    for index, item in enumerate(raw):
        try:
            found.append(Instance.model_validate(item))
        except ValidationError as error:
            faults += _faults(f"instances[{index}]", error)
    if faults:
        raise BadRequest("; ".join(faults[:20]) + (f" (and {len(faults) - 20} more)" if len(faults) > 20 else ""))
    return found


def _faults(place: str, error: ValidationError) -> list[str]:
    return [
        ".".join([place, *(str(part) for part in detail["loc"])]) + ": " + detail["msg"]
        for detail in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def to_wire(predictions: Iterable[Prediction]) -> dict[str, Any]:
    """The V1 response body."""
    return {"predictions": [p.model_dump(mode="json", by_alias=True, exclude_none=False) for p in predictions]}


def to_request(instances: Iterable[Instance]) -> bytes:
    """The V1 request body, as JSON. Instances are taken one by one, so that not all of them need be there at once."""
    return b'{"instances":[' + b",".join(one.model_dump_json(by_alias=True).encode() for one in instances) + b"]}"


def parse_predictions(payload: object) -> list[Prediction]:
    """Read a V1 response body.

    Raises:
        BadRequest: When the endpoint's answer is not understood; unknown fields are ignored, so that a newer server
            can serve an older controller.
    """
    if not isinstance(payload, Mapping) or not isinstance(payload.get("predictions"), list):
        raise BadRequest('the endpoint\'s answer has no list "predictions"')
    try:
        return [Prediction.model_validate(item, extra="ignore") for item in payload["predictions"]]
    except ValidationError as error:
        raise BadRequest(
            "the endpoint's answer is not understood: " + "; ".join(_faults("predictions", error))
        ) from None
