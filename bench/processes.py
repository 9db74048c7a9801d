"""Long-running programs: started once, found again by a later command, ended by id and never by name."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.paths import State
from selfheal.errors import SelfhealError

_PYTHONS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python ignores; a program that we start shall not."""


class StartFailed(SelfhealError):
    """A program ended or did not get ready; the message names its log."""


def _started_at(pid: int) -> str:
    """The kernel's start time of a process, which a reused id does not share; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _spawn(words: list[str], log: Path, env: Mapping[str, str]) -> int:
    """Start a program in a session of its own. It may outlive us, which a Popen object would warn about."""
    with log.open("ab") as output:
        streams = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
        ]
        return os.posix_spawnp(words[0], words, env, file_actions=streams, setsid=True, setsigdef=_PYTHONS_OWN)


@dataclass(frozen=True)
class Processes:
    """The programs of one cluster, by name."""

    state: State

    def _file(self, name: str) -> Path:
        return self.state.folder("pids") / f"{name}.json"

    def pid(self, name: str) -> int | None:
        """The id of a running program that we started; None when it does not run."""
        file = self._file(name)
        if not file.exists():
            return None
        record = json.loads(file.read_text())
        alive = _started_at(record["pid"]) == record["started"] != ""
        return int(record["pid"]) if alive else None

    def running(self) -> dict[str, int]:
        """Name and id of all that run."""
        names = sorted(file.stem for file in self.state.folder("pids").glob("*.json"))
        return {name: pid for name in names if (pid := self.pid(name)) is not None}

    def start(self, name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Start a program unless it runs already; its output goes to ``logs/NAME.log``.

        Raises:
            StartFailed: When it cannot be started.
        """
        if self.pid(name) is not None:
            return
        words = [str(word) for word in command]
        try:
            pid = _spawn(words, self.state.logs / f"{name}.log", os.environ | dict(env or {}))
        except OSError as error:
            raise StartFailed(f"cannot start {name}: {error}") from None
        record = {"pid": pid, "started": _started_at(pid), "command": words}
        self._file(name).write_text(json.dumps(record))

    def wait(self, name: str, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until a program is ready.

        Raises:
            StartFailed: When it ended first, or took longer; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self.pid(name) is None:
                raise StartFailed(f"{name} ended at once. {self.tail(name)}")
            if time.monotonic() > deadline:
                raise StartFailed(f"{name} was not ready after {seconds:.0f} s. {self.tail(name)}")
            time.sleep(0.1)

    def tail(self, name: str, lines: int = 8) -> str:
        """Where its log is, and how it ends."""
        log = self.state.logs / f"{name}.log"
        text = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
        return "\n".join([f"The end of {log}:", *text])

    def stop(self, name: str, seconds: float = 10, kindly: signal.Signals = signal.SIGTERM) -> bool:
        """End a program that we started, first kindly; True when it ran."""
        pid = self.pid(name)
        if pid is not None:
            for sig, patience in ((kindly, seconds), (signal.SIGKILL, 5.0)):
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    break
                if self._gone(name, patience):
                    break
        self._file(name).unlink(missing_ok=True)
        return pid is not None

    def _gone(self, name: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid = self.pid(name)
            if pid is None:
                return True
            with contextlib.suppress(ChildProcessError):  # our own child would stay a zombie
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.05)
        return False
