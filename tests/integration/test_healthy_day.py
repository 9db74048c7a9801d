"""A healthy day, compressed into two minutes: whatever a cluster does when all is well, nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.controller.day import live
from bench.history import LEVELS

pytestmark = [pytest.mark.api, pytest.mark.integration]


def test_a_healthy_day_changes_nothing(tmp_path: Path) -> None:
    found = live(tmp_path, lambda _: None, minutes=2.0)
    assert found.wrong == []
    assert {"rollout", "autoscaler's swing", "nightly job", "scrape gap", "restart of the endpoint"} <= set(
        found.events
    )
    assert {one.workload.rpartition("/")[2] for one in found.answers if one.anomaly is False} == set(LEVELS)
