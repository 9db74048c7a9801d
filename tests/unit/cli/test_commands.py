"""What every command owes its user: an example, an exit code, one helpful line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from selfheal.cli.app import EXAMPLES, app

ROOT = Path(__file__).parents[3]
COMMANDS = [
    ["doctor"],
    ["metrics", "probe"], ["collect"], ["train"], ["serve"], ["backtest"], ["enable"], ["disable"], ["status"],
    ["approve"], ["deny"], ["undo"], ["suspend"], ["resume"],
    ["version"], ["models", "list"], ["models", "show"], ["models", "promote"], ["models", "rollback"],
]  # fmt: skip


def run(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a process."""
    known = {key: value for key, value in os.environ.items() if not key.startswith(("SELFHEAL_", "KUBE"))}
    env = {**known, "PYTHONPATH": f"{ROOT / 'src'}", "HOME": str(cwd), **environment}
    command = [sys.executable, "-m", "selfheal", *words]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_shows_an_example(words: list[str]) -> None:
    found = CliRunner().invoke(app, [*words, "--help"])
    assert found.exit_code == 0
    assert "Examples:" in found.output
    assert f"selfheal {' '.join(words)}" in found.output.split("Examples:")[1]


def test_there_is_an_example_for_every_command_and_no_other() -> None:
    assert set(EXAMPLES) == {words[-1] for words in COMMANDS}


def test_the_help_imports_nothing_heavy() -> None:
    code = """
import sys
from selfheal.cli import main
sys.argv = ["selfheal", "--help"]
try:
    main()
except SystemExit as end:
    assert end.code == 0
heavy = {"numpy", "pandas", "kubernetes", "requests", "rich.table", "kserve", "mlflow"}
print("heavy:", sorted(heavy & sys.modules.keys()))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert "heavy: []" in found.stdout


def test_without_a_command_it_explains_itself_and_ends_with_2() -> None:
    found = CliRunner().invoke(app, [])
    assert found.exit_code == 2
    assert "probe" not in found.output
    assert "enable" in found.output


@pytest.mark.parametrize("words", [["enable"], ["metrics", "probe"], ["status", "--lst", "3"], ["nonsense"]], ids=str)
def test_a_wrong_flag_or_a_missing_one_ends_with_2(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 2


def test_an_error_of_ours_is_one_line_on_stderr_with_its_exit_code(tmp_path: Path) -> None:
    found = run("metrics", "probe", "--prometheus", "prometheus:9090", cwd=tmp_path)
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.count("\n") == 1
    assert found.stderr.startswith("selfheal: 'prometheus:9090' is no Prometheus URL")


def test_a_prometheus_that_is_down_ends_with_1(tmp_path: Path) -> None:
    found = run("metrics", "probe", "--prometheus", "http://127.0.0.1:9", cwd=tmp_path)
    assert found.returncode == 1
    assert "http://127.0.0.1:9 does not answer" in found.stderr
    assert "Traceback" not in found.stderr


def test_without_a_kubeconfig_it_says_where_to_put_one(tmp_path: Path) -> None:
    found = run("enable", "shop", cwd=tmp_path)
    assert found.returncode == 2
    assert "Set KUBECONFIG or give --kubeconfig" in found.stderr


def test_training_without_the_pipelines_says_what_is_missing(tmp_path: Path) -> None:
    found = run("train", "--hours", "3", cwd=tmp_path)
    assert found.returncode == 2
    assert "'pipelines' is neither installed nor in" in found.stderr


def test_what_follows_two_dashes_goes_to_the_program_itself() -> None:
    assert "--model-uri" in run("serve", "--", "--help").stdout
    assert "series" in run("backtest", "--", "--help").stdout


def test_the_backtest_ends_with_its_own_exit_code(tmp_path: Path) -> None:
    found = run("backtest", "missing.parquet", "--out", "scores.parquet", cwd=tmp_path)
    assert found.returncode == 2
    assert "missing.parquet does not exist" in found.stderr


def test_the_version_is_said_for_people_and_for_programs() -> None:
    assert CliRunner().invoke(app, ["version"]).output.startswith("selfheal 0.")
    assert '"api": "aiops.example.com/v1alpha1"' in CliRunner().invoke(app, ["version", "--json"]).output
