"""``python -m bench.ansible``: layer 1 on the cluster of .bench, by an Ansible of its own that is installed once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.__main__ import run_app
from bench.chart import MANIFESTS
from bench.paths import DEFAULT_STATE, SOURCE, State, cache
from selfheal.errors import NoData, SelfhealError, WrongUse

PLAYBOOK = MANIFESTS / "ansible" / "site.yaml"
_LOCKED = SOURCE.parent / "requirements" / "ansible.txt"


def environment() -> Path:
    """A virtual environment with what is locked, in the user's cache; made the first time (390 MB, half a minute).

    Raises:
        SelfhealError: With what uv said.
        WrongUse: Without uv.
    """
    folder = cache() / f"ansible-{hashlib.sha256(_LOCKED.read_bytes()).hexdigest()[:10]}"
    with (cache() / ".ansible.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            if shutil.which("uv") is None:
                raise WrongUse("uv is missing: pip install uv, or install requirements/ansible.txt yourself")
            shutil.rmtree(folder, ignore_errors=True)
            _uv("venv", "--python", f"{sys.version_info[0]}.{sys.version_info[1]}", str(folder))
            _uv("pip", "install", "--python", str(folder / "bin" / "python"), "--require-hashes", "-r", str(_LOCKED))
            (folder / "ready").touch()
    return folder


def _uv(*words: str) -> None:
    done = subprocess.run(["uv", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SelfhealError(f"uv {' '.join(words[:2])}: {done.stderr.strip()[-500:]}")


def playbook(kubeconfig: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the playbook against a cluster.

    Args:
        kubeconfig: An administrator's.
        words: More for ansible-playbook: ``--check``, ``-e``, ...

    Returns:
        Its exit code and what it said.
    """
    programs = environment() / "bin"
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
