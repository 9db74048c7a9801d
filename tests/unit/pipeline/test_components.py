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
from kfp.compiler import Compiler

from pipelines.training import local_training, training

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "pipelines" / "training.yaml"
RECALIBRATION = ROOT / "pipelines" / "recalibration.yaml"
COMPONENTS = sorted(path for path in (ROOT / "components").glob("*.py") if path.stem not in ("__init__", "base"))


def compiled(target: Path, pipeline: str = "training", **settings: str) -> bytes:
    """The package as another process makes it, with another hash seed."""
    clean = {name: value for name, value in os.environ.items() if name != "RELATED_IMAGE_SELFHEAL_TRAINER"}
    env = clean | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONHASHSEED": "7"} | settings
    command = [sys.executable, "-m", "pipelines", "compile", str(target), "--pipeline", pipeline]
    subprocess.run(command, env=env, check=True, capture_output=True)
    return target.read_bytes()


def read(package: Path) -> dict[str, Any]:
    spec: dict[str, Any] = next(yaml.safe_load_all(package.read_text()))
    return spec


@pytest.fixture(scope="module")
def package() -> dict[str, Any]:
    return read(PACKAGE)


@pytest.fixture(scope="module", params=[PACKAGE, RECALIBRATION], ids=lambda path: path.stem)
def each(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each of the packages."""
    return read(request.param)


def tasks(spec: dict[str, Any]) -> dict[str, Any]:
    """All tasks that run something, by the name that people see; those inside loops and inner pipelines too."""
    dags = [spec["root"]["dag"], *(one["dag"] for one in spec["components"].values() if "dag" in one)]
    found = [task for dag in dags for task in dag["tasks"].values()]
    return {
        task["taskInfo"]["name"]: task
        for task in found
        if "executorLabel" in spec["components"][task["componentRef"]["name"]]
    }


def shape(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each task what it runs in, how often it is tried, and where each input comes from."""
    found = {}
    for name, task in tasks(spec).items():
        label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        container = spec["deploymentSpec"]["executors"][label]["container"]
        given = task["inputs"]
        inputs = {key: origin(name, "parameter", one) for key, one in given.get("parameters", {}).items()}
        inputs |= {key: origin(name, "artifact", one) for key, one in given.get("artifacts", {}).items()}
        found[name] = {
            "inputs": inputs,
            "needs": {key: container.get(key) for key in ("image", "resources", "env")},
            "retries": task["retryPolicy"]["maxRetryCount"],
            "cached": task["cachingOptions"].get("enableCache", False),
        }
    return found


def origin(task: str, kind: str, given: dict[str, Any]) -> str:
    """Where an input comes from; a loop's own names differ with what is around it."""
    for way in ("taskOutputParameter", "taskOutputArtifact"):
        if way in given:
            return f"{kind} of {given[way]['producerTask'].removesuffix('-here')}"
    if task == "train":
        return f"{kind} from outside the loop"
    return f"{kind} {given.get('componentInputParameter') or given}"


def executors(package: dict[str, Any]) -> list[dict[str, Any]]:
    return [one["container"] for one in package["deploymentSpec"]["executors"].values()]


@pytest.mark.parametrize("file", [PACKAGE, RECALIBRATION], ids=lambda path: path.stem)
def test_compiling_again_gives_the_committed_bytes(file: Path, tmp_path: Path) -> None:
    assert compiled(tmp_path / "again.yaml", file.stem) == file.read_bytes()


@pytest.mark.parametrize("file", [PACKAGE, RECALIBRATION], ids=lambda path: path.stem)
def test_the_package_is_ascii(file: Path) -> None:
    assert file.read_bytes().isascii()


def test_no_task_installs_anything(each: dict[str, Any]) -> None:
    for container in executors(each):
        assert not re.search(r"\bpip\b", " ".join(container["command"]))


def test_every_task_runs_in_the_trainers_image(each: dict[str, Any]) -> None:
    assert {container["image"] for container in executors(each)} == {"localhost/selfheal-trainer:0.1.0"}


def test_an_operators_build_names_the_image_by_digest(tmp_path: Path) -> None:
    image = "example/trainer@sha256:" + "0" * 64
    found = compiled(tmp_path / "again.yaml", RELATED_IMAGE_SELFHEAL_TRAINER=image)
    spec = next(yaml.safe_load_all(found))
    assert {container["image"] for container in executors(spec)} == {image}


def test_every_task_says_what_it_needs_and_is_tried_again(each: dict[str, Any]) -> None:
    for container in executors(each):
        assert {"resourceCpuRequest", "resourceMemoryRequest", "resourceMemoryLimit"} <= set(container["resources"])
    for task in tasks(each).values():
        assert task["retryPolicy"]["maxRetryCount"] == 2


def test_what_looks_at_the_world_is_never_taken_from_the_cache(package: dict[str, Any]) -> None:
    cached = {name for name, task in tasks(package).items() if task["cachingOptions"].get("enableCache")}
    assert cached == {"split", "train", "calibrate", "evaluate"}


def test_a_recalibration_takes_only_the_judging_from_the_cache_and_trains_nothing() -> None:
    found = tasks(read(RECALIBRATION))
    assert {name for name, task in found.items() if task["cachingOptions"].get("enableCache")} == {"evaluate"}
    assert list(found) == ["collect", "compare", "evaluate", "promote", "recalibrate", "register", "smoke-test"]
    shares = found["register"]["inputs"]["parameters"]["shares"]["taskOutputParameter"]
    assert shares == {"producerTask": "recalibrate", "outputParameterKey": "Output"}


def test_the_shards_that_split_finds_at_run_time_are_trained_side_by_side(package: dict[str, Any]) -> None:
    loop = package["root"]["dag"]["tasks"]["for-loop-1"]
    items = loop["parameterIterator"]["items"]["inputParameter"]
    found = loop["inputs"]["parameters"][items]["taskOutputParameter"]
    assert found == {"producerTask": "split", "outputParameterKey": "Output"}
    assert "iteratorPolicy" not in loop  # no limit to how many at once
    body = package["components"]["comp-for-loop-1"]["dag"]["tasks"]
    assert list(body) == ["train"]
    assert body["train"]["inputs"]["parameters"]["shard"] == {"componentInputParameter": f"{items}-loop-item"}


def test_the_calibration_waits_for_the_models_of_all_shards(package: dict[str, Any]) -> None:
    task = package["root"]["dag"]["tasks"]["calibrate"]
    source = task["inputs"]["artifacts"]["shards"]["taskOutputArtifact"]
    assert source["producerTask"] == "for-loop-1"
    assert "for-loop-1" in task["dependentTasks"]
    loop = package["components"]["comp-for-loop-1"]
    assert loop["outputDefinitions"]["artifacts"][source["outputArtifactKey"]]["isArtifactList"]
    assert loop["dag"]["outputs"]["artifacts"][source["outputArtifactKey"]]["artifactSelectors"] == [
        {"producerSubtask": "train", "outputArtifactKey": "models"}
    ]
    assert package["components"]["comp-calibrate"]["inputDefinitions"]["artifacts"]["shards"]["isArtifactList"]


def test_the_local_runner_runs_the_same_tasks_with_the_same_inputs(package: dict[str, Any], tmp_path: Path) -> None:
    Compiler().compile(local_training, str(tmp_path / "here.yaml"))
    here = next(yaml.safe_load_all((tmp_path / "here.yaml").read_text()))
    ours, servers = shape(here), shape(package)
    # What the shards' models come as is the one difference.
    assert ours["calibrate"]["inputs"].pop("shards") == "parameter of shards"
    assert servers["calibrate"]["inputs"].pop("shards") == "artifact of for-loop-1"
    assert ours == servers


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
    found = training.pipeline_spec.root.dag.tasks
    assert found["collect"].dependent_tasks == ["probe"]
    assert found["promote"].inputs.parameters["verdict"].task_output_parameter.producer_task == "compare"
    assert found["smoke-test"].inputs.parameters["in_service"].task_output_parameter.producer_task == "promote"
