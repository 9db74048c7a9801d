"""Whether the undo of a fix that failed has worked: in the spec, and as far as it can be seen in the pods. Pure.

The spec has to be what it was within :data:`UNDO_TIMEOUT`. Then the workload's controller has to have seen it, and its
rollout back has to have got as far as it can: pods of the restored template are there, and none is still coming; a
resize of pods is reported back by their kubelets. What does not get there within the policy's ``verification.timeout``
is ``UndoUnverified``: nothing of ours is left in the spec, so that healing goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from controller.eviction import is_ready
from controller.facts import count, is_observed, spec_replicas
from controller.model import Finding, Judgement, Progress, Workload
from controller.releasing import is_restored
from controller.resizing import REVERTED, resizes_of
from controller.rollouts import coming, in_progress, moves, newest_pods
from controller.verification import settings_of
from selfheal.remediation import Attempt, Outcome, RemediationStatus, undo_of

UNDO_TIMEOUT = timedelta(seconds=30)
"""An undo is a write of values: the spec shows it at once, or something is wrong."""
SETTLING = "UndoSettling"
"""The spec is what it was, and the pods are on their way."""
UNVERIFIED = "UndoUnverified"


def written_at(status: RemediationStatus) -> datetime | None:
    """When the undo of the newest attempt was written or first seen; None before that."""
    undone, ended = status.times.undone, status.attempts[-1].ended_time
    return undone if undone is not None and ended is not None and undone >= ended else None


def is_undone(progress: Progress) -> Judgement:
    """Whether what the newest attempt touched is as it was."""
    status, now = progress.remediation.status, progress.now
    if progress.workload is None:
        return Judgement(Outcome.INCONCLUSIVE, (), "WorkloadGone")
    if not status.attempts or not undo_of(status.attempts[-1]):
        return Judgement(Outcome.SUCCESSFUL, (), "NothingToUndo", now)
    if is_restored(progress):
        return _settled(progress, progress.workload, status)
    if status.reason == SETTLING:
        changed = Finding("SpecRestored", None, "all that was touched was as it was, and somebody has changed it since")
        return Judgement(Outcome.INCONCLUSIVE, (changed,), UNVERIFIED)
    finding = Finding("SpecRestored", False, "what was touched is not as it was")
    late = now - (status.attempts[-1].ended_time or now) > UNDO_TIMEOUT
    return Judgement(Outcome.FAILED if late else None, (finding,), "NotRestored")


def _settled(progress: Progress, workload: Workload, status: RemediationStatus) -> Judgement:
    last, now = status.attempts[-1], progress.now
    if last.reason == REVERTED:
        theirs = Finding("SpecRestored", True, "what somebody changed is theirs, nothing of ours is left")
        return Judgement(Outcome.SUCCESSFUL, (theirs,), "Restored", now)
    restored = Finding("SpecRestored", True, "all that was touched is as it was")
    found = (restored, *_of_pods(progress, workload, last))
    if all(one.holds for one in found):
        return Judgement(Outcome.SUCCESSFUL, found, "Restored", now)
    late = now - (written_at(status) or now) >= settings_of(progress).timeout
    if late or all(one.holds is not False for one in found):
        return Judgement(Outcome.INCONCLUSIVE, found, UNVERIFIED)
    return Judgement(None, found, SETTLING)


def _of_pods(progress: Progress, workload: Workload, last: Attempt) -> Iterator[Finding]:
    """What the pods show of an undo; nothing where it touched none, as with an autoscaler."""
    operations = undo_of(last)
    mine = [one for one in operations if one.uid == workload.ref.uid]
    if mine and not is_observed(workload.resource):
        yield Finding("PodsRestored", False, "the workload's controller has not seen it yet")
    elif any(step["path"].startswith("/spec/template") for one in mine for step in one.patch):
        yield _rolled_back(progress, workload)
    elif any(one.verb == "Scale" for one in mine):
        yield _rescaled(workload)
    if any(one.verb == "Resize" for one in operations):
        unfinished = resizes_of(workload, operations)
        text = unfinished[0].message if unfinished else "the kubelets report the sizes from before"
        yield Finding("SizesRestored", unfinished is None, text)


def _rolled_back(progress: Progress, workload: Workload) -> Finding:
    spec = workload.resource["spec"]
    if spec.get("paused") or (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return Finding("PodsRestored", True, "its controller replaces no pods by itself now")
    new = newest_pods(workload)
    ready = sum(map(is_ready, new))
    every_node = workload.ref.kind == "DaemonSet"
    wanted = count(workload.resource, "desiredNumberScheduled") if every_node else spec_replicas(workload.resource)
    text = f"{len(new)} of {wanted} pods have the restored template, {ready} of them are ready"
    if wanted and moves(workload, progress.symptoms):
        return Finding("PodsRestored", False, f"{text}; its rollout goes on")
    starting = coming(new, progress.symptoms)
    if starting:
        return Finding("PodsRestored", False, f"{text}; {starting[0]['metadata']['name']} starts")
    if wanted and not new:
        return Finding("PodsRestored", None, f"{text}; its rollout does not go on")
    return Finding("PodsRestored", True, text)


def _rescaled(workload: Workload) -> Finding:
    there, wanted = count(workload.resource, "replicas"), spec_replicas(workload.resource)
    text = f"{there} pods are there, {wanted} are wanted"
    return Finding("PodsRestored", there == wanted or (there > wanted and in_progress(workload)), text)
