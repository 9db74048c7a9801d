"""An API server in memory, as a transport below the real cluster adapter, and a controller's parts on top of it."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from datetime import time as dt_time
from enum import StrEnum
from typing import Any

import jsonpatch
from kubernetes import client as kubernetes

from controller.cluster import Api, Cluster, Key
from controller.cluster.client import JSON, JSON_PATCH, NotFound
from controller.cluster.paths import collection, item, own
from controller.healer import Healer
from controller.metrics import Metrics
from controller.model import Resource, Workload
from controller.notify.base import NoticeQueue
from controller.observe import World
from controller.settings import Settings
from controller.stepper import Stepper
from controller.telling import Teller
from controller.verdicts import Verdicts
from selfheal.errors import Conflict, Refused, SelfhealError
from selfheal.policy import API_VERSION, Policy
from selfheal.remediation import Remediation
from tests.unit.controller.objects import NAMESPACE, NOW

_SUBRESOURCES = ("/status", "/resize", "/scale", "/eviction")


class Killed(BaseException):
    """The controller dies; nothing catches it."""


class MemoryApi(Api):
    """Objects by path; JSON patches with their preconditions; every call is remembered.

    Attributes:
        objects: What is stored.
        calls: Method and path of every call.
        stored: The same of calls that changed something.
        failing: Raised instead of an answer, once each, for calls other than GET.
        lives: How many calls other than GET are answered before the controller dies; None for all.
        dies_before: Whether the call at which it dies reaches the server.
    """

    def __init__(self) -> None:
        super().__init__(kubernetes.ApiClient())
        self.objects: dict[str, Resource] = {}
        self.calls: list[tuple[str, str]] = []
        self.stored: list[tuple[str, str]] = []
        self.failing: list[SelfhealError] = []
        self.lives: int | None = None
        self.dies_before = True
        self._version = 1000

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = JSON,
    ) -> Any:
        assert content in (JSON, JSON_PATCH)
        self.calls.append((method, path))
        if method == "GET":
            return self._get(path)
        if self.failing:
            raise self.failing.pop(0)
        dying = self.lives == 0
        self.lives = None if self.lives is None or dying else self.lives - 1
        if dying and self.dies_before:
            raise Killed
        dry = "dryRun" in (query or {})
        if not dry:
            self.stored.append((method, path))
        answer = self._change(method, path, body, dry)
        if dying:
            raise Killed
        return answer

    def _change(self, method: str, path: str, body: object, dry: bool) -> Any:
        match method:
            case "PATCH":
                return self._patch(path, body, dry)
            case "DELETE":
                return self.objects.pop(path, None)
            case _:
                return self._post(path, body, dry)

    def _get(self, path: str) -> Resource:
        found = self.objects.get(_plain(path))
        if found is not None:
            return copy.deepcopy(found)
        if not path.endswith("s") or path.split("/")[-2].endswith("s"):  # one object of a kind, not all of it
            raise NotFound(path)
        items = [one for where, one in sorted(self.objects.items()) if _in(where, path)]
        return {"items": copy.deepcopy(items), "metadata": {}}

    def _patch(self, path: str, body: Any, dry: bool) -> Resource:
        found = self._get(path)
        for step in body:
            if step["path"] == "/metadata/resourceVersion" and step["value"] != found["metadata"]["resourceVersion"]:
                raise Conflict(path)
        try:
            found = jsonpatch.apply_patch(found, body)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
            raise Refused("Invalid", path) from None
        return found if dry else self.store(_plain(path), found)

    def _post(self, path: str, body: Any, dry: bool) -> Resource:
        if path.endswith("/eviction"):
            if not dry:
                self.objects.pop(_plain(path), None)
            return {}
        body["metadata"].setdefault("uid", body["metadata"]["name"])
        return self.store(f"{path}/{body['metadata']['name']}", body)

    def store(self, path: str, resource: Resource) -> Resource:
        """Put an object there, under a new version."""
        self._version += 1
        meta = resource["metadata"] | {"resourceVersion": str(self._version)}
        self.objects[path] = resource | {"metadata": meta}
        return copy.deepcopy(self.objects[path])

    def writes(self, part: str = "") -> list[tuple[str, str]]:
        """Calls other than GET whose path contains a text."""
        return [one for one in self.calls if one[0] != "GET" and part in one[1]]


def _plain(path: str) -> str:
    return next((path.removesuffix(one) for one in _SUBRESOURCES if path.endswith(one)), path)


def _in(where: str, listing: str) -> bool:
    """Whether an object belongs to a listing, of its namespace or of all."""
    kind = listing.rsplit("/", 1)[1]
    group = listing.split("/namespaces/")[0] if "/namespaces/" in listing else listing.rsplit("/", 1)[0]
    holder = where.rsplit("/", 1)[0]
    return holder == listing or (
        "/namespaces/" not in listing and where.startswith(group + "/") and holder.endswith("/" + kind)
    )


def _written(value: Any) -> Any:
    """Values as people write them: durations in seconds."""
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.0f}s"
    if isinstance(value, Mapping):
        return {key: _written(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_written(one) for one in value]
    return str(value) if isinstance(value, dt_time | StrEnum) else value


class Stage:
    """A controller without kopf, queue and processes, on an API server in memory."""

    def __init__(self, *workloads: Workload, verdicts: Verdicts | None = None, api: MemoryApi | None = None) -> None:
        self.api = api or MemoryApi()
        self.now = NOW
        self.cluster = Cluster(self.api)
        self.world = World("selfheal-system", self.clock)
        self.woken: set[Key] = set()
        settings, self.metrics = Settings(), Metrics()
        verdicts = verdicts or Verdicts(settings, None, None, self.clock)
        teller = Teller(self.cluster.records, NoticeQueue(), self.metrics, time.monotonic)
        self.stepper = Stepper(self.cluster, self.world, verdicts, teller, self.clock)
        self.healer = Healer(
            self.cluster, self.world, verdicts, teller, self.metrics, settings, self.clock, self.woken.add
        )
        for workload in workloads:
            self.add(workload)

    def succeed(self) -> Stage:
        """Another replica on the same server, which has read what is there and knows nothing else."""
        found = Stage(api=self.api)
        found.now = self.now
        found.healer.read_all()
        return found

    def clock(self) -> datetime:
        return self.now

    def later(self, **by: float) -> None:
        """Let time pass."""
        self.now += timedelta(**by)

    def add(self, workload: Workload) -> None:
        """A workload with its pods, revisions and namespace."""
        for one in (workload.resource, *workload.pods, *workload.revisions):
            meta = one["metadata"]
            self.api.store(item(one["apiVersion"], one["kind"], meta["namespace"], meta["name"]), one)
        self.api.store(item("v1", "Namespace", "", NAMESPACE), workload.namespace)
        self.world.put("Namespace", workload.namespace)
        self.world.observe(workload.ref.kind, workload.resource, sick=False)

    def put_policy(self, policy: Policy) -> None:
        """Store a policy; the watches have told it already."""
        self.world.put("SelfHealingPolicy", self.store_policy(policy))

    def store_policy(self, policy: Policy) -> Resource:
        """Store a policy of which the watches have told nothing yet."""
        spec = _written(policy.spec.model_dump(by_alias=True, exclude_unset=True))
        meta = {"name": policy.name, "namespace": policy.namespace, "uid": policy.uid, "generation": policy.generation}
        resource = {"apiVersion": API_VERSION, "kind": "SelfHealingPolicy", "metadata": meta, "spec": spec}
        return self.api.store(own("SelfHealingPolicy", policy.namespace, policy.name), resource)

    def put_remediation(self, remediation: Remediation) -> Remediation:
        """Store a Remediation; the watches have told it already."""
        meta = {"name": remediation.name, "namespace": remediation.namespace, "uid": remediation.uid}
        body: Resource = {"metadata": meta}
        for part in ("spec", "status"):
            body[part] = getattr(remediation, part).model_dump(mode="json", by_alias=True, exclude_none=True)
        stored = self.api.store(own("Remediation", remediation.namespace, remediation.name), body)
        self.world.put("Remediation", stored)
        return Remediation.from_resource(stored)

    def suspend(self, suspended: bool = True) -> None:
        """What ``selfheal suspend`` and ``resume`` do."""
        body = {"metadata": {"name": "cluster"}, "spec": {"suspended": suspended}}
        self.world.put("HealingConfig", self.api.store(own("HealingConfig", "", "cluster"), body))

    def remediations(self) -> list[Remediation]:
        """As stored."""
        return [Remediation.from_resource(one) for one in self.api.list(collection(API_VERSION, "Remediation"))]
