"""``python -m controller``: the controller as a process. Settings are ``SELFHEAL_*`` environment variables."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from controller import handlers
from controller.logs import configure, log
from controller.runtime import Runtime
from controller.settings import Settings
from selfheal.errors import SelfhealError
from selfheal.heaps import share_heaps


def main(
    kubeconfig: Annotated[
        Path | None,
        typer.Option(envvar="KUBECONFIG", help="Credentials. In a pod its ServiceAccount is used without one."),
    ] = None,
) -> None:
    """Watch the cluster, heal what policies ask for, prove it or take it back.

    Settings are SELFHEAL_* environment variables; docs/operations.md lists them. Logs are JSON lines on stdout.
    """
    configure()
    share_heaps(1)
    if kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(kubeconfig)  # kopf's own connection reads it
    try:
        settings = Settings.from_env(os.environ)
        runtime = Runtime.connect(settings, kubeconfig)
    except SelfhealError as error:
        log(str(error), level=logging.ERROR)
        sys.exit(error.exit_code)
    handlers.run(runtime, settings.liveness_port)


if __name__ == "__main__":
    typer.run(main)
