"""Our own resources as watches and lists have told them: namespaces, policies, remediations, answers, configuration.

It is a cache and nothing more: every entry can be read again from the API server, and is, before anything is written.
A watch that broke off tells no deletions, so whole kinds are read anew from time to time (:meth:`Stored.replace`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.facts import moment
from controller.model import Resource
from selfheal.errors import InvalidResource
from selfheal.policy import OPT_IN_LABEL, HealingConfig, Policy
from selfheal.remediation import Approval, PolicyRef, Remediation

Name = tuple[str, str]
"""Namespace (empty for what is cluster-wide) and name; of an approval its namespace and uid."""

OWN_KINDS = ("Namespace", "SelfHealingPolicy", "Remediation", "RemediationApproval", "HealingConfig")
"""Kinds that are kept whole."""
_OF_TARGETS = frozenset({"Namespace", "SelfHealingPolicy"})  # kinds that decide what is a target
_HOUR = timedelta(hours=1)


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
class Answer:
    """A person's decision and when the API server took it; None where that is not known."""

    approval: Approval
    given: datetime | None


class Stored:
    """Namespaces and our own kinds. All methods may be called from any thread.

    Args:
        system_namespace: Only policies in it may target other namespaces.
    """

    def __init__(self, system_namespace: str) -> None:
        self._system = system_namespace
        self._lock = threading.RLock()
        self._changes = 0
        self._versions: dict[str, dict[Name, int]] = {kind: {} for kind in OWN_KINDS}
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._policies: dict[Name, StoredPolicy] = {}
        self._remediations: dict[Name, Remediation] = {}
        self._deleted: dict[str, Remediation] = {}
        self._answers: dict[Name, tuple[str, Answer]] = {}
        self._config = HealingConfig()

    # What watches and lists tell.

    def put(self, kind: str, resource: Resource) -> None:
        """A resource is there or has changed; what is older than what is known is no news."""
        name, version = name_of(kind, resource), _number(resource["metadata"].get("resourceVersion", ""))
        with self._lock:
            if version < self._versions[kind].get(name, 0):
                return
            self._versions[kind][name] = version
            self._changes += kind in _OF_TARGETS
            match kind:
                case "Namespace":
                    self._put_namespace(name[1], resource["metadata"])
                case "SelfHealingPolicy":
                    self._policies[name] = self._read_policy(resource)
                case "Remediation":
                    self._put_remediation(resource)
                case "RemediationApproval":
                    self._put_answer(name, resource)
                case "HealingConfig" if name[1] == "cluster":
                    self._config = read_config(resource)

    def _put_namespace(self, name: str, metadata: Resource) -> None:
        """One that is on its way out is none any more."""
        if metadata.get("deletionTimestamp"):
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = metadata.get("labels") or {}

    def drop(self, kind: str, resource: Resource) -> None:
        """A resource was deleted."""
        if kind == "Remediation":
            self._put_remediation(resource)
        self._forget(kind, name_of(kind, resource))

    def _forget(self, kind: str, name: Name) -> None:
        with self._lock:
            self._versions[kind].pop(name, None)
            self._changes += kind in _OF_TARGETS
            match kind:
                case "Namespace":
                    self._namespaces.pop(name[1], None)
                case "SelfHealingPolicy":
                    self._policies.pop(name, None)
                case "Remediation":
                    self._bury(self._remediations.pop(name, None))
                case "RemediationApproval":
                    self._answers.pop(name, None)
                case "HealingConfig" if name[1] == "cluster":
                    self._config = HealingConfig()

    def names(self, kind: str) -> frozenset[Name]:
        """Names of all resources of a kind, to be asked for before they are listed anew."""
        with self._lock:
            return frozenset(self._versions[kind])

    def replace(self, kind: str, before: frozenset[Name], resources: Iterable[Resource]) -> None:
        """A kind as it was listed: what was known before the list began and is not in it is gone.

        Args:
            kind: One of :data:`OWN_KINDS`.
            before: :meth:`names` from before the list began, for watches go on meanwhile.
            resources: All there are.
        """
        listed = {name_of(kind, resource): resource for resource in resources}
        with self._lock:
            now = self.names(kind)
            for name in (before & now) - listed.keys():
                self._forget(kind, name)
            for name, resource in listed.items():
                if name in now or name not in before:  # else it was deleted meanwhile
                    self.put(kind, resource)

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
        name, version = (remediation.namespace, remediation.name), _number(remediation.resource_version)
        with self._lock:
            known = self._remediations.get(name)
            if known is None or known.uid != remediation.uid or _number(known.resource_version) <= version:
                self._remediations[name] = remediation
                self._versions["Remediation"][name] = max(version, self._versions["Remediation"].get(name, 0))

    def forget_remediation(self, remediation: Remediation) -> None:
        """It was deleted."""
        self._forget("Remediation", (remediation.namespace, remediation.name))

    def _bury(self, remediation: Remediation | None) -> None:
        """A record that is gone counts for the hourly budget, unless its namespace goes too; every replica sees it."""
        if remediation is None or remediation.is_open or remediation.namespace not in self._namespaces:
            return
        self._deleted[remediation.uid] = remediation
        newest = max(map(_ended, self._deleted.values()))
        self._deleted = {uid: one for uid, one in self._deleted.items() if newest - _ended(one) < _HOUR}

    def _put_answer(self, name: Name, resource: Resource) -> None:
        try:
            approval = Approval.model_validate(resource.get("spec", {}))
        except ValueError:
            self._answers.pop(name, None)
            return
        given = moment(resource["metadata"].get("creationTimestamp"))
        self._answers[name] = (resource["metadata"]["namespace"], Answer(approval, given))

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
        found = self._by_uid(ref.uid)
        return found.policy if found and found.usable else None

    def known_policy(self, uid: str) -> Policy | None:
        """A policy, usable or not; None when it is gone."""
        found = self._by_uid(uid)
        return found.policy if found else None

    def _by_uid(self, uid: str) -> StoredPolicy | None:
        with self._lock:
            return next((one for one in self._policies.values() if one.policy and one.policy.uid == uid), None)

    def remediations(self) -> tuple[Remediation, ...]:
        """All of the cluster, open and closed."""
        with self._lock:
            return tuple(self._remediations.values())

    def deleted(self) -> tuple[Remediation, ...]:
        """Closed ones that were deleted; those that ended within the hour before the last of them."""
        with self._lock:
            return tuple(self._deleted.values())

    def answers(self, remediation: Remediation) -> tuple[Answer, ...]:
        """What people have decided about a remediation."""
        with self._lock:
            return tuple(
                answer
                for namespace, answer in self._answers.values()
                if namespace == remediation.namespace and answer.approval.remediation_name == remediation.name
            )


def read_config(resource: Resource | None) -> HealingConfig:
    """The cluster-wide settings; what cannot be understood suspends everything, for it may say so."""
    try:
        return HealingConfig.from_resource(resource)
    except InvalidResource:
        return HealingConfig(suspended=True)


def name_of(kind: str, resource: Resource) -> Name:
    """Under which name a resource is kept."""
    meta = resource["metadata"]
    return meta.get("namespace", ""), meta["uid"] if kind == "RemediationApproval" else meta["name"]


def _ended(remediation: Remediation) -> datetime:
    return remediation.status.times.completed or remediation.spec.anomaly.detected_time


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0
