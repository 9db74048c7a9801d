"""Rules and dashboard: alerts fire when they should, and every metric that is named is emitted by somebody."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from controller.metrics import Metrics
from serving import metrics as endpoint_metrics
from tests.manifests.crds import MANIFESTS, ROOT

RULES = MANIFESTS / "monitoring" / "rules.yaml"
DASHBOARD = MANIFESTS / "monitoring" / "dashboard.json"
_NAME = re.compile(r"\bselfheal(?:ing)?[:_][a-z0-9_:]+")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[str]:
    return [rule["alert"] for rule in rules() if "alert" in rule]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> Iterator[str]:
    yield from (str(rule["expr"]) for rule in rules())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])


def emitted() -> set[str]:
    """Names of series, as a scrape of controller and endpoint has them."""
    assert endpoint_metrics.REQUESTS
    families = [*Metrics().registry.collect(), *REGISTRY.collect()]
    names = {family.name + suffix for family in families for suffix in ("", "_total", "_bucket", "_count", "_sum")}
    return names | {str(rule["record"]) for rule in rules() if "record" in rule}


def test_promtool_agrees_when_every_alert_fires_and_when_it_does_not(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    file = tmp_path / "rules.test.yaml"
    file.write_text((ROOT / "tests/manifests/rules.test.yaml").read_text().replace("RULES", str(RULES)))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", alerts())
def test_every_alert_is_tested_both_ways(name: str) -> None:
    cases = yaml.safe_load((ROOT / "tests/manifests/rules.test.yaml").read_text())["tests"]
    found = [one for case in cases for one in case.get("alert_rule_test", []) if one["alertname"] == name]
    assert any(one.get("exp_alerts") for one in found)
    assert any(not one.get("exp_alerts") for one in found)


@pytest.mark.parametrize("name", alerts())
def test_every_alert_has_a_runbook_that_is_there(name: str) -> None:
    rule = next(rule for rule in rules() if rule.get("alert") == name)
    page, heading = rule["annotations"]["runbook"].split("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert heading in {one.lower() for one in headings}


def test_every_metric_of_rules_and_dashboard_is_emitted() -> None:
    named = {name for one in expressions() for name in _NAME.findall(one)}
    assert len(named) > 10
    assert named <= emitted()


def test_every_panel_says_what_it_shows_and_asks_the_chosen_data_source() -> None:
    assert all(panel["title"] and panel["targets"] for panel in panels())
    assert {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]} == {"${datasource}"}
