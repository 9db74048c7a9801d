"""Starting without a model, getting one, changing it under load."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from selfheal.catalogue import catalogue_hash
from selfheal.ensemble import Ensemble
from selfheal.evaluation import evaluate
from selfheal.protocol import ModelInfo, parse_predictions
from selfheal.registry import Registry
from selfheal.window import MetricWindow, grid
from tests.support.endpoint import (
    INFER,
    KNOWN,
    NAMES,
    PREDICT,
    ROOT,
    ROWS,
    Endpoint,
    batch,
    endpoint,
    instance,
    samples,
)

pytest_plugins = ["tests.support.endpoint_fixtures"]
pytestmark = pytest.mark.integration

FAST = ("--reload-seconds", "0.2")


def point(link: Path, target: Path) -> None:
    """Point a link elsewhere in one step, as Kubernetes does with mounted volumes."""
    fresh = link.with_suffix(".new")
    fresh.symlink_to(target)
    fresh.replace(link)


def version(server: Endpoint) -> str:
    found: dict[str, Any] = server.client.get("/v2/models/selfheal-ensemble").json()
    return str(found["versions"][0])


def test_without_a_model_it_lives_is_not_ready_and_says_so_until_there_is_one(tmp_path: Path, model_dir: Path) -> None:
    with endpoint(tmp_path, "--model-dir", str(tmp_path / "model"), *FAST) as server:
        server.wait_live()
        assert server.client.get("/v2/health/ready").status_code == 503
        assert server.client.get("/v1/models/selfheal-ensemble").status_code == 503
        for path, body in ((PREDICT, {"instances": batch()}), (INFER, {"inputs": []})):
            answer = server.client.post(path, json=body)
            assert answer.status_code == 503
            assert "No model is loaded yet" in answer.json()["error"]
        assert f"no model in {tmp_path / 'model'}" in server.log.read_text()
        point(tmp_path / "model", model_dir)
        server.wait_ready()
        assert server.client.post(PREDICT, json={"instances": batch()}).status_code == 200
        assert "Traceback" not in server.log.read_text()


def test_with_once_a_missing_model_ends_it_with_exit_code_3(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "SELFHEAL_MODEL_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "serving", "--once"], check=False, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert done.stderr.strip().startswith(f"serving: no model in {tmp_path}")
    assert "Traceback" not in done.stderr


@contextmanager
def load(server: Endpoint, threads: int = 3) -> Iterator[list[tuple[int, str]]]:
    """Ask all the time; the list holds status and model version of every answer."""
    answers: list[tuple[int, str]] = []
    done = threading.Event()

    def ask() -> None:
        body = {"instances": [instance(KNOWN, samples(ROWS, 1))]}
        with httpx.Client(base_url=server.client.base_url, timeout=30) as client:
            while not done.is_set():
                answer = client.post(PREDICT, json=body)
                told = answer.json()["predictions"][0]["model"]["version"] if answer.is_success else answer.text
                answers.append((answer.status_code, told))

    asking = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in asking:
        thread.start()
    try:
        yield answers
    finally:
        done.set()
        for thread in asking:
            thread.join()


def taken_over(server: Endpoint, answers: list[tuple[int, str]], expected: str) -> None:
    """Wait until those who ask all the time have been answered by a version."""
    server.wait_for(lambda: version(server) == expected)
    asked = len(answers)
    server.wait_for(lambda: len(answers) > asked + 3)  # more than the requests that were on their way


def test_a_folder_is_changed_under_load_without_a_failed_request(
    tmp_path: Path, model_dir: Path, ensemble: Ensemble
) -> None:
    eight = tmp_path / "eight"
    ensemble.with_info(ModelInfo(version="8")).save(eight)
    link = tmp_path / "model"
    link.symlink_to(model_dir)
    with endpoint(tmp_path, "--model-dir", str(link), *FAST) as server:
        server.wait_ready()
        with load(server) as answers:
            for target, expected in ((eight, "8"), (model_dir, "7"), (eight, "8")):
                point(link, target)
                taken_over(server, answers, expected)
    assert set(answers) == {(200, "7"), (200, "8")}


def test_the_champion_is_changed_under_load_without_a_failed_request(tmp_path: Path, ensemble: Ensemble) -> None:
    held_back = [
        MetricWindow(KNOWN, grid(np.datetime64("2026-11-23T20:00:00", "s"), 240, 60.0), samples(240, 9), NAMES, 60.0)
    ]
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    registry, report = Registry(uri), evaluate(ensemble, held_back)
    members = list(ensemble.members.values())
    first, second = (registry.register(ensemble, members, report, tags={}) for _ in range(2))
    flags = ("--model-uri", "models:/selfheal-ensemble@champion", "--tracking-uri", uri)
    with endpoint(tmp_path, *flags, *FAST) as server:
        server.wait_for(lambda: "nothing is registered at" in server.log.read_text() or server.client.get("/").is_error)
        registry.promote(first)
        server.wait_ready()
        with load(server) as answers:
            server.wait_for(lambda: len(answers) > 3)
            registry.promote(second)
            taken_over(server, answers, second)
        known = parse_predictions(server.client.post(PREDICT, json={"instances": batch()}).json())
    assert set(answers) == {(200, first), (200, second)}
    assert known[0].model.version == second
    assert known[0].model.run_id
    assert known[0].model.catalogue == catalogue_hash(NAMES)


def test_a_damaged_new_model_is_refused_and_the_old_one_goes_on(tmp_path: Path, model_dir: Path) -> None:
    link, damaged = tmp_path / "model", tmp_path / "damaged"
    link.symlink_to(model_dir)
    damaged.mkdir()
    (damaged / "manifest.json").write_text('{"format": 1}')
    with endpoint(tmp_path, "--model-dir", str(link), *FAST) as server:
        server.wait_ready()
        point(link, damaged)
        server.wait_for(lambda: "goes on serving" in server.log.read_text())
        assert server.client.post(PREDICT, json={"instances": batch()}).status_code == 200
        assert version(server) == "7"
        failures = server.client.get("/metrics").text
        assert "selfheal_endpoint_model_load_failures_total 0.0" not in failures


def test_a_file_damaged_in_place_under_load_fails_no_request(
    tmp_path: Path, model_dir: Path, ensemble: Ensemble
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    with endpoint(tmp_path, "--model-dir", str(folder), *FAST) as server:
        server.wait_ready()
        with load(server) as answers:
            victim = next(folder.rglob("*.npz"))
            victim.write_bytes(victim.read_bytes()[:-1])
            server.wait_for(lambda: "goes on serving" in server.log.read_text())
            ensemble.with_info(ModelInfo(version="8")).save(folder)
            taken_over(server, answers, "8")
    assert set(answers) == {(200, "7"), (200, "8")}
    assert "Traceback" not in server.log.read_text()


def test_predicting_imports_none_of_the_training_libraries(model_dir: Path) -> None:
    code = """
import sys
from pathlib import Path
import serving.routes
from serving.loader import Loader
from serving.predictor import Predictor
from serving.source import FolderSource
from tests.support.endpoint import batch
predictor = Predictor()
Loader(FolderSource(Path(sys.argv[1])), predictor.serve, every=0).refresh()
assert predictor.answer({"instances": batch()})["predictions"][0]["anomaly"]
print(sorted({"torch", "prophet", "sklearn", "statsmodels", "mlflow"} & sys.modules.keys()))
"""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(model_dir)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
