"""What watches have told: our own resources (stored.py), and which workloads there are and who looks sick.

It is a cache and nothing more: every entry can be read again from the API server, and is, before anything is written.
All methods may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from controller.cluster.paths import WORKLOAD_KINDS, Key
from controller.coordination import is_storm
from controller.facts import spec_replicas
from controller.healthy import Entry
from controller.healthy import name_of as name_in_notes
from controller.idling import SCALABLE, may_be_zero_by_mistake
from controller.model import Resource, Workload
from controller.reconcile import fits
from controller.stored import OWN_KINDS, Stored, StoredPolicy, read_config
from selfheal.policy import HealingConfig, Policy
from selfheal.remediation import Remediation

__all__ = ["OWN_KINDS", "StoredPolicy", "World", "read_config", "target_key"]


@dataclass(frozen=True, slots=True)
class _Seen:
    labels: Mapping[str, str]
    uid: str


class World(Stored):
    """The cluster as the watches have told it so far.

    Args:
        system_namespace: Only policies in it may target other namespaces.
        clock: Aware time.
    """

    def __init__(self, system_namespace: str, clock: Callable[[], datetime]) -> None:
        super().__init__(system_namespace)
        self._clock = clock
        self._workloads: dict[Key, _Seen] = {}
        self._cron_jobs: dict[tuple[str, str], str] = {}
        self._replicas: dict[Key, tuple[str, int]] = {}
        self._zeros: dict[Key, datetime | None] = {}
        self._unproven: dict[Key, str] = {}
        self._suspects: dict[Key, dict[str, bool]] = {}
        self._unseen: set[Key] = set()
        self._sick: set[Key] = set()
        self._many = False
        self._last_storm: datetime | None = None
        self._targets: tuple[int, frozenset[Key]] = (-1, frozenset())
        self._notes: Mapping[str, Entry] = {}

    # Pods and workloads.

    def observe(
        self, kind: str, resource: Resource, sick: bool, gone: bool = False, *, failing: bool = True
    ) -> Key | None:
        """A pod or a workload is as it is now.

        Args:
            kind: ``Pod`` or a workload's.
            resource: The object.
            sick: Whether it might be sick.
            gone: Whether it was deleted.
            failing: Whether one that might be sick shows by itself that it does not work.

        Returns:
            The workload that deserves a look: one that might be sick, or was until now; else None.
        """
        with self._lock:
            key = self.owner(kind, resource)
            if kind == "Job":
                self._see_job(resource, gone)
            if key is None:
                return None
            if kind != "Pod" and key == _key(kind, resource):
                self._see_workload(key, resource, gone)
                mistake = self._is_zero_by_mistake(key, resource)
                sick, failing = sick or mistake, failing or mistake
            was, uid = key in self._suspects, resource["metadata"]["uid"]
            if sick and not gone:
                self._suspect(key, uid, failing)
            else:
                self._suspects.get(key, {}).pop(uid, None)
                self._tidy(key)
            return key if was or key in self._suspects else None

    def _suspect(self, key: Key, uid: str, failing: bool) -> None:
        if key not in self._suspects:
            self._unseen.add(key)
        self._suspects.setdefault(key, {})[uid] = failing

    def _tidy(self, key: Key) -> None:
        if not self._suspects.get(key):
            self._suspects.pop(key, None)
            self._unseen.discard(key)

    def owner(self, kind: str, resource: Resource) -> Key | None:
        """The workload an object belongs to; None for what cannot be healed.

        A Deployment's ReplicaSets are named after it and the label ``pod-template-hash``, and Jobs are watched, so
        that no call is needed. The owner references are checked when the workload is read.
        """
        meta = resource["metadata"]
        owner = _controlling(resource)
        if kind == "Job" and owner is not None and owner["kind"] == "CronJob":
            return Key(meta["namespace"], "CronJob", owner["name"])
        if kind != "Pod":
            return _key(kind, resource)
        if owner is None:
            return None
        labels = meta.get("labels") or {}
        if owner["kind"] == "ReplicaSet":
            tail = "-" + labels.get("pod-template-hash", "")
            of_deployment = len(tail) > 1 and owner["name"].endswith(tail)
            return Key(meta["namespace"], "Deployment", owner["name"].removesuffix(tail)) if of_deployment else None
        if owner["kind"] == "Job" and (cron := self._cron_jobs.get((meta["namespace"], owner["name"]))):
            return Key(meta["namespace"], "CronJob", cron)
        return Key(meta["namespace"], owner["kind"], owner["name"]) if owner["kind"] in WORKLOAD_KINDS else None

    def _see_job(self, job: Resource, gone: bool) -> None:
        """Remember the CronJob above a Job for as long as the Job is there."""
        meta, owner = job["metadata"], _controlling(job)
        name = (meta["namespace"], meta["name"])
        if gone:
            self._cron_jobs.pop(name, None)
        elif owner is not None and owner["kind"] == "CronJob":
            self._cron_jobs[name] = owner["name"]

    def _see_workload(self, key: Key, resource: Resource, gone: bool) -> None:
        if gone:
            self.forget(key)
            return
        meta = resource["metadata"]
        seen = _Seen(meta.get("labels") or {}, meta["uid"])
        if self._workloads.get(key) != seen:
            self._workloads[key] = seen
            self._changes += 1
        self._see_replicas(key, resource)

    def _see_replicas(self, key: Key, resource: Resource) -> None:
        """Remember how many a workload has; of one without any, whether that is explained, or when that ended."""
        if key.kind not in SCALABLE:
            return
        uid = resource["metadata"]["uid"]
        self._unproven.pop(key, None)
        if replicas := spec_replicas(resource):
            self._replicas[key] = uid, replicas
            self._zeros.pop(key, None)
        elif not self._is_zero_by_mistake(key, resource):
            self._zeros[key] = None
            if may_be_zero_by_mistake(resource, remembered=1):
                self._unproven[key] = uid
        elif key in self._zeros:
            self._zeros[key] = self._zeros[key] or self._clock()

    def _is_zero_by_mistake(self, key: Key, resource: Resource) -> bool:
        uid = resource["metadata"]["uid"]
        return may_be_zero_by_mistake(resource, self._seen_with(key, uid) or self._noted(key, uid).replicas)

    def _seen_with(self, key: Key, uid: str) -> int:
        """How many replicas a workload had; 0 where that was another one of the same name."""
        seen, replicas = self._replicas.get(key, ("", 0))
        return replicas if seen == uid else 0

    def _noted(self, key: Key, uid: str) -> Entry:
        """What is noted of a workload; nothing where the note is about another one of the same name."""
        found = self._notes.get(name_in_notes(key))
        return found if found is not None and found.uid == uid else Entry(uid, (), 0)

    def forget(self, key: Key) -> None:
        """A workload does not exist any more."""
        with self._lock:
            self._changes += 1
            self._workloads.pop(key, None)
            self._replicas.pop(key, None)
            self._zeros.pop(key, None)
            self._unproven.pop(key, None)
            self._suspects.pop(key, None)
            self._unseen.discard(key)
            self._sick.discard(key)

    def diagnose(self, key: Key, sick: bool) -> None:
        """A closer look found symptoms, or none."""
        with self._lock:
            self._unseen.discard(key)
            (self._sick.add if sick else self._sick.discard)(key)

    def suspicious(self, key: Key) -> frozenset[str]:
        """The uids of what might be sick about a workload, to be asked for before it is read."""
        with self._lock:
            return frozenset(self._suspects.get(key, ()))

    def cannot_tell(self, key: Key) -> None:
        """A closer look failed: a suspect that cannot be read is not counted as sick for ever."""
        with self._lock:
            self._unseen.discard(key)

    def confirm(self, key: Key, before: frozenset[str], workload: Workload) -> None:
        """A workload was read: suspects that are not there do not count, for a watch can miss a deletion.

        Args:
            key: The workload.
            before: :meth:`suspicious` from before it was read.
            workload: As it was read.
        """
        there = {one["metadata"]["uid"] for one in (workload.resource, *workload.pods, *workload.revisions)}
        with self._lock:
            for uid in before - there:
                self._suspects.get(key, {}).pop(uid, None)
            self._tidy(key)

    # What the others ask.

    def remembering(self, key: Key, workload: Workload) -> Workload:
        """A workload as it was read, with what was seen or noted of it before: its replicas, and healthy revisions."""
        with self._lock:
            self._see_replicas(key, workload.resource)
            note = self._noted(key, workload.ref.uid)
            return replace(
                workload,
                remembered=self._seen_with(key, workload.ref.uid),
                noted=note.replicas,
                bare_since=self._zeros.get(key),
                recorded=note.revisions,
            )

    def know_healthy(self, notes: Mapping[str, Entry]) -> None:
        """What the notes say, by names there; they may be the evidence that a workload without replicas lacked."""
        with self._lock:
            self._notes = notes
            for key, uid in self._unproven.items():
                if self._noted(key, uid).replicas:
                    self._suspect(key, uid, True)

    def open_for(self, key: Key) -> Remediation | None:
        """The open Remediation of a workload."""
        return next((one for one in self.remediations() if one.is_open and target_key(one) == key), None)

    def closed_for(self, key: Key) -> list[Remediation]:
        """The closed Remediations of a workload."""
        return [one for one in self.remediations() if not one.is_open and target_key(one) == key]

    def suspects(self) -> list[Key]:
        """Workloads that might be sick, in namespaces that are opted in."""
        with self._lock:
            return [key for key in self._suspects if self.opted_in(key.namespace)]

    def living(self) -> frozenset[str]:
        """The uids of all workloads that are there."""
        with self._lock:
            return frozenset(seen.uid for seen in self._workloads.values())

    def targets(self) -> frozenset[Key]:
        """Workloads that a usable policy selects, in namespaces that are opted in."""
        with self._lock:
            changes, found = self._targets
            if changes != self._changes:
                found = self._find_targets()
                self._targets = (self._changes, found)
            return found

    def _find_targets(self) -> frozenset[Key]:
        by_namespace = {name: self.policies_for(name) for name in self._namespaces if self.opted_in(name)}
        return frozenset(
            key
            for key, seen in self._workloads.items()
            if any(policy.spec.selector.matches(seen.labels) for policy in by_namespace.get(key.namespace, ()))
        )

    def targets_of(self, policy: Policy) -> list[Key]:
        """Workloads that one policy selects, of kinds that its action fits."""
        with self._lock:
            inside = [(key, seen) for key, seen in self._workloads.items() if key.namespace == policy.target_namespace]
            return [key for key, seen in inside if fits(policy, key.kind, seen.labels)]

    # Storms.

    def unhealthy(self) -> tuple[int, float]:
        """How many targets are sick, and their share of all targets in percent.

        A suspect counts until somebody has looked closely: a replica that has just begun to lead knows no diagnoses,
        and must not open one Remediation after the other in a storm that it has not counted yet.
        """
        with self._lock:
            return self._share(self._sick | self._unseen)

    def is_counting(self) -> bool:
        """Whether there are suspects that nobody has looked at closely yet."""
        with self._lock:
            return not self.targets().isdisjoint(self._unseen)

    def diagnosed(self) -> tuple[int, float]:
        """The same of those that a closer look has found sick."""
        with self._lock:
            return self._share(self._sick)

    def _share(self, sick: Collection[Key]) -> tuple[int, float]:
        targets = self.targets()
        count = len(targets.intersection(sick))
        return count, 100 * count / len(targets) if targets else 0.0

    def stand_by(self, now: datetime) -> None:
        """What a replica that does not lead notes from time to time: that a storm goes on, should it have to lead.

        It looks closely at nothing, so those that show a failure by themselves have to be many twice in a row. What
        merely has to become ready is new, or rolled out: as many as there are, that is no storm.
        """
        with self._lock:
            self._unseen |= self._suspects.keys()
            self._sick.clear()
            count, percent = self._share({key for key, found in self._suspects.items() if any(found.values())})
            many = is_storm(self._config, count, percent)
            if many and self._many:
                self._last_storm = now
            self._many = many

    @property
    def last_storm(self) -> datetime | None:
        """When the share of unhealthy targets was last above the limit."""
        with self._lock:
            return self._last_storm

    def look_for_storm(self, config: HealingConfig, now: datetime) -> None:
        """Remember a storm where a closer look has found so many sick."""
        with self._lock:
            if is_storm(config, *self.diagnosed()):
                self._last_storm = now


def target_key(remediation: Remediation) -> Key:
    """The workload of a Remediation, which lives in its namespace."""
    target = remediation.spec.target
    return Key(remediation.namespace, target.kind, target.name)


def _key(kind: str, resource: Resource) -> Key:
    return Key(resource["metadata"]["namespace"], kind, resource["metadata"]["name"])


def _controlling(resource: Resource) -> Mapping[str, str] | None:
    owners = resource["metadata"].get("ownerReferences") or ()
    return next((one for one in owners if one.get("controller")), None)
