"""The registry and the endpoint against MLflow on a real PostgreSQL and an S3-compatible store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pytest

from bench.registry import BUCKET, MlflowServer
from selfheal.detectors import DETECTORS
from selfheal.ensemble import Ensemble
from selfheal.errors import Unavailable
from selfheal.evaluation import evaluate
from selfheal.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, member_name
from selfheal.window import MetricWindow, grid
from tests.support.endpoint import KNOWN, NAMES, PREDICT, ROOT, Endpoint, batch, endpoint, samples
from tests.support.mlflow import mlflow_server, promoters, say, without_credentials

pytest_plugins = ["tests.support.endpoint_fixtures"]
pytestmark = pytest.mark.integration

NAME = "selfheal-ensemble"
URI = f"models:/{NAME}@{CHAMPION}"
ALL = (*(member_name(detector) for detector in DETECTORS), NAME)
NO_CODE = {"MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
LOAD = (
    "import sys; from selfheal.registry import Registry;"
    f"found = Registry(sys.argv[1]).load_ensemble('{URI}');"
    "print(found.info.version, sorted({'torch', 'sklearn', 'prophet', 'statsmodels', 'boto3'} & set(sys.modules)))"
)


@pytest.fixture(scope="module")
def server() -> Iterator[MlflowServer]:
    """Artifacts go through the server."""
    with mlflow_server(direct=False) as running:
        yield running


@pytest.fixture
def registry(server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)  # where mlflow would leave files if it were not told better
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    return Registry(server.tracking_uri)


def register(registry: Registry, ensemble: Ensemble) -> str:
    times = grid(np.datetime64("2026-11-23T20:00:00", "s"), 240, 60.0)
    report = evaluate(ensemble, [MetricWindow(KNOWN, times, samples(240, 9), NAMES, 60.0)])
    return registry.register(ensemble, list(ensemble.members.values()), report, tags={"selfheal.git_sha": "abc"})


def named(registry: Registry, alias: str) -> dict[str, str | None]:
    return {name: registry.named(name, alias) for name in ALL}


def objects(server: MlflowServer) -> set[str]:
    bucket = server.state.root / "s3" / "objects" / BUCKET
    return {path.name for path in bucket.rglob("*") if path.is_file()}


def load_elsewhere(tracking_uri: str, env: dict[str, str], program: str = LOAD) -> str:
    """Load the champion in a process that may run no code of a model: its version and what it imported, or why not."""
    command = [sys.executable, "-c", program, tracking_uri]
    env = env | NO_CODE | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr


@contextmanager
def serving(registry: Registry, folder: Path) -> Iterator[Endpoint]:
    """A ready endpoint that follows the champion."""
    flags = ("--model-uri", URI, "--tracking-uri", registry.tracking_uri, "--reload-seconds", "0.2")
    with endpoint(folder, *flags, environment=NO_CODE | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}) as running:
        running.wait_ready()
        yield running


def answering(running: Endpoint) -> str:
    answer = running.client.post(PREDICT, json={"instances": batch()})
    assert answer.status_code == 200
    return str(answer.json()["predictions"][0]["model"]["version"])


def outlasted(running: Endpoint, version: str, stop: Callable[[], None], change: Callable[[], object]) -> None:
    """Something behind the registry goes away, and its loss is noticed: the endpoint answers as before, and says so."""
    said = running.log.read_text()
    stop()
    change()
    told = "the model loaded before goes on serving"
    running.wait_for(lambda: told in running.log.read_text().removeprefix(said), 150)
    assert answering(running) == version
    news = running.log.read_text().removeprefix(said)
    assert "its database or its artifact store does not answer" in news
    assert "Traceback" not in news
    assert " ERROR " not in news, "an outage is no damaged model"


def test_five_models_lie_in_the_database_and_the_store_and_load_where_no_code_may_run(
    server: MlflowServer, registry: Registry, ensemble: Ensemble, tmp_path: Path
) -> None:
    version = register(registry, ensemble)
    assert set(named(registry, CHALLENGER).values()) == {version}
    registry.promote(version)
    assert set(named(registry, CHAMPION).values()) == {version}
    rows = server.postgres("psql", "-d", "mlflow", "-At", "-c", "select name from registered_models order by name")
    assert rows.stdout.split() == sorted(ALL)
    assert objects(server) >= {"MLmodel", "manifest.json", "report.json", "report.html", "lstm.npz"}
    assert list(tmp_path.iterdir()) == []
    assert load_elsewhere(registry.tracking_uri, without_credentials(os.environ)) == f"{version} []"


@pytest.mark.slow
def test_clients_need_no_way_to_the_store(server: MlflowServer, registry: Registry, ensemble: Ensemble) -> None:
    registry.promote(register(registry, ensemble))
    before = len((log := server.state.logs / "mlflow.log").read_text())
    registry.load_ensemble(URI)
    asked = log.read_text()[before:]
    assert "/artifacts/data/model/manifest.json" in asked
    assert "presigned" not in asked, "mlflow would fetch from the store by itself"


def test_two_processes_that_promote_at_once_end_with_one_champion_of_five_models(
    registry: Registry, ensemble: Ensemble
) -> None:
    client = mlflow.MlflowClient(registry.tracking_uri, registry.tracking_uri)
    versions = (register(registry, ensemble), register(registry, ensemble))
    with promoters(registry.tracking_uri, versions) as both:
        for round_ in range(15):
            if round_ < 8:  # both make the aliases: PostgreSQL lets one of two insert a row, and MLflow gives up
                for name in ALL:
                    client.delete_registered_model_alias(name, CHAMPION)
                    client.delete_registered_model_alias(name, PREVIOUS)
            for one in both:
                one.tell()
            ends = {one.version: one.hear() for one in both}
            champion = registry.resolve(URI)
            assert champion in versions
            assert set(named(registry, CHAMPION).values()) == {champion}
            assert len(set(named(registry, PREVIOUS).values())) == 1
            assert ends[champion] == "done"


@pytest.mark.slow
def test_a_database_that_restarts_costs_no_answer_and_the_registry_comes_back(
    server: MlflowServer, registry: Registry, ensemble: Ensemble, tmp_path: Path
) -> None:
    first, second = register(registry, ensemble), register(registry, ensemble)
    registry.promote(first)
    with serving(registry, tmp_path) as running:
        try:
            outlasted(running, first, server.stop_database, lambda: None)
            with pytest.raises(Unavailable, match=f"{registry.tracking_uri}.*it recovers with them"):
                registry.promote(second)
        finally:
            server.start_database(say)
        assert set(named(registry, CHAMPION).values()) == {first}
        registry.promote(second)
        running.wait_for(lambda: answering(running) == second, 150)


@pytest.mark.slow
def test_a_store_that_is_away_costs_no_answer_and_registers_nothing(
    server: MlflowServer, registry: Registry, ensemble: Ensemble, tmp_path: Path
) -> None:
    first, second = register(registry, ensemble), register(registry, ensemble)
    registry.promote(first)
    with serving(registry, tmp_path) as running:
        try:
            outlasted(running, first, server.stop_store, lambda: registry.promote(second))
            for attempt in (lambda: registry.load_ensemble(URI), lambda: register(registry, ensemble)):
                with pytest.raises(Unavailable, match=r"artifact store does not answer"):
                    attempt()
        finally:
            server.start_store(say)
        assert set(named(registry, CHALLENGER).values()) == {second}
        running.wait_for(lambda: answering(running) == second, 150)


@pytest.mark.slow
def test_a_server_that_is_away_is_named_with_what_to_do(
    server: MlflowServer, registry: Registry, ensemble: Ensemble
) -> None:
    version = register(registry, ensemble)
    server.stop_server()
    try:
        with pytest.raises(Unavailable, match=rf"{registry.tracking_uri}: it does not answer: start it"):
            registry.promote(version)
    finally:
        server.start_server()
    registry.promote(version)


@pytest.mark.slow
def test_a_dump_of_the_database_is_a_backup(server: MlflowServer, registry: Registry, ensemble: Ensemble) -> None:
    version = register(registry, ensemble)
    registry.promote(version)
    dump = server.state.root / "mlflow.dump"
    server.postgres("pg_dump", "--format=custom", f"--file={dump}", "mlflow")
    server.stop_server()
    server.postgres("dropdb", "mlflow")
    server.postgres("createdb", "mlflow")
    server.postgres("pg_restore", "--exit-on-error", "--dbname=mlflow", str(dump))
    upgrade = [sys.executable, "-m", "mlflow", "db", "upgrade", server.database_uri]
    subprocess.run(upgrade, check=True, capture_output=True)
    server.start_server()
    assert registry.load_ensemble(URI).info.version == version


@pytest.fixture
def direct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    """Clients fetch artifacts from the store, with its credentials in their environment."""
    with mlflow_server(direct=True) as running:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        for name, value in running.store_environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.mark.slow
def test_clients_with_credentials_use_the_store_themselves(direct: MlflowServer, ensemble: Ensemble) -> None:
    registry = Registry(direct.tracking_uri)
    registry.promote(version := register(registry, ensemble))
    assert load_elsewhere(direct.tracking_uri, dict(os.environ)) == f"{version} ['boto3']"
    assert "mlflow-artifacts" not in (direct.state.logs / "mlflow.log").read_text()
    direct.stop_store()
    with pytest.raises(Unavailable, match="it does not answer"):
        registry.load_ensemble(URI)
    direct.start_store(say)
    wrong = dict(os.environ) | {"AWS_SECRET_ACCESS_KEY": "another"}
    assert "Unavailable: " in (said := load_elsewhere(direct.tracking_uri, wrong))
    assert "the credentials are refused (UNAUTHENTICATED)" in said
    assert "AWS_SECRET_ACCESS_KEY of whoever talks to it" in said
    assert "locate cred" in load_elsewhere(direct.tracking_uri, without_credentials(os.environ))
    without = "import sys; sys.modules['boto3'] = None;" + LOAD
    assert "WrongUse: " in (said := load_elsewhere(direct.tracking_uri, dict(os.environ), without))
    assert "selfheal-platform[s3]" in said
