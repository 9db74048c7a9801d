"""What a soak does to the cluster, drawn from a seed: the same seed, the same faults at the same seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Any, TypeVar

T = TypeVar("T")
CRASH, IMAGE, OOM, POD, ZERO = "crash loop rolled out", "bad image", "OOM kill", "one pod crashes", "scaled to zero"
KINDS = (CRASH, IMAGE, OOM, POD, ZERO)

KILL, RESTART, CUT, MEND = "kill -9 of the leader", "API server restarted", "leader cut off", "leader reconnected"
SUSPEND, RESUME, OPT_OUT = "suspended", "resumed", "sick workload opted out"
EDIT, DELETE, RENEW = "policy edited", "policy deleted", "policy made anew"
TROUBLES = (KILL, RESTART, CUT, SUSPEND, OPT_OUT, EDIT, DELETE, OPT_OUT)
_LATER: Mapping[str, tuple[str, float]] = MappingProxyType(
    {CUT: (MEND, 6.0), SUSPEND: (RESUME, 10.0), DELETE: (RENEW, 8.0)}
)
_QUICK = {"stabilizationPeriod": "1s", "timeout": "60s"}
_HASTY = {"stabilizationPeriod": "1s", "timeout": "8s"}
_KEPT = 10
"""Remediations kept of each policy: little, so that memory that grows is not history that grows."""


def _spec(anomaly: str, action: str, **more: Any) -> dict[str, Any]:
    common = {"cooldownPeriod": "5s", "remediationHistoryLimit": _KEPT, "verification": _QUICK}
    return {"anomalyType": anomaly, "action": action} | common | more


def _specs(**more: Any) -> dict[str, dict[str, Any]]:
    return {
        "crash": _spec("CrashLoopBackOff", "rollback", **more),
        "image": _spec("ImagePullBackOff", "rollback", **more),
        "memory": _spec("OOMKilled", "adjust-resources", **more),
        "empty": _spec("MetricAnomaly", "scale", **more),
    }


_EVICT = {"parameters": {"restart": {"strategy": "Evict"}}, "escalation": ["rollback"], "verification": _HASTY}
POLICIES: Mapping[str, Mapping[str, dict[str, Any]]] = MappingProxyType(
    {
        "soak-rollback": _specs(),
        "soak-restart": _specs() | {"crash": _spec("CrashLoopBackOff", "restart", **_EVICT)},
        "soak-approve": _specs(mode="Approve"),
        "soak-observe": _specs(mode="Observe"),
        "soak-edited": _specs(),
    }
)
"""By namespace and name. Those of ``soak-edited`` are edited and deleted meanwhile."""
EDITED, APPROVED, OBSERVED = "soak-edited", "soak-approve", "soak-observe"
SIZE = 8
"""Workloads in a namespace."""
NAMES = tuple(f"shop-{number}" for number in range(SIZE))


@dataclass(frozen=True)
class Happening:
    """Something that is done to the cluster.

    Attributes:
        at: Seconds after the start.
        kind: One of those above.
        namespace: Of a fault; of any other happening empty.
        lot: Drawn too: which workload, policy or value.
    """

    at: float
    kind: str
    namespace: str = ""
    lot: int = 0


def draw(seed: int, minutes: float, gap: float = 8.0) -> list[Happening]:
    """Everything that will happen.

    Args:
        seed: The same seed draws the same.
        minutes: How long; what takes a while is over by then.
        gap: Mean seconds between two faults.
    """
    random, end = Random(seed), minutes * 60
    return sorted([*_faults(random, end, gap), *_troubles(random, end)], key=lambda one: (one.at, one.kind))


def _faults(random: Random, end: float, gap: float) -> list[Happening]:
    found: list[Happening] = []
    deck: list[tuple[str, str]] = []
    at = 2.0
    while at < end:
        deck = deck or _shuffled(random, [(space, kind) for space in POLICIES for kind in KINDS])
        space, kind = deck.pop()
        found.append(Happening(at, kind, space, random.randrange(1000)))
        at += random.uniform(0.5, 1.5) * gap
    return found


def _troubles(random: Random, end: float) -> list[Happening]:
    """One at a time, and nobody dies in the second half, so that memory can be watched for a while."""
    found: list[Happening] = []
    deck: list[str] = []
    at = 15.0
    while at < end - 15:
        deck = deck or _shuffled(random, TROUBLES)
        kind = deck.pop()
        if kind == KILL and at > end / 2:
            continue
        found.append(Happening(at, kind, lot=random.randrange(1000)))
        later, seconds = _LATER.get(kind, ("", 0.0))
        if later:
            found.append(Happening(at + seconds, later, lot=found[-1].lot))
        at += seconds + random.uniform(12, 28)
    return found


def _shuffled(random: Random, cards: Sequence[T]) -> list[T]:
    return random.sample(cards, len(cards))


def is_healable(namespace: str, kind: str) -> bool:
    """Whether a policy of the namespace may and can heal a fault of this kind, given a yes where one is asked for."""
    if kind == POD:
        return namespace == "soak-restart"  # a rollback blames no revision for one pod
    return namespace != OBSERVED
