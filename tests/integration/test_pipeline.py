"""The whole pipeline, by kfp's local runner, from a real Prometheus into a real MLflow."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from selfheal.registry import CHALLENGER, CHAMPION, Registry, member_name
from selfheal.training import assemble, split_windows, train_shard
from tests.support.prometheus import free_port, prometheus

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
HOURS = 54
WORKLOADS = (
    ("shop", "cart", HOURS),
    ("shop", "orders", HOURS),
    ("shop", "web", HOURS),
    ("other", "x", HOURS),
    ("shop", "new", 1),
)
END = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
MODELS = (*(member_name(name) for name in ("isolation_forest", "arima", "prophet", "lstm")), "selfheal-ensemble")


def openmetrics(broken: str = "") -> str:
    """Three workloads of shop with a daily rhythm, one of another namespace, and one that came an hour ago.

    Args:
        broken: A workload whose memory now and then is a number so large that a sum of two is none.
    """
    series = {
        "container_memory_working_set_bytes": ("gauge", 1e8, 2e7, 1e6),
        "container_memory_rss": ("gauge", 8e7, 1e7, 1e6),
        "kube_pod_container_status_restarts_total": ("counter", 0.0, 0.0, 0.0),
        "kube_pod_owner": ("gauge", 1.0, 0.0, 0.0),
    }
    return "".join(_family(*item, broken) for item in series.items()) + "# EOF\n"


def _family(name: str, shape: tuple[str, float, float, float], broken: str) -> str:
    kind, level, swing, noise = shape
    chance = np.random.default_rng(len(name))
    lines = [f"# TYPE {name.removesuffix('_total') if kind == 'counter' else name} {kind}"]
    for index, (namespace, workload, hours) in enumerate(WORKLOADS):
        labels = f'namespace="{namespace}",pod="{workload}-0"'
        labels += (
            f',owner_kind="StatefulSet",owner_name="{workload}"' if name == "kube_pod_owner" else ',container="app"'
        )
        for minute in range((HOURS - hours) * 60, HOURS * 60 + 1):
            at = END - timedelta(minutes=HOURS * 60 - minute)
            day = math.sin(2 * math.pi * minute / 1440 + index)
            value = level + swing * day + noise * float(chance.standard_normal())
            if workload == broken and kind == "gauge" and level > 1 and minute % 7 == 0:
                value = 1e308
            lines.append(f"{name}{{{labels}}} {value} {int(at.timestamp())}")
    return "\n".join(lines) + "\n"


def pipeline(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """``python -m pipelines run`` in a folder of its own."""
    command = [sys.executable, "-m", "pipelines", "run", "--work", str(folder / "work"), "--json"]
    command += ["--tracking-uri", tracking(folder), "--end", END.isoformat(), "--hours", str(HOURS - 1), *options]
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=400)


def digests(folder: Path) -> dict[str, str]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}


def tracking(folder: Path) -> str:
    return f"sqlite:///{folder / 'registry' / 'mlflow.db'}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), openmetrics()) as url:
        yield url


@pytest.fixture(scope="module")
def broken_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("broken"), openmetrics(broken="web")) as url:
        yield url


class Run(NamedTuple):
    """A finished run."""

    folder: Path
    done: subprocess.CompletedProcess[str]
    result: dict[str, Any]


@pytest.fixture(scope="module")
def run(server: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The first run on an empty registry, for namespace shop, in two shards."""
    folder = tmp_path_factory.mktemp("run")
    done = pipeline(folder, "--prometheus", server, "--namespaces", "shop", "--shard-size", "2")
    assert done.returncode == 0, done.stderr
    return Run(folder, done, json.loads(done.stdout))


def test_a_first_run_promotes_its_model_and_says_so_in_one_line_of_json(run: Run) -> None:
    assert run.result["model"] == "selfheal-ensemble"
    assert run.result["version"] == run.result["inService"] == "1"
    assert run.result["promoted"] is True
    assert "no champion to compare with" in run.result["reason"]
    assert "version 1 from the registry answers for shop/StatefulSet/cart" in run.result["answer"]


def test_all_five_models_of_the_run_are_challenger_and_champion(run: Run) -> None:
    registry = Registry(tracking(run.folder))
    for name in MODELS:
        assert registry.resolve(f"models:/{name}@{CHALLENGER}") == "1"
        assert registry.resolve(f"models:/{name}@{CHAMPION}") == "1"


def test_only_metrics_with_data_and_workloads_with_history_are_in_the_model(run: Run) -> None:
    found = Registry(tracking(run.folder)).champion()
    assert found is not None
    metrics = {"pod_memory_usage", "alt_memory_usage", "container_restart_count", "container_restart_rate_1h"}
    assert set(found[0].names) == metrics
    assert set(found[0].workloads) == {f"shop/StatefulSet/{name}" for name in ("cart", "orders", "web")}


def test_the_model_of_two_shards_is_the_one_that_a_single_shard_gives(run: Run, tmp_path: Path) -> None:
    (windows,) = (run.folder / "work").glob("**/collect/windows")
    (shards,) = split_windows(windows, 200, *(tmp_path / name for name in ("training", "calibration", "held_back")))
    train_shard(tmp_path / "training", shards, 0, tmp_path / "models", workers=1)
    assemble([tmp_path / "models"], tmp_path / "calibration", 0, tmp_path / "ensemble")
    (ensemble,) = (run.folder / "work").glob("**/ensemble")
    assert "3 workloads train in 2 shards" in run.done.stderr
    assert digests(ensemble) == digests(tmp_path / "ensemble")


def test_what_was_left_out_is_said(run: Run) -> None:
    assert "left out shop/StatefulSet/new: needs 360 samples of history, has 61" in run.done.stderr
    assert "left out of the models: pod_cpu_usage" in run.done.stderr


def test_the_run_leaves_nothing_beside_its_own_folders(run: Run) -> None:
    assert sorted(path.name for path in run.folder.iterdir()) == ["registry", "work"]
    assert sorted(path.name for path in (run.folder / "registry").iterdir()) == ["mlartifacts", "mlflow.db"]


def test_a_day_after_the_training_its_votes_are_calibrated_anew(server: str, tmp_path: Path) -> None:
    before = (END - timedelta(hours=14)).isoformat()
    first = pipeline(
        tmp_path, "--prometheus", server, "--namespaces", "shop", "--end", before, "--hours", str(HOURS - 15)
    )
    assert first.returncode == 0, first.stderr
    again = pipeline(tmp_path, "--pipeline", "recalibration", "--prometheus", server, "--namespaces", "shop")
    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout)
    assert result["version"] == result["inService"] == "2", result
    assert "] recalibrate" in again.stderr
    registry = Registry(tracking(tmp_path))
    assert [registry.resolve(f"models:/{name}@{CHAMPION}") for name in MODELS] == ["1", "1", "1", "1", "2"]
    champion = registry.champion()
    assert champion is not None
    assert set(champion[0].recent) == {f"shop/StatefulSet/{name}" for name in ("cart", "orders", "web")}


def test_a_step_that_finds_no_data_fails_the_run_and_says_what_to_check(server: str, tmp_path: Path) -> None:
    done = pipeline(tmp_path, "--prometheus", server, "--namespaces", "nowhere")
    assert done.returncode == 3
    assert not done.stdout
    assert "collect failed: Prometheus knows no workloads in namespaces nowhere" in done.stderr


def test_a_workload_that_breaks_a_detector_fails_the_run_by_name_and_nothing_is_registered(
    broken_server: str, tmp_path: Path
) -> None:
    done = pipeline(tmp_path, "--prometheus", broken_server, "--namespaces", "shop", "--shard-size", "2")
    assert done.returncode == 1
    assert not done.stdout
    assert "train failed: isolation_forest cannot be trained for shop/StatefulSet/web: ValueError" in done.stderr
    assert "calibrate" not in done.stderr
    assert not (tmp_path / "registry").exists()


def test_a_prometheus_that_is_down_fails_the_first_step(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = pipeline(tmp_path, "--prometheus", url)
    assert done.returncode == 1
    assert f"probe failed: Prometheus at {url} does not answer" in done.stderr
