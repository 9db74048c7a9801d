"""Every error selfheal raises on purpose, drawn once.

::

    SelfhealError
    ├── PermanentError            trying again cannot help; somebody has to change something
    │   ├── WrongUse              a flag, a file or a setting is wrong              (exit code 2)
    │   ├── BadRequest            the client of the endpoint sent something wrong  (HTTP 400)
    │   │   └── MetricMismatch    metric names are not the ones the model was trained on
    │   ├── BadModel              a stored model is damaged or of another format
    │   ├── InvalidResource       a custom resource cannot be understood
    │   ├── Refused               a safety rule forbids the action; carries the reason
    │   └── Forbidden             the API server says that our rights do not reach
    └── TemporaryError            the same call may succeed later
        ├── NoData                nothing to work on yet                            (exit code 3)
        │   └── InsufficientData  some history, but less than a detector needs
        ├── Unavailable           an endpoint, Prometheus or the API server does not answer
        └── Conflict              somebody else wrote first: read again and decide again

Messages say what happened, where, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BadModel",
    "BadRequest",
    "Conflict",
    "Forbidden",
    "InsufficientData",
    "InvalidResource",
    "MetricMismatch",
    "NoData",
    "PermanentError",
    "Refused",
    "SelfhealError",
    "TemporaryError",
    "Unavailable",
    "WrongUse",
]


class SelfhealError(Exception):
    """The root: ``exit_code`` is what a command ends with when nothing catches it."""

    exit_code = 1


class PermanentError(SelfhealError):
    """Trying again cannot help."""


class TemporaryError(SelfhealError):
    """The same call may succeed later."""


class WrongUse(PermanentError):
    """A flag, a file or a setting is wrong."""

    exit_code = 2


class BadRequest(PermanentError):
    """The client of the endpoint sent something wrong; the message names the place."""


class MetricMismatch(BadRequest):
    """The window's metric names are not those the model was trained on.

    Args:
        workload: Whose window it is.
        missing: Names the model needs and the window lacks.
        unknown: Names the window has and the model does not know.
    """

    def __init__(self, workload: str, missing: Iterable[str] = (), unknown: Iterable[str] = ()) -> None:
        self.workload = workload
        self.missing = tuple(sorted(missing))
        self.unknown = tuple(sorted(unknown))
        parts = [
            f"{label} {', '.join(names)}"
            for label, names in (("missing", self.missing), ("unknown", self.unknown))
            if names
        ]
        super().__init__(
            f"window of {workload} does not match the model's metrics: {'; '.join(parts)}. "
            "Ask the model's metadata for its metric names, or train with this catalogue."
        )


class BadModel(PermanentError):
    """A stored model is damaged or of another format."""


class InvalidResource(PermanentError):
    """A custom resource cannot be understood."""


class Refused(PermanentError):
    """A safety rule forbids the action.

    Args:
        reason: A constant in CamelCase, as Kubernetes conditions carry it.
        message: What would be needed, in a sentence.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class Forbidden(PermanentError):
    """The API server says that our rights do not reach."""


class NoData(TemporaryError):
    """Nothing to work on yet."""

    exit_code = 3


class InsufficientData(NoData):
    """Some history, but less than a detector needs.

    Args:
        need: How many usable samples (rows) would be enough.
        got: How many there are.
        what: Who needs them.
    """

    def __init__(self, need: int, got: int, what: str = "the detector") -> None:
        self.need = need
        self.got = got
        super().__init__(f"{what} needs {need} samples of history, has {got}")


class Unavailable(TemporaryError):
    """An endpoint, Prometheus or the API server does not answer."""


class Conflict(TemporaryError):
    """Somebody else wrote first: read again and decide again."""
