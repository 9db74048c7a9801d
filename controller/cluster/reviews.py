"""Asks the API server who shows a token, and whether they may read our metrics."""

from __future__ import annotations

from typing import Any

from controller.cluster.client import Api

_AUTHENTICATION = "authentication.k8s.io/v1"
_AUTHORIZATION = "authorization.k8s.io/v1"


class Reviews:
    """TokenReview and SubjectAccessReview, as Kubernetes' own components ask them.

    Args:
        api: The transport; not that of the records, since a replica that does not act is scraped too.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    def may_get(self, token: str, path: str) -> bool:
        """Whether a token is of somebody who may ``get`` a path that is no resource.

        Args:
            token: As it was shown.
            path: ``/metrics``, say.

        Raises:
            Forbidden: Without the right to ask (ClusterRole selfheal-metrics-auth).
            Unavailable: When the API server does not answer.
        """
        answer = self._ask(_AUTHENTICATION, "TokenReview", {"token": token})
        if not answer.get("authenticated"):
            return False
        user = answer.get("user") or {}
        who = {key: user[key] for key in ("groups", "uid", "extra") if user.get(key)}
        attributes = {"path": path, "verb": "get"}
        spec = {"user": user.get("username", ""), "nonResourceAttributes": attributes} | who
        return bool(self._ask(_AUTHORIZATION, "SubjectAccessReview", spec).get("allowed"))

    def _ask(self, version: str, kind: str, spec: dict[str, object]) -> dict[str, Any]:
        body = {"apiVersion": version, "kind": kind, "spec": spec}
        found: dict[str, Any] = self._api.request("POST", f"/apis/{version}/{kind.lower()}s", body=body)["status"]
        return found
