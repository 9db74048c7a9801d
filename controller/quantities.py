"""How far a limit or a number of replicas may grow, and how quantities are written. Pure, exact decimals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Literal

from controller.model import Resource
from selfheal.policy import parse_quantity

ResourceName = Literal["memory", "cpu"]
MEBI = Decimal(1024) ** 2
MILLI = Decimal("0.001")
_UNIT: Mapping[ResourceName, Decimal] = {"memory": MEBI, "cpu": MILLI}
_OTHER_PODS = frozenset({"BestEffort", "Terminating"})
"""Scopes of ResourceQuotas that never count a pod with limits of a workload that runs on and on."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Something that a value must not exceed.

    Attributes:
        value: Cores or bytes.
        reason: CamelCase constant for the refusal.
        source: For people: who says so, with its own numbers.
    """

    value: Decimal
    reason: str
    source: str


def render(name: ResourceName, value: Decimal) -> str:
    """Write a quantity as people do: ``148Mi``, ``2Gi``, ``120m``, ``2``.

    Args:
        name: Which resource.
        value: Bytes or cores; rounded down to whole Mi or millicores.
    """
    units = int(rounded(name, value, up=False) / _UNIT[name])
    if name == "memory":
        return f"{units // 1024}Gi" if units and units % 1024 == 0 else f"{units}Mi"
    return str(units // 1000) if units and units % 1000 == 0 else f"{units}m"


def rounded(name: ResourceName, value: Decimal, *, up: bool) -> Decimal:
    """The next whole Mi or millicore above (or below) a value."""
    mode = ROUND_CEILING if up else ROUND_FLOOR
    return (value / _UNIT[name]).to_integral_value(mode) * _UNIT[name]


def quantity(table: Mapping[str, Any] | None, name: str) -> Decimal | None:
    """A quantity of a table such as ``limits``; None when it is not given."""
    found = (table or {}).get(name)
    return None if found is None else parse_quantity(found)


def limit_of(container: Resource, name: str) -> Decimal | None:
    """A container's limit."""
    return quantity((container.get("resources") or {}).get("limits"), name)


def request_of(container: Resource, name: str) -> Decimal | None:
    """A container's request; Kubernetes takes the limit where none is given."""
    given = quantity((container.get("resources") or {}).get("requests"), name)
    return limit_of(container, name) if given is None else given


def absolute(value: int | str, replicas: int) -> int:
    """A number of pods that may be written as a share of the replicas (``25%``), rounded up as ``maxSurge`` is."""
    text = str(value)
    return -(-int(text[:-1]) * replicas // 100) if text.endswith("%") else int(text)


def containers_of(pod_spec: Resource) -> list[Resource]:
    """Containers and init containers."""
    return [*(pod_spec.get("containers") or ()), *(pod_spec.get("initContainers") or ())]


def is_guaranteed(pod_spec: Resource) -> bool:
    """Whether pods of this spec have QoS class Guaranteed: requests equal limits, of memory and CPU, everywhere."""
    pairs = [(limit_of(one, name), request_of(one, name)) for one in containers_of(pod_spec) for name in _UNIT]
    return all(limit is not None and limit == request for limit, request in pairs)


def limit_range_ceilings(
    ranges: Iterable[Resource], pod_spec: Resource, container: Resource, name: ResourceName, *, raises_request: bool
) -> Iterator[Ceiling]:
    """What LimitRanges allow a container's limit to be.

    Args:
        ranges: LimitRanges of the namespace.
        pod_spec: The pod's, for maxima that count all its containers.
        container: Whose limit is to grow.
        name: Which resource.
        raises_request: Whether the request follows the limit; else the allowed ratio of the two is a ceiling.
    """
    others = sum(
        (limit_of(one, name) or Decimal(0) for one in pod_spec["containers"] if one is not container), Decimal(0)
    )
    request = request_of(container, name)
    for limit_range in ranges:
        who = f"LimitRange {limit_range['metadata']['name']}"
        for item in limit_range["spec"].get("limits") or ():
            top, ratio = quantity(item.get("max"), name), quantity(item.get("maxLimitRequestRatio"), name)
            if item["type"] == "Container" and top is not None:
                yield Ceiling(top, "OverLimitRange", f"{who} allows a container {render(name, top)}")
            if item["type"] == "Pod" and top is not None:
                yield Ceiling(top - others, "OverLimitRange", f"{who} allows a pod {render(name, top)}")
            if item["type"] == "Container" and ratio is not None and request is not None and not raises_request:
                yield Ceiling(request * ratio, "OverLimitRange", f"{who} allows a limit of {ratio}x the request")


def quota_ceilings(
    quotas: Iterable[Resource], bases: Mapping[str, Decimal], name: ResourceName, pods: int, surge: int
) -> Iterator[Ceiling]:
    """What ResourceQuotas leave for one container's limit, when all pods of the workload get it.

    Args:
        quotas: Of the namespace.
        bases: Quota key -> what each pod's container counts there now (``limits.memory`` -> 48Mi).
        name: Which resource.
        pods: How many pods grow.
        surge: How many more a rollout starts before old ones go.
    """
    for quota_name, key, hard, used in _entries(quotas):
        if key in bases:
            most = (hard - used + bases[key] * pods) / (pods + surge)
            left = f"{render(name, max(hard - used, Decimal(0)))} of {render(name, hard)} {key} left"
            yield Ceiling(most, "OverQuota", f"ResourceQuota {quota_name} has {left} for {pods + surge} pods")


def quota_shortage(quotas: Iterable[Resource], needs: Mapping[str, Decimal]) -> str:
    """What a ResourceQuota lacks for more pods; the empty text when nothing is short.

    Args:
        quotas: Of the namespace.
        needs: Quota key -> what the new pods would use.
    """
    for quota_name, key, hard, used in _entries(quotas):
        if needs.get(key, Decimal(0)) > hard - used:
            return (
                f"ResourceQuota {quota_name}: {key} used {_plain(used)} of {_plain(hard)}, {_plain(needs[key])} needed"
            )
    return ""


def pod_needs(pod_spec: Resource, pods: int) -> dict[str, Decimal]:
    """What a number of pods would count in ResourceQuotas, by quota key."""
    needs = {"pods": Decimal(pods), "count/pods": Decimal(pods)}
    for name in _UNIT:
        limits = sum((limit_of(one, name) or Decimal(0) for one in pod_spec["containers"]), Decimal(0))
        requests = sum((request_of(one, name) or Decimal(0) for one in pod_spec["containers"]), Decimal(0))
        needs |= {f"limits.{name}": limits * pods, f"requests.{name}": requests * pods, name: requests * pods}
    return needs


def _entries(quotas: Iterable[Resource]) -> Iterator[tuple[str, str, Decimal, Decimal]]:
    """Quota name, key, hard and used of all quotas that count such pods."""
    for quota in quotas:
        if _OTHER_PODS.isdisjoint(quota.get("spec", {}).get("scopes") or ()):
            status = quota.get("status") or {}
            for key, hard in (status.get("hard") or quota.get("spec", {}).get("hard") or {}).items():
                used = (status.get("used") or {}).get(key, "0")
                yield quota["metadata"]["name"], key, parse_quantity(hard), parse_quantity(used)


def _plain(value: Decimal) -> str:
    for suffix, size in (("Gi", MEBI * 1024), ("Mi", MEBI)):
        if value >= size:
            return f"{(value / size).quantize(Decimal('0.1')).normalize():f}{suffix}"
    return f"{value.normalize():f}"


def node_ceilings(nodes: Iterable[Resource], names: frozenset[str], name: ResourceName) -> Iterator[Ceiling]:
    """What the nodes have at all: a larger limit would never be reached, and a larger request never be placed.

    Args:
        nodes: Node objects.
        names: Of the nodes that matter; all when empty.
        name: Which resource.
    """
    for node in nodes:
        top = quantity((node.get("status") or {}).get("allocatable"), name)
        if top is not None and (not names or node["metadata"]["name"] in names):
            yield Ceiling(top, "OverNode", f"node {node['metadata']['name']} has {render(name, top)} allocatable")
