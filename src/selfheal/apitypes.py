"""What our API types are made of: the base model; durations, quantities and selectors as Kubernetes has them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal, Self

import durationpy
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

DURATION_PATTERN = r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+"


def parse_duration(text: object) -> timedelta:
    """Read a duration such as ``90s``, ``5m`` or ``1h30m`` (the format of Go and Kubernetes).

    Raises:
        ValueError: With an example of what would do.
    """
    if isinstance(text, timedelta):
        return text
    if not re.fullmatch(DURATION_PATTERN, str(text)):
        raise ValueError(f"{text!r} is not a duration: write for example 90s, 5m or 1h30m")
    found: timedelta = durationpy.from_str(str(text))
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


def _as_text(value: object) -> object:
    # YAML reads a bare 4 as a number, and Kubernetes admits it as a quantity.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _check_quantity(text: str) -> str:
    if parse_quantity(text) <= 0:
        raise ValueError(f"{text!r} leaves nothing: write for example 500m, 2, 128Mi or 1Gi")
    return text


Duration = Annotated[timedelta, BeforeValidator(parse_duration), Field(le=timedelta(hours=720))]
Quantity = Annotated[str, BeforeValidator(_as_text), AfterValidator(_check_quantity)]


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Finite = Annotated[float | None, BeforeValidator(_finite)]
"""A number, or None for one that is none: JSON has no NaN, and a record must not be refused for it."""

TEXT_LIMIT = 4096
"""Characters of one text in a resource: the server refuses more, and a record must never be lost for its length."""


def _shorten(text: object) -> object:
    return text[: TEXT_LIMIT - 1] + "…" if isinstance(text, str) and len(text) > TEXT_LIMIT else text


Text = Annotated[str, BeforeValidator(_shorten), Field(max_length=TEXT_LIMIT)]
"""For people; what is too long is cut, and ends with an ellipsis."""


class ApiModel(BaseModel):
    """Base of all API types: camelCase outside, frozen, unknown fields refused where people write them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class SelectorRequirement(ApiModel):
    """One ``matchExpressions`` entry of a label selector."""

    key: Annotated[str, Field(min_length=1, max_length=317)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Annotated[tuple[str, ...], Field(max_length=64)] = ()

    @model_validator(mode="after")
    def _needs_values_or_none(self) -> Self:
        if bool(self.values) != (self.operator in ("In", "NotIn")):
            raise ValueError("In and NotIn need values, Exists and DoesNotExist have none")
        return self

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


def explain(error: ValidationError) -> str:
    """A validation error in one line: each fault with the field it is about."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(".".join(str(part) for part in detail["loc"]) + ": " + detail["msg"] for detail in details)
