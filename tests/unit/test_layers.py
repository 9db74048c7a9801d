"""The layers hold because a tool refuses to let them be crossed: each contract is broken once here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("components", "pipelines", "serving", "controller")


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--config", str(tree / ".importlinter"), "--no-cache"],
        cwd=tree,
        env={"PYTHONPATH": f"{tree / 'src'}:{tree}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignore)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def test_the_layers_hold_in_this_tree(tree: Path) -> None:
    done = lint(tree)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("src/selfheal/window.py", "import controller.model", "pipelines -> components -> selfheal"),
        ("serving/predictor.py", "import controller.model", "pipelines -> components -> selfheal"),
        ("src/selfheal/policy.py", "import selfheal.ensemble", "own floors"),
        ("controller/reconcile.py", "import numpy", "numpy-free half"),
        ("controller/reconcile.py", "import selfheal.window", "numpy-free half"),
        ("controller/reconcile.py", "import kopf", "kopf only"),
        ("controller/reconcile.py", "import kubernetes", "kubernetes only"),
        ("controller/telling.py", "import confluent_kafka", "Kafka only"),
        ("src/selfheal/ensemble.py", "import mlflow", "mlflow only"),
        ("src/selfheal/ensemble.py", "import torch", "torch only"),
        ("src/selfheal/evaluation.py", "import kfp", "kfp only"),
        ("src/selfheal/evaluation.py", "import kserve", "kserve only"),
        ("controller/actions/rollback.py", "import controller.actions.restart", "actions know nothing"),
    ],
)
def test_crossing_a_layer_is_refused(tree: Path, file: str, line: str, contract: str) -> None:
    with (tree / file).open("a") as source:
        source.write(f"\n{line}\n")
    done = lint(tree)
    broken = [row for row in done.stdout.splitlines() if " BROKEN" in row]
    assert done.returncode == 1
    assert any(contract in row for row in broken), done.stdout
