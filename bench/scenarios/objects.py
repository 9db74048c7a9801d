"""Manifests of the scenarios: small, complete, and the same on both tiers."""

from __future__ import annotations

from typing import Any

from bench.client import Resource
from bench.images import FAULTY

VERSIONS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "Pod": "v1",
    "Node": "v1",
    "Namespace": "v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "Event": "events.k8s.io/v1",
    "PersistentVolumeClaim": "v1",
    "ResourceQuota": "v1",
    "LimitRange": "v1",
    "PodDisruptionBudget": "policy/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "Remediation": "aiops.example.com/v1alpha1",
    "SelfHealingPolicy": "aiops.example.com/v1alpha1",
    "RemediationApproval": "aiops.example.com/v1alpha1",
    "HealingConfig": "aiops.example.com/v1alpha1",
}
_PLURALS = {"SelfHealingPolicy": "selfhealingpolicies"}
FAULT = "bench.selfheal/fault"
"""Annotation by which kwok plays a fault; see bench/kwok.yaml."""


def path(kind: str, namespace: str = "", name: str = "") -> str:
    """The address of an object, or of a kind."""
    version = VERSIONS[kind]
    root = "/api/v1" if version == "v1" else f"/apis/{version}"
    plural = _PLURALS.get(kind, f"{kind.lower()}s")
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{inside}/{plural}" + (f"/{name}" if name else "")


def thing(kind: str, name: str, **more: Any) -> Resource:
    """An object of a kind."""
    return {"apiVersion": VERSIONS[kind], "kind": kind, "metadata": {"name": name}} | more


def container(
    command: str = "", *, image: str = FAULTY, memory: str = "64Mi", cpu: str = "200m", **more: Any
) -> Resource:
    """A container that runs a shell line, with the characters that shells need; it sleeps by default."""
    size = {"memory": memory, "cpu": cpu}
    run = {"command": ["/bin/sh", "-c", command or "echo begun > /tmp/begun && exec sleep 100000"]}
    resources = {"limits": size, "requests": {"memory": "16Mi" if memory == "64Mi" else memory, "cpu": "10m"}}
    return {"name": "app", "image": image, "resources": resources} | run | more


def workload(
    name: str = "cart", kind: str = "Deployment", *, replicas: int = 2, body: Resource | None = None, **pod: Any
) -> Resource:
    """A workload of one container; ``pod`` is more of the pod's spec."""
    labels = {"app": name}
    spec = {"containers": [body or container()], "terminationGracePeriodSeconds": 1, **pod}
    annotations = spec.pop("annotations", {})
    template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec}
    more: Resource = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    if kind == "StatefulSet":
        more["serviceName"] = name
    if kind == "DaemonSet":
        del more["replicas"]
    return {
        "apiVersion": VERSIONS[kind],
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": more,
    }


def policy(anomaly_type: str, action: str, **spec: Any) -> Resource:
    """The spec of a policy."""
    return {"anomalyType": anomaly_type, "action": action, "cooldownPeriod": "5s", **spec}


QUICK = {"verification": {"stabilizationPeriod": "5s", "timeout": "60s"}}
"""Verification where pods are played by kwok: they do not restart, so there is nothing to wait for."""


def opt_in(namespace: str) -> list[Resource]:
    """What an administrator does to have a namespace healed, and the namespace itself."""
    rbac = "rbac.authorization.k8s.io"
    labels = {"aiops.example.com/self-healing": "enabled"}
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "selfheal-healer", "namespace": namespace},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "selfheal-healer"},
        "subjects": [{"kind": "ServiceAccount", "name": "selfheal-controller", "namespace": "selfheal-system"}],
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}},
        binding,
    ]
