"""Which object broke first: links the symptoms of workloads that share what is missing, full or gone. Pure.

A ConfigMap, Secret, claim, quota, image, registry or node that several sick workloads need is their root. A workload
that calls another by name, which was sick before it, is a dependant of that one. Names are read off manifests and off
Kubernetes' messages; both are data, quoted where they are shown and never interpreted.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from controller.facts import condition, quoted
from controller.model import Resource, Symptom, Workload
from controller.quantities import containers_of
from selfheal.policy import AnomalyType

FRESH = timedelta(minutes=10)
"""What was seen longer ago says nothing about now."""
_SHOWN = 3
_CALLING = frozenset({AnomalyType.CRASH_LOOP_BACK_OFF, AnomalyType.PROBE_FAILURE, AnomalyType.JOB_FAILED})
"""Symptoms that a workload can show because another one does not answer."""
_HOST = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that workloads need; ``namespace`` is empty for what belongs to none."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Case:
    """A sick workload.

    Attributes:
        who: The workload.
        since: When its trouble began.
        message: Its most telling symptom.
        needs: What its symptoms are about.
        calls: Words of its manifest that may be names of what it calls.
        seen: When this was read.
    """

    who: Thing
    since: datetime
    message: str
    needs: frozenset[Thing]
    calls: frozenset[str]
    seen: datetime


def case_of(workload: Workload, found: tuple[Symptom, ...], now: datetime) -> Case:
    """A sick workload as others may depend on it, or share with it.

    Args:
        workload: With at least one symptom.
        found: Its symptoms, the most telling first.
        now: Aware.
    """
    ref = workload.ref
    needs = frozenset(thing for symptom in found for thing in _needs(workload, symptom))
    calling = any(symptom.type in _CALLING for symptom in found)
    who, since = Thing(ref.kind, ref.namespace, ref.name), min(symptom.since for symptom in found)
    return Case(who, since, found[0].message, needs, _words(workload) if calling else frozenset(), now)


def root_of(case: Case, known: Iterable[Case]) -> str:
    """What broke first, in a sentence for people; the empty text where nothing points beyond the workload itself."""
    others = [one for one in known if one.who != case.who]
    first = _first_called(case, others)
    if first is not None:
        return f"It calls {first.who}, which broke before it: {first.message}"
    for thing in sorted(case.needs, key=str):
        sharing = sorted(str(one.who) for one in others if thing in one.needs)
        if sharing:
            more = f" and {len(sharing) - _SHOWN} more" if len(sharing) > _SHOWN else ""
            return f"The root is {thing}: {', '.join(sharing[:_SHOWN])}{more} fail for it too"
    return ""


def _first_called(case: Case, others: list[Case]) -> Case | None:
    """The end of the chain of calls to workloads that were sick earlier."""
    found, rest = case, list(others)
    while called := [one for one in rest if _is_called(one, found)]:
        found = min(called, key=lambda one: (one.since, str(one.who)))
        rest.remove(found)
    return None if found is case else found


def _is_called(one: Case, by: Case) -> bool:
    near = one.who.namespace == by.who.namespace
    return one.since < by.since and near and one.who.name in by.calls


def _needs(workload: Workload, symptom: Symptom) -> Iterator[Thing]:
    namespace, spec = workload.ref.namespace, _pod_spec(workload.resource)
    match symptom.cause:
        case "MissingConfigMap" | "MissingSecret" | "MissingKey" | "BadMount":
            wanted = set(_references(spec))
            named = {one for one in wanted if one[1] in symptom.message}
            yield from (Thing(kind, namespace, name) for kind, name in named or wanted)
        case "UnboundPVC":
            yield from (Thing("PersistentVolumeClaim", namespace, name) for name in _claims(spec))
        case "QuotaExceeded":
            names = (quota["metadata"]["name"] for quota in workload.quotas)
            yield from (Thing("ResourceQuota", namespace, name) for name in names if name in symptom.message)
        case "RegistryUnknown" | "RegistryUnavailable" | "ImageUnauthorized":
            yield from (Thing("registry", "", _registry(image)) for image in _images(spec, symptom))
        case "ImageNotFound" | "ImagePull":
            yield from (Thing("image", "", image) for image in _images(spec, symptom))
    gone = {node["metadata"]["name"] for node in workload.nodes if condition(node, "Ready").get("status") != "True"}
    pod = next((one for one in workload.pods if one["metadata"]["name"] == symptom.pod), {})
    if (node := (pod.get("spec") or {}).get("nodeName")) in gone:
        yield Thing("Node", "", str(node))


def _pod_spec(resource: Resource) -> Resource:
    spec = resource.get("spec") or {}
    if "jobTemplate" in spec:
        spec = spec["jobTemplate"].get("spec") or {}
    found: Resource = (spec.get("template") or {}).get("spec") or {}
    return found


def _references(spec: Resource) -> Iterator[tuple[str, str]]:
    """Kind and name of each ConfigMap and Secret that a pod reads."""
    for volume in spec.get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            yield from _named(source, (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")))
            yield from _named(source, (("Secret", "secret", "name"),))
    for container in containers_of(spec):
        for source in container.get("envFrom") or ():
            yield from _named(source, (("ConfigMap", "configMapRef", "name"), ("Secret", "secretRef", "name")))
        for variable in container.get("env") or ():
            source = variable.get("valueFrom") or {}
            yield from _named(source, (("ConfigMap", "configMapKeyRef", "name"), ("Secret", "secretKeyRef", "name")))


def _named(source: Resource, where: Iterable[tuple[str, str, str]]) -> Iterator[tuple[str, str]]:
    for kind, key, field in where:
        if name := (source.get(key) or {}).get(field):
            yield kind, str(name)


def _claims(spec: Resource) -> Iterator[str]:
    for volume in spec.get("volumes") or ():
        if name := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            yield str(name)


def _images(spec: Resource, symptom: Symptom) -> Iterator[str]:
    for container in containers_of(spec):
        if container["name"] == symptom.container and container.get("image"):
            yield str(container["image"])


def _registry(image: str) -> str:
    """The host of an image's name; Docker's rule: the part before the first slash, if it looks like a host."""
    host = image.partition("/")[0] if "/" in image else ""
    return host if "." in host or ":" in host or host == "localhost" else "docker.io"


def _words(workload: Workload) -> frozenset[str]:
    """Words of commands, arguments and plain environment values; names of Services are among them."""
    texts: list[str] = []
    for container in containers_of(_pod_spec(workload.resource)):
        texts += [str(one) for key in ("command", "args") for one in container.get(key) or ()]
        texts += [str(one.get("value") or "") for one in container.get("env") or ()]
    return frozenset(word for text in texts for word in _HOST.findall(text.lower())) - {workload.ref.name}


class Roots:
    """The sick workloads that this replica knows; from many threads. A memory only: it decides nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cases: dict[Thing, Case] = {}

    def linked(self, workload: Workload, found: tuple[Symptom, ...], now: datetime) -> tuple[Symptom, ...]:
        """A workload's symptoms; the messages say what broke first, where that is another object."""
        who = Thing(workload.ref.kind, workload.ref.namespace, workload.ref.name)
        case = case_of(workload, found, now) if found else None
        with self._lock:
            known = self._remember(who, case, now)
        root = root_of(case, known.values()) if case else ""
        return tuple(replace(one, message=f"{one.message}. {quoted(root)}") for one in found) if root else found

    def _remember(self, who: Thing, case: Case | None, now: datetime) -> Mapping[Thing, Case]:
        self._cases = {key: one for key, one in self._cases.items() if now - one.seen <= FRESH and key != who}
        if case is not None:
            self._cases[who] = case
        return self._cases
