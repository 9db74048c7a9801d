"""The ConfigMap in which the controller notes revisions that were healthy; the only one that it may read or write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controller.cluster.client import Api
from controller.cluster.paths import item
from controller.model import Resource
from selfheal.policy import FIELD_MANAGER

NAME: Final = "selfheal-healthy-revisions"
"""Shipped empty with the manifests, so that no right to create one is needed."""


class HealthyRevisions:
    """Reads and writes one ConfigMap.

    Args:
        api: The API server.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    def read(self, namespace: str) -> Resource | None:
        """As it is now; None when it is not there.

        Raises:
            Forbidden: When the Role in our namespace is missing.
            Unavailable: When the API server does not answer.
        """
        return self._api.get(item("v1", "ConfigMap", namespace, NAME))

    def write(self, found: Resource, changes: Mapping[str, str | None]) -> None:
        """Set entries, and remove those whose value is None, in one patch, if nobody wrote since it was read.

        Args:
            found: As :meth:`read` returned it.
            changes: By key.

        Raises:
            Conflict: When somebody did.
            Refused: When it is immutable, or too large.
        """
        meta, data = found["metadata"], found.get("data") or {}
        steps: list[dict[str, object]] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]}
        ]
        if not data:
            steps.append({"op": "add", "path": "/data", "value": {}})
        for key, value in sorted(changes.items()):
            if value is not None:
                steps.append({"op": "add", "path": f"/data/{key}", "value": value})
            elif key in data:
                steps.append({"op": "remove", "path": f"/data/{key}"})
        self._api.patch(item("v1", "ConfigMap", meta["namespace"], NAME), steps, fieldManager=FIELD_MANAGER)
