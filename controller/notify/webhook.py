"""A generic webhook: every notice as one JSON object."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import httpx

from controller.notify.base import Notice, post_json

_TIMEOUT = 10.0  # seconds


class Webhook:
    """Posts to one URL.

    Args:
        url: Receives ``POST`` with JSON.
        client: Transport; tests put their own in.
    """

    name = "webhook"

    def __init__(self, url: str, client: httpx.Client | None = None) -> None:
        self._url = url
        self._client = client or httpx.Client(timeout=_TIMEOUT)

    def send(self, notice: Notice) -> None:
        """Post it.

        Raises:
            TemporaryError: The receiver is down or busy.
            PermanentError: It refuses.
        """
        post_json(self._client, self._url, body(notice), "the webhook")


def body(notice: Notice) -> dict[str, Any]:
    """The JSON object: the notice's fields, ``time`` in ISO 8601."""
    return asdict(notice) | {"time": notice.time.isoformat()}
