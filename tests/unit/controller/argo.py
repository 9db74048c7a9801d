"""Builders of Argo CD's objects, as the API server returns them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from controller.model import Resource, Workload
from tests.unit.controller.objects import ago, stamp
from tests.unit.controller.records import bad_rollout

TRACKED = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/cart"}
LEAVE = {"group": "apps", "kind": "Deployment", "managedFieldsManagers": ["selfheal-controller"]}
AUTOMATED = {"prune": True, "selfHeal": True}
CART = {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "shop", "name": "cart"}


def entry(number: int, revision: str, started: datetime, **source: Any) -> Resource:
    """One sync of the history."""
    where = {"repoURL": "https://me:secret@git.example/shop.git", "path": ".", "targetRevision": "main", **source}
    return {"id": number, "revision": revision, "deployStartedAt": stamp(started), "source": where}


HISTORY = [
    entry(0, "aaa", ago(minutes=50)),
    entry(1, "bbb", ago(minutes=3)),
]


def application(
    *,
    ignores: list[Resource] | None = None,
    automated: Resource | None = AUTOMATED,
    history: list[Resource] | None = None,
    resources: list[Resource] | None = None,
    revision: str = "bbb",
    state: Resource | None = None,
    **more: Any,
) -> Resource:
    """An Application that has the Deployment ``cart`` and is synced."""
    policy = {"syncOptions": ["CreateNamespace=true"]} | ({} if automated is None else {"automated": automated})
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop", "namespace": "argocd", "uid": "uid-shop", **more.pop("metadata", {})},
        "spec": {
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
            "syncPolicy": policy,
            "ignoreDifferences": ignores or [],
            **more.pop("spec", {}),
        },
        "status": {
            "sync": {"status": "Synced", "revision": revision},
            "history": HISTORY if history is None else history,
            "resources": [CART] if resources is None else resources,
            "operationState": state or {"phase": "Succeeded"},
        },
    } | more


def owned(workload: Workload, found: Resource | None = None, settings: Resource | None = None) -> Workload:
    """A workload that Argo CD tracks, with its Application where that is given."""
    metadata = workload.resource["metadata"]
    annotations = {**(metadata.get("annotations") or {}), **TRACKED}
    resource = workload.resource | {"metadata": metadata | {"annotations": annotations}}
    return replace(workload, resource=resource, application=found, argocd=settings)


def bad_image(image: str = "registry.local/shop:2") -> Workload:
    """A Deployment whose second revision has another image than the first, and crash-loops."""
    found = bad_rollout()
    for one in (found.resource, found.revisions[0]):
        (container,) = one["spec"]["template"]["spec"]["containers"]
        del container["command"]
        container["image"] = image
    return found
