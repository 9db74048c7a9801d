"""The Lease that says which replica acts (coordination.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from controller.cluster.client import Api
from controller.cluster.paths import collection, item

_VERSION = "coordination.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Lease:
    """What stands in the Lease.

    Attributes:
        holder: Identity of the replica that acts; empty when it was given back.
        version: Its resourceVersion: it changes with every renewal.
        acquired: Since when the holder acts, as it was written.
        transitions: How often the holder changed.
    """

    holder: str
    version: str
    acquired: str = ""
    transitions: int = 0


class LeaseStore:
    """Reads and writes one Lease. Nothing else may be sent through its transport, which no fence holds back.

    Args:
        api: The API server.
        namespace: The controller's own.
        name: Of the Lease.
        duration: Seconds that others wait before they take it over.
        clock: Aware time; only for people to read, nobody decides by it.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        duration: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._duration = duration
        self._clock = clock

    def read(self) -> Lease | None:
        """As it is now; None when nobody has made it yet."""
        found = self._api.get(item(_VERSION, "Lease", self._namespace, self._name))
        if found is None:
            return None
        spec, version = found.get("spec") or {}, found["metadata"]["resourceVersion"]
        return Lease(
            spec.get("holderIdentity") or "", version, spec.get("acquireTime") or "", spec.get("leaseTransitions") or 0
        )

    def take(self, seen: Lease | None, identity: str) -> Lease:
        """Make it ours, or keep it ours, if it still is what was seen.

        Raises:
            Conflict: When somebody else was faster.
            Unavailable: When the API server does not answer.
        """
        now = self._now()
        if seen is None:
            return self._write(None, identity, now, 0)
        if seen.holder == identity:
            return self._write(seen, identity, seen.acquired or now, seen.transitions)
        return self._write(seen, identity, now, seen.transitions + 1)

    def give_back(self, seen: Lease) -> None:
        """Let others take it at once; raises as :meth:`take`."""
        self._write(seen, "", seen.acquired or self._now(), seen.transitions)

    def _now(self) -> str:
        return self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _write(self, seen: Lease | None, holder: str, acquired: str, transitions: int) -> Lease:
        body = {
            "apiVersion": _VERSION,
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace}
            | ({"resourceVersion": seen.version} if seen else {}),
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": max(round(self._duration), 1) if holder else 1,
                "acquireTime": acquired,
                "renewTime": self._now(),
                "leaseTransitions": transitions,
            },
        }
        if seen is None:
            written = self._api.request("POST", collection(_VERSION, "Lease", self._namespace), body=body)
        else:
            written = self._api.request("PUT", item(_VERSION, "Lease", self._namespace, self._name), body=body)
        return Lease(holder, written["metadata"]["resourceVersion"], acquired, transitions)
