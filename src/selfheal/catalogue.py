"""The 23 PromQL queries as data.

Queries 1 to 16 are those the article published, to the letter; they are ``core``. The other seven are ours: five whose
names the article's authors mention, and two (``cpu_throttled_ratio``, ``memory_limit_ratio``) that the types
CPUThrottling and MemoryLeak need. Each query lists its PromQL forms in order of preference: OpenShift's recording rule
first, raw series for a plain kube-prometheus after it. The first form that returns data is the one that is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

__all__ = ["BY_NAME", "CATALOGUE", "CORE_NAMES", "Direction", "Query", "Scope", "catalogue_hash", "workload_metrics"]


class Scope(StrEnum):
    """What one series of a query describes. Only WORKLOAD metrics may drive an action on one workload."""

    WORKLOAD = "workload"
    NAMESPACE = "namespace"
    NODE = "node"
    CLUSTER = "cluster"


class Direction(StrEnum):
    """On which side a value is bad."""

    HIGH = "high"
    LOW = "low"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Query:
    """One metric of the catalogue.

    Attributes:
        number: 1 to 23; 1 to 16 are the article's.
        name: The metric's name in windows, models and verdicts.
        category: The article's heading.
        scope: What a series describes.
        forms: PromQL, the preferred form first.
        unit: Of the values.
        direction: On which side a value is bad.
        aggregate: How the pods of one workload become one series: ``sum`` for amounts of work, ``max`` for "the worst
            one", which a sum over replicas would hide.
        counter: Whether values only grow until something restarts; windows turn them into increases.
    """

    number: int
    name: str
    category: str
    scope: Scope
    forms: tuple[str, ...]
    unit: str
    direction: Direction = Direction.HIGH
    aggregate: str = "max"
    counter: bool = False

    @property
    def core(self) -> bool:
        """Whether it is one of the article's sixteen."""
        return self.number <= 16


_CPU = "node_namespace_pod_container:container_cpu_usage_seconds_total"
_BOX = 'container!="POD", container!=""'
_CODE = 'code=~"5.."'
_NET = 'interface!~"lo|veth.*|cali.*|cni.*|ovn.*|br.*|shbench.*"'
_ALL_REQUESTS = "sum(rate(apiserver_request_total[5m]))"
_ERRORS = f"sum(rate(apiserver_request_total{{{_CODE}}}[5m]))"

CATALOGUE: tuple[Query, ...] = (
    Query(
        number=1,
        name="node_memory_utilization",
        category="Resource",
        scope=Scope.NODE,
        forms=(
            "instance:node_memory_utilisation:ratio * 100",
            "(1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes) * 100",
        ),
        unit="percent",
    ),
    Query(
        number=2,
        name="pod_cpu_usage",
        category="Resource",
        scope=Scope.WORKLOAD,
        forms=(
            f"sum by (pod, namespace) ({_CPU}:sum_irate)",
            f"sum by (pod, namespace) ({_CPU}:sum_rate5m)",
            f"sum by (pod, namespace) (irate(container_cpu_usage_seconds_total{{{_BOX}}}[5m]))",
        ),
        unit="cores",
        direction=Direction.BOTH,
    ),
    Query(
        number=3,
        name="pod_memory_usage",
        category="Resource",
        scope=Scope.WORKLOAD,
        forms=(f"sum by (pod, namespace) (container_memory_working_set_bytes{{{_BOX}}})",),
        unit="bytes",
    ),
    Query(
        number=4,
        name="alt_cpu_usage",
        category="Resource",
        scope=Scope.WORKLOAD,
        forms=(f"sum(rate(container_cpu_usage_seconds_total{{{_BOX}}}[5m])) by (pod, namespace)",),
        unit="cores",
        direction=Direction.BOTH,
    ),
    Query(
        number=5,
        name="alt_memory_usage",
        category="Resource",
        scope=Scope.WORKLOAD,
        forms=(f"sum(container_memory_rss{{{_BOX}}}) by (pod, namespace)",),
        unit="bytes",
    ),
    Query(
        number=6,
        name="container_restart_count",
        category="Stability",
        scope=Scope.WORKLOAD,
        forms=("sum by (pod, namespace, container) (kube_pod_container_status_restarts_total)",),
        unit="restarts",
        counter=True,
    ),
    Query(
        number=7,
        name="container_restart_rate_1h",
        category="Stability",
        scope=Scope.WORKLOAD,
        forms=("sum by (pod, namespace) (increase(kube_pod_container_status_restarts_total[1h]))",),
        unit="restarts an hour",
    ),
    Query(
        number=8,
        name="deployment_unavailable",
        category="Stability",
        scope=Scope.WORKLOAD,
        forms=("sum by (deployment, namespace) (kube_deployment_status_replicas_unavailable)",),
        unit="replicas",
    ),
    Query(
        number=9,
        name="namespace_pod_count",
        category="Pod status",
        scope=Scope.NAMESPACE,
        forms=("sum by (namespace) (kube_pod_status_phase)",),
        unit="pods",
        direction=Direction.BOTH,
    ),
    Query(
        number=10,
        name="pods_pending",
        category="Pod status",
        scope=Scope.NAMESPACE,
        forms=('sum by (namespace) (kube_pod_status_phase{phase="Pending"})',),
        unit="pods",
    ),
    Query(
        number=11,
        name="pods_running",
        category="Pod status",
        scope=Scope.NAMESPACE,
        forms=('sum by (namespace) (kube_pod_status_phase{phase="Running"})',),
        unit="pods",
        direction=Direction.BOTH,
    ),
    Query(
        number=12,
        name="pods_failed",
        category="Pod status",
        scope=Scope.NAMESPACE,
        forms=('sum by (namespace) (kube_pod_status_phase{phase="Failed"})',),
        unit="pods",
    ),
    Query(
        number=13,
        name="persistent_volume_usage",
        category="Storage",
        scope=Scope.WORKLOAD,
        forms=("kubelet_volume_stats_used_bytes / kubelet_volume_stats_capacity_bytes * 100",),
        unit="percent",
    ),
    Query(
        number=14,
        name="cluster_resource_quota",
        category="Storage",
        scope=Scope.NAMESPACE,
        forms=(
            (
                'max by (namespace) (kube_resourcequota{type="used"}'
                ' / ignoring (type) (kube_resourcequota{type="hard"} > 0)) * 100'
            ),
        ),
        unit="percent",
    ),
    Query(
        number=15,
        name="apiserver_request_total",
        category="Control plane",
        scope=Scope.CLUSTER,
        forms=(_ALL_REQUESTS,),
        unit="requests a second",
        direction=Direction.BOTH,
    ),
    Query(
        number=16,
        name="apiserver_error_rate",
        category="Control plane",
        scope=Scope.CLUSTER,
        # Without errors the numerator has no series at all, which is a rate of zero and not a lack of data.
        forms=(f"({_ERRORS} or vector(0)) / {_ALL_REQUESTS} * 100",),
        unit="percent",
    ),
    Query(
        number=17,
        name="node_cpu_utilization",
        category="Resource",
        scope=Scope.NODE,
        forms=(
            "instance:node_cpu_utilisation:rate1m * 100",
            '(1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))) * 100',
        ),
        unit="percent",
    ),
    Query(
        number=18,
        name="node_disk_io",
        category="Resource",
        scope=Scope.NODE,
        forms=(
            "instance_device:node_disk_io_time_seconds:rate1m",
            "sum by (instance) (rate(node_disk_io_time_seconds_total[5m]))",
        ),
        unit="seconds busy a second",
    ),
    Query(
        number=19,
        name="node_network_traffic",
        category="Resource",
        scope=Scope.NODE,
        forms=(
            (
                f"sum by (instance) (rate(node_network_receive_bytes_total{{{_NET}}}[5m])"
                f" + rate(node_network_transmit_bytes_total{{{_NET}}}[5m]))"
            ),
        ),
        unit="bytes a second",
        direction=Direction.BOTH,
    ),
    Query(
        number=20,
        name="http_request_duration",
        category="Application",
        scope=Scope.WORKLOAD,
        forms=(
            "histogram_quantile(0.95, sum by (pod, namespace, le) (rate(http_request_duration_seconds_bucket[5m])))",
        ),
        unit="seconds",
    ),
    Query(
        number=21,
        name="etcd_performance",
        category="Control plane",
        scope=Scope.CLUSTER,
        forms=(
            "histogram_quantile(0.99, sum by (le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m])))",
            "histogram_quantile(0.99, sum by (le) (rate(etcd_request_duration_seconds_bucket[5m])))",
        ),
        unit="seconds",
    ),
    Query(
        number=22,
        name="cpu_throttled_ratio",
        category="Resource",
        scope=Scope.WORKLOAD,
        forms=(
            (
                f"sum by (pod, namespace) (rate(container_cpu_cfs_throttled_periods_total{{{_BOX}}}[5m]))"
                f" / (sum by (pod, namespace) (rate(container_cpu_cfs_periods_total{{{_BOX}}}[5m])) > 0) * 100"
            ),
        ),
        unit="percent of periods",
    ),
    Query(
        number=23,
        name="memory_limit_ratio",
        category="Resource",
        scope=Scope.WORKLOAD,
        # The worst container decides: the kernel kills by container, not by pod.
        forms=(
            (
                f"max by (pod, namespace) (container_memory_working_set_bytes{{{_BOX}}}"
                ' / on (namespace, pod, container) (kube_pod_container_resource_limits{resource="memory"} > 0)) * 100'
            ),
            (
                f"max by (pod, namespace) (container_memory_working_set_bytes{{{_BOX}}}"
                f" / (container_spec_memory_limit_bytes{{{_BOX}}} > 0)) * 100"
            ),
        ),
        unit="percent of the limit",
    ),
)
"""All queries, by number."""

BY_NAME: Mapping[str, Query] = MappingProxyType({query.name: query for query in CATALOGUE})
CORE_NAMES: tuple[str, ...] = tuple(query.name for query in CATALOGUE if query.core)


def workload_metrics(names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names`` that describe one workload; names the catalogue does not know are taken to do so."""
    return tuple(name for name in names if name not in BY_NAME or BY_NAME[name].scope is Scope.WORKLOAD)


def catalogue_hash(names: Iterable[str] | None = None) -> str:
    """Digest of the feature contract: what each metric is, and in which order a model sees them.

    Args:
        names: The metrics in use, in a model's order; all 23 by default. Names outside the catalogue (other people's
            metrics) count by their name alone.

    Returns:
        ``sha256:`` and 64 hex digits.
    """
    chosen = [query.name for query in CATALOGUE] if names is None else list(names)
    meaning = [
        [name, *([BY_NAME[name].scope, BY_NAME[name].unit, list(BY_NAME[name].forms)] if name in BY_NAME else [])]
        for name in chosen
    ]
    return "sha256:" + hashlib.sha256(json.dumps(meaning).encode()).hexdigest()
