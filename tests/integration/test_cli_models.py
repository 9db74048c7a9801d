"""``selfheal models`` against a real registry: what is there, what was decided, and who is in service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from selfheal.cli.app import app
from selfheal.ensemble import Ensemble, Members
from selfheal.errors import Conflict, NoData
from selfheal.registry import Registry
from selfheal.window import MetricWindow, grid
from tests.support.reports import report

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three versions: accepted, refused, and not judged yet."""
    values = 100 + np.random.default_rng(0).standard_normal((700, 1))
    times = grid(np.datetime64("2026-11-20T00:00:00", "s"), 700, 60.0, first=True)
    window = MetricWindow("shop/Deployment/cart", times, values, ("cpu",), 60.0)
    members = [Members.fit(name, [window.rows(0, 500)]) for name in ("arima", "isolation_forest")]
    ensemble = Ensemble.assemble(members, [window.rows(500)])
    found = f"sqlite:///{tmp_path_factory.mktemp('registry')}/mlflow.db"
    registry = Registry(found)
    for false in (0.5, 5.0, 0.1):
        registry.register(ensemble, members, report(false), tags={"selfheal.git_sha": "abc"})
    registry.record_verdict("1", accepted=True, sentence="Accepted: well.")
    registry.record_verdict("2", accepted=False, sentence="Refused: false episodes rise by more than 0.25 a day.")
    return found


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["models", *words])


def told(*words: str) -> Any:
    found = run(*words, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_the_list_shows_the_newest_first_with_what_was_decided(uri: str) -> None:
    found = told("list", "--tracking-uri", uri)["versions"]
    assert [one["version"] for one in found] == ["3", "2", "1"]
    assert [one["accepted"] for one in found] == [None, False, True]
    assert found[0]["aliases"] == ["challenger"]
    assert found[0]["verdict"] == ""
    assert found[1]["verdict"].startswith("Refused: false episodes")
    assert found[1]["figures"]["false_episodes_per_day"] == 5.0
    assert found[2]["origin"]["selfheal.git_sha"] == "abc"
    lines = run("list", "--tracking-uri", uri).stdout.splitlines()
    assert lines[1].split()[0] == "version"
    assert lines[2].split()[:3] == ["3", "challenger", "-"]


def test_a_versions_card_and_report_are_shown(uri: str) -> None:
    assert run("show", "2", "--tracking-uri", uri).stdout.startswith("## Verdict\nRefused: false episodes")
    assert told("show", "2", "--tracking-uri", uri)["report"]["recall"] == 0.9
    with pytest.raises(NoData, match="there is no version 9: the newest is 3"):
        CliRunner().invoke(app, ["models", "show", "9", "--tracking-uri", uri], catch_exceptions=False)


def test_what_was_not_accepted_is_promoted_only_on_purpose_and_rolled_back(uri: str) -> None:
    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, ["models", *words, "--tracking-uri", uri], catch_exceptions=False)

    registry = Registry(uri)
    with pytest.raises(NoData):
        invoke("rollback")
    assert told("promote", "1", "--tracking-uri", uri) == {"champion": "1"}
    with pytest.raises(
        Conflict, match=r"Refused: false episodes rise by more than 0\.25 a day\. To promote .*--anyway"
    ):
        invoke("promote", "2")
    with pytest.raises(Conflict, match="the compare step has not judged it"):
        invoke("promote", "3")
    assert registry.resolve("models:/selfheal-ensemble@champion") == "1"
    assert "without the compare step's consent" in invoke("promote", "2", "--anyway").output
    assert registry.resolve("models:/selfheal-arima@champion") == "2"
    assert told("rollback", "--tracking-uri", uri) == {"champion": "1"}
    assert registry.resolve("models:/selfheal-arima@champion") == "1"


def test_an_empty_registry_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="no model is registered"):
        CliRunner().invoke(
            app, ["models", "list", "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"], catch_exceptions=False
        )


def test_without_a_registry_it_is_wrong_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SELFHEAL_TRACKING_URI", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    assert run("list").exit_code == 2
