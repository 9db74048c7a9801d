"""How much memory a process and those it started hold, read from /proc."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_EVERY = 1.0  # seconds between looks, each of which takes a tenth: the kernel walks all pages
_KIB = 1024


def resident(process: int) -> int:
    """Bytes of one process, with what it shares (RSS)."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def of_family(process: int) -> int:
    """Bytes of a process and its descendants, what they share counted once (PSS)."""
    total, waiting = 0, [process]
    while waiting:
        one = Path("/proc", str(waiting.pop()))
        try:
            total += _share(one / "smaps_rollup")
            for task in (one / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
    return total


def _share(file: Path) -> int:
    for line in file.read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * _KIB
    return 0


@contextmanager
def peak() -> Iterator[list[int]]:
    """Watch this process and its descendants; the list that is given holds the most bytes seen."""
    most, stop = [of_family(os.getpid())], threading.Event()

    def watch() -> None:
        while not stop.wait(_EVERY):
            most[0] = max(most[0], of_family(os.getpid()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        stop.set()
        watcher.join()
