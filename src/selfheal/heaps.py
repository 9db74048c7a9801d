"""How much memory a process with many threads keeps for itself."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os

_ARENA_MAX = -8  # M_ARENA_MAX in malloc.h


def share_heaps(heaps: int) -> bool:
    """So many heaps for all threads, to be called before any is started.

    glibc gives each thread its own, and each keeps room for the largest answer it has ever read. Measured by
    ``bench.fuzz``: an endpoint with two holds 315 MiB after 9,000 requests in place of 425, and no longer grows. By
    soaks: a controller with one holds 119 MiB after ten minutes, with two 234, with one for each thread 173.

    Args:
        heaps: How many.

    Returns:
        Whether it is so now; False where MALLOC_ARENA_MAX says something else, or the C library has no such setting.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).mallopt(_ARENA_MAX, heaps))
    return False


def give_back() -> bool:
    """Return what is free to the system, after work that needed much for a moment.

    Measured by ``bench.controller scale``: glibc keeps 10 MiB of what imports needed, and a thousand workloads'
    windows leave as much behind at each tick.

    Returns:
        Whether there was anything; False where the C library has no such call.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).malloc_trim(0))
    return False
