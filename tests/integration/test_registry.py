"""The registry against a real MLflow on sqlite."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities.model_registry import ModelVersion

from selfheal import training
from selfheal.detectors import DETECTORS
from selfheal.ensemble import Ensemble, split
from selfheal.errors import BadModel, Conflict, NoData, Unavailable, WrongUse
from selfheal.evaluation import describe, evaluate
from selfheal.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, member_name
from selfheal.report import Report
from selfheal.training import decide, smoke
from selfheal.window import MetricWindow, grid, save_windows
from tests.support.prometheus import free_port

pytestmark = pytest.mark.integration

NAME = "selfheal-ensemble"
ALL = (*(member_name(detector) for detector in DETECTORS), NAME)
SOURCE = Path(__file__).parents[2] / "src"


def normal(workload: str, seed: int) -> MetricWindow:
    chance, rows = np.random.default_rng(seed), 1200
    day = np.sin(2 * np.pi * np.arange(rows) / 1440)
    memory = 1e8 * (1 + 0.2 * day) + 1e6 * chance.standard_normal(rows)
    cpu = 0.2 + 0.1 * day + 0.01 * chance.standard_normal(rows)
    times = grid(np.datetime64("2026-11-20T00:00:00", "s"), rows, 60.0, first=True)
    return MetricWindow(workload, times, np.column_stack([memory, cpu]), ("pod_memory_usage", "pod_cpu_usage"), 60.0)


@dataclass(frozen=True)
class Trained:
    """A model and what it was measured to do."""

    ensemble: Ensemble
    report: Report
    held_back: list[MetricWindow]


@pytest.fixture(scope="module")
def trained() -> Trained:
    windows = [normal("shop/Deployment/cart", 1), normal("shop/Deployment/web", 2)]
    ensemble = Ensemble.fit(windows)
    older, held_back = split(windows)
    return Trained(ensemble, evaluate(ensemble, held_back, training=describe(older)), held_back)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: making one takes seconds."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    Registry(f"sqlite:///{path}")
    return path


@pytest.fixture
def registry(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)  # where mlflow would leave files if it were not told better
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "mlflow.db").write_bytes(template.read_bytes())
    return Registry(f"sqlite:///{tmp_path}/db/mlflow.db")


@pytest.fixture
def client(registry: Registry) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(registry.tracking_uri, registry.tracking_uri)


@pytest.fixture
def quiet() -> Iterator[None]:
    """mlflow.pyfunc warns about its own type hints when it is imported."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        yield


def register(registry: Registry, trained: Trained) -> str:
    members = list(trained.ensemble.members.values())
    tags = {"selfheal.git_sha": "abc"}
    return registry.register(trained.ensemble, members, trained.report, tags=tags, newest=trained.held_back[0])


def alias(client: mlflow.MlflowClient, name: str, which: str) -> str:
    return str(client.get_model_version_by_alias(name, which).version)


def test_registering_makes_five_challengers_and_no_champion(
    registry: Registry, client: mlflow.MlflowClient, trained: Trained
) -> None:
    version = register(registry, trained)
    assert [alias(client, name, CHALLENGER) for name in ALL] == [version] * 5
    assert registry.champion() is None


def test_the_promoted_model_is_the_one_that_was_registered(registry: Registry, trained: Trained) -> None:
    version = register(registry, trained)
    registry.promote(version)
    found = registry.champion()
    assert found is not None
    ensemble, in_service = found
    assert in_service == ensemble.info.version == version
    assert ensemble.info.name == NAME
    assert ensemble.info.run_id
    assert ensemble.info.catalogue == trained.ensemble.info.catalogue
    window = trained.held_back[0]
    assert np.array_equal(ensemble.trace(window).confidence, trained.ensemble.trace(window).confidence)


def test_promotion_moves_the_members_too_and_keeps_the_champion_before(
    registry: Registry, client: mlflow.MlflowClient, trained: Trained
) -> None:
    first, second = register(registry, trained), register(registry, trained)
    registry.promote(first)
    registry.promote(second)
    for name in ALL:
        assert alias(client, name, CHAMPION) == second
        assert alias(client, name, PREVIOUS) == first


def test_a_reviewer_finds_card_report_metrics_and_origin(
    registry: Registry, client: mlflow.MlflowClient, trained: Trained
) -> None:
    version: ModelVersion = client.get_model_version(NAME, register(registry, trained))
    card = version.description or ""
    for expected in (trained.report.catalogue, trained.report.held_back.digest, "## Limits", "| champion |", "`abc`"):
        assert expected in card
    for section in ("Verdict", "False alarms", "Sets", "Workloads, worst first", "Correlation of votes (phi)", "Data"):
        assert f"## {section}" in card
    assert "numpy" in card
    assert len(card) <= 5000, "what MLflow's database keeps of a description"
    assert version.tags["selfheal.git_sha"] == "abc"
    assert version.tags["selfheal.catalogue"] == trained.report.catalogue
    assert version.tags["selfheal.data_digest"].startswith("sha256:")
    run_id = version.run_id or ""
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["recall"] == trained.report.recall
    assert run.data.metrics["sets/faults 1/recall"] >= 0
    assert run.data.params["seed"] == "0"
    assert run.data.tags["mlflow.note.content"] == card
    assert {one.path for one in client.list_artifacts(run_id)} == {"report.json", "report.html", "figures", "tables"}
    plots = {one.path for one in client.list_artifacts(run_id, "figures")}
    assert plots >= {
        f"figures/{name}.png" for name in ("precision_recall", "reliability", "false_alarms", "vote_correlation")
    }
    assert f"runs/{run_id}/artifacts/report.html)" in card


def test_the_card_of_a_second_model_shows_the_champions_figures(
    registry: Registry, client: mlflow.MlflowClient, trained: Trained
) -> None:
    registry.promote(register(registry, trained))
    card = client.get_model_version(NAME, register(registry, trained)).description or ""
    recall = f"{trained.report.recall:.1%}"
    assert f"| injected faults found | {recall} | {recall} | 0 |" in card
    assert "The same: false episodes a day and workload" in card
    assert "of its own held-back data" in card


@pytest.mark.usefixtures("quiet")
def test_every_model_has_a_signature_and_an_example_that_it_answers(registry: Registry, trained: Trained) -> None:
    registry.promote(register(registry, trained))
    for name in ALL:
        model = mlflow.pyfunc.load_model(f"models:/{name}@{CHAMPION}")
        assert {"workload", "end", "step", "window"} == {column.name for column in model.metadata.signature.inputs}
        answer = model.predict(model.input_example)
        assert list(answer["workload"]) == ["shop/Deployment/cart"]


def test_a_model_holds_data_and_nothing_that_could_run(
    registry: Registry, client: mlflow.MlflowClient, trained: Trained, tmp_path: Path
) -> None:
    version = register(registry, trained)
    for name in ALL:
        place = client.get_model_version_download_uri(name, version)
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=place, dst_path=str(tmp_path / name)))
        endings = {path.suffix for path in folder.rglob("*") if path.is_file()}
        assert endings <= {".npz", ".json", ".yaml", ".txt", ""}, endings
        assert [path.name for path in folder.rglob("*") if path.is_file() and not path.suffix] == ["MLmodel"]


def test_a_model_loads_where_code_in_models_may_not_run(registry: Registry, trained: Trained) -> None:
    registry.promote(register(registry, trained))
    program = (
        "import sys; from selfheal.registry import Registry;"
        f"found = Registry({registry.tracking_uri!r}).load_ensemble('models:/{NAME}@{CHAMPION}');"
        "print(found.info.version, sorted({'torch', 'sklearn', 'prophet', 'statsmodels'} & set(sys.modules)))"
    )
    forbidden = {"MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    env = os.environ | forbidden | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1 []", done.stderr


def test_artifacts_lie_beside_the_database_and_nowhere_else(
    registry: Registry, trained: Trained, tmp_path: Path
) -> None:
    register(registry, trained)
    assert [path.name for path in tmp_path.iterdir()] == ["db"]
    assert sorted(path.name for path in (tmp_path / "db").iterdir()) == ["mlartifacts", "mlflow.db"]


def test_a_champion_that_cannot_judge_the_new_data_is_named(
    registry: Registry, trained: Trained, tmp_path: Path
) -> None:
    registry.promote(register(registry, trained))
    version = register(registry, trained)
    report, windows = tmp_path / "report.json", tmp_path / "windows"
    report.write_text(trained.report.model_dump_json())
    save_windows(windows, [window.select(["pod_memory_usage"]) for window in trained.held_back])
    accepted, reason = decide(registry.tracking_uri, version, windows, report, 0)
    assert accepted
    assert "Champion version 1 cannot judge this data" in reason


def test_an_alias_that_somebody_else_moved_meanwhile_is_a_conflict(
    registry: Registry, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = register(registry, trained), register(registry, trained)
    real = mlflow.MlflowClient.set_registered_model_alias

    def moved(self: mlflow.MlflowClient, name: str, which: str, version: str) -> None:
        real(self, name, which, version)
        real(self, name, which, first)

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", moved)
    with pytest.raises(Conflict, match="somebody else moved it"):
        registry.promote(second)


def test_an_alias_that_somebody_else_made_at_the_same_moment_is_moved(
    registry: Registry, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(registry, trained)
    real, beaten = mlflow.MlflowClient.set_registered_model_alias, set()

    def late(self: mlflow.MlflowClient, name: str, which: str, number: str) -> None:
        if (name, which) not in beaten:
            beaten.add((name, which))
            raise mlflow.MlflowException('duplicate key value violates unique constraint "registered_model_alias_pk"')
        real(self, name, which, number)

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", late)
    registry.promote(version)
    assert {registry.named(name, CHAMPION) for name in ALL} == {version}


def test_a_damaged_model_is_refused(registry: Registry, trained: Trained, tmp_path: Path) -> None:
    version = register(registry, trained)
    for path in (tmp_path / "db").rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(BadModel):
        registry.load_ensemble(f"models:/{NAME}/{version}")


@pytest.mark.parametrize("uri", [f"models:/{NAME}@{CHAMPION}", f"models:/{NAME}/7", "models:/selfheal-nothing/1"])
def test_what_is_not_registered_is_no_data(registry: Registry, uri: str) -> None:
    with pytest.raises(NoData, match="run the training pipeline first"):
        registry.load_ensemble(uri)


def test_a_uri_that_is_none_is_refused_with_an_example(registry: Registry) -> None:
    with pytest.raises(WrongUse, match="models:/selfheal-ensemble@champion"):
        registry.resolve("runs:/abc/model")
    with pytest.raises(WrongUse, match="sqlite:"):
        Registry("mlruns")


def test_a_database_is_no_tracking_uri_and_its_password_is_not_repeated() -> None:
    with pytest.raises(WrongUse, match="used through a server") as refused:
        Registry("postgresql+psycopg://mlflow:secret@db.example.com/mlflow")
    assert "secret" not in str(refused.value)


@pytest.fixture
def windows(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("windows")
    save_windows(folder, trained.held_back)
    return folder


def test_the_smoke_test_fails_when_nothing_is_in_service(registry: Registry, windows: Path) -> None:
    with pytest.raises(NoData, match="no version of selfheal-ensemble is in service"):
        smoke(registry.tracking_uri, "", "", windows)


def test_the_smoke_test_asks_the_real_endpoint_and_refuses_another_version(
    registry: Registry, trained: Trained, windows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = register(registry, trained), register(registry, trained)
    registry.promote(first)
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "serving", "--model-uri", f"models:/{NAME}@{CHAMPION}", "--port", str(port)]
    command += ["--tracking-uri", registry.tracking_uri]
    env = os.environ | {"PYTHONPATH": f"{SOURCE}:{SOURCE.parent}"}
    with (tmp_path / "serving.log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        monkeypatch.setattr(training, "ENDPOINT_PATIENCE", 90.0)
        assert f"version {first} from {url} answers" in smoke(registry.tracking_uri, url, first, windows)
        monkeypatch.setattr(training, "ENDPOINT_PATIENCE", 0.0)
        with pytest.raises(Unavailable, match=f"answers with version {first}, expected {second}"):
            smoke(registry.tracking_uri, url, second, windows)
    finally:
        server.terminate()
        server.wait(20)
    with pytest.raises(Unavailable, match="does not answer"):
        smoke(registry.tracking_uri, url, first, windows)
