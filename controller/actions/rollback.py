"""rollback: the pod template of the newest revision that was healthy; under Argo CD also through its Application."""

from __future__ import annotations

from datetime import datetime

from controller.argocd import GROUP
from controller.differences import template_diff, unset
from controller.eviction import broken_pods, evict, name_of
from controller.facts import created
from controller.leave import advice, lender, may_change, through_owner
from controller.model import PlanRequest, Resource, Workload
from controller.patching import Path, edit_workload, patch_of, refuse_paused, undo_of
from controller.revisions import BAD_REVISIONS, Health, Revision, bare, history, is_current, with_bad
from controller.syncing import sync_back
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
        (GROUP, "applications", "patch"),
    )

    def plan(self, request: PlanRequest) -> Change:
        """The older template, and the eviction of pods that would keep a StatefulSet waiting; or the older sync.

        Raises:
            Refused: ``NotRevisioned``, ``RolloutPaused``, ``OnlyOneRevision``, ``NoHealthyRevision``,
                ``DisruptionBudget``, ``OwnedByArgoCD``, ``NoOlderSync`` or ``SyncInProgress``.
        """
        workload = request.workload
        if workload.ref.kind not in ("Deployment", "StatefulSet", "DaemonSet"):
            raise Refused("NotRevisioned", f"Kubernetes keeps no older revisions of a {workload.ref.kind}")
        refuse_paused(workload)
        revisions = history(workload)
        chosen = _choose(workload, revisions, request.parameters.rollback.search_depth)
        broke = _broke(workload, revisions, chosen)
        now = bare(workload.resource["spec"]["template"])
        if through_owner(workload, request.parameters):
            return sync_back(request, broke, template_diff(now, chosen.template))
        _refuse_what_cannot_be_lent(workload, now, chosen, broke)
        current = [revision.name for revision in revisions if is_current(workload, revision)]
        values = {TEMPLATE: chosen.template} | ({BAD: with_bad(workload, current)} if current else {})
        made = edit_workload(request, values)
        stuck = broken_pods(workload, but_of=chosen.labels)
        diff = template_diff(now, chosen.template)
        return Change(
            operations=(patch_of(workload, made), *map(evict, stuck)),
            diff=diff,
            undo=(undo_of(workload, made),),
            note=_note(workload, chosen, [name_of(pod) for pod in stuck], broke),
            expected=made.expected,
            lent=tuple(line.partition(": ")[0] for line in diff.splitlines()) if lender(workload) else (),
        )


def _note(workload: Workload, chosen: Revision, stuck: list[str], broke: datetime | None) -> str:
    note = f"Revision {chosen.number} ({chosen.name}): {chosen.evidence}."
    if stuck:
        note += f" These pods are evicted, since their controller would wait for them: {', '.join(stuck)}."
    if who := lender(workload):
        note += f" Lent by {who}, until Git moves on."
    return f"{note} {advice(workload, Action.ROLLBACK, broke)}".rstrip()


def _broke(workload: Workload, revisions: tuple[Revision, ...], chosen: Revision) -> datetime | None:
    """When the first revision after the chosen one was made; None where that is not known."""
    later = [revision.name for revision in revisions if revision.number > chosen.number]
    made = {one["metadata"]["name"]: created(one) for one in workload.revisions}
    return made.get(later[-1]) if later else None


def _refuse_what_cannot_be_lent(workload: Workload, now: Resource, chosen: Revision, broke: datetime | None) -> None:
    """Argo CD leaves values alone that we have changed, but puts back what is missing."""
    gone = unset(now, chosen.template) if lender(workload) and may_change(workload) else []
    if gone:
        raise Refused(
            "OwnedByArgoCD",
            f"the older template of {workload.ref.workload} lacks {', '.join(gone)}, and Argo CD puts back what is "
            f"missing: its ignoreDifferences are about changed values only. {advice(workload, Action.ROLLBACK, broke)}",
        )


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
