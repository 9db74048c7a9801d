"""The daily calibration against a real MLflow on sqlite."""

import json
import os
from pathlib import Path

import mlflow
import numpy as np
import pytest

from selfheal.detectors import DETECTORS
from selfheal.ensemble import Ensemble, split
from selfheal.errors import MetricMismatch, NoData
from selfheal.evaluation import describe, evaluate
from selfheal.hearing import held_out
from selfheal.mlmodel import MEMBERS
from selfheal.recalibration import recalibrate
from selfheal.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, member_name
from selfheal.training import decide, judge, promote_when_accepted, register_models
from selfheal.window import DAY, MetricWindow, load_windows, save_windows
from tests.unit.detection.series import STEP, changed, shop

pytestmark = pytest.mark.integration

NAME = "selfheal-ensemble"
A_DAY, HELD = int(DAY / STEP), held_out(STEP)
TRAINED = 6 * A_DAY
WORKLOADS = ("shop/Deployment/cart", "shop/Deployment/web")


def since() -> list[MetricWindow]:
    """The days of the training and four more, in which everything is wilder."""
    found = []
    for seed, workload in enumerate(WORKLOADS):
        window, random = shop(10, seed=seed, workload=workload), np.random.default_rng(seed)
        wilder = np.exp(0.05 * random.standard_normal((4 * A_DAY, len(window.names))))
        found.append(changed(window, TRAINED, dict(zip(window.names, wilder.T, strict=True))))
    return found


@pytest.fixture(scope="module")
def trained() -> Ensemble:
    return Ensemble.fit([window.rows(0, TRAINED) for window in since()])


@pytest.fixture(scope="module")
def uri(trained: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry whose champion is version 1, from a training four days ago."""
    folder = tmp_path_factory.mktemp("db")
    os.chdir(folder)  # where mlflow would leave files if it were not told better
    found = f"sqlite:///{folder}/mlflow.db"
    _, held_back = split([window.rows(0, TRAINED) for window in since()])
    report = evaluate(trained, held_back, training=describe(held_back))
    registry = Registry(found)
    registry.promote(registry.register(trained, list(trained.members.values()), report, tags={}))
    return found


@pytest.fixture
def history(tmp_path: Path) -> Path:
    save_windows(tmp_path / "windows", since())
    return tmp_path / "windows"


def test_a_day_of_service_ends_with_a_calmer_champion_that_shares_its_detectors(
    uri: str, trained: Ensemble, history: Path, tmp_path: Path
) -> None:
    model, newest = tmp_path / "model", tmp_path / "held_out"
    shares = recalibrate(uri, history, model, newest)
    assert shares == "1"
    assert [len(window) for window in load_windows(newest)] == [HELD, HELD]

    report = tmp_path / "report.json"
    judge(model, newest, newest, report, tmp_path / "page.html")
    version = register_models(uri, model, newest, report, {}, shares=shares)
    accepted, reason = decide(uri, version, newest, report, 0)
    assert accepted, reason
    assert promote_when_accepted(uri, version, {"accepted": accepted, "reason": reason}) == version == "2"

    client = mlflow.MlflowClient(uri, uri)
    members = {member_name(detector): "1" for detector in DETECTORS}
    tags = client.get_model_version(NAME, "2").tags
    assert json.loads(tags[MEMBERS]) == members
    assert tags["selfheal.shares_detectors_of"] == "1"
    for name in members:
        versions = [client.get_model_version_by_alias(name, alias).version for alias in (CHAMPION, CHALLENGER)]
        assert [str(version) for version in versions] == ["1", "1"]
    assert str(client.get_model_version_by_alias(NAME, PREVIOUS).version) == "1"
    champion = Registry(uri).champion()
    assert champion is not None
    assert champion[1] == "2"
    window = since()[0]
    before, after = (one.trace(window).anomaly[-A_DAY:].mean() for one in (trained, champion[0]))
    assert after < 0.5 * before


def test_an_alarm_that_lasts_for_days_is_the_new_state_after_the_next_calibration(
    uri: str, trained: Ensemble, tmp_path: Path
) -> None:
    moved = [changed(window.rows(0, TRAINED + 3 * A_DAY), TRAINED, {"pod_memory_usage": 1.4}) for window in since()]
    save_windows(tmp_path / "windows", moved)
    recalibrate(uri, tmp_path / "windows", tmp_path / "model", tmp_path / "held_out")
    today = Ensemble.load(tmp_path / "model")
    window = moved[0].rows(-120)
    assert trained.trace(window).anomaly[-60:].all()
    assert not today.trace(window).anomaly[-60:].any()


def test_without_a_champion_there_is_nothing_to_calibrate(history: Path, tmp_path: Path) -> None:
    with pytest.raises(NoData, match="run the training pipeline first"):
        recalibrate(f"sqlite:///{tmp_path}/empty.db", history, tmp_path / "model", tmp_path / "held_out")


def test_history_that_ends_with_the_training_is_no_data(uri: str, tmp_path: Path) -> None:
    save_windows(tmp_path / "windows", [window.rows(0, TRAINED) for window in since()])
    with pytest.raises(NoData, match="collect up to now"):
        recalibrate(uri, tmp_path / "windows", tmp_path / "model", tmp_path / "held_out")


def test_a_metric_that_is_gone_is_named(uri: str, tmp_path: Path) -> None:
    save_windows(tmp_path / "windows", [window.select(window.names[1:]) for window in since()])
    with pytest.raises(MetricMismatch, match="pod_memory_usage"):
        recalibrate(uri, tmp_path / "windows", tmp_path / "model", tmp_path / "held_out")
