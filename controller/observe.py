"""What watches have told, by name: policies, remediations, opted-in namespaces, workloads and who looks sick.

It is a cache and nothing more: every entry can be read again from the API server, and is, before anything is written.
All methods may be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from controller.cluster.paths import WORKLOAD_KINDS, Key
from controller.model import Resource
from controller.reconcile import fits
from selfheal.errors import InvalidResource
from selfheal.policy import OPT_IN_LABEL, HealingConfig, Policy
from selfheal.remediation import Approval, PolicyRef, Remediation

Name = tuple[str, str]
"""Namespace and name."""

JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy with its resource; ``policy`` is None and ``invalid`` says why when it cannot be understood."""

    resource: Resource
    policy: Policy | None
    invalid: str = ""

    @property
    def usable(self) -> bool:
        """Whether it may start something."""
        return self.policy is not None and self.policy.spec.enabled and not self.invalid


@dataclass(frozen=True, slots=True)
class _Seen:
    labels: Mapping[str, str]
    uid: str


class World:
    """The cluster as the watches have told it so far.

    Args:
        system_namespace: Only policies in it may target other namespaces.
    """

    def __init__(self, system_namespace: str) -> None:
        self._system = system_namespace
        self._lock = threading.RLock()
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._policies: dict[Name, StoredPolicy] = {}
        self._remediations: dict[Name, Remediation] = {}
        self._approvals: dict[Name, list[tuple[str, Approval]]] = {}
        self._config = HealingConfig()
        self._workloads: dict[Key, _Seen] = {}
        self._cron_jobs: dict[Name, str] = {}
        self._suspects: dict[Key, set[str]] = {}
        self._sick: set[Key] = set()
        self._last_storm: datetime | None = None

    # What the watches tell.

    def put(self, kind: str, resource: Resource) -> None:
        """One of our resources, or a Namespace, is there or has changed."""
        with self._lock:
            match kind:
                case "Namespace":
                    self._namespaces[resource["metadata"]["name"]] = resource["metadata"].get("labels") or {}
                case "SelfHealingPolicy":
                    self._policies[_name(resource)] = self._read_policy(resource)
                case "Remediation":
                    self._put_remediation(resource)
                case "RemediationApproval":
                    self._put_approval(resource)
                case "HealingConfig" if resource["metadata"]["name"] == "cluster":
                    self._config = read_config(resource)

    def drop(self, kind: str, resource: Resource) -> None:
        """One of them is gone."""
        with self._lock:
            match kind:
                case "Namespace":
                    self._namespaces.pop(resource["metadata"]["name"], None)
                case "SelfHealingPolicy":
                    self._policies.pop(_name(resource), None)
                case "Remediation":
                    self._remediations.pop(_name(resource), None)
                case "RemediationApproval":
                    self._drop_approval(resource)
                case "HealingConfig" if resource["metadata"]["name"] == "cluster":
                    self._config = HealingConfig()

    def _read_policy(self, resource: Resource) -> StoredPolicy:
        try:
            policy = Policy.from_resource(resource)
        except InvalidResource as error:
            return StoredPolicy(resource, None, str(error))
        if policy.target_namespace != policy.namespace and policy.namespace != self._system:
            reason = f"targetNamespace is admitted only for policies in {self._system}: move it there, or leave it out"
            return StoredPolicy(resource, policy, reason)
        return StoredPolicy(resource, policy)

    def _put_remediation(self, resource: Resource) -> None:
        try:
            remediation = Remediation.from_resource(resource)
        except InvalidResource:
            return  # of another version: not ours to go on with
        self.keep(remediation)

    def keep(self, remediation: Remediation) -> None:
        """Remember a Remediation, unless a newer version of it is known: a watch can lag behind our own writes."""
        with self._lock:
            name = (remediation.namespace, remediation.name)
            known = self._remediations.get(name)
            if known is None or known.uid != remediation.uid or _version(known) <= _version(remediation):
                self._remediations[name] = remediation

    def replace_remediations(self, resources: Iterable[Resource]) -> None:
        """All of them, freshly read."""
        with self._lock:
            self._remediations.clear()
            for resource in resources:
                self._put_remediation(resource)

    def forget_remediation(self, remediation: Remediation) -> None:
        """It was deleted."""
        with self._lock:
            self._remediations.pop((remediation.namespace, remediation.name), None)

    def _put_approval(self, resource: Resource) -> None:
        try:
            approval = Approval.model_validate(resource.get("spec", {}))
        except ValueError:
            return
        self._drop_approval(resource)
        name = (resource["metadata"]["namespace"], approval.remediation_name)
        self._approvals.setdefault(name, []).append((resource["metadata"]["uid"], approval))

    def _drop_approval(self, resource: Resource) -> None:
        uid = resource["metadata"]["uid"]
        for name, given in list(self._approvals.items()):
            self._approvals[name] = [one for one in given if one[0] != uid]
            if not self._approvals[name]:
                del self._approvals[name]

    # Pods and workloads.

    def observe(self, kind: str, resource: Resource, sick: bool, gone: bool = False) -> Key | None:
        """A pod or a workload is as it is now.

        Args:
            kind: ``Pod`` or a workload's.
            resource: The object.
            sick: Whether it might be sick.
            gone: Whether it was deleted.

        Returns:
            The workload that deserves a look: one that might be sick, or was until now; else None.
        """
        with self._lock:
            key = self.owner(kind, resource)
            if key is None:
                return None
            if (
                kind != "Pod"
                and str(key) == f"{resource['metadata']['namespace']}/{kind}/{resource['metadata']['name']}"
            ):
                self._see_workload(key, resource, gone)
            suspects = self._suspects.setdefault(key, set())
            uid = resource["metadata"]["uid"]
            was = bool(suspects)
            if sick and not gone:
                suspects.add(uid)
            else:
                suspects.discard(uid)
            if not suspects:
                del self._suspects[key]
            return key if was or suspects else None

    def owner(self, kind: str, resource: Resource) -> Key | None:
        """The workload an object belongs to; None for what cannot be healed.

        A Deployment's ReplicaSets are named after it and the label ``pod-template-hash``, and Jobs are watched, so
        that no call is needed. The owner references are checked when the workload is read.
        """
        meta = resource["metadata"]
        owner = next((one for one in meta.get("ownerReferences") or [] if one.get("controller")), None)
        if kind == "Job":
            return self._job_owner(meta, owner)
        if kind != "Pod":
            return Key(meta["namespace"], kind, meta["name"])
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

    def _job_owner(self, meta: Resource, owner: Mapping[str, str] | None) -> Key:
        if owner is not None and owner["kind"] == "CronJob":
            self._cron_jobs[meta["namespace"], meta["name"]] = owner["name"]
            return Key(meta["namespace"], "CronJob", owner["name"])
        return Key(meta["namespace"], "Job", meta["name"])

    def _see_workload(self, key: Key, resource: Resource, gone: bool) -> None:
        if gone:
            self.forget(key)
        else:
            meta = resource["metadata"]
            self._workloads[key] = _Seen(meta.get("labels") or {}, meta["uid"])

    def forget(self, key: Key) -> None:
        """A workload does not exist any more."""
        with self._lock:
            self._workloads.pop(key, None)
            self._sick.discard(key)

    def diagnose(self, key: Key, sick: bool) -> None:
        """A closer look found symptoms, or none."""
        with self._lock:
            (self._sick.add if sick else self._sick.discard)(key)

    # What the others ask.

    @property
    def config(self) -> HealingConfig:
        """The cluster-wide settings."""
        with self._lock:
            return self._config

    def opted_in(self, namespace: str) -> bool:
        """Whether an administrator has opted a namespace in."""
        with self._lock:
            return self._namespaces.get(namespace, {}).get(OPT_IN_LABEL) == "enabled"

    def policies(self) -> list[StoredPolicy]:
        """All policies, usable or not."""
        with self._lock:
            return list(self._policies.values())

    def stored_policy(self, namespace: str, name: str) -> StoredPolicy | None:
        """One policy."""
        with self._lock:
            return self._policies.get((namespace, name))

    def policies_for(self, namespace: str) -> tuple[Policy, ...]:
        """Usable policies whose targets live in a namespace."""
        with self._lock:
            found = (one.policy for one in self._policies.values() if one.usable and one.policy)
            return tuple(policy for policy in found if policy.target_namespace == namespace)

    def policy_of(self, ref: PolicyRef) -> Policy | None:
        """The policy that started a remediation, as it is now; None when it is gone, invalid or disabled."""
        with self._lock:
            found = next((one for one in self._policies.values() if one.policy and one.policy.uid == ref.uid), None)
            return found.policy if found and found.usable else None

    def remediations(self) -> tuple[Remediation, ...]:
        """All of the cluster, open and closed."""
        with self._lock:
            return tuple(self._remediations.values())

    def open_for(self, key: Key) -> Remediation | None:
        """The open Remediation of a workload."""
        return next((one for one in self.remediations() if one.is_open and target_key(one) == key), None)

    def closed_for(self, key: Key) -> list[Remediation]:
        """The closed Remediations of a workload."""
        return [one for one in self.remediations() if not one.is_open and target_key(one) == key]

    def approval_of(self, remediation: Remediation) -> Approval | None:
        """A person's decision; of several, a denial wins."""
        with self._lock:
            given = [one for _, one in self._approvals.get((remediation.namespace, remediation.name), [])]
        return next((one for one in given if one.decision == "Deny"), given[0] if given else None)

    def suspects(self) -> list[Key]:
        """Workloads that might be sick, in namespaces that are opted in."""
        with self._lock:
            return [key for key in self._suspects if self.opted_in(key.namespace)]

    def targets(self) -> set[Key]:
        """Workloads that a usable policy selects, in namespaces that are opted in."""
        with self._lock:
            by_namespace = {name: self.policies_for(name) for name in self._namespaces if self.opted_in(name)}
            return {
                key
                for key, seen in self._workloads.items()
                if any(policy.spec.selector.matches(seen.labels) for policy in by_namespace.get(key.namespace, ()))
            }

    def targets_of(self, policy: Policy) -> list[Key]:
        """Workloads that one policy selects, of kinds that its action fits."""
        with self._lock:
            inside = [(key, seen) for key, seen in self._workloads.items() if key.namespace == policy.target_namespace]
            return [key for key, seen in inside if fits(policy, key.kind, seen.labels)]

    def unhealthy(self) -> tuple[int, float]:
        """How many targets have a symptom, and their share of all targets in percent."""
        with self._lock:
            targets = self.targets()
            sick = len(self._sick & targets)
            return sick, 100 * sick / len(targets) if targets else 0.0

    @property
    def last_storm(self) -> datetime | None:
        """When the share of unhealthy targets was last above the limit."""
        with self._lock:
            return self._last_storm

    def storm_seen(self, now: datetime) -> None:
        """The share is above the limit now."""
        with self._lock:
            self._last_storm = now


def read_config(resource: Resource | None) -> HealingConfig:
    """The cluster-wide settings; what cannot be understood suspends everything, for it may say so."""
    try:
        return HealingConfig.from_resource(resource)
    except InvalidResource:
        return HealingConfig(suspended=True)


def target_key(remediation: Remediation) -> Key:
    """The workload of a Remediation, which lives in its namespace."""
    target = remediation.spec.target
    return Key(remediation.namespace, target.kind, target.name)


def _name(resource: Resource) -> Name:
    return resource["metadata"]["namespace"], resource["metadata"]["name"]


def _version(remediation: Remediation) -> int:
    version = remediation.resource_version
    return int(version) if version.isdigit() else 0
