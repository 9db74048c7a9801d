"""``python -m tests.support.clocked``: the controller, with a wall clock that goes wrong as a test wants it to.

The file that ``CLOCK_FILE`` names says by how many seconds ``datetime.now`` is off, read at every call of the
controller's own code. Monotonic clocks go on as they are, as they do when a machine's time is set.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import typer

from controller import __main__ as controller
from tests.support.controller import Controller, running

_FILE = "CLOCK_FILE"


class Clock:
    """The wall clock of one controller.

    Args:
        folder: Holds the file.
        off: Seconds by which it is off from the start.
    """

    def __init__(self, folder: Path, off: float = 0.0) -> None:
        self._file = folder / "clock"
        self.set(off)

    def set(self, off: float) -> None:
        """Let it jump; 0 sets it right."""
        new = self._file.with_suffix(".new")
        new.write_text(str(off))
        new.replace(self._file)

    def running(self, kubeconfig: Path, log: Path) -> AbstractContextManager[Controller]:
        """A controller that goes by it."""
        return running(kubeconfig, log, {_FILE: str(self._file)}, __name__)


class _Wrong(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + timedelta(seconds=float(Path(os.environ[_FILE]).read_text()))


def _go_wrong() -> None:
    for name, module in sys.modules.items():
        if name.partition(".")[0] == "controller" and vars(module).get("datetime") is datetime:
            vars(module)["datetime"] = _Wrong


if __name__ == "__main__":
    _go_wrong()
    typer.run(controller.main)
