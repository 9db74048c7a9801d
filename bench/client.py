"""Reads and breaks the cluster as its administrator, from outside: the product's own code has no part in it."""

from __future__ import annotations

import base64
import ssl
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import yaml

from selfheal.errors import SelfhealError, Unavailable

Resource = dict[str, Any]
GROUP = "/apis/aiops.example.com/v1alpha1"
_MERGE = {"Content-Type": "application/merge-patch+json"}
_STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}


class ApiError(SelfhealError):
    """The API server refused; the message is what it said."""


class Client:
    """A few calls to one API server.

    Args:
        kubeconfig: With a client certificate or a token.
    """

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._http = httpx.Client(base_url=cluster["server"], verify=_trust(cluster, user), headers=headers, timeout=10)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def get(self, path: str, **query: str) -> Resource:
        """One object or one list; empty when there is none.

        Raises:
            ApiError: When the server refuses.
            Unavailable: When it does not answer.
        """
        return self._call("GET", path, params=query, missing_is_empty=True)

    def text(self, path: str) -> str:
        """What is no JSON: the server's own metrics.

        Raises:
            Unavailable: When it does not answer.
        """
        try:
            return self._http.get(path).raise_for_status().text
        except httpx.HTTPError as error:
            raise Unavailable(f"the API server does not answer: {error}") from None

    def items(self, path: str, **query: str) -> list[Resource]:
        """The objects of a list; none for a kind that the server does not know."""
        found: list[Resource] = self.get(path, **query).get("items") or []
        return found

    def merge(self, path: str, patch: Resource, *, strategic: bool = False) -> Resource:
        """A merge patch; a strategic one keeps what lists hold beside."""
        return self._call("PATCH", path, json=patch, headers=_STRATEGIC if strategic else _MERGE)

    def replace(self, path: str, pointer: str, value: Resource) -> Resource:
        """Replace one field, named by its JSON pointer, with all that it holds."""
        headers = {"Content-Type": "application/json-patch+json"}
        return self._call("PATCH", path, json=[{"op": "replace", "path": pointer, "value": value}], headers=headers)

    def post(self, path: str, body: Resource | None = None, **query: str) -> httpx.Response:
        """A POST, whose answer may be anything: the proxy of a Service is used with it."""
        try:
            return self._http.post(path, json=body, params=query)
        except httpx.TransportError as error:
            raise Unavailable(f"the API server does not answer: {error}") from None

    def delete(self, path: str) -> None:
        """Delete an object, or nothing when it is gone."""
        self._call("DELETE", path, missing_is_empty=True)

    def _call(self, verb: str, path: str, *, missing_is_empty: bool = False, **more: Any) -> Resource:
        try:
            answer = self._http.request(verb, path, **more)
        except httpx.TransportError as error:
            raise Unavailable(f"the API server does not answer: {error}") from None
        if answer.status_code == httpx.codes.NOT_FOUND and missing_is_empty:
            return {}
        if answer.is_error:
            raise ApiError(f"{verb} {path}: {answer.status_code} {answer.text[:300]}")
        found: Resource = answer.json()
        return found


def answers(url: str) -> bool:
    """Whether somebody answers there, and with success."""
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def _named(entries: list[Resource], name: str) -> Resource:
    return next(entry for entry in entries if entry["name"] == name)


def _trust(cluster: Resource, user: Resource) -> ssl.SSLContext:
    """TLS as the kubeconfig says, whether it names files or holds them."""
    with tempfile.TemporaryDirectory() as folder:
        context = ssl.create_default_context(cafile=_file(cluster, "certificate-authority", folder))
        certificate = _file(user, "client-certificate", folder)
        if certificate:
            context.load_cert_chain(certificate, _file(user, "client-key", folder))
        return context


def _file(entry: Resource, key: str, folder: str) -> str | None:
    if f"{key}-data" in entry:
        path = Path(folder, key)
        path.write_bytes(base64.b64decode(entry[f"{key}-data"]))
        return str(path)
    return entry.get(key)
