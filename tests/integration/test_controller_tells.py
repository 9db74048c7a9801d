"""What a heal tells: a JSON line, a Slack message and a webhook call for every step; one controller runs alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cluster import ApiCluster
from tests.integration.conftest import wait_until
from tests.support.controller import Shop, running
from tests.support.listener import listening

pytestmark = pytest.mark.api


def test_every_step_is_a_json_line_and_reaches_slack_and_the_webhook(
    api_cluster: ApiCluster, namespace: str, tmp_path: Path
) -> None:
    account = api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    shop = Shop(api_cluster, namespace)
    shop.deploy("cart")
    wait_until(lambda: shop.healthy("cart"), "a healthy cart")
    shop.opt_in()
    shop.policy(anomalyType="ImagePullBackOff")
    with listening() as slack, listening() as webhook:
        (tmp_path / "url").write_text(slack.url)
        env = {"SELFHEAL_SLACK_WEBHOOK_FILE": str(tmp_path / "url"), "SELFHEAL_WEBHOOK_URL": webhook.url}
        with running(account, tmp_path / "log", env) as own:
            shop.deploy("cart", fault="image")
            wait_until(lambda: bool(shop.outcomes()), "an outcome")
            wait_until(lambda: "Completed" in {body["step"] for body in webhook.bodies}, "the last notice")
            wait_until(lambda: len(slack.bodies) == len(webhook.bodies), "Slack to hear the same")
            assert own.stop() == 0
    uid = shop.remediations()[0]["metadata"]["uid"]
    assert {body["uid"] for body in webhook.bodies} == {uid}
    assert webhook.bodies[0]["step"] == "Opened"
    assert len({body["step"] for body in webhook.bodies}) == len(webhook.bodies)
    assert {line["step"] for line in own.lines() if line.get("uid") == uid} >= {"Opened", "Applied-1", "Completed"}
