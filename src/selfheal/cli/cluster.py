"""What commands read and write in a cluster; the only importer of kubernetes here. Objects are plain dictionaries."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from kubernetes import client as kubernetes
from kubernetes import config as credentials
from urllib3.exceptions import HTTPError

from selfheal.errors import Conflict, Forbidden, NoData, Refused, SelfhealError, Unavailable, WrongUse
from selfheal.policy import (
    CLI_FIELD_MANAGER,
    GROUP,
    HEALER_ROLE,
    OPT_IN_LABEL,
    SERVICE_ACCOUNT,
    SYSTEM_NAMESPACE,
    VERSION,
    HealingConfig,
)
from selfheal.remediation import Operation, Remediation, RemediationStatus
from selfheal.takingback import overwrites

Resource = dict[str, Any]

_JSON = "application/json"
_MERGE = "application/merge-patch+json"
_PATCH = "application/json-patch+json"
_SUBRESOURCE = {"Resize": "/resize", "Scale": "/scale"}
_TIMEOUT = (3.05, 20.0)  # seconds to connect and to answer
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_TRIES = 5


class Cluster:
    """One API server, with the rights of whoever runs the command.

    Args:
        client: The official client.
    """

    def __init__(self, client: kubernetes.ApiClient) -> None:
        self._client = client

    @classmethod
    def connect(cls, kubeconfig: Path | None = None, context: str | None = None) -> Cluster:
        """By the flags, ``KUBECONFIG``, the pod's ServiceAccount or ``~/.kube/config``.

        Raises:
            WrongUse: When there is none.
        """
        configuration = kubernetes.Configuration()
        configuration.retries = 1
        chosen = kubeconfig or context or os.environ.get("KUBECONFIG")
        try:
            if not chosen and "KUBERNETES_SERVICE_HOST" in os.environ:
                credentials.load_incluster_config(client_configuration=configuration)
            else:
                file = str(kubeconfig) if kubeconfig else None
                credentials.load_kube_config(file, context, client_configuration=configuration)
        except (credentials.ConfigException, OSError) as error:
            said = str(error).rstrip(".")
            raise WrongUse(f"no cluster to talk to: {said}. Set KUBECONFIG or give --kubeconfig.") from None
        return cls(kubernetes.ApiClient(configuration))

    def enable(self, namespace: str, *, dry_run: bool = False) -> list[str]:
        """Opt a namespace in: rights first, then the label, so that a label never stands without them.

        Returns:
            What was changed, in words; nothing when all was there.

        Raises:
            Refused: For a protected namespace.
            WrongUse: When the namespace does not exist.
            Conflict: When a RoleBinding of our name binds something else.
        """
        self._refuse_protected(namespace)
        labels = self._namespace(namespace)["metadata"].get("labels") or {}
        changed = [self._bind(namespace, dry_run)]
        if labels.get(OPT_IN_LABEL) != "enabled":
            changed.append(self._label(namespace, "enabled", dry_run))
        return [change for change in changed if change]

    def disable(self, namespace: str, *, dry_run: bool = False) -> list[str]:
        """Opt a namespace out: takes both away; allowed everywhere.

        Returns:
            What was changed, in words.

        Raises:
            WrongUse: When the namespace does not exist.
        """
        labels = self._namespace(namespace)["metadata"].get("labels") or {}
        changed = [self._unbind(namespace, dry_run)]
        if OPT_IN_LABEL in labels:
            changed.append(self._label(namespace, None, dry_run))
        return [change for change in changed if change]

    def missing(self) -> list[str]:
        """What has to be installed before an opted-in namespace can be healed."""
        account = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts/{SERVICE_ACCOUNT}"
        wanted = {
            f"ClusterRole {HEALER_ROLE}": f"{_RBAC}/clusterroles/{HEALER_ROLE}",
            f"ServiceAccount {SERVICE_ACCOUNT} in {SYSTEM_NAMESPACE}": account,
        }
        return [name for name, path in wanted.items() if self._get(path) is None]

    def lease(self) -> Resource | None:
        """The Lease of the controller that acts; None when there is none."""
        return self._get(f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases/{SERVICE_ACCOUNT}")

    def opted_in(self) -> list[str]:
        """Namespaces with the label, by name."""
        found = self._request("GET", "/api/v1/namespaces")["items"]
        return [
            one["metadata"]["name"]
            for one in found
            if (one["metadata"].get("labels") or {}).get(OPT_IN_LABEL) == "enabled"
        ]

    def is_bound(self, namespace: str) -> bool:
        """Whether the controller has a healer's rights in a namespace.

        Raises:
            Forbidden: Without the right to read RoleBindings.
        """
        there = self._get(f"{_RBAC}/namespaces/{namespace}/rolebindings/{HEALER_ROLE}")
        return there is not None and any(_is_ours(subject) for subject in there.get("subjects") or [])

    def resources(self, plural: str, namespace: str = "") -> list[Resource]:
        """Our own resources of one kind, everywhere or in one namespace.

        Raises:
            NoData: When the CRD is not installed.
        """
        place = f"namespaces/{namespace}/" if namespace else ""
        path = f"/apis/{GROUP}/{VERSION}/{place}{plural}"
        found = self._get(path)
        if found is None:
            raise NoData(f"this cluster has no {plural}.{GROUP}: apply manifests/crds first")
        items: list[Resource] = found["items"]
        return items

    def config(self) -> HealingConfig:
        """The HealingConfig named ``cluster``, or the defaults without one."""
        return HealingConfig.from_resource(self._get(f"/apis/{GROUP}/{VERSION}/healingconfigs/cluster"))

    def decide(
        self, namespace: str, remediation: str, decision: str, reason: str = "", *, dry_run: bool = False
    ) -> str:
        """Approve or deny a Remediation, in the name by which the API server knows who asks.

        Returns:
            That name.

        Raises:
            Forbidden: Without the right to (ClusterRole selfheal-approve).
        """
        approver = self.whoami()
        spec = {"remediationName": remediation, "decision": decision, "approver": approver, "reason": reason}
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "RemediationApproval",
            "metadata": {"generateName": f"{remediation}-{decision.lower()}-", "namespace": namespace},
            "spec": {key: value for key, value in spec.items() if value},
        }
        where = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/remediationapprovals"
        self._request("POST", where, body=body, dry_run=dry_run)
        return approver

    def whoami(self) -> str:
        """The name by which the API server knows who asks."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        return str(self._request("POST", path, body=review)["status"]["userInfo"]["username"])

    def record(self, namespace: str, name: str, change: Callable[[Remediation], RemediationStatus | None]) -> None:
        """Replace the status of a Remediation, as it is now; a few times where somebody else is writing it too.

        Args:
            namespace: Its namespace.
            name: Its name.
            change: The new status; None to leave it.

        Raises:
            Forbidden: Without the right to write ``remediations/status``.
            Conflict: When others keep writing it.
        """
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/remediations/{name}"
        for left in reversed(range(_TRIES)):
            found = Remediation.from_resource(self._request("GET", path))
            status = change(found)
            if status is None:
                return
            value = status.model_dump(mode="json", by_alias=True, exclude_none=True)
            guard = {"op": "replace", "path": "/metadata/resourceVersion", "value": found.resource_version}
            body = [guard, {"op": "add", "path": "/status", "value": value}]
            try:
                self._request("PATCH", f"{path}/status", body=body, content=_PATCH)
            except Conflict:
                if not left:
                    raise
            else:
                return

    def take_back(self, operations: Iterable[Operation], *, dry_run: bool = False) -> list[str]:
        """Write what restores what a remediation touched; each patch tests that our values are still there.

        Returns:
            What was restored, in words; pods that are gone need nothing.

        Raises:
            Conflict: When an object is gone, is another one now, or somebody has changed it since.
        """
        return [done for operation in operations if (done := self._restore(operation, dry_run))]

    def _restore(self, operation: Operation, dry_run: bool) -> str:
        group = f"/apis/{operation.api_version}" if "/" in operation.api_version else f"/api/{operation.api_version}"
        sub = _SUBRESOURCE.get(operation.verb, "")
        path = f"{group}/namespaces/{operation.namespace}/{operation.kind.lower()}s/{operation.name}{sub}"
        name = f"{operation.kind} {operation.namespace}/{operation.name}"
        now = self._get(path)
        if now is None or now["metadata"]["uid"] != operation.uid:
            if operation.kind == "Pod":
                return ""
            raise Conflict(f"{name} is gone, or another one has its name: nothing was taken back")
        if overwrites(operation, now):
            raise Conflict(f"{name} was changed since, so it is left as it is")
        guard = {"op": "test", "path": "/metadata/uid", "value": operation.uid}
        try:
            self._request("PATCH", path, body=[guard, *operation.patch], dry_run=dry_run, content=_PATCH)
        except Refused as error:
            raise Conflict(f"{name} was changed since, so it is left as it is ({error})") from None
        return f"{name} restored"

    def suspend(self, suspended: bool, *, dry_run: bool = False) -> bool:
        """Stop all healing, or let it go on.

        Returns:
            Whether that changed anything.
        """
        path = f"/apis/{GROUP}/{VERSION}/healingconfigs"
        there = self._get(f"{path}/cluster")
        if bool(((there or {}).get("spec") or {}).get("suspended")) == suspended:
            return False
        body: Resource = {"spec": {"suspended": suspended}}
        if there is None:
            named = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "HealingConfig", "metadata": {"name": "cluster"}}
            self._request("POST", path, body=named | body, dry_run=dry_run)
        else:
            self._request("PATCH", f"{path}/cluster", body=body, dry_run=dry_run)
        return True

    def _refuse_protected(self, namespace: str) -> None:
        patterns = dict.fromkeys((*HealingConfig().protected_namespaces, *self.config().protected_namespaces))
        for pattern in patterns:
            if fnmatchcase(namespace, pattern):
                raise Refused(
                    "ProtectedNamespace",
                    f"namespace {namespace} is protected ({pattern}): the cluster's own namespaces are never healed. "
                    "Enable the namespaces of applications.",
                )
        if namespace == SYSTEM_NAMESPACE:
            raise Refused("ProtectedNamespace", f"{namespace} is where selfheal itself lives; it does not heal itself")

    def _namespace(self, name: str) -> Resource:
        found = self._get(f"/api/v1/namespaces/{name}")
        if found is None:
            raise WrongUse(f"there is no namespace {name}: check the name, or create it first")
        return found

    def _label(self, namespace: str, value: str | None, dry_run: bool) -> str:
        body = {"metadata": {"labels": {OPT_IN_LABEL: value}}}
        self._request("PATCH", f"/api/v1/namespaces/{namespace}", body=body, dry_run=dry_run)
        return f"label {OPT_IN_LABEL}={value} added" if value else f"label {OPT_IN_LABEL} removed"

    def _bind(self, namespace: str, dry_run: bool) -> str:
        path = f"{_RBAC}/namespaces/{namespace}/rolebindings"
        wanted = _binding(namespace)
        there = self._get(f"{path}/{HEALER_ROLE}")
        if there is None:
            self._request("POST", path, body=wanted, dry_run=dry_run)
            return f"RoleBinding {HEALER_ROLE} created"
        if there["roleRef"] != wanted["roleRef"]:
            role = f"{there['roleRef']['kind']} {there['roleRef']['name']}"
            raise Conflict(f"RoleBinding {HEALER_ROLE} in {namespace} binds {role}, not ours: delete it first")
        subjects = there.get("subjects") or []
        if any(_is_ours(subject) for subject in subjects):
            return ""
        body = {"subjects": [*subjects, *wanted["subjects"]]}
        self._request("PATCH", f"{path}/{HEALER_ROLE}", body=body, dry_run=dry_run)
        return f"RoleBinding {HEALER_ROLE} given its subject"

    def _unbind(self, namespace: str, dry_run: bool) -> str:
        path = f"{_RBAC}/namespaces/{namespace}/rolebindings/{HEALER_ROLE}"
        there = self._get(path)
        if there is None or there["roleRef"] != _binding(namespace)["roleRef"]:
            return ""
        self._request("DELETE", path, dry_run=dry_run)
        return f"RoleBinding {HEALER_ROLE} deleted"

    def _get(self, path: str) -> Resource | None:
        """An object or a whole list; None when it is not there."""
        try:
            found: Resource = self._request("GET", path)
        except _NotFound:
            return None
        return found

    def _request(
        self, method: str, path: str, *, body: object = None, dry_run: bool = False, content: str = _MERGE
    ) -> Any:
        query = [] if method == "GET" else [("fieldManager", CLI_FIELD_MANAGER)] * (method != "DELETE")
        query += [("dryRun", "All")] if dry_run else []
        try:
            return self._client.call_api(
                path,
                method,
                query_params=query,
                header_params={"Accept": _JSON, "Content-Type": content if method == "PATCH" else _JSON},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=_TIMEOUT,
            )
        except kubernetes.ApiException as error:
            raise _translate(method, path, error) from None
        except HTTPError as error:
            host = "the API server"
            raise Unavailable(
                f"{host} does not answer ({type(error).__name__}): check the kubeconfig's address"
            ) from None


class _NotFound(NoData):
    """404."""


def _translate(method: str, path: str, error: kubernetes.ApiException) -> SelfhealError:
    try:
        message = str(json.loads(error.body or "").get("message", ""))
    except (ValueError, AttributeError):
        message = str(error.reason)
    place = f"{method} {path}: {message}"
    match error.status:
        case 404:
            return _NotFound(place)
        case 401:
            return Forbidden(f"{place}. The API server does not accept the credentials: log in again.")
        case 403:
            return Forbidden(f"{place}. Ask an administrator of the cluster to run this command.")
        case 409:
            return Conflict(f"{place}. Somebody else was faster: run the command again.")
        case 422:
            return Refused("Invalid", place)
        case _:
            return Unavailable(f"{place} (HTTP {error.status})")


def _binding(namespace: str) -> Resource:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {
            "name": HEALER_ROLE,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "selfheal", "app.kubernetes.io/managed-by": CLI_FIELD_MANAGER},
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": HEALER_ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": SYSTEM_NAMESPACE}],
    }


def _is_ours(subject: Mapping[str, Any]) -> bool:
    return {key: subject.get(key) for key in ("kind", "name", "namespace")} == {
        "kind": "ServiceAccount",
        "name": SERVICE_ACCOUNT,
        "namespace": SYSTEM_NAMESPACE,
    }
