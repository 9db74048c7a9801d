"""Slack and webhook notifiers against a real HTTP server: delivered, retried, told once, never in the way."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from tenacity import wait_none

from controller.notify.base import Notice, NoticeQueue
from controller.notify.slack import Slack
from controller.notify.webhook import Webhook
from selfheal.errors import PermanentError, WrongUse
from tests.integration.conftest import wait_until
from tests.support.listener import listening

pytestmark = pytest.mark.integration

NOTICE = Notice(
    uid="0b5e",
    step="Applied-1",
    remediation="shop/rem-1",
    workload="shop/Deployment/cart",
    anomaly="OOMKilled",
    confidence=0.97,
    action="adjust-resources",
    diff="memory limit of app: 48Mi -> 148Mi",
    outcome="",
    reason="",
    message="attempt 1",
    time=datetime(2026, 11, 24, 3, tzinfo=UTC),
)


def test_the_webhook_receives_every_field_as_json() -> None:
    with listening() as listener:
        Webhook(listener.url).send(NOTICE)
    (body,) = listener.bodies
    assert body["workload"] == "shop/Deployment/cart"
    assert body["diff"] == "memory limit of app: 48Mi -> 148Mi"
    assert body["time"] == "2026-11-24T03:00:00+00:00"


def test_slack_is_posted_to_the_url_in_the_file_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "url"
    with listening() as listener:
        file.write_text("http://127.0.0.1:1/old\n")
        slack = Slack(file)
        file.write_text(listener.url + "\n")
        slack.send(NOTICE)
    (body,) = listener.bodies
    assert body["text"] == "Applied-1: OOMKilled at shop/Deployment/cart"
    assert any("48Mi -&gt; 148Mi" in str(block) for block in body["blocks"])


def test_a_busy_receiver_is_tried_again_until_it_takes_the_notice() -> None:
    with listening([503, 429]) as listener:
        queue = NoticeQueue([Webhook(listener.url)], wait=wait_none())
        queue.start()
        queue.tell(NOTICE)
        wait_until(lambda: len(listener.bodies) == 3, "the third try")
        queue.stop()


def test_a_receiver_that_refuses_is_not_tried_again() -> None:
    with listening([404]) as listener:
        queue = NoticeQueue([Webhook(listener.url)], wait=wait_none())
        queue.start()
        queue.tell(NOTICE)
        queue.stop()
    assert len(listener.bodies) == 1


def test_the_same_step_is_told_once() -> None:
    with listening() as listener:
        queue = NoticeQueue([Webhook(listener.url)])
        queue.start()
        for _ in range(3):
            queue.tell(NOTICE)
        queue.stop()
    assert len(listener.bodies) == 1


def test_a_dead_receiver_does_not_hold_up_the_others_or_the_caller() -> None:
    with listening() as listener:
        queue = NoticeQueue([Webhook("http://127.0.0.1:1"), Webhook(listener.url)])
        queue.start()
        queue.tell(NOTICE)
        wait_until(lambda: len(listener.bodies) == 1, "the living receiver")
        queue.stop(seconds=0.1)


def test_a_revoked_webhook_is_an_error_that_keeps_its_secret(tmp_path: Path) -> None:
    file = tmp_path / "url"
    with listening([403]) as listener:
        file.write_text(f"{listener.url}/services/SECRET")
        with pytest.raises(PermanentError) as caught:
            Slack(file, httpx.Client()).send(NOTICE)
    assert "SECRET" not in str(caught.value)


def test_a_missing_slack_file_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="SELFHEAL_SLACK_WEBHOOK_FILE"):
        Slack(tmp_path / "missing").send(NOTICE)
