"""What a client did wrong, said with the place, and why the endpoint cannot answer.

All are kinds of kserve's own errors, so its gRPC server maps them as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady

if TYPE_CHECKING:
    from pydantic import ValidationError


class Mistake(InvalidInput):
    """The request is wrong: HTTP 400, or INVALID_ARGUMENT over gRPC."""


class TooLarge(Mistake):
    """The body has more bytes than the server takes: HTTP 413."""


class NotLoaded(ModelNotReady):
    """No model yet: HTTP 503. kserve's own class is logged with a traceback at every readiness probe."""


class NoSuchModel(ModelNotFound):
    """Another model's name, or another version: HTTP 404."""


def faults(error: ValidationError, place: str = "") -> str:
    """Every fault that pydantic found, each with its place (``inputs[0].shape[2]: ...``)."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{_path(place, detail['loc'])}: {detail['msg']}" for detail in found[:20])


def _path(place: str, parts: tuple[int | str, ...]) -> str:
    path = place
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "body"
