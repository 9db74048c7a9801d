"""Python environments from locked requirements, beside the one that everything here runs in."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from bench.paths import SOURCE, cache
from selfheal.errors import WrongUse

REQUIREMENTS = SOURCE.parent / "requirements"


def environment(name: str) -> Path:
    """The environment of ``requirements/NAME.txt``; kept in the user's cache, and made anew when that file changes.

    Returns:
        Its ``bin`` folder.

    Raises:
        WrongUse: Without uv, or when a package cannot be had.
    """
    locked = REQUIREMENTS / f"{name}.txt"
    if shutil.which("uv") is None:
        raise WrongUse("uv is missing: pip install uv")
    folder = cache() / "environments" / f"{name}-{hashlib.sha256(locked.read_bytes()).hexdigest()[:12]}"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "synced").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _uv("venv", "--python", "3.11", str(folder))
            _uv("pip", "sync", "--python", str(folder), str(locked))
            (folder / "synced").touch()
    return folder / "bin"


def _uv(*words: str) -> None:
    done = subprocess.run(["uv", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongUse(f"uv {words[0]} failed: {done.stderr.strip()[-500:]}")
