"""Our own resources in the API server: policies, remediations, approvals, the configuration, and Events."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from controller.cluster.client import AlreadyExists, Api, NotFound
from controller.cluster.paths import collection, own
from controller.cluster.reader import typed
from controller.model import Resource
from selfheal.errors import Conflict
from selfheal.policy import API_VERSION, FIELD_MANAGER
from selfheal.remediation import PolicyStatus, Remediation, RemediationSpec, RemediationStatus

_MANAGED = {"fieldManager": FIELD_MANAGER}
_EVENT_TEXT = 1024  # characters the API server takes in an Event's note


class Records:
    """Reads and writes our own resources.

    Args:
        api: The API server.
        clock: Aware time; tests put their own in.
    """

    def __init__(self, api: Api, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._api = api
        self._clock = clock

    def list(self, kind: str) -> list[Resource]:
        """All objects of one of our kinds, or all Namespaces.

        Raises:
            NotFound: When the CRD is not installed.
        """
        version = "v1" if kind == "Namespace" else API_VERSION
        return [typed(one, version, kind) for one in self._api.list(collection(version, kind))]

    def config(self) -> Resource | None:
        """The HealingConfig named ``cluster``; None when there is none."""
        return self._api.get(own("HealingConfig", "", "cluster"))

    def policy(self, namespace: str, name: str) -> Resource | None:
        """One policy as it is now; None when it is gone."""
        found = self._api.get(own("SelfHealingPolicy", namespace, name))
        return typed(found, API_VERSION, "SelfHealingPolicy") if found else None

    def remediation(self, namespace: str, name: str) -> Remediation | None:
        """One Remediation as it is now; None when it is gone.

        Raises:
            InvalidResource: When it cannot be understood.
        """
        found = self._api.get(own("Remediation", namespace, name))
        return Remediation.from_resource(found) if found else None

    def create(self, namespace: str, name: str, spec: RemediationSpec, labels: dict[str, str]) -> bool:
        """Create a Remediation; its name is deterministic, so that an existing one is this one.

        Returns:
            Whether it was created now.
        """
        body = {
            "apiVersion": API_VERSION,
            "kind": "Remediation",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        try:
            self._api.request("POST", own("Remediation", namespace), query=_MANAGED, body=body)
        except AlreadyExists:
            return False
        return True

    def write_status(self, remediation: Remediation, status: RemediationStatus) -> Remediation:
        """Replace the status of a Remediation, if nobody wrote it since it was read.

        Raises:
            Conflict: When somebody did, or it is gone.
        """
        value = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        path = own("Remediation", remediation.namespace, remediation.name, "status")
        stored = self._replace_status(path, remediation.resource_version, value)
        return Remediation.from_resource(stored)

    def write_policy_status(self, namespace: str, name: str, resource: Resource, status: PolicyStatus) -> None:
        """Replace the status of a policy, if nobody wrote it since ``resource`` was read.

        Raises:
            Conflict: When somebody did, or it is gone.
        """
        value = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        path = own("SelfHealingPolicy", namespace, name, "status")
        self._replace_status(path, resource["metadata"]["resourceVersion"], value)

    def _replace_status(self, path: str, version: str, value: dict[str, Any]) -> Resource:
        guard = {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
        return self._api.patch(path, [guard, {"op": "add", "path": "/status", "value": value}], **_MANAGED)

    def delete(self, remediation: Remediation) -> None:
        """Delete an old record, exactly the version that was read; one that is gone or changed is left alone."""
        body = {"preconditions": {"uid": remediation.uid, "resourceVersion": remediation.resource_version}}
        try:
            self._api.request("DELETE", own("Remediation", remediation.namespace, remediation.name), body=body)
        except (NotFound, Conflict):
            return

    def event(
        self,
        regarding: Resource,
        reason: str,
        note: str,
        *,
        action: str,
        kind: Literal["Normal", "Warning"] = "Normal",
        related: Resource | None = None,
    ) -> None:
        """Write an Event about an object.

        Args:
            regarding: Its reference: apiVersion, kind, namespace, name, uid.
            reason: CamelCase constant.
            note: For people; cut to what the server takes.
            action: What was done or refused.
            kind: Of the Event.
            related: Reference of another object.
        """
        now = self._clock()
        digest = hashlib.sha256(f"{regarding}{reason}{note}{now.isoformat()}".encode()).hexdigest()[:16]
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{regarding['name'][:200]}.{digest}", "namespace": regarding["namespace"]},
            "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": f"aiops.example.com/{FIELD_MANAGER}",
            "reportingInstance": socket.gethostname()[:128],
            "action": action,
            "reason": reason,
            "regarding": regarding,
            "note": note if len(note) <= _EVENT_TEXT else note[: _EVENT_TEXT - 3] + "...",
            "type": kind,
        } | ({"related": related} if related else {})
        self._api.request(
            "POST", collection("events.k8s.io/v1", "Event", regarding["namespace"]), query=_MANAGED, body=body
        )
