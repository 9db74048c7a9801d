"""Where objects live in the API server: kind to URL path. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from selfheal.policy import API_VERSION


@dataclass(frozen=True, slots=True)
class Key:
    """A workload by name: ``namespace/Kind/name``, as the endpoint and the queue call it."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """The reverse of ``str``."""
        namespace, kind, name = text.split("/")
        return cls(namespace, kind, name)


WORKLOAD_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "Deployment": "apps/v1",
        "StatefulSet": "apps/v1",
        "DaemonSet": "apps/v1",
        "Job": "batch/v1",
        "CronJob": "batch/v1",
    }
)
"""Kinds that can be healed, with their API version."""

_PLURALS: Mapping[str, str] = MappingProxyType(
    {"SelfHealingPolicy": "selfhealingpolicies", "NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}
)
_CLUSTER_SCOPED = frozenset({"Namespace", "Node", "HealingConfig"})


def collection(api_version: str, kind: str, namespace: str = "") -> str:
    """Path of all objects of a kind, in one namespace or in all."""
    group = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    plural = _PLURALS.get(kind, kind.lower() + "s")
    inside = f"/namespaces/{namespace}" if namespace and kind not in _CLUSTER_SCOPED else ""
    return f"{group}{inside}/{plural}"


def item(api_version: str, kind: str, namespace: str, name: str, sub: str = "") -> str:
    """Path of one object or of a subresource of it."""
    return f"{collection(api_version, kind, namespace)}/{name}" + (f"/{sub}" if sub else "")


def own(kind: str, namespace: str = "", name: str = "", sub: str = "") -> str:
    """Path of our own kinds."""
    return item(API_VERSION, kind, namespace, name, sub) if name else collection(API_VERSION, kind, namespace)
