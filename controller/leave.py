"""Whether the tool that owns a workload lets us change it, and what people have to add or run where it does not. Pure.

What Git does not own needs nobody's leave: an eviction, a restart and a resize in place (design gitops.md).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from controller.argocd import KIND, commands, full_name, ignores_us, lines_to_add, stands_alone
from controller.model import Workload
from controller.owners import Owner, owner_of
from selfheal.policy import Action, Parameters
from selfheal.remediation import Change

_FREE_PATHS = ("/metadata/annotations", "/spec/template/metadata/annotations")
"""Where no manifest of Git's stands in our way: marks of our own, and what a restart writes."""
_FREE: Final = frozenset({Action.RESTART, Action.NOTIFY_ONLY, Action.ADJUST_RESOURCES})
"""Actions that leave alone what is the owner's, or plan without it."""


def why_not(workload: Workload, action: Action, parameters: Parameters) -> str:
    """Why an action may not be carried out for the sake of who owns the workload; the empty text where it may.

    Args:
        workload: The target, with its Application where that may be read.
        action: What a policy wants to do.
        parameters: The policy's: a rollback may go through the owner.
    """
    owner = owner_of(workload.resource)
    if owner is None or action in _FREE:
        return ""
    if action is Action.ROLLBACK and through_owner(workload, parameters):
        return ""
    if owner.tool == "Argo CD":
        return _of_argocd(owner, workload, action, parameters)
    return f"{owner} owns {_part(action)} of {workload.ref.workload}"


def through_owner(workload: Workload, parameters: Parameters) -> bool:
    """Whether a rollback goes through the Application: the policy wants it, and that touches nothing else."""
    application = workload.application
    if application is None or parameters.rollback.gitops != "Application":
        return False
    return not stands_alone(application, workload.ref.namespace)


def fits(change: Change, workload: Workload, parameters: Parameters) -> bool:
    """Whether a plan goes the way that is open now: leave can be given or taken between the plan and the write.

    Args:
        change: The plan.
        workload: The target as it is now.
        parameters: The policy's.
    """
    if any(one.kind == KIND for one in change.operations):
        return through_owner(workload, parameters)
    writes = [step["path"] for one in change.operations if one.uid == workload.ref.uid for step in one.patch]
    return may_change(workload) or all(path.startswith(_FREE_PATHS) for path in writes)


def may_change(workload: Workload) -> bool:
    """Whether what a manifest says of the workload is ours to change: nobody puts it back, or we have its leave."""
    owner = owner_of(workload.resource)
    return owner is None or not owner.reverts or ignores_us(workload)


def _of_argocd(owner: Owner, workload: Workload, action: Action, parameters: Parameters) -> str:
    text = f"{owner} owns {_part(action)} of {workload.ref.workload}"
    if workload.application is None:
        return f"{text}. Its Application does not list it, or may not be read (manifests/argocd/read.yaml)"
    wanted = parameters.rollback.gitops if action is Action.ROLLBACK else "Never"
    if wanted == "Application":
        return stands_alone(workload.application, workload.ref.namespace)
    if wanted == "Revert":
        return f"{text}, and `gitops: Revert` is not carried out by this version"
    return "" if ignores_us(workload) else f"{text} and would put it back"


def _part(action: Action) -> str:
    return "the replicas" if action is Action.SCALE else "the template"


def advice(workload: Workload, action: Action, broke: datetime | None = None) -> str:
    """What people can do in the owner's stead or for its leave; the empty text where nobody owns the workload.

    Args:
        workload: The target.
        action: What a policy wants to do.
        broke: When the first revision that does not work was created, where that is known.
    """
    owner = owner_of(workload.resource)
    if owner is None:
        return ""
    if owner.tool == "Helm":
        namespace = owner.namespace or workload.ref.namespace
        return f"`helm rollback {owner.name} --namespace {namespace}` would be needed, so that Helm knows of it."
    back = action is Action.ROLLBACK
    if owner.tool == "Flux":
        first = "Run `git revert` for the bad commit" if back else "Change it in its repository"
        return f"{first}, then `flux reconcile kustomization {owner.name}`."
    instead = commands(workload, broke) if back else "change it in its repository"
    lines = f"; {lines_to_add(workload)}" if workload.application is not None and not ignores_us(workload) else ""
    return f"{instead[0].upper()}{instead[1:]}{lines}."


def lender(workload: Workload) -> str:
    """Who lends what we change in the workload; the empty text where nobody has to."""
    owner = owner_of(workload.resource)
    lends = owner is not None and owner.reverts and ignores_us(workload)
    return f"{owner} by {full_name(workload.application)}" if lends and workload.application is not None else ""
