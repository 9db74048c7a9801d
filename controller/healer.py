"""Tends one thing at a time: a workload, a policy's status, or all targets at a tick. No kopf, no kubernetes.

Whatever happened is read from the API server, decided purely, and written once. A call that raises is called again by
the queue.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from controller.cluster import Cluster, Key
from controller.coordination import budget_left
from controller.idling import rests
from controller.incidents import is_over
from controller.lender import Lender
from controller.logs import log
from controller.metrics import Metrics
from controller.model import Decision, Resource, Situation, Symptom, Workload
from controller.observe import OWN_KINDS, StoredPolicy, World, read_config, target_key
from controller.reconcile import decide
from controller.recording import Recorder
from controller.roots import Roots
from controller.settings import Settings
from controller.status import cleared, first_status, judged_later, policy_status
from controller.stepper import Stepper
from controller.symptoms import symptoms
from controller.telling import Teller
from controller.verdicts import Verdict, Verdicts
from selfheal.errors import Conflict, Unavailable
from selfheal.policy import Policy
from selfheal.remediation import (
    LastVerdict,
    PolicyConditionType,
    PolicyStatus,
    Remediation,
    RemediationSpec,
    VoteRecord,
    with_condition,
)

POLICY_KIND = "SelfHealingPolicy"
TICK = Key("cluster", "Tick", "tick")
_GIVE_UP_AFTER = 8  # failures in a row of the same workload: about four minutes
_TICKS_TO_RELIST = 5  # whole kinds are read anew: a watch that broke off tells no deletions


class Healer:
    """What the queue calls.

    Args:
        cluster: Reads and writes.
        world: What the watches told.
        verdicts: The endpoint's answers.
        teller: Told about everything.
        metrics: For Prometheus.
        settings: The controller's.
        clock: Aware time; tests put their own in.
        wake: Puts a workload into the queue.
    """

    def __init__(
        self,
        cluster: Cluster,
        world: World,
        verdicts: Verdicts,
        teller: Teller,
        metrics: Metrics,
        settings: Settings,
        clock: Callable[[], datetime],
        wake: Callable[[Key], None],
    ) -> None:
        self._cluster = cluster
        self._world = world
        self._verdicts = verdicts
        self._teller = teller
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._wake = wake
        self.recorder = Recorder(cluster.healthy, world, settings.namespace, cluster.read.workload)
        self._stepper = Stepper(cluster, world, verdicts, teller, clock)
        self._lender = Lender(cluster, world, teller)
        self._opening = threading.Lock()
        self._ticks = 0
        self._roots = Roots()

    def tend(self, text: str) -> float | None:
        """Do what is due for one key of the queue.

        Returns:
            Seconds until it is due again; None when only an event can change anything.

        Raises:
            SelfhealError: The queue calls again.
        """
        key = Key.parse(text)
        if key == TICK:
            return self.tick()
        if key.kind == POLICY_KIND:
            self.report(key)
            return None
        remediation = self._world.open_for(key)
        if remediation is not None:
            delay = self._stepper.run(remediation)
            return delay if delay is not None else self._settings.resync_seconds
        return self.consider(key)

    def failed(self, text: str, error: BaseException, failures: int) -> None:
        """The queue reports that a key failed again; after enough of that its Remediation ends with outcome Error.

        An outage is no error of ours: the heal goes on when somebody answers again, however long that takes.
        """
        key = Key.parse(text)
        self._world.cannot_tell(key)
        remediation = self._world.open_for(key)
        if failures >= _GIVE_UP_AFTER and remediation is not None and not isinstance(error, Unavailable):
            self._stepper.give_up(remediation, error)

    # One workload.

    def consider(self, key: Key) -> float | None:
        """Look closely at a workload without an open Remediation, and open one if a policy wants it."""
        lent = [one for one in self._world.closed_for(key) if one.status.owes]
        if not self._world.opted_in(key.namespace) or not (lent or self._world.policies_for(key.namespace)):
            return None
        suspicious = self._world.suspicious(key)
        workload = self._cluster.read.workload(key)
        if workload is None:
            self._world.forget(key)
            return None
        self._world.confirm(key, suspicious, workload)
        workload = self._world.remembering(key, workload)
        now = self._clock()
        self._lender.give_back(workload, lent, now)
        found = self._roots.linked(workload, symptoms(workload, now), now)
        self._world.diagnose(key, bool(found))
        verdict = self._verdicts.ask(workload) if found else self._verdicts.newest(str(key))
        decision = decide(self._situation(workload, found, verdict, now))
        self._clear(key, decision, now)
        if decision.open is not None:
            return self._open(workload, found, verdict)
        if decision.refused:
            return self._refused(workload, decision)
        if found:
            return self._settings.resync_seconds
        self._teller.cleared(workload)
        # Some facts count only after a while, which no event announces; the tick looks at all suspects anyway.
        waits = key in self._world.suspects() and not rests(workload, now)
        return self._settings.recheck_seconds if waits else None

    def _situation(
        self, workload: Workload, found: tuple[Symptom, ...], verdict: Verdict | None, now: datetime
    ) -> Situation:
        config = self._world.config
        unhealthy, percent = self._world.unhealthy()
        situation = Situation(
            workload=workload,
            symptoms=found,
            prediction=verdict.prediction if verdict else None,
            policies=self._world.policies_for(workload.ref.namespace),
            history=self._world.remediations(),
            config=config,
            unhealthy_percent=percent,
            now=now,
            unhealthy=unhealthy,
            streak=self._verdicts.streak(workload.ref.workload),
            last_storm=self._world.last_storm,
            deleted=self._world.deleted(),
        )
        self._world.look_for_storm(config, now)
        return situation

    def _refused(self, workload: Workload, decision: Decision) -> float:
        """Tell people, unless it is too early to say whether a storm goes on."""
        if decision.reason == "Storm" and self._world.is_counting():
            return self._settings.recheck_seconds
        self._teller.refused(workload, decision)
        return self._settings.resync_seconds

    def _open(self, workload: Workload, found: tuple[Symptom, ...], verdict: Verdict | None) -> float | None:
        """Decide once more on what the API server says, one workload at a time, so that the budget holds."""
        records = self._cluster.records
        with self._opening:
            self._read("Remediation")
            situation = self._situation(workload, found, verdict, self._clock())
            decision = decide(replace(situation, config=read_config(records.config())))
            if decision.open is None:
                return self._refused(workload, decision) if decision.refused else self._settings.resync_seconds
            remediation = self._create(workload, *decision.open)
        return self._stepper.run(remediation) if remediation else self._settings.resync_seconds

    def _create(self, workload: Workload, name: str, spec: RemediationSpec) -> Remediation | None:
        records, namespace, now = self._cluster.records, workload.ref.namespace, self._clock()
        created = records.create(namespace, name, spec, {})
        remediation = records.remediation(namespace, name)
        if remediation is None:
            return None
        if remediation.status.times.detected is None:
            remediation = records.write_status(remediation, first_status(remediation, now))
        self._world.keep(remediation)
        if created:
            self._teller.opened(remediation, now)
        return remediation

    def _clear(self, key: Key, decision: Decision, now: datetime) -> None:
        """Note on closed Remediations what is seen now: that their incident is over, so that the next one is new."""
        words, back = dict(decision.hindsight), {one.name: one for one in decision.taken_back}
        for remediation in self._world.closed_for(key):
            seen = back.get(remediation.name, remediation)
            status = cleared(seen, now) if remediation.name in decision.cleared else seen.status
            status = judged_later(status, words.get(remediation.name))
            if status != remediation.status:
                self._world.keep(self._cluster.records.write_status(remediation, status))

    # All targets.

    def tick(self) -> float:
        """Judge all targets in one go, and make sure that nothing waits for an event that was missed."""
        now = self._clock()
        self._ticks += 1
        if self._ticks % _TICKS_TO_RELIST == 0:
            self.read_all()
            self._prune_orphans()
        targets = self._world.targets()
        for key in self._verdicts.look(targets):
            self._wake(key)
        for key in self._waiting():
            self._wake(key)
        for stored in self._world.policies():
            self._wake(policy_key(stored.resource))
        self.recorder.record(now)
        self._measure(now)
        self._metrics.observed(now)
        return self._settings.tick_seconds * random.uniform(0.9, 1.1)

    def _waiting(self) -> set[Key]:
        """Workloads that might be sick, have an open Remediation, one whose incident goes on, or something lent."""
        there = self._world.living()
        unsettled = (
            one
            for one in self._world.remediations()
            if one.is_open or (one.spec.target.uid in there and (one.status.owes or not is_over(one)))
        )
        return {target_key(one) for one in unsettled} | set(self._world.suspects())

    def stand_by(self) -> float:
        """What a replica that does not lead does at a tick: keep an eye on storms, and call nobody."""
        self._world.stand_by(self._clock())
        return self._settings.tick_seconds

    def read_all(self) -> None:
        """Namespaces and our own resources as the API server has them; what is not there any more is forgotten.

        Raises:
            NotFound: When a CRD is not installed.
        """
        for kind in OWN_KINDS:
            self._read(kind)

    def _read(self, kind: str) -> None:
        before = self._world.names(kind)
        self._world.replace(kind, before, self._cluster.records.list(kind))

    def _prune_orphans(self) -> None:
        """Records of policies that are gone: nothing else ever looks at them."""
        owners = {one.spec.policy_ref.uid for one in self._world.remediations()}
        for uid in owners:
            if self._world.known_policy(uid) is None:
                self._stepper.prune(uid)

    def _measure(self, now: datetime) -> None:
        config, known = self._world.config, (*self._world.deleted(), *self._world.remediations())
        self._metrics.safety(config.suspended, budget_left(config.budget, known, now))

    # One policy.

    def report(self, key: Key) -> None:
        """Write a policy's status when there is something new to say."""
        stored = self._world.stored_policy(key.namespace, key.name)
        if stored is None:
            return
        old = PolicyStatus.model_validate(stored.resource.get("status") or {})
        new = self._policy_status(stored, old)
        if new == old:
            return
        try:
            self._cluster.records.write_policy_status(key.namespace, key.name, stored.resource, new)
        except Conflict as error:  # the watch brings the newer one, and with it another report
            log("policy status not written", level=logging.DEBUG, policy=str(key), cause=str(error))

    def _policy_status(self, stored: StoredPolicy, old: PolicyStatus) -> PolicyStatus:
        now, policy = self._clock(), stored.policy
        if policy is None:
            generation = stored.resource["metadata"].get("generation")
            ready = PolicyConditionType.READY
            conditions = with_condition(old.conditions, ready, "False", "Invalid", stored.invalid, now, generation)
            return old.model_copy(update={"conditions": conditions})
        mine = [one for one in self._world.remediations() if one.spec.policy_ref.uid == policy.uid]
        return policy_status(
            policy,
            mine,
            now,
            old=old,
            targets=len(self._world.targets_of(policy)),
            verdict=self._last_verdict(policy, mine),
            invalid=self._invalid(stored, policy),
            degraded=self._verdicts.degraded,
        )

    def _invalid(self, stored: StoredPolicy, policy: Policy) -> str:
        namespace = policy.target_namespace
        if stored.invalid or self._world.opted_in(namespace):
            return stored.invalid
        return f"namespace {namespace} is not opted in: an administrator can run `selfheal enable {namespace}`"

    def _last_verdict(self, policy: Policy, remediations: list[Remediation]) -> LastVerdict | None:
        """The endpoint's newest verdict against one of the policy's targets, else that of the newest remediation."""
        against = [
            found
            for key in self._world.targets_of(policy)
            if (found := self._verdicts.newest(str(key))) and found.prediction.anomaly
        ]
        if against:
            return _from_endpoint(max(against, key=lambda one: (one.end, one.prediction.confidence or 0.0)))
        newest = max(remediations, key=lambda one: one.spec.anomaly.detected_time, default=None)
        return _from_remediation(newest) if newest else None


def policy_key(resource: Resource) -> Key:
    """What the queue calls a policy."""
    return Key(resource["metadata"]["namespace"], POLICY_KIND, resource["metadata"]["name"])


def _from_endpoint(verdict: Verdict) -> LastVerdict:
    prediction = verdict.prediction
    return LastVerdict(
        target=prediction.workload,
        votes=tuple(VoteRecord(detector=v.detector, vote=v.vote, score=v.score) for v in prediction.to_votes()),
        confidence=prediction.confidence or 0.0,
        model=prediction.model.version,
    )


def _from_remediation(remediation: Remediation) -> LastVerdict:
    verdict = remediation.spec.verdict
    return LastVerdict(
        target=str(target_key(remediation)),
        votes=verdict.votes,
        confidence=verdict.confidence,
        model=verdict.model_version,
    )
