"""A real MLflow server on PostgreSQL and an S3-compatible store, and two processes that promote at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bench.paths import State
from bench.registry import MlflowServer
from selfheal.errors import SelfhealError
from tests.support.endpoint import ROOT

_PROMOTER = """
import sys
from selfheal.errors import Conflict
from selfheal.registry import Registry
registry, version = Registry(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
for _ in sys.stdin:
    try:
        registry.promote(version)
        print("done", flush=True)
    except Conflict:
        print("conflict", flush=True)
"""


def say(_: str) -> None:
    """Progress is nothing that a test shows."""


@contextmanager
def mlflow_server(*, direct: bool) -> Iterator[MlflowServer]:
    """Start one in a folder that PostgreSQL's account can enter; it is ended and its folder removed."""
    folder = Path(tempfile.mkdtemp(prefix="selfheal-mlflow-"))
    folder.chmod(0o711)
    server = MlflowServer(State(folder), direct)
    try:
        try:
            server.start(say)
        except SelfhealError as error:
            if os.geteuid() != 0 and "is missing" in str(error):
                pytest.skip(str(error))
            raise
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


class Promoter:
    """A process that promotes one version, again and again on demand."""

    def __init__(self, tracking_uri: str, version: str) -> None:
        command = [sys.executable, "-c", _PROMOTER, tracking_uri, version]
        pipe = subprocess.PIPE
        env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        self.version = version
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env)

    def tell(self) -> None:
        """Promote now."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """``ready`` at first, then ``done`` or ``conflict`` for each promotion."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        """End it and see it gone."""
        self._process.communicate(timeout=30)


@contextmanager
def promoters(tracking_uri: str, versions: tuple[str, ...]) -> Iterator[list[Promoter]]:
    """One process a version, ready."""
    with ExitStack() as stack:
        found = [Promoter(tracking_uri, version) for version in versions]
        for one in found:
            stack.callback(one.end)
        for one in found:
            assert one.hear() == "ready"
        yield found


def without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which nobody can talk to a store."""
    return {name: value for name, value in environment.items() if not name.startswith(("AWS_", "MLFLOW_S3_"))}
