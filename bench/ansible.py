"""``python -m bench.ansible``: layer 1 on the cluster of .bench, by an Ansible of its own that is installed once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from bench.__main__ import run_app
from bench.chart import MANIFESTS
from bench.environments import environment
from bench.paths import DEFAULT_STATE, State
from selfheal.errors import NoData

PLAYBOOK = MANIFESTS / "ansible" / "site.yaml"


def playbook(kubeconfig: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the playbook against a cluster.

    Args:
        kubeconfig: An administrator's.
        words: More for ansible-playbook: ``--check``, ``-e``, ...

    Returns:
        Its exit code and what it said.
    """
    programs = environment("ansible")  # 390 MB the first time, half a minute
    env = os.environ | {
        "ANSIBLE_CONFIG": str(PLAYBOOK.with_name("ansible.cfg")),
        "KUBECONFIG": str(kubeconfig),
        "PATH": f"{programs}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": "",  # ours has other versions of its packages
    }
    command = [str(programs / "ansible-playbook"), str(PLAYBOOK), *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def main(
    words: Annotated[list[str] | None, typer.Argument(help="For ansible-playbook: --check, -e @my.yaml")] = None,
    state: Annotated[Path, typer.Option(help="The folder of the cluster that it is for.")] = DEFAULT_STATE,
) -> None:
    """Run the playbook on a running cluster of the bench."""
    found = State(state.absolute())
    if not found.kubeconfig.exists():
        raise NoData(f"no cluster in {found.root}: python -m bench up --tier api")
    done = playbook(found.kubeconfig, *(words or []))
    typer.echo(done.stdout + done.stderr)
    raise typer.Exit(done.returncode)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(context_settings={"ignore_unknown_options": True})(main)
    run_app(app)
