"""restart: all pods by a rollout, or the one worst pod by an eviction."""

from __future__ import annotations

from controller.eviction import broken_pods, check_budgets, evict, is_live, is_ready, name_of, restarts
from controller.model import PlanRequest, Resource
from controller.patching import Path, edit_workload, line, look, patch_of, refuse_paused, undo_of
from controller.rollouts import moves
from selfheal.errors import Refused
from selfheal.policy import GROUP, Action
from selfheal.remediation import Change

RESTARTED_BY = f"{GROUP}/restarted-by"
"""On the pod template: the mark of the remediation that restarted the pods (a new value makes a rollout)."""
RESTARTED: Path = ("spec", "template", "metadata", "annotations", RESTARTED_BY)


class Restart:
    """Rollout replaces all pods by the workload's own strategy; Evict only the worst pod."""

    name: Action = Action.RESTART
    rights: tuple[tuple[str, str, str], ...] = (
        ("apps", "deployments", "patch"),
        ("apps", "statefulsets", "patch"),
        ("apps", "daemonsets", "patch"),
        ("", "pods/eviction", "create"),
    )

    def plan(self, request: PlanRequest) -> Change:
        """A rollout or one eviction, as ``strategy`` says.

        Raises:
            Refused: ``NotRestartable``, ``RolloutPaused``, ``RolloutInProgress``, ``OnDelete``, ``NoPod``,
                ``OnlyReadyPod`` or ``DisruptionBudget``.
        """
        kind = request.workload.ref.kind
        if kind not in ("Deployment", "StatefulSet", "DaemonSet"):
            raise Refused("NotRestartable", f"a {kind} runs to its end by itself: create it anew to run it again")
        return _evict_worst(request) if request.parameters.restart.strategy == "Evict" else _roll_out(request)


def _roll_out(request: PlanRequest) -> Change:
    workload = request.workload
    refuse_paused(workload)
    if (workload.resource["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        raise Refused(
            "OnDelete",
            f"{workload.ref.workload} replaces pods only when they are deleted: use restart with `strategy: Evict`",
        )
    if moves(workload, (request.symptom,) if request.symptom else ()):
        raise Refused(
            "RolloutInProgress",
            f"a rollout of {workload.ref.workload} goes on and replaces its pods anyway: wait for its end",
        )
    made = edit_workload(request, {RESTARTED: request.mark})
    stuck = broken_pods(workload)
    note = "All pods are replaced by the workload's own strategy; undoing it replaces them once more."
    if stuck:
        note += f" A StatefulSet waits for broken pods, so these are evicted: {', '.join(map(name_of, stuck))}."
    return Change(
        operations=(patch_of(workload, made), *map(evict, stuck)),
        diff=line(f"template annotation {RESTARTED_BY}", look(workload.resource, RESTARTED), request.mark),
        undo=(undo_of(workload, made),),
        note=note,
        expected=made.expected,
    )


def _evict_worst(request: PlanRequest) -> Change:
    workload = request.workload
    live = [pod for pod in workload.pods if is_live(pod)]
    if not live:
        raise Refused("NoPod", f"{workload.ref.workload} has no pod that could be evicted")
    worst = min(live, key=lambda pod: _rank(pod, request.symptom.pod if request.symptom else ""))
    if is_ready(worst) and sum(map(is_ready, live)) == 1:
        raise Refused(
            "OnlyReadyPod",
            f"pod {name_of(worst)} is the only ready one: restart with `strategy: Rollout`, or add a replica",
        )
    check_budgets(worst, workload.disruption_budgets)
    return Change(
        operations=(evict(worst),),
        diff=line(f"pod {name_of(worst)}", "not ready" if not is_ready(worst) else "ready", "evicted"),
        note=f"The {workload.ref.kind}'s controller replaces pod {name_of(worst)}; nothing needs to be taken back.",
    )


def _rank(pod: Resource, sick: str) -> tuple[bool, bool, int, str, str]:
    """The worst first: not ready, the one that shows the symptom, most restarts, the oldest (a leak grows with age)."""
    metadata = pod["metadata"]
    return is_ready(pod), name_of(pod) != sick, -restarts(pod), metadata.get("creationTimestamp", ""), name_of(pod)
