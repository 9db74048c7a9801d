"""rollback: the pod template of the newest revision that was healthy."""

from __future__ import annotations

from controller.differences import template_diff
from controller.eviction import broken_pods, evict, name_of
from controller.model import PlanRequest, Workload
from controller.owners import Owner, owner_of
from controller.patching import Path, edit_workload, patch_of, refuse_paused, undo_of
from controller.revisions import BAD_REVISIONS, Health, Revision, bare, history, is_current, with_bad
from selfheal.errors import Refused
from selfheal.policy import Action
from selfheal.remediation import Change

TEMPLATE: Path = ("spec", "template")
BAD: Path = ("metadata", "annotations", BAD_REVISIONS)


class Rollback:
    """Back to a revision of the history, nothing else: no other image, command or probe than one that was there."""

    name: Action = Action.ROLLBACK
    rights: tuple[tuple[str, str, str], ...] = (
        ("apps", "deployments", "patch"),
        ("apps", "statefulsets", "patch"),
        ("apps", "daemonsets", "patch"),
        ("", "pods/eviction", "create"),
    )

    def plan(self, request: PlanRequest) -> Change:
        """The older template, and the eviction of pods that would keep a StatefulSet waiting.

        Raises:
            Refused: ``NotRevisioned``, ``OwnedByArgoCD``, ``OwnedByFlux``, ``OwnedByHelm``, ``RolloutPaused``,
                ``OnlyOneRevision``, ``NoHealthyRevision`` or ``DisruptionBudget``.
        """
        workload = request.workload
        _refuse_strangers(request)
        refuse_paused(workload)
        revisions = history(workload)
        chosen = _choose(workload, revisions, request.parameters.rollback.search_depth)
        current = [revision.name for revision in revisions if is_current(workload, revision)]
        values = {TEMPLATE: chosen.template} | ({BAD: with_bad(workload, current)} if current else {})
        made = edit_workload(request, values)
        stuck = broken_pods(workload, but_of=chosen.labels)
        return Change(
            operations=(patch_of(workload, made), *map(evict, stuck)),
            diff=template_diff(bare(workload.resource["spec"]["template"]), chosen.template),
            undo=(undo_of(workload, made),),
            note=_note(chosen, [name_of(pod) for pod in stuck]),
            expected=made.expected,
        )


def _note(chosen: Revision, stuck: list[str]) -> str:
    note = f"Revision {chosen.number} ({chosen.name}): {chosen.evidence}."
    if stuck:
        note += f" These pods are evicted, since their controller would wait for them: {', '.join(stuck)}."
    return note


def _choose(workload: Workload, revisions: tuple[Revision, ...], depth: int) -> Revision:
    """The newest of the healthiest kind; never one that something speaks against."""
    older = [revision for revision in revisions if not is_current(workload, revision)]
    if not older:
        raise Refused("OnlyOneRevision", f"{workload.ref.workload} has no older revision: fix it with a new rollout")
    within = older[:depth]
    best = max(within, key=lambda revision: revision.health)
    if best.health is Health.BAD:
        seen = "; ".join(f"revision {revision.number}: {revision.evidence}" for revision in within)
        beyond = f" ({len(older) - depth} more lie beyond searchDepth)" if len(older) > depth else ""
        raise Refused("NoHealthyRevision", f"no older revision was healthy: {seen}{beyond}. Fix it with a new rollout")
    return best


def _refuse_strangers(request: PlanRequest) -> None:
    """Refuse where no history is kept, or where the history that counts is somebody else's."""
    workload = request.workload
    if workload.ref.kind not in ("Deployment", "StatefulSet", "DaemonSet"):
        raise Refused("NotRevisioned", f"Kubernetes keeps no older revisions of a {workload.ref.kind}")
    owner = owner_of(workload.resource)
    if owner is not None:
        raise Refused(owner.reason, f"{owner} owns the template of {workload.ref.workload}: {_advice(owner, request)}")


def _advice(owner: Owner, request: PlanRequest) -> str:
    if owner.tool == "Helm":
        namespace = owner.namespace or request.workload.ref.namespace
        return f"`helm rollback {owner.name} --namespace {namespace}` would be needed, so that Helm knows of it"
    asked = request.parameters.rollback.gitops
    cannot = "" if asked == "Never" else f" (`gitops: {asked}` needs the right to its repository, which is not given)"
    if owner.tool == "Argo CD":
        return f"run `git revert` for the bad commit, or `argocd app rollback {owner.name or 'APPLICATION'}`{cannot}"
    return f"run `git revert` for the bad commit, then `flux reconcile kustomization {owner.name}`{cannot}"
