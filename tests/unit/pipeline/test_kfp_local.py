"""What kfp's local runner cannot do, and the way around it: when one of these fails, docs/adr/0005-shards.md can go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from typing import List
from kfp import dsl, local

@dsl.component(install_kfp_package=False)
def train(shard: str, models: dsl.Output[dsl.Model]) -> str:
    with open(models.path, "w") as file:
        file.write(shard)
    return models.path

@dsl.component(install_kfp_package=False)
def merge(shards: dsl.Input[List[dsl.Model]]) -> str:
    return " ".join(open(one.path).read() for one in shards)

@dsl.component(install_kfp_package=False)
def merge_here(shards: List[str]) -> str:
    return " ".join(open(one).read() for one in shards)

@dsl.pipeline
def shards(names: List[str]) -> List[str]:
    with dsl.ParallelFor(names) as name:
        task = train(shard=name)
    return dsl.Collected(task.outputs["Output"])

@dsl.pipeline
def models(names: List[str]) -> List[dsl.Model]:
    with dsl.ParallelFor(names) as name:
        task = train(shard=name)
    return dsl.Collected(task.outputs["models"])

@dsl.pipeline
def inner(names: List[str] = ["a", "b", "c"]) -> str:
    return merge_here(shards=shards(names=names).output).output

@dsl.pipeline
def a_task_after_a_loop(names: List[str] = ["a", "b", "c"]) -> str:
    with dsl.ParallelFor(names) as name:
        task = train(shard=name)
    return merge_here(shards=dsl.Collected(task.outputs["Output"])).output

@dsl.pipeline
def a_list_of_artifacts(names: List[str] = ["a", "b", "c"]) -> List[str]:
    with dsl.ParallelFor([""]):
        task = merge(shards=models(names=names).output)
    return dsl.Collected(task.output)

@dsl.pipeline
def our_way(names: List[str] = ["a", "b", "c"]) -> List[str]:
    with dsl.ParallelFor([""]):
        task = inner(names=names)
    return dsl.Collected(task.output)

local.init(local.SubprocessRunner(use_venv=False), pipeline_root="root", raise_on_error=True)
"""


def run(pipeline: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    program.write_text(f"{PROGRAM}\nprint('found', {pipeline}().outputs['Output'])\n")
    command = [sys.executable, "-W", "ignore", str(program)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_a_loop_in_an_inner_pipeline_runs_before_what_follows_when_a_loop_is_around_all(tmp_path: Path) -> None:
    done = run("our_way", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "found ['a b c']" in done.stdout


@pytest.mark.parametrize(
    ("pipeline", "why"),
    [
        ("a_task_after_a_loop", "KeyError: 'for-loop-1'"),
        ("a_list_of_artifacts", "Value must be one of the following types"),
        ("inner", "Unknown value type"),  # no loop around: the inner loop is run once, without an item
    ],
)
def test_what_kfp_would_have_to_do_by_itself_still_fails(pipeline: str, why: str, tmp_path: Path) -> None:
    done = run(pipeline, tmp_path)
    assert done.returncode == 1, "kfp can do this now: look at docs/adr/0005-shards.md"
    assert why in done.stdout + done.stderr
