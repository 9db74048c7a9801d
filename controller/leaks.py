"""Whether memory grows without bound: how long containers live under two limits says so. Pure.

A container that needs more memory than it has stops dying once it has it. One that leaks dies at any limit, only later,
and the more memory bought as many seconds as the growth from before says. More of the same is then no cure.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from controller.eviction import is_live
from controller.facts import last_death, moment, statuses
from controller.model import Resource, Workload
from controller.quantities import limit_of, render
from selfheal.policy import parse_quantity
from selfheal.remediation import Attempt, OutOfMemory

LEAST_LIFE = 10.0
"""Seconds: who dies sooner takes its memory at the start, and may well have enough of it with the next limit."""
LEAST_MORE = 1.1
"""Limits closer to each other than this tell nothing."""
SLOWER, FASTER = 0.25, 2.0
"""Growth under the new limit, as a share of that under the old one, that counts as the same: what a program takes at
its start makes the first life look faster than it was, and kubelets write times in whole seconds."""


def kills(pods: Iterable[Resource], container: str, since: datetime | None = None) -> list[OutOfMemory]:
    """How a container was killed for its memory last, in each live pod where it was.

    Args:
        pods: Of the workload.
        container: Its name.
        since: Only lives that began then or later; None for all.
    """
    found = (_kill(pod, container, since) for pod in pods if is_live(pod))
    return [one for one in found if one is not None]


def _kill(pod: Resource, container: str, since: datetime | None) -> OutOfMemory | None:
    spec, status = next(((a, b) for a, b in statuses(pod) if b["name"] == container), ({}, {}))
    death = last_death(status)
    begun, ended = moment(death.get("startedAt")), moment(death.get("finishedAt"))
    limit = limit_of(status, "memory") or limit_of(spec, "memory")
    if death.get("reason") != "OOMKilled" or begun is None or ended is None or limit is None:
        return None
    if since is not None and begun < since.replace(microsecond=0):
        return None
    return OutOfMemory(container=container, limit=render("memory", limit), seconds=(ended - begun).total_seconds())


def unbounded(before: OutOfMemory, after: OutOfMemory) -> str:
    """Why two kills show a leak that no limit holds; the empty text where they do not.

    Args:
        before: Under the lower limit.
        after: Under the higher one.
    """
    low, high = float(parse_quantity(before.limit)), float(parse_quantity(after.limit))
    longer = after.seconds - before.seconds
    if before.container != after.container or high < low * LEAST_MORE or after.seconds < LEAST_LIFE or longer <= 0:
        return ""
    growth = (high - low) / longer
    if not SLOWER <= growth / (low / max(before.seconds, 1.0)) <= FASTER:
        return ""
    return (
        f"{after.container} was killed after {before.seconds:.0f} s with {before.limit} and after "
        f"{after.seconds:.0f} s with {after.limit}: it grows by {growth / 2**20:.1f} MiB/s, "
        "and more memory only puts the end off"
    )


def still_leaks(workload: Workload, attempt: Attempt, applied: datetime) -> str:
    """Why a raise of the limit has not cured a leak; the empty text while nothing shows that."""
    before = attempt.change.out_of_memory
    if before is None:
        return ""
    after = kills(workload.pods, before.container, applied)
    return next(filter(None, (unbounded(before, one) for one in after)), "")


def leaked_before(attempts: Iterable[Attempt], now: OutOfMemory | None) -> str:
    """Why another raise would not cure what an earlier one did not; the empty text while nothing shows that."""
    earlier = [one.change.out_of_memory for one in attempts if one.change.out_of_memory is not None]
    return unbounded(earlier[-1], now) if earlier and now is not None else ""
