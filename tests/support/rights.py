"""What the controller's ServiceAccount may do and must never be able to, and how a real API server is asked."""

from __future__ import annotations

import json

from bench.cluster import ApiCluster
from selfheal.policy import GROUP, SERVICE_ACCOUNT, SYSTEM_NAMESPACE

Right = tuple[str, str, str]
"""Verb, API group, resource with its subresource."""
RBAC = "rbac.authorization.k8s.io"

READS: list[Right] = [
    (verb, group, resource)
    for group, resource in (
        ("", "pods"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "controllerrevisions"),
        ("batch", "jobs"),
        ("policy", "poddisruptionbudgets"),
        (GROUP, "selfhealingpolicies"),
        (GROUP, "remediationapprovals"),
        (GROUP, "remediations"),
    )
    for verb in ("get", "list", "watch")
]
RECORDS: list[Right] = [
    ("create", GROUP, "remediations"),
    ("delete", GROUP, "remediations"),
    ("patch", GROUP, "remediations/status"),
    ("patch", GROUP, "selfhealingpolicies/status"),
    ("create", "events.k8s.io", "events"),
    ("create", "", "events"),
]
HEALS: list[Right] = [
    ("patch", "apps", "deployments"),
    ("patch", "apps", "statefulsets"),
    ("patch", "apps", "daemonsets"),
    ("patch", "apps", "deployments/scale"),
    ("patch", "apps", "statefulsets/scale"),
    ("patch", "autoscaling", "horizontalpodautoscalers"),
    ("patch", "", "pods/resize"),
    ("create", "", "pods/eviction"),
]
NEVER: list[Right] = [
    ("get", "", "secrets"),
    ("list", "", "secrets"),
    ("watch", "", "secrets"),
    ("create", "", "secrets"),
    ("get", "", "configmaps"),
    ("patch", "", "configmaps"),
    ("delete", "", "pods"),
    ("deletecollection", "", "pods"),
    ("create", "", "pods"),
    ("patch", "", "pods"),
    ("create", "", "pods/exec"),
    ("create", "", "pods/attach"),
    ("create", "", "pods/portforward"),
    ("get", "", "pods/log"),
    ("create", "", "serviceaccounts/token"),
    ("impersonate", "", "serviceaccounts"),
    ("patch", "", "services"),
    ("delete", "", "persistentvolumeclaims"),
    ("patch", "", "persistentvolumeclaims"),
    ("patch", "", "resourcequotas"),
    ("patch", "", "limitranges"),
    ("create", "apps", "deployments"),
    ("delete", "apps", "deployments"),
    ("delete", "apps", "statefulsets"),
    ("delete", "apps", "daemonsets"),
    ("delete", "apps", "replicasets"),
    ("patch", "apps", "replicasets"),
    ("delete", "batch", "jobs"),
    ("create", "batch", "jobs"),
    ("delete", "policy", "poddisruptionbudgets"),
    ("patch", "policy", "poddisruptionbudgets"),
    ("delete", "autoscaling", "horizontalpodautoscalers"),
    ("create", RBAC, "rolebindings"),
    ("patch", RBAC, "rolebindings"),
    ("create", RBAC, "roles"),
    ("patch", "networking.k8s.io", "networkpolicies"),
    ("create", GROUP, "selfhealingpolicies"),
    ("patch", GROUP, "selfhealingpolicies"),
    ("patch", GROUP, "remediations"),
    ("create", GROUP, "remediationapprovals"),
    ("patch", GROUP, "remediationapprovals"),
    ("get", "coordination.k8s.io", "leases"),
    ("get", "argoproj.io", "applications"),
    ("patch", "argoproj.io", "applications"),
    ("*", "*", "*"),
]
NEVER_ANYWHERE: list[Right] = [
    ("patch", "", "nodes"),
    ("delete", "", "nodes"),
    ("get", "", "nodes/proxy"),
    ("patch", "", "namespaces"),
    ("delete", "", "namespaces"),
    ("create", "", "namespaces"),
    ("patch", "", "persistentvolumes"),
    ("create", RBAC, "clusterrolebindings"),
    ("bind", RBAC, "clusterroles"),
    ("escalate", RBAC, "clusterroles"),
    ("patch", RBAC, "clusterroles"),
    ("patch", GROUP, "healingconfigs"),
    ("create", GROUP, "healingconfigs"),
    ("delete", "admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("patch", "admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
    ("patch", "apiextensions.k8s.io", "customresourcedefinitions"),
    ("create", "certificates.k8s.io", "certificatesigningrequests"),
]
LEASES: list[Right] = [(verb, "coordination.k8s.io", "leases") for verb in ("get", "create", "update", "patch")]


def allowed(cluster: ApiCluster, namespace: str, rights: list[Right]) -> set[Right]:
    """Those of the rights that the controller has in a namespace (empty: cluster-wide), in one request each."""
    reviews = [_review(namespace, right) for right in rights]
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews})
    said = cluster.kubectl("create", "-o", 'jsonpath={.status.allowed}{"\\n"}', "-f", "-", stdin=everything).split()
    return {right for right, answer in zip(rights, said, strict=True) if answer == "true"}


def _review(namespace: str, right: Right) -> dict[str, object]:
    verb, group, resource = right
    plural, _, sub = resource.partition("/")
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": plural, "subresource": sub}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}",
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{SYSTEM_NAMESPACE}", "system:authenticated"],
            "resourceAttributes": attributes,
        },
    }
