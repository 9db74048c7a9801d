"""Slack incoming webhook: what, why, the diff and the outcome as blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from controller.notify.base import Notice, post_json
from selfheal.errors import WrongUse

_MOST = 2900  # Slack takes 3,000 characters in one text
_FENCE = "```"
_TIMEOUT = 10.0  # seconds


class Slack:
    """Posts to one incoming webhook.

    Args:
        file: Holds the URL; it is read at every notice, so that a rotated Secret works without a restart.
        client: Transport; tests put their own in.
    """

    name = "slack"

    def __init__(self, file: Path, client: httpx.Client | None = None) -> None:
        self._file = file
        self._client = client or httpx.Client(timeout=_TIMEOUT)

    def send(self, notice: Notice) -> None:
        """Post it.

        Raises:
            TemporaryError: Slack is down or busy.
            PermanentError: The URL is wrong or was revoked.
        """
        post_json(self._client, self._url(), message(notice), "Slack")

    def _url(self) -> str:
        try:
            return self._file.read_text().strip()
        except OSError as error:
            raise WrongUse(f"cannot read the Slack webhook file: {error}. Check SELFHEAL_SLACK_WEBHOOK_FILE.") from None


def message(notice: Notice) -> dict[str, Any]:
    """The body for Slack; all text that can come from the cluster is escaped."""
    headline = f"{notice.step}: {notice.anomaly} at {notice.workload}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": headline[:150], "emoji": False}},
        {"type": "section", "fields": [_text(f"*{name}*\n{escape(value)}") for name, value in _facts(notice)]},
    ]
    if notice.message:
        blocks.append({"type": "section", "text": _text(escape(notice.message))})
    if notice.diff:
        blocks.append({"type": "section", "text": _text(f"{_FENCE}{escape(notice.diff)}{_FENCE}", tail=_FENCE)})
    blocks.append({"type": "context", "elements": [_text(escape(f"{notice.remediation} · {notice.time.isoformat()}"))]})
    return {"text": escape(headline), "blocks": blocks}


def _facts(notice: Notice) -> list[tuple[str, str]]:
    given = {
        "Workload": notice.workload,
        "Anomaly": notice.anomaly,
        "Confidence": f"{notice.confidence:.0%}",
        "Action": notice.action,
        "Outcome": notice.outcome,
        "Reason": notice.reason,
    }
    return [(name, value) for name, value in given.items() if value]


def _text(text: str, tail: str = "") -> dict[str, Any]:
    short = text if len(text) <= _MOST else text[:_MOST] + " ..." + tail
    return {"type": "mrkdwn", "text": short, "verbatim": True}


def escape(text: str) -> str:
    """Text that Slack shows as it is: no mentions, no links, no code fences of its own."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("`", "'")
