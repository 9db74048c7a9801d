"""Heals on a real kubelet, by the controller under its own ServiceAccount, seen from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.demo import Demo
from bench.faults import FAULTS
from bench.product import ACCOUNT, SYSTEM, Product
from tests.e2e.conftest import quiet_demo

pytestmark = pytest.mark.node

BY_NAME = {fault.name: fault for fault in FAULTS}


@pytest.fixture
def demo(controller: Product) -> Iterator[Demo]:
    with quiet_demo(controller) as found:
        yield found


def test_a_bad_rollout_is_rolled_back_to_the_revision_that_was_well(demo: Demo) -> None:
    fault = BY_NAME["bad-rollout"]
    chapter = demo.run(fault)
    told = [f"{event.seconds} {event.name} {event.text}" for event in chapter.heal.events]
    assert chapter.heal.healed, told
    assert chapter.heal.remediations[0]["status"]["attempts"][0]["action"] == "rollback"
    assert chapter.heal.remediations[0]["status"]["attempts"][0]["change"]["undo"], "an undo record is stored"


def test_a_limit_that_is_too_low_is_raised_until_nothing_is_killed(demo: Demo) -> None:
    fault = BY_NAME["low-limit"]
    chapter = demo.run(fault)
    told = [f"{event.seconds} {event.name} {event.text}" for event in chapter.heal.events]
    assert chapter.heal.healed, told
    assert chapter.heal.remediations[0]["spec"]["anomaly"]["type"] == "OOMKilled"
    actions = [attempt["action"] for attempt in chapter.heal.remediations[0]["status"]["attempts"]]
    assert actions[-1] == "adjust-resources"
    first = chapter.heal.remediations[0]["status"]["attempts"][0]["change"]["operations"][0]
    assert (first["verb"], first["kind"]) == ("Resize", "Pod"), "in place before the template"


def test_the_controller_may_not_do_what_it_does_not_need(controller: Product) -> None:
    account = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
    for words in (("get", "secrets", "-n", "shop"), ("patch", "deployments", "-n", "kube-system"), ("delete", "nodes")):
        assert not controller.cluster.plane.kubectl_ok("auth", "can-i", *words, "--as", account), words
