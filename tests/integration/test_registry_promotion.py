"""Who becomes the champion, by real models in a real registry: none that cries wolf, none that has gone deaf."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from selfheal.calibration import VoteSettings
from selfheal.detectors import DETECTORS
from selfheal.ensemble import Ensemble, split
from selfheal.errors import NoData
from selfheal.evaluation import MARGINS, describe, evaluate
from selfheal.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, member_name
from selfheal.report import Report
from selfheal.training import decide, promote_when_accepted
from selfheal.window import MetricWindow, grid, save_windows

pytestmark = pytest.mark.integration

NAME = "selfheal-ensemble"
ALL = (*(member_name(detector) for detector in DETECTORS), NAME)


def normal(workload: str, seed: int) -> MetricWindow:
    chance, rows = np.random.default_rng(seed), 1500
    values = np.column_stack([1e8 + 1e6 * chance.standard_normal(rows), 0.2 + 0.01 * chance.standard_normal(rows)])
    times = grid(np.datetime64("2026-11-20T00:00:00", "s"), rows, 60.0, first=True)
    return MetricWindow(workload, times, values, ("pod_memory_usage", "pod_cpu_usage"), 60.0)


@dataclass(frozen=True)
class Place:
    """A registry, data to judge on, and where reports are put for the compare step."""

    registry: Registry
    client: mlflow.MlflowClient
    windows: list[MetricWindow]
    folder: Path

    def offer(self, ensemble: Ensemble) -> tuple[str, Report]:
        """Judge a model and register it, as the pipeline does."""
        report = evaluate(ensemble, self.windows, training=describe(self.windows))
        version = self.registry.register(ensemble, list(ensemble.members.values()), report, tags={})
        (self.folder / "report.json").write_text(report.model_dump_json())
        return version, report

    def decide(self, version: str) -> tuple[bool, str, str]:
        """Decision, reason, and the version in service afterwards."""
        uri, held_back = self.registry.tracking_uri, self.folder / "windows"
        save_windows(held_back, self.windows)
        accepted, reason = decide(uri, version, held_back, self.folder / "report.json", 0)
        return accepted, reason, promote_when_accepted(uri, version, {"accepted": accepted, "reason": reason})

    def card(self, version: str) -> str:
        """Description of the ensemble's version."""
        return self.client.get_model_version(NAME, version).description or ""

    def page(self, version: str) -> str:
        """The HTML page of its run."""
        run_id = self.client.get_model_version(NAME, version).run_id or ""
        return Path(self.client.download_artifacts(run_id, "report.html", str(self.folder))).read_text()

    def aliases(self, which: str) -> set[str]:
        """Versions that an alias names, of all five models."""
        return {str(self.client.get_model_version_by_alias(name, which).version) for name in ALL}


@pytest.fixture(scope="module")
def history() -> list[MetricWindow]:
    return [normal("shop/Deployment/cart", 1), normal("shop/Deployment/web", 2)]


@pytest.fixture(scope="module")
def sound(history: list[MetricWindow]) -> Ensemble:
    return Ensemble.fit(history)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty MLflow database: making one takes seconds."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    Registry(f"sqlite:///{path}")
    return path.read_bytes()


@pytest.fixture
def place(template: bytes, history: list[MetricWindow], tmp_path: Path) -> Place:
    (tmp_path / "mlflow.db").write_bytes(template)
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db")
    client = mlflow.MlflowClient(registry.tracking_uri, registry.tracking_uri)
    return Place(registry, client, split(history)[1], tmp_path)


def with_level(ensemble: Ensemble, level: float, **more: float) -> Ensemble:
    """The same model with another idea of what is surprising."""
    numbers = ensemble.settings.to_numbers() | {"level": level, "release": min(2 * level, 0.9), **more}
    return replace(ensemble, settings=VoteSettings.from_numbers(numbers))


def wild(ensemble: Ensemble) -> Ensemble:
    """Alarms on a good part of normal data."""
    return with_level(ensemble, 0.3, needed=1, among=1)


def first_that(models: Iterable[Ensemble], windows: list[MetricWindow], fits: Callable[[Report], bool]) -> Ensemble:
    """The first model whose report fits; how settings act changes with every improvement of the detectors."""
    for model in models:
        if fits(evaluate(model, windows)):
            return model
    raise AssertionError("no setting makes such a model")


def jumpy(ensemble: Ensemble, windows: list[MetricWindow]) -> Ensemble:
    """A little more false episodes than the margin allows, and still within the absolute bound."""
    most = (evaluate(ensemble, windows).false_episodes_per_day or 0) + MARGINS.false_rise
    levels = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1)
    models = (with_level(ensemble, level, needed=needed, among=needed) for needed in (2, 1) for level in levels)
    return first_that(models, windows, lambda one: most < (one.false_episodes_per_day or 0) < MARGINS.most_false)


def deaf(ensemble: Ensemble, windows: list[MetricWindow]) -> Ensemble:
    """Loses more faults than the margin allows, and still finds more than the absolute bound asks."""
    least = (evaluate(ensemble, windows).recall or 0) - MARGINS.recall_fall
    models = (with_level(ensemble, 10.0**-power, needed=rows, among=rows) for power in (3, 4, 5, 6) for rows in (3, 8))
    return first_that(models, windows, lambda one: MARGINS.least_recall < (one.recall or 0) < least)


def test_a_first_model_within_the_bounds_becomes_the_champion(place: Place, sound: Ensemble) -> None:
    version, _ = place.offer(sound)
    accepted, reason, in_service = place.decide(version)
    assert accepted, reason
    assert "no champion to compare with" in reason
    assert in_service == version
    assert place.aliases(CHAMPION) == place.aliases(CHALLENGER) == {version}


def test_a_challenger_that_cries_wolf_is_refused_with_figure_margin_and_both_values(
    place: Place, sound: Ensemble
) -> None:
    first, before = place.offer(sound)
    place.decide(first)
    version, report = place.offer(jumpy(sound, place.windows))
    accepted, reason, in_service = place.decide(version)
    assert (accepted, in_service) == (False, first)
    assert place.aliases(CHAMPION) == {first}
    assert f"false episodes rise by more than {MARGINS.false_rise} a day" in reason
    assert f"{report.false_episodes_per_day:.2f} false episodes" in reason
    assert f"the champion has {before.false_episodes_per_day:.2f}" in reason
    for told in (place.card(version), place.page(version)):
        assert reason in told
    assert place.client.get_model_version(NAME, version).tags["selfheal.accepted"] == "false"


def test_a_challenger_that_has_gone_deaf_is_refused_with_figure_margin_and_both_values(
    place: Place, sound: Ensemble
) -> None:
    first, before = place.offer(sound)
    place.decide(first)
    version, report = place.offer(deaf(sound, place.windows))
    accepted, reason, in_service = place.decide(version)
    assert (accepted, in_service) == (False, first)
    assert f"recall falls by more than {MARGINS.recall_fall:.0%}" in reason
    assert f"{report.recall:.0%} of the injected faults" in reason
    assert f"and {before.recall:.0%}" in reason
    assert f"| injected faults found | {report.recall:.1%} | {before.recall:.1%} |" in place.card(version)
    assert "Both were judged on the same data with the same faults." in place.page(version)


def test_a_first_model_must_reach_the_absolute_bounds(place: Place, sound: Ensemble) -> None:
    version, _ = place.offer(wild(sound))
    accepted, reason, in_service = place.decide(version)
    assert (accepted, in_service) == (False, "")
    assert f"more than {MARGINS.most_false:g} false episodes a day and workload" in reason
    with pytest.raises(NoData):
        place.registry.resolve(f"models:/{NAME}@{CHAMPION}")


def test_rolling_back_brings_the_champion_before_back_with_its_members(place: Place, sound: Ensemble) -> None:
    first, second = place.offer(sound)[0], place.offer(sound)[0]
    place.registry.promote(first)
    with pytest.raises(NoData):
        place.registry.rollback()
    place.registry.promote(second)
    assert place.registry.rollback() == first
    assert place.aliases(CHAMPION) == {first}
    assert place.aliases(PREVIOUS) == {second}
