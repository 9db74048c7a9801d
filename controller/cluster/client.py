"""The transport to the API server, and the only importer of kubernetes.

Every call has a bounded time, and every failure is one of selfheal's own errors. Objects are the dictionaries that the
server sent. Works with kubernetes 30 to 35: only ``ApiClient.call_api`` is used, no generated API classes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kubernetes import client as kubernetes
from kubernetes import config as credentials
from urllib3.exceptions import HTTPError

from controller.cluster.clock import ServerClock, TimedPool
from controller.cluster.encoding import GoPool
from controller.model import Resource
from selfheal.errors import Conflict, Forbidden, Refused, SelfhealError, Unavailable, WrongUse

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
_CHUNK = 500  # objects in one page of a list
_CONNECT = 3.05  # seconds: just above TCP's first retransmission
_RBAC = re.compile(r'User "[^"]*" cannot ')


class NotFound(Conflict):
    """The object, or its API, is not there: read again and decide again."""


class AlreadyExists(Conflict):
    """An object of this name is there."""


class Api:
    """Calls one API server.

    Args:
        client: The official client.
        timeout: Seconds that one call may take.

    Attributes:
        clock: The server's, by its answers.
    """

    def __init__(self, client: kubernetes.ApiClient, timeout: float = 10.0) -> None:
        self.clock = ServerClock()
        client.rest_client.pool_manager = GoPool(TimedPool(client.rest_client.pool_manager, self.clock))
        self._client = client
        self._timeout = timeout
        self._fence: Callable[[], bool] = lambda: True

    def fence(self, allowed: Callable[[], bool]) -> None:
        """From now on, ask before anything is written: only one replica acts."""
        self._fence = allowed

    @classmethod
    def connect(cls, kubeconfig: Path | None, timeout: float = 10.0) -> Api:
        """By a kubeconfig file, by ``KUBECONFIG``, or as the pod's ServiceAccount.

        Raises:
            WrongUse: When there are no credentials.
        """
        configuration = kubernetes.Configuration()
        configuration.retries = 1  # a second try where it is safe; more would stretch the bounded time
        try:
            if kubeconfig is None and not os.environ.get("KUBECONFIG") and "KUBERNETES_SERVICE_HOST" in os.environ:
                credentials.load_incluster_config(client_configuration=configuration)
            else:
                file = str(kubeconfig) if kubeconfig else None
                credentials.load_kube_config(file, client_configuration=configuration)
        except (credentials.ConfigException, OSError) as error:
            raise WrongUse(f"no way to the API server: {error}. Set KUBECONFIG, or run it in a pod.") from None
        return cls(kubernetes.ApiClient(configuration), timeout)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = JSON,
    ) -> Any:
        """One call.

        Returns:
            The decoded JSON of the answer.

        Raises:
            NotFound: 404.
            AlreadyExists: 409 on a creation.
            Conflict: Another 409.
            Forbidden: RBAC does not allow it.
            Refused: Admission, quota, a PodDisruptionBudget or validation says no.
            Unavailable: No answer in time, 429, a server's fault, or it is not for this replica to write now.
        """
        if method != "GET" and not self._fence():
            raise Unavailable(f"another replica may act now: {method} {path} is not sent")
        try:
            return self._client.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": JSON, "Content-Type": content},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=(min(_CONNECT, self._timeout), self._timeout),
            )
        except kubernetes.ApiException as error:
            raise translate(method, path, int(error.status or 0), _text(error.body or error.reason)) from None
        except HTTPError as error:
            raise Unavailable(f"the API server does not answer {method} {path} ({type(error).__name__})") from None

    def get(self, path: str) -> Resource | None:
        """One object; None when it is not there."""
        try:
            found: Resource = self.request("GET", path)
        except NotFound:
            return None
        return found

    def list(self, path: str, **query: str) -> list[Resource]:
        """All objects of a path, page by page."""
        items: list[Resource] = []
        more = ""
        while True:
            page = {"limit": str(_CHUNK), **query} | ({"continue": more} if more else {})
            answer = self.request("GET", path, query=page)
            items += answer.get("items") or []
            more = answer.get("metadata", {}).get("continue") or ""
            if not more:
                return items

    def patch(self, path: str, patch: Sequence[Mapping[str, Any]], **query: str) -> Resource:
        """Send a JSON patch (RFC 6902)."""
        changed: Resource = self.request("PATCH", path, query=query, body=list(patch), content=JSON_PATCH)
        return changed


def translate(method: str, path: str, status: int, body: str) -> SelfhealError:
    """What an answer of the API server means to us.

    Args:
        method: Of the request.
        path: Of the request.
        status: HTTP code; 0 when TLS failed.
        body: A ``metav1.Status`` as JSON, or whatever came.
    """
    reason, message, causes = _read_status(body)
    place = f"{method} {path}: {message}"
    match status:
        case 404:
            return NotFound(place)
        case 409:
            return AlreadyExists(place) if method == "POST" and reason == "AlreadyExists" else Conflict(place)
        case 401:
            return Forbidden(f"{place}. The credentials are not accepted: check the token or kubeconfig.")
        case 403 if _RBAC.search(message):
            way = (
                "Apply manifests/argocd/rollback.yaml" if "/argoproj.io/" in path else "Run `selfheal enable NAMESPACE`"
            )
            return Forbidden(f"{place}. {way}, or check the installed RBAC.")
        case 403:
            return Refused("QuotaExceeded" if "exceeded quota" in message else "AdmissionDenied", place)
        case 429 if "DisruptionBudget" in causes or "disruption budget" in message:
            return Refused("DisruptionBudget", f"{place}. Wait until more pods are healthy.")
        case 400 | 405 | 413 | 415 | 422:
            return Refused("Invalid", place)
        case _:
            return Unavailable(f"{place} (HTTP {status})")


def _text(body: str | bytes | None) -> str:
    return body.decode(errors="replace") if isinstance(body, bytes) else body or ""


def _read_status(body: str) -> tuple[str, str, tuple[str, ...]]:
    try:
        status = json.loads(body)
    except ValueError:
        status = {}
    if not isinstance(status, dict) or status.get("kind") != "Status":
        return "", " ".join(body.split())[:300], ()
    causes = (status.get("details") or {}).get("causes") or []
    message = str(status.get("message", ""))
    told = [str(cause["message"]) for cause in causes if cause.get("message") and cause["message"] not in message]
    reasons = tuple(str(cause.get("reason", "")) for cause in causes)
    return str(status.get("reason", "")), "; ".join([message, *told]), reasons
