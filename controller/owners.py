"""Who else writes a workload: GitOps tools, package managers, autoscalers. Pure, from the objects' own metadata."""

from __future__ import annotations

from dataclasses import dataclass

from controller.model import Resource, Workload

ARGO_TRACKING = "argocd.argoproj.io/tracking-id"
ARGO_MANAGER = "argocd"
"""How the names of Argo CD's field managers start; label tracking leaves no other trace that is Argo CD's alone."""
ARGO_SYNC_MANAGER = "argocd-controller"
"""Under this name Argo CD writes what it syncs."""
INSTANCE_LABEL = "app.kubernetes.io/instance"
"""Names the Application where Argo CD tracks by label. Charts set it too, so alone it says nothing."""
FLUX_LABELS = ("kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name")
HELM_RELEASE = "meta.helm.sh/release-name"
HELM_NAMESPACE = "meta.helm.sh/release-namespace"


@dataclass(frozen=True, slots=True)
class Owner:
    """Somebody whose wish for the object is not in the object itself.

    Attributes:
        tool: ``Argo CD``, ``Flux`` or ``Helm``.
        name: Of the Application, Kustomization or release; empty when only its tool can be told.
        namespace: Of the Helm release, or of an Application that is not in Argo CD's own namespace.
    """

    tool: str
    name: str = ""
    namespace: str = ""

    @property
    def reverts(self) -> bool:
        """Whether it takes back a change by itself, soon."""
        return self.tool != "Helm"

    @property
    def reason(self) -> str:
        """CamelCase constant for refusals: ``OwnedByArgoCD``."""
        return "OwnedBy" + self.tool.replace(" ", "")

    def __str__(self) -> str:
        return f"{self.tool} ({self.name})" if self.name else self.tool


def owner_of(resource: Resource) -> Owner | None:
    """The tool that keeps the object as a repository or a chart says; None when nothing points to one."""
    metadata = resource.get("metadata", {})
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    if ARGO_TRACKING in annotations:
        return _argocd(str(annotations[ARGO_TRACKING]).partition(":")[0])
    if any(str(entry.get("manager", "")).startswith(ARGO_MANAGER) for entry in metadata.get("managedFields") or ()):
        return _argocd(str(labels.get(INSTANCE_LABEL, "")))
    flux = next((labels[label] for label in FLUX_LABELS if label in labels), None)
    if flux is not None:
        return Owner("Flux", flux)
    if HELM_RELEASE in annotations:
        return Owner("Helm", annotations[HELM_RELEASE], annotations.get(HELM_NAMESPACE, ""))
    return None


def keeper_of(application: Resource) -> Owner | None:
    """The same of an Application, which Argo CD also writes without syncing it: status, normal form, clicks."""
    metadata = application["metadata"]
    synced = [one for one in metadata.get("managedFields") or () if one.get("manager") == ARGO_SYNC_MANAGER]
    return owner_of(application | {"metadata": metadata | {"managedFields": synced}})


def _argocd(instance: str) -> Owner:
    """Argo CD calls an Application of another namespace than its own ``namespace_name``."""
    namespace, _, name = instance.rpartition("_")
    return Owner("Argo CD", name, namespace)


def autoscaler_kind(autoscaler: Resource) -> str:
    """The kind, also of an item of a list, which carries none."""
    spec = autoscaler.get("spec", {})
    guess = "HorizontalPodAutoscaler" if "maxReplicas" in spec else "ScaledObject"
    return str(autoscaler.get("kind") or ("VerticalPodAutoscaler" if "targetRef" in spec else guess))


def autoscalers(workload: Workload, kind: str) -> tuple[Resource, ...]:
    """The target's autoscalers of one kind."""
    return tuple(found for found in workload.autoscalers if autoscaler_kind(found) == kind)
