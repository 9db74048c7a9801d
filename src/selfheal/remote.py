"""What a tracking server and its artifact store can do to a call, told so that one knows what to do. Imports no mlflow.

Where a server stands between us and the store, everything comes back as its HTTP status. Where we talk to the store
ourselves (``--no-serve-artifacts``), boto3 raises errors of its own, which are known only once it is imported.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from requests import RequestException

from selfheal.errors import Unavailable, WrongUse

__all__ = ["QUIET", "told", "why"]

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server in front of S3 would have us fetch from S3 by signed URLs, where a pod need not come; models are small.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    # MLflow's own seven tries take four minutes; who calls us tries again: endpoint, pipeline server, people.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}
"""Settings of MLflow's client that are ours unless somebody sets them."""

_STORES = {"botocore.exceptions": ("BotoCoreError", "ClientError"), "boto3.exceptions": ("Boto3Error",)}
_KEYS = (
    "check MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN, and for the artifact store AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY of whoever talks to it: the server, or this process without --serve-artifacts"
)
_SILENT = re.compile(
    r"Connection refused|Could not connect|NewConnectionError|NameResolutionError|timed out|Connection aborted"
)
_FAILING = re.compile(r"too many (5\d\d) error responses|error code (5\d\d)|\b(5\d\d) Server Error")
_UNWELCOME = re.compile(
    r"error code (40[13])|\b(40[13]) Client Error|(AccessDenied|SignatureDoesNotMatch|InvalidAccessKeyId|locate cred)"
    r"|^(UNAUTHENTICATED|PERMISSION_DENIED)"
)


@contextmanager
def told(place: str) -> Iterator[None]:
    """Translate errors of connections and of the artifact store.

    Args:
        place: The tracking URI.

    Raises:
        Unavailable: When something does not answer or refuses.
        WrongUse: When boto3 is needed and missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("boto3", "botocore"):
            raise
        raise WrongUse(
            f"MLflow at {place} keeps artifacts in S3 and does not pass them on, and boto3 is missing here: install "
            "selfheal-platform[s3], or start the server with --artifacts-destination instead of --no-serve-artifacts"
        ) from None
    except RequestException as error:
        raise Unavailable(f"MLflow at {place}: {why(str(error))}") from error
    except Exception as error:
        if not isinstance(error, _of_stores()):
            raise
        raise Unavailable(f"MLflow at {place}: {why(str(error))}") from error


def why(text: str) -> str:
    """What an error comes to, and what to do about it.

    Args:
        text: As mlflow, requests or boto3 say it.
    """
    if found := _UNWELCOME.search(text):
        which = next(filter(None, found.groups()))
        return f"the credentials are refused ({which}): {_KEYS}. It said: {text}"
    if found := _FAILING.search(text):
        which = next(filter(None, found.groups()))
        advice = "its database or its artifact store does not answer, its log says which; it recovers with them"
        return f"the server answers with {which}: {advice}. It said: {text}"
    if _SILENT.search(text):
        return f"it does not answer: start it or check the address, then try again. It said: {text}"
    return f"cannot do it: {text}"


def _of_stores() -> tuple[type[Exception], ...]:
    """Error classes of boto3; none where it was not imported, since then it raised nothing."""
    found = ((sys.modules.get(module), names) for module, names in _STORES.items())
    return tuple(getattr(module, name) for module, names in found if module is not None for name in names)
