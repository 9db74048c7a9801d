"""What an Argo CD Application says about a workload: whether our writes are left alone, and what was synced when. Pure.

Facts were measured with Argo CD v3.2.0 (docs/gitops.md). An Application that is not known is None, and gives no leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

import yaml

from controller.facts import moment
from controller.model import Resource, Workload
from controller.owners import keeper_of, owner_of
from selfheal.policy import FIELD_MANAGER

API_VERSION = "argoproj.io/v1alpha1"
KIND = "Application"
GROUP = "argoproj.io"
SETTINGS = "argocd-cm"
"""The ConfigMap with Argo CD's settings, in its own namespace."""
_HERE = ("https://kubernetes.default.svc", "in-cluster")
"""What an Application calls the cluster in which Argo CD runs, by server and by name."""
_IGNORED = "resource.customizations.ignoreDifferences."


@dataclass(frozen=True, slots=True)
class Deployed:
    """One entry of an Application's history.

    Attributes:
        id: As ``argocd app rollback`` takes it.
        revision: Of the repository.
        started: When the sync began; None where that is not known.
        source: What was synced: repository, path and parameters.
    """

    id: int
    revision: str
    started: datetime | None
    source: Resource

    def is_like(self, other: Deployed) -> bool:
        """Whether both brought the same manifests."""
        return self.revision == other.revision and self.source == other.source


ENDED = frozenset({"Succeeded", "Failed", "Error"})
"""Phases of a sync that goes on no more."""


def owns(application: Resource, workload: Workload) -> bool:
    """Whether the Application itself says that it has the workload, here: an annotation alone anybody can write."""
    destination = (application.get("spec") or {}).get("destination") or {}
    if destination.get("server") != _HERE[0] and destination.get("name") != _HERE[1]:
        return False
    group, ref = workload.ref.api_version.rpartition("/")[0], workload.ref
    wanted = (group, ref.kind, ref.namespace, ref.name)
    return any(_identity(one) == wanted for one in resources(application))


def _identity(one: Resource) -> tuple[str, str, str, str]:
    return one.get("group", ""), one.get("kind", ""), one.get("namespace", ""), one.get("name", "")


def resources(application: Resource) -> tuple[Resource, ...]:
    """All that the Application has in the cluster, as its status lists it."""
    return tuple((application.get("status") or {}).get("resources") or ())


def full_name(application: Resource) -> str:
    """``namespace/name``."""
    metadata = application["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"


def ignores_us(workload: Workload) -> bool:
    """Whether Argo CD leaves values alone that our field manager has changed in the workload."""
    if workload.application is None:
        return False
    spec, group, ref = workload.application.get("spec") or {}, workload.ref.api_version.rpartition("/")[0], workload.ref
    for one in spec.get("ignoreDifferences") or ():
        kinds = fnmatchcase(group, str(one.get("group", ""))) and fnmatchcase(ref.kind, str(one.get("kind", "")))
        names = one.get("name") in (None, "", ref.name) and one.get("namespace") in (None, "", ref.namespace)
        if kinds and names and FIELD_MANAGER in (one.get("managedFieldsManagers") or ()):
            return True
    return any(FIELD_MANAGER in managers for managers in _everywhere(workload.argocd, group, ref.kind))


def _everywhere(settings: Resource | None, group: str, kind: str) -> Iterator[list[str]]:
    """Managers whose changes Argo CD leaves alone in every Application; what cannot be read gives no leave."""
    data = (settings or {}).get("data") or {}
    for key in ("all", f"{group}_{kind}"):
        try:
            found: Any = yaml.safe_load(str(data.get(_IGNORED + key) or ""))
        except yaml.YAMLError:
            continue
        managers = found.get("managedFieldsManagers") if isinstance(found, dict) else None
        if isinstance(managers, list):
            yield managers


def history(application: Resource) -> tuple[Deployed, ...]:
    """What was synced, the newest first; entries of several sources have no revision of their own and are left out."""
    entries = (application.get("status") or {}).get("history") or ()
    found = (
        Deployed(
            int(one.get("id", 0)), str(one["revision"]), moment(one.get("deployStartedAt")), one.get("source") or {}
        )
        for one in entries
        if one.get("revision")
    )
    return tuple(found)[::-1]


def before(application: Resource, broke: datetime) -> tuple[Deployed, Deployed] | None:
    """Which sync brought what broke, and the last one with other manifests before it.

    Args:
        application: The Application.
        broke: When the first revision of the workload that does not work was created.

    Returns:
        The culprit and the one before it; None where the history does not go back so far.
    """
    deployed = history(application)
    since = [one for one in deployed if one.started is not None and one.started <= broke]
    if not since:
        return None
    older = next((one for one in since[1:] if not one.is_like(since[0])), None)
    return None if older is None else (since[0], older)


def is_syncing(application: Resource) -> bool:
    """Whether a sync is asked for or goes on."""
    state = (application.get("status") or {}).get("operationState") or {}
    return "operation" in application or (state.get("phase") or "Succeeded") not in ENDED


def revision(application: Resource) -> str:
    """The revision of the repository that Argo CD compares with now; the empty text while it is not known."""
    sync = (application.get("status") or {}).get("sync") or {}
    return str(sync.get("revision") or ",".join(sync.get("revisions") or ()))


def automated(application: Resource) -> Resource | None:
    """``spec.syncPolicy.automated``; None where Argo CD syncs only when told to."""
    found: Resource | None = ((application.get("spec") or {}).get("syncPolicy") or {}).get("automated")
    return found


def lines_to_add(workload: Workload) -> str:
    """What makes Argo CD leave our changes of the workload alone, to be added to its Application."""
    group, kind = workload.ref.api_version.rpartition("/")[0], workload.ref.kind
    return (
        "to let selfheal change it, add to the Application: "
        f"spec.ignoreDifferences: [{{group: {group}, kind: {kind}, managedFieldsManagers: [{FIELD_MANAGER}]}}]"
    )


def commands(workload: Workload, broke: datetime | None) -> str:
    """What a person would run to go back to what worked, as exactly as the Application's history tells."""
    owner, application = owner_of(workload.resource), workload.application
    name = (owner.name if owner else "") or "APPLICATION"
    name = f"{owner.namespace}/{name}" if owner and owner.namespace else name
    found = before(application, broke) if application is not None and broke is not None else None
    if application is None or found is None:
        return f"run `git revert` for the bad commit, or `argocd app rollback {name}`"
    culprit, older = found
    repository = quoted_url(culprit.source) or "its repository"
    manual = f"argocd app set {name} --sync-policy none && " if automated(application) is not None else ""
    return (
        f"run `git revert {older.revision}..{culprit.revision}` in {repository}, "
        f"or `{manual}argocd app rollback {name} {older.id}`"
    )


def quoted_url(source: Resource) -> str:
    """Where a repository is, without credentials, which some people write into its URL."""
    url = str(source.get("repoURL") or "")
    scheme, mark, rest = url.rpartition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else url


def stands_alone(application: Resource, namespace: str) -> str:
    """Why the Application may not be changed for the sake of one workload; the empty text where it may.

    Args:
        application: The Application.
        namespace: Of the workload: all that a rollback of the Application changes has to be in there.
    """
    name = full_name(application)
    above = next(iter(application["metadata"].get("ownerReferences") or ()), None)
    if above is not None:
        return f"Application {name} is made by {above.get('kind')} {above.get('name')}, which would set it back"
    owner = keeper_of(application)
    if owner is not None:
        return f"Application {name} is itself kept by {owner}, which would set it back"
    if (application.get("spec") or {}).get("sources"):
        return f"Application {name} has several sources, and no single revision to go back to"
    outside = [
        one for one in resources(application) if one.get("namespace", "") != namespace and not _is(one, namespace)
    ]
    if outside:
        what = f"{outside[0].get('kind')} {outside[0].get('namespace', '')}/{outside[0].get('name')}".replace(" /", " ")
        return f"Application {name} has more than namespace {namespace} ({what}), and all of it would go back"
    return ""


def _is(one: Resource, namespace: str) -> bool:
    """Whether an entry is the namespace itself."""
    return one.get("kind") == "Namespace" and one.get("name") == namespace
