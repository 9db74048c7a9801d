"""The components stay thin, and the compiled pipeline is what the code says."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.training import DETECTORS as TRAINED
from pipelines.training import training
from selfheal import detectors

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "pipelines" / "training.yaml"
COMPONENTS = sorted(path for path in (ROOT / "components").glob("*.py") if path.stem not in ("__init__", "base"))


def compiled(target: Path, **settings: str) -> bytes:
    """The package as another process makes it, with another hash seed."""
    clean = {name: value for name, value in os.environ.items() if name != "RELATED_IMAGE_SELFHEAL_TRAINER"}
    env = clean | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONHASHSEED": "7"} | settings
    command = [sys.executable, "-m", "pipelines", "compile", str(target)]
    subprocess.run(command, env=env, check=True, capture_output=True)
    return target.read_bytes()


@pytest.fixture(scope="module")
def package() -> dict[str, Any]:
    spec: dict[str, Any] = next(yaml.safe_load_all(PACKAGE.read_text()))
    return spec


def executors(package: dict[str, Any]) -> list[dict[str, Any]]:
    return [one["container"] for one in package["deploymentSpec"]["executors"].values()]


def test_compiling_again_gives_the_committed_bytes(tmp_path: Path) -> None:
    assert compiled(tmp_path / "again.yaml") == PACKAGE.read_bytes()


def test_the_package_is_ascii() -> None:
    assert PACKAGE.read_bytes().isascii()


def test_no_task_installs_anything(package: dict[str, Any]) -> None:
    for container in executors(package):
        assert not re.search(r"\bpip\b", " ".join(container["command"]))


def test_every_task_runs_in_the_trainers_image(package: dict[str, Any]) -> None:
    assert {container["image"] for container in executors(package)} == {"selfheal-trainer:0.1.0"}


def test_an_operators_build_names_the_image_by_digest(tmp_path: Path) -> None:
    image = "example/trainer@sha256:" + "0" * 64
    found = compiled(tmp_path / "again.yaml", RELATED_IMAGE_SELFHEAL_TRAINER=image)
    spec = next(yaml.safe_load_all(found))
    assert {container["image"] for container in executors(spec)} == {image}


def test_every_task_says_what_it_needs_and_is_tried_again(package: dict[str, Any]) -> None:
    for container in executors(package):
        assert {"resourceCpuRequest", "resourceMemoryRequest", "resourceMemoryLimit"} <= set(container["resources"])
    for task in package["root"]["dag"]["tasks"].values():
        assert task["retryPolicy"]["maxRetryCount"] == 2


def test_what_looks_at_the_world_is_never_taken_from_the_cache(package: dict[str, Any]) -> None:
    tasks = package["root"]["dag"]["tasks"]
    cached = {name for name, task in tasks.items() if task["cachingOptions"].get("enableCache")}
    assert cached == {"split", "train", "train-2", "train-3", "train-4", "calibrate", "evaluate"}


def test_one_task_trains_each_detector(package: dict[str, Any]) -> None:
    assert set(TRAINED) == set(detectors.DETECTORS)
    names = {task["taskInfo"]["name"] for task in package["root"]["dag"]["tasks"].values()}
    assert {f"train-{name.replace('_', '-')}" for name in TRAINED} <= names


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.stem)
def test_a_component_is_one_function_of_at_most_ten_statements(path: Path) -> None:
    tree = ast.parse(path.read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions] == [path.stem]
    body = functions[0].body[1:]  # the docstring aside
    assert 1 <= sum(isinstance(node, ast.stmt) for part in body for node in ast.walk(part)) <= 10


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.stem)
def test_a_components_docstring_explains_every_input_and_output(path: Path) -> None:
    module = __import__(f"components.{path.stem}", fromlist=[path.stem])
    function = getattr(module, path.stem).python_func
    documented = set(re.findall(r"^    ( {4})?(\w+): ", inspect.getdoc(function) or "", re.MULTILINE))
    assert {name for _, name in documented} >= set(inspect.signature(function).parameters)


def test_the_pipeline_runs_in_reading_order() -> None:
    tasks = training.pipeline_spec.root.dag.tasks
    assert tasks["collect"].dependent_tasks == ["probe"]
    assert tasks["promote"].inputs.parameters["verdict"].task_output_parameter.producer_task == "compare"
    assert tasks["smoke-test"].inputs.parameters["in_service"].task_output_parameter.producer_task == "promote"
