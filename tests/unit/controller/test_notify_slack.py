"""Text from the cluster cannot speak in our name to Slack."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from controller.notify.base import Notice
from controller.notify.slack import escape, message

NOTICE = Notice(
    uid="1",
    step="Opened",
    remediation="shop/rem-1",
    workload="shop/Deployment/cart",
    anomaly="ConfigError",
    confidence=0.97,
    action="",
    diff="",
    outcome="",
    reason="",
    message="",
    time=datetime(2026, 11, 24, tzinfo=UTC),
)


def test_a_message_from_the_cluster_cannot_mention_everybody() -> None:
    body = str(message(replace(NOTICE, message="<!channel> click <https://bad.example|here>")))
    assert "<!channel>" not in body
    assert "<https://" not in body


def test_a_diff_cannot_leave_its_code_block() -> None:
    body = message(replace(NOTICE, diff="image: a -> ```<!here>"))
    (code,) = [block["text"]["text"] for block in body["blocks"] if "```" in str(block)]
    assert code.startswith("```")
    assert code.endswith("```")
    assert "`" not in code.strip("`")


@given(st.text())
def test_escaped_text_holds_nothing_that_slack_interprets(text: str) -> None:
    safe = escape(text)
    assert not set("<>`") & set(safe)


@given(st.text(max_size=6000), st.text(max_size=6000))
def test_no_text_is_longer_than_slack_takes(diff: str, told: str) -> None:
    for block in message(replace(NOTICE, diff=diff, message=told))["blocks"]:
        assert len(block.get("text", {}).get("text", "")) <= 3000


def test_a_cut_diff_still_ends_its_code_block() -> None:
    body = message(replace(NOTICE, diff="x" * 5000))
    (code,) = [block["text"]["text"] for block in body["blocks"] if "```" in str(block)]
    assert code.endswith("```")
