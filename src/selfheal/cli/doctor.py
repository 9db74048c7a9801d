"""``selfheal doctor``: is everything there that healing needs, and what to do about what is not."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selfheal.cli.namespaces import Context, Kubeconfig, connect
from selfheal.cli.output import Json, age, emit
from selfheal.errors import SelfhealError
from selfheal.policy import HEALER_ROLE, OPT_IN_LABEL, SYSTEM_NAMESPACE
from selfheal.protocol import MODEL_NAME

if TYPE_CHECKING:
    from selfheal.cli.cluster import Cluster

_TIMEOUT = 5.0  # seconds
_AGAIN = 2.0  # seconds between two looks
_RESOURCES = ("selfhealingpolicies", "remediations", "remediationapprovals", "healingconfigs")
_SHOWN = 3  # names in one line
_PROBED = "pod_memory_usage"


class State(StrEnum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        state: How it is.
        found: What was seen.
        todo: What to do about it; empty where nothing is to be done.
    """

    name: str
    state: State
    found: str
    todo: str = ""


def doctor(
    prometheus: Annotated[str, typer.Option(envvar="SELFHEAL_PROMETHEUS_URL", help="Also ask this Prometheus.")] = "",
    token_file: Annotated[
        Path | None, typer.Option(envvar="SELFHEAL_PROMETHEUS_TOKEN_FILE", help="Its bearer token.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(envvar="SELFHEAL_PROMETHEUS_CA_FILE", help="Its certificate authority.")
    ] = None,
    endpoint: Annotated[str, typer.Option(envvar="SELFHEAL_ENDPOINT_URL", help="Also ask this endpoint.")] = "",
    endpoint_token_file: Annotated[
        Path | None, typer.Option(envvar="SELFHEAL_ENDPOINT_TOKEN_FILE", help="Its bearer token.")
    ] = None,
    endpoint_ca_file: Annotated[
        Path | None, typer.Option(envvar="SELFHEAL_ENDPOINT_CA_FILE", help="Its certificate authority.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to look again while something fails.")] = 0,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Check an installation, and say what to do about what is wrong.

    Custom resources, roles, who leads, suspension, namespaces, policies; Prometheus and endpoint where they are given.
    Changes nothing. Ends with 1 when something failed; what the account may not read is no failure.
    """
    cluster = connect(kubeconfig, context)

    def look() -> list[Check]:
        checks = list(_of_cluster(cluster))
        if prometheus:
            checks.append(_asked("Prometheus", lambda: _prometheus(prometheus, token_file, ca_file)))
        if endpoint:
            checks.append(_asked("endpoint", lambda: _endpoint(endpoint, endpoint_token_file, endpoint_ca_file)))
        return checks

    deadline = time.monotonic() + wait
    while _failed(checks := look()) and time.monotonic() < deadline:
        time.sleep(_AGAIN)
    result = {"checks": [asdict(check) for check in checks], "healthy": not _failed(checks)}
    emit(result, "\n".join(_lines(checks)), as_json=as_json)
    if _failed(checks):
        raise typer.Exit(1)


def _failed(checks: Iterable[Check]) -> bool:
    return any(check.state is State.FAILED for check in checks)


def _lines(checks: Iterable[Check]) -> Iterator[str]:
    for check in checks:
        yield f"{check.state:12} {check.name}: {check.found}"
        if check.todo:
            yield f"{'':12} -> {check.todo}"


def _of_cluster(cluster: Cluster) -> Iterator[Check]:
    looks: Mapping[str, Callable[[], Check]] = {
        "custom resources": lambda: _resources(cluster),
        "roles": lambda: _roles(cluster.missing()),
        "leader": lambda: leader(cluster.lease(), datetime.now(UTC)),
        "switch": lambda: _switch(suspended=cluster.config().suspended),
        "namespaces": lambda: _namespaces(cluster),
        "policies": lambda: policies(cluster.resources("selfhealingpolicies")),
    }
    for name, look in looks.items():
        yield _asked(name, look)


def _asked(name: str, look: Callable[[], Check]) -> Check:
    """A look; what the account may not read, nobody can tell."""
    from selfheal.errors import Forbidden

    try:
        return look()
    except Forbidden as error:
        return Check(name, State.UNKNOWN, f"this account may not {str(error).partition(':')[0]}")
    except SelfhealError as error:
        return Check(name, State.FAILED, str(error))


def _resources(cluster: Cluster) -> Check:
    for plural in _RESOURCES:
        cluster.resources(plural)
    return Check("custom resources", State.OK, f"{len(_RESOURCES)} kinds are known")


def _roles(missing: list[str]) -> Check:
    if missing:
        return Check("roles", State.FAILED, f"{', '.join(missing)} missing", "install the chart, or apply manifests/")
    return Check("roles", State.OK, f"ServiceAccount and ClusterRole {HEALER_ROLE} are there")


def leader(lease: Mapping[str, Any] | None, now: datetime) -> Check:
    """Whether a controller holds its Lease and renews it.

    Args:
        lease: The object; None without one.
        now: Aware time.
    """
    look = f"kubectl -n {SYSTEM_NAMESPACE} get pods; kubectl -n {SYSTEM_NAMESPACE} logs deployment/selfheal-controller"
    spec = (lease or {}).get("spec") or {}
    holder, renewed = spec.get("holderIdentity"), spec.get("renewTime")
    if not holder or not renewed:
        return Check("leader", State.FAILED, "no controller acts, so nothing is healed", look)
    silent = now - datetime.fromisoformat(renewed)
    if silent > timedelta(seconds=2 * int(spec.get("leaseDurationSeconds") or 15)):
        return Check("leader", State.FAILED, f"{holder} has been silent for {age(silent.total_seconds())}", look)
    return Check("leader", State.OK, f"{holder}, renewed {age(max(0.0, silent.total_seconds()))} ago")


def _switch(*, suspended: bool) -> Check:
    if suspended:
        return Check("switch", State.WARNING, "healing is suspended", "selfheal resume")
    return Check("switch", State.OK, "healing is on")


def _namespaces(cluster: Cluster) -> Check:
    enabled = cluster.opted_in()
    if not enabled:
        return Check("namespaces", State.WARNING, "none is healed", "selfheal enable NAMESPACE")
    bare = [name for name in enabled if not cluster.is_bound(name)]
    if bare:
        found = f"{_some(bare)}: label {OPT_IN_LABEL} without the rights"
        return Check("namespaces", State.FAILED, found, f"selfheal enable {bare[0]}")
    return Check("namespaces", State.OK, _some(enabled))


def policies(found: Iterable[Mapping[str, Any]]) -> Check:
    """Whether there are policies, and which are not ready."""
    every = list(found)
    if not every:
        return Check("policies", State.WARNING, "there is none", "kubectl apply -f manifests/examples")
    wrong = [f"{_name(one)} ({reason})" for one in every if (reason := _not_ready(one))]
    if wrong:
        return Check(
            "policies", State.WARNING, f"{len(wrong)} of {len(every)} not ready: {_some(wrong)}", "selfheal status"
        )
    return Check("policies", State.OK, f"{len(every)} ready")


def _name(resource: Mapping[str, Any]) -> str:
    return f"{resource['metadata'].get('namespace', '')}/{resource['metadata']['name']}"


def _not_ready(policy: Mapping[str, Any]) -> str:
    conditions = (policy.get("status") or {}).get("conditions") or []
    ready = next((one for one in conditions if one.get("type") == "Ready"), None)
    if ready is None:
        return "not looked at yet"
    return "" if ready.get("status") == "True" else str(ready.get("reason", "not ready"))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _prometheus(url: str, token_file: Path | None, ca_file: Path | None) -> Check:
    from selfheal.prometheus import PrometheusClient

    client = PrometheusClient(url, token_file=token_file, ca_file=ca_file, timeout=_TIMEOUT)
    (found,) = client.probe([_PROBED])
    if not found.series:
        todo = f"selfheal metrics probe --prometheus {url}"
        return Check("Prometheus", State.FAILED, found.error or f"{url} answers and has no {_PROBED}", todo)
    return Check("Prometheus", State.OK, f"{url} has {_PROBED} of {found.series} series")


def _endpoint(url: str, token_file: Path | None, ca_file: Path | None) -> Check:
    import httpx  # with it rich's tables, which no help needs

    look = f"is a model promoted? kubectl -n {SYSTEM_NAMESPACE} logs -l app.kubernetes.io/component=endpoint"
    try:
        headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"} if token_file else {}
        verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
        with httpx.Client(base_url=url, verify=verify, headers=headers, timeout=_TIMEOUT) as client:
            ready = client.get(f"/v2/models/{MODEL_NAME}/ready")
            about = client.get(f"/v2/models/{MODEL_NAME}")
    except (OSError, httpx.HTTPError) as error:
        return Check("endpoint", State.FAILED, f"{url} does not answer ({error or type(error).__name__})", look)
    if ready.status_code in (401, 403):
        return Check("endpoint", State.FAILED, f"{url} answered {ready.status_code}", "give --endpoint-token-file")
    if not ready.is_success or not about.is_success:
        todo = "train and promote one: the CronJob selfheal-training, or selfheal train"
        return Check("endpoint", State.WARNING, f"{url} has no model yet: symptoms alone are healed", todo)
    versions = about.json().get("versions") or ["?"]
    return Check("endpoint", State.OK, f"{url} serves {MODEL_NAME} version {versions[0]}")
