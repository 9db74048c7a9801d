"""Takes an open Remediation step by step: plan, try dry, store, write, verify, undo, finish.

Every step begins with the Remediation as the API server has it and ends with its new status there, so that any replica
goes on after a crash. What a crash can lose is the record of a write that was made; then the write is found done and
is not made again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controller.actions import ACTIONS
from controller.applied import announced, is_begun
from controller.cluster import Cluster, Key
from controller.consent import answer_to
from controller.coordination import storm
from controller.history import beyond_limit
from controller.incidents import ended, written
from controller.logs import log
from controller.model import (
    Apply,
    Conclude,
    Finish,
    Judgement,
    PlanRequest,
    Progress,
    Propose,
    Step,
    Undo,
    Wait,
    Workload,
)
from controller.observe import World, read_config, target_key
from controller.reconcile import advance
from controller.releasing import undo_now
from controller.status import remediation_status_after
from controller.symptoms import symptoms
from controller.telling import Teller
from controller.verdicts import Verdict, Verdicts
from selfheal.errors import Conflict, PermanentError, Refused, SelfhealError, TemporaryError
from selfheal.policy import Action, AnomalyType, HealingConfig, Policy
from selfheal.remediation import (
    Attempt,
    AttemptResult,
    Change,
    Operation,
    Outcome,
    Remediation,
    RemediationStatus,
    Source,
    undo_of,
)

_MOST_STEPS = 20  # taken in one go; more would be a loop
_AT_ONCE = 0.0  # seconds: the next step follows
_RETRY = 2.0  # seconds until a step that failed for the moment is tried again
_DROP = Conclude(AttemptResult.ERROR, Judgement(Outcome.ERROR, (), "PolicyChanged"))
_SOONEST = 0.5  # seconds: a deadline that is due is not polled faster


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of trying a step."""

    change: Change | None = None
    dry_run: str = ""
    error: SelfhealError | None = None


class Stepper:
    """Executes what ``advance`` says.

    Args:
        cluster: Reads and writes.
        world: What the watches told.
        verdicts: The endpoint's answers.
        teller: Told about every step.
        clock: Aware time; tests put their own in.
    """

    def __init__(
        self, cluster: Cluster, world: World, verdicts: Verdicts, teller: Teller, clock: Callable[[], datetime]
    ) -> None:
        self._cluster = cluster
        self._world = world
        self._verdicts = verdicts
        self._teller = teller
        self._clock = clock

    def run(self, remediation: Remediation) -> float | None:
        """Take all steps that are due.

        Returns:
            Seconds until the next one is; None when it is complete or gone, or waits for an event.

        Raises:
            TemporaryError: The API server does not answer, or somebody wrote first: the queue calls again.
        """
        for _ in range(_MOST_STEPS):
            found = self._cluster.records.remediation(remediation.namespace, remediation.name)
            if found is None:
                self._world.forget_remediation(remediation)
                return None
            if not found.is_open:
                self._world.keep(found)
                self.prune(found.spec.policy_ref.uid)
                return None
            delay = self._step(found)
            if delay != _AT_ONCE:
                return delay
        return _RETRY

    def _step(self, remediation: Remediation) -> float | None:
        """One step; seconds until the next, None where only an event or the resync brings it on."""
        progress = self._progress(remediation)
        step = advance(progress)
        if isinstance(step, Apply):
            progress = self._policy_now(progress)
            step = _DROP if is_outdated(progress) else advance(progress)
        if isinstance(step, Apply):
            progress = self._announce(progress)
        done = self._execute(progress, step)
        if done.error is not None:
            self._log_error(progress, step, done.error)
        status = remediation_status_after(progress, step, change=done.change, dry_run=done.dry_run, error=done.error)
        self._store(progress, status)
        if isinstance(step, Wait):
            return self._delay(step, progress.now)
        again = isinstance(done.error, TemporaryError) and not isinstance(done.error, Conflict)
        return _RETRY if again else _AT_ONCE

    def _delay(self, step: Wait, now: datetime) -> float | None:
        """Seconds until a step is due; None where its moment is past: only an event, or the resync, brings it on."""
        left = (step.until - now).total_seconds()
        return None if left < 0 else max(_SOONEST, left)

    def _policy_now(self, progress: Progress) -> Progress:
        """With the policy as the API server has it: a watch can be late, or miss a deletion."""
        ref = progress.remediation.spec.policy_ref
        namespace = ref.namespace or progress.remediation.namespace
        found = self._cluster.records.policy(namespace, ref.name)
        if found is None:
            self._world.drop("SelfHealingPolicy", {"metadata": {"namespace": namespace, "name": ref.name}})
        else:
            self._world.put("SelfHealingPolicy", found)
        return replace(progress, policy=self._world.policy_of(ref))

    def _progress(self, remediation: Remediation) -> Progress:
        key = target_key(remediation)
        workload = self._cluster.read.workload(key)
        if workload is not None and workload.ref.uid != remediation.spec.target.uid:
            workload = None
        if workload is not None:
            workload = self._world.remembering(key, workload)
        now = self._clock()
        verdict, throttling = self._seen_by_the_endpoint(remediation, key, workload)
        answer = answer_to(remediation.status, self._world.answers(remediation))
        config = read_config(self._cluster.records.config())
        return Progress(
            remediation=remediation,
            policy=self._world.policy_of(remediation.spec.policy_ref),
            workload=workload,
            symptoms=symptoms(workload, now) if workload else (),
            prediction=verdict.prediction if verdict else None,
            approval=answer.approval if answer else None,
            answered=answer.given if answer else None,
            config=config,
            now=now,
            predicted=verdict.end if verdict else None,
            throttling=throttling,
            storm=self._storm(config, now),
        )

    def _storm(self, config: HealingConfig, now: datetime) -> str:
        """Why no change may begin now; an open Remediation is as sick as any, and is counted by nobody else."""
        self._world.look_for_storm(config, now)
        return storm(config, *self._world.unhealthy(), self._world.last_storm, now)

    def _seen_by_the_endpoint(
        self, remediation: Remediation, key: Key, workload: Workload | None
    ) -> tuple[Verdict | None, float | None]:
        """Its newest verdict; while a fix of what only it saw is verified, one that rests on what came after."""
        status, spec = remediation.status, remediation.spec
        verifying = bool(status.attempts) and status.attempts[-1].result is AttemptResult.APPLIED
        since = status.times.applied
        if workload is None or since is None or not verifying or spec.verdict.source is not Source.ENSEMBLE:
            return self._verdicts.newest(str(key)), None
        throttled = spec.anomaly.type is AnomalyType.CPU_THROTTLING
        return self._verdicts.renewed(workload), self._verdicts.throttling(workload, since) if throttled else None

    def _announce(self, progress: Progress) -> Progress:
        """Store that a write which leaves no trace is about to be made."""
        status = announced(progress.remediation.status, progress.now)
        if status == progress.remediation.status:
            return progress
        stored = self._cluster.records.write_status(progress.remediation, status)
        self._world.keep(stored)
        return replace(progress, remediation=stored)

    def _execute(self, progress: Progress, step: Step) -> _Done:
        try:
            match step:
                case Propose():
                    return self._propose(progress, step)
                case Apply():
                    self._apply(progress)
                case Undo():
                    self._cluster.write.apply(undo_now(progress))
        except SelfhealError as error:
            return _Done(error=error)
        return _Done()

    def _propose(self, progress: Progress, step: Propose) -> _Done:
        if progress.workload is None or progress.policy is None:
            raise Refused("TargetGone", "the target or the policy is gone: nothing can be planned")
        past = self._world.closed_for(target_key(progress.remediation))
        change = ACTIONS[step.action].plan(plan_request(progress, progress.policy, step.action, past))
        return _Done(change, self._cluster.write.dry_run(change.operations))

    def _apply(self, progress: Progress) -> None:
        """Write the plan; when the API server stops it half-way, take back what was written."""
        attempt = _newest(progress)
        operations = attempt.change.operations
        try:
            written = self._cluster.write.apply(operations)
        except (PermanentError, Conflict):
            if self._any_written(operations):
                self._cluster.write.apply(undo_of(attempt))
            raise
        if not written and all(operation.verb == "Evict" for operation in operations):
            raise Conflict(f"the pod that {attempt.action} was about went by itself: nothing was written")

    def _any_written(self, operations: Sequence[Operation]) -> bool:
        return any(self._cluster.write.is_done(operation) for operation in operations)

    def _store(self, progress: Progress, status: RemediationStatus) -> None:
        if status == progress.remediation.status:
            return
        stored = self._cluster.records.write_status(progress.remediation, status)
        self._world.keep(stored)
        self._teller.moved(progress.remediation, stored, progress.now)

    def _log_error(self, progress: Progress, step: Step, error: SelfhealError) -> None:
        remediation = progress.remediation
        log(
            str(error),
            level=logging.WARNING,
            step=type(step).__name__,
            remediation=f"{remediation.namespace}/{remediation.name}",
            uid=remediation.uid,
            error_type=type(error).__name__,
        )

    def give_up(self, remediation: Remediation, error: BaseException) -> None:
        """End a Remediation that keeps failing for a reason of our own: undo what was written, outcome Error.

        Raises:
            SelfhealError: When not even that can be stored; the queue calls again.
        """
        found = self._cluster.records.remediation(remediation.namespace, remediation.name)
        if found is None or not found.is_open:
            return
        progress = self._progress(found)
        attempts = found.status.attempts
        if attempts and attempts[-1].result in (AttemptResult.PLANNED, AttemptResult.APPLIED):
            self._take_back(attempts[-1])
        message = f"{type(error).__name__} again and again: what was written is taken back. The log has the details."
        step = Finish(Outcome.ERROR, "InternalError", message)
        self._store(progress, remediation_status_after(progress, step))

    def _take_back(self, attempt: Attempt) -> None:
        if attempt.result is AttemptResult.PLANNED and not self._any_written(attempt.change.operations):
            return
        try:
            self._cluster.write.apply(undo_of(attempt))
        except Conflict as error:  # somebody else has changed it since: theirs stays
            log("not taken back", level=logging.WARNING, cause=str(error))

    def prune(self, policy_uid: str) -> None:
        """Keep a policy's newest closed Remediations, as many as it wants; open ones are never deleted."""
        policy = self._world.known_policy(policy_uid)
        mine = [one for one in self._world.remediations() if one.spec.policy_ref.uid == policy_uid]
        for old in beyond_limit(mine, policy, self._world.living()):
            self._cluster.records.delete(old)
            self._world.forget_remediation(old)


def _newest(progress: Progress) -> Attempt:
    return progress.remediation.status.attempts[-1]


def is_outdated(progress: Progress) -> bool:
    """Whether the policy was edited since the incident began, and would have something else done than what is planned.

    A plan of which something is written is not: it is finished or taken back.
    """
    policy, attempt = progress.policy, _newest(progress)
    edited = policy is not None and policy.generation > progress.remediation.spec.policy_ref.generation
    if policy is None or not edited or is_begun(progress):
        return False
    try:
        return ACTIONS[attempt.action].plan(plan_request(progress, policy, attempt.action)).diff != attempt.change.diff
    except Refused:
        return True


def plan_request(progress: Progress, policy: Policy, action: Action, past: Sequence[Remediation] = ()) -> PlanRequest:
    """What an action needs to plan the next attempt; ``past`` are closed Remediations of the target.

    Raises:
        Refused: When the target is gone.
    """
    if progress.workload is None:
        raise Refused("TargetGone", "the target is gone: nothing can be planned")
    attempt = next_attempt(progress.remediation)
    kind = progress.remediation.spec.anomaly.type
    return PlanRequest(
        workload=progress.workload,
        parameters=policy.spec.parameters,
        anomaly_type=kind,
        symptom=next((one for one in progress.symptoms if one.type is kind), None),
        prediction=progress.prediction,
        attempt=attempt,
        mark=f"{progress.remediation.name}/{attempt}",
        earlier=written(progress.remediation, action),
        before=tuple(tried for one in sorted(past, key=ended) for tried in written(one, action)),
    )


def next_attempt(remediation: Remediation) -> int:
    """Number of the attempt that a plan is for: a planned one is planned anew under its own number."""
    attempts = remediation.status.attempts
    planned = bool(attempts) and attempts[-1].result is AttemptResult.PLANNED
    return len(attempts) + (0 if planned else 1)
