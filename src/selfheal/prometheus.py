"""Samples by workload from a Prometheus, over prometheus-api-client. Plain lists, no numpy, no pandas.

Series of pods, Deployments and volume claims are mapped to the workload that owns them, for training and live alike
(``kube_pod_owner``, ``kube_replicaset_owner``, ``kube_job_owner``,
``kube_pod_spec_volumes_persistentvolumeclaims_info``); :mod:`selfheal.series` says how.
A sample that Prometheus does not have is None; a query that fails is listed in ``failed`` and leaves gaps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.auth import AuthBase
from urllib3.util.retry import Retry

from selfheal.catalogue import BY_NAME, CATALOGUE, Query, Scope
from selfheal.errors import Forbidden, Unavailable, WrongUse
from selfheal.series import Collected, Grid, Owners, Silences, WindowSet

__all__ = ["ProbeResult", "Progress", "PrometheusClient", "WindowSet"]

# The catalogue's metrics all begin with their exporter's prefix, which PromQL's own words and labels do not.
_SOURCE = re.compile(r"\b(?:instance|node|kube|container|apiserver|etcd|http)[a-z0-9]*[_:][A-Za-z0-9_:]+")
_TELLTALES = {"container_": "container_memory_working_set_bytes", "kube_": "kube_pod_owner"}
_LOOKBACK = 300.0  # seconds that Prometheus' own staleness rule looks back; older data is no data

Progress = Callable[[str, int, int], None]
"""Called with the metric, how many queries are done and how many there are."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one query of the catalogue returns on this Prometheus.

    Attributes:
        query: The query.
        form: The first PromQL form that returned data; empty when none did.
        series: How many series it returned.
        age: Seconds since the newest raw sample; None without data.
        error: Why a form failed, empty when none did.
    """

    query: Query
    form: str = ""
    series: int = 0
    age: float | None = None
    error: str = ""


class _TokenFile(AuthBase):
    """Reads the token at every request: a ServiceAccount's token is rotated under a running process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        try:
            token = self._path.read_text().strip()
        except OSError as error:
            raise WrongUse(f"cannot read the Prometheus token: {error}. Check the token file setting.") from None
        request.headers["Authorization"] = f"Bearer {token}"
        return request


class PrometheusClient:
    """Asks one Prometheus (or Thanos querier) for the catalogue's metrics.

    Args:
        url: Such as ``https://thanos-querier.openshift-monitoring.svc:9091``.
        token_file: Holds a bearer token, read at every request.
        ca_file: Certificate authority to trust; TLS is always verified.
        timeout: Seconds that one request may take.
        retries: How often a request is tried again when the server is busy.
        session: Transport; tests put their own in.
    """

    def __init__(
        self,
        url: str,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        session: requests.Session | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise WrongUse(f"{url!r} is no Prometheus URL: write for example http://prometheus.monitoring:9090")
        self.url = url.rstrip("/")
        transport = session or requests.Session()
        if ca_file is not None:
            transport.verify = str(ca_file)
        self._api = PrometheusConnect(
            url=self.url,
            auth=_TokenFile(token_file) if token_file else None,
            session=transport,
            timeout=timeout,
            retry=Retry(total=retries, backoff_factor=0.2, status_forcelist=[429, 502, 503, 504]),
            method="POST",  # long expressions do not fit into every proxy's URL limit
        )

    def probe(self, names: Iterable[str] | None = None, at: datetime | None = None) -> list[ProbeResult]:
        """Ask for each query of the catalogue what it returns now.

        Args:
            names: Metrics to probe; all 23 by default.
            at: The moment to ask about, now by default.

        Returns:
            One result a query, in catalogue order.

        Raises:
            Unavailable: When Prometheus does not answer at all.
            Forbidden: When it refuses to be asked.
        """
        moment = at or datetime.now(UTC)
        return [self._probe_one(query, moment) for query in _chosen(names)]

    def _probe_one(self, query: Query, moment: datetime) -> ProbeResult:
        errors: list[str] = []
        for form in query.forms:
            try:
                found = self._instant(form, moment)
            except PrometheusApiClientException as error:
                errors.append(_short(error))
                continue
            if found:
                return ProbeResult(query, form, len(found), self._age(form, moment), "; ".join(errors))
        return ProbeResult(query, error="; ".join(errors))

    def _age(self, form: str, moment: datetime) -> float | None:
        """Seconds since the newest raw sample that a form rests on; expressions themselves have no age."""
        source = _SOURCE.search(form)
        found = self._instant(f"max(timestamp({source[0]}))", moment) if source else []
        return round(max(0.0, moment.timestamp() - float(found[0]["value"][1])), 1) if found else None

    def workload_windows(
        self,
        end: datetime,
        samples: int,
        step: float,
        *,
        workloads: Collection[str] | None = None,
        names: Iterable[str] | None = None,
        scopes: Collection[Scope] = (Scope.WORKLOAD,),
        progress: Progress | None = None,
    ) -> WindowSet:
        """The newest samples of many workloads, in one range query a metric.

        Args:
            end: Aware time of the newest sample.
            samples: How many, at least 1.
            step: Seconds between them.
            workloads: ``namespace/Kind/name`` of those wanted; each gets an entry, even if nothing is known about it.
                All by default.
            names: Metrics wanted; those of ``scopes`` by default.
            scopes: What kinds of entity are wanted, where ``names`` does not say.
            progress: Told after every query.

        Returns:
            The windows.

        Raises:
            Unavailable: When Prometheus does not answer at all.
        """
        grid = Grid(end.astimezone(UTC), samples, step)
        chosen = [query for query in _chosen(names) if names is not None or query.scope in scopes]
        with self._understood():
            return self._collect(grid, chosen, workloads, progress)

    def _collect(
        self, grid: Grid, chosen: Collection[Query], workloads: Collection[str] | None, progress: Progress | None
    ) -> WindowSet:
        owners = self._owners(grid)
        collected = Collected(grid, chosen, workloads)
        silences: dict[str, Silences] = {}
        for done, query in enumerate(chosen, 1):
            series, form, error = self._query_range(query, grid)
            source = _source(form)
            if series and source not in silences:
                silences[source] = self._silences(source, grid)
            collected.add(query, series, form, error, owners, silences.get(source, Silences()))
            if progress:
                progress(query.name, done, len(chosen))
        return collected.result()

    def workload_history(
        self,
        start: datetime,
        end: datetime,
        step: float,
        names: Iterable[str] | None = None,
        *,
        scopes: Collection[Scope] = (Scope.WORKLOAD,),
        progress: Progress | None = None,
    ) -> WindowSet:
        """The same from ``start`` to ``end`` (both included), on a grid aligned to ``step``.

        Raises:
            Unavailable: When Prometheus does not answer at all.
            WrongUse: When ``end`` is not after ``start``.
        """
        last = datetime.fromtimestamp(end.timestamp() // step * step, UTC)
        samples = int((last - start).total_seconds() // step) + 1
        if samples < 1:
            raise WrongUse(f"history from {start} to {end} is empty: the end must be after the start")
        return self.workload_windows(last, samples, step, names=names, scopes=scopes, progress=progress)

    def worst_since(
        self, name: str, namespace: str, pods: Collection[str], since: datetime, at: datetime
    ) -> float | None:
        """The worst pod's value of a metric, whose rates rest on nothing from before a moment.

        Args:
            name: Of the catalogue; the windows of its rates begin at ``since`` instead of five minutes ago.
            namespace: Of the pods.
            pods: Their names.
            since: The moment, at least a second before ``at``.
            at: Now.

        Returns:
            The value in the metric's unit; None while there are too few samples since then, or the metric is absent.

        Raises:
            Unavailable: When Prometheus does not answer at all.
        """
        with self._understood():
            return self._worst(name, {(namespace, pod) for pod in pods}, since, at)

    def _worst(self, name: str, pods: Collection[tuple[str, str]], since: datetime, at: datetime) -> float | None:
        span = f"[{max(1, int((at - since).total_seconds()))}s]"
        for form in BY_NAME[name].forms:
            try:
                found = self._instant(form.replace("[5m]", span), at)
            except PrometheusApiClientException:
                continue  # the next form may do
            own = [float(one["value"][1]) for one in found if _pod(one["metric"]) in pods]
            values = [value for value in own if math.isfinite(value)]
            if values:
                return max(values)
        return None

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Whatever the server sends, it is one of our errors that leaves: nothing of its answer was checked before."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            raise Unavailable(
                f"Prometheus at {self.url} answers otherwise than Prometheus does ({type(error).__name__}: "
                f"{_short(error)}): check the URL"
            ) from error

    def _query_range(self, query: Query, grid: Grid) -> tuple[list[Any], str, str]:
        """Series, the form that gave them, and why forms failed."""
        errors: list[str] = []
        for form in query.forms:
            try:
                found = [s for start, end in grid.chunks() for s in self._range(form, start, end, grid.step)]
            except PrometheusApiClientException as error:
                errors.append(_short(error))
                continue
            if found:
                return found, form, ""
        return [], "", "; ".join(errors)

    def _silences(self, source: str, grid: Grid) -> Silences:
        """When nothing of an exporter was scraped; none where that cannot be asked."""
        behind, every = int(grid.span + 2 * _LOOKBACK), max(1, int(min(grid.step, _LOOKBACK / 5)))
        try:
            # timestamp() would tell the very second, and takes Prometheus four hundred times as long.
            found = self._instant(f"count(present_over_time({source}[{every}s]))[{behind}s:{every}s]", grid.end)
        except PrometheusApiClientException:
            return Silences()  # the samples themselves were answered
        heard = [float(at) for series in found for at, _ in series["values"]]
        return Silences.read(heard, grid.end.timestamp(), every)

    def _owners(self, grid: Grid) -> Owners:
        """Who owned what at any time of the grid."""
        span = f"[{max(int(grid.span), int(_LOOKBACK))}s]"

        def ask(metric: str) -> list[dict[str, str]]:
            return [series["metric"] for series in self._must(f"last_over_time({metric}{span})", grid.end)]

        pods = ask("kube_pod_owner")
        return Owners.read(
            pods,
            ask("kube_replicaset_owner"),
            ask("kube_job_owner"),
            ask("kube_pod_spec_volumes_persistentvolumeclaims_info"),
            self._gone(pods, grid),
        )

    def _gone(self, pods: Iterable[dict[str, str]], grid: Grid) -> dict[tuple[str, str], float]:
        """When kube-state-metrics last knew the pods that it does not know at the grid's end; none where it is down."""
        alive = {_pod(series["metric"]) for series in self._must("kube_pod_owner", grid.end)}
        if not alive or alive.issuperset(map(_pod, pods)):
            return {}
        window = f"[{max(int(grid.span), int(_LOOKBACK))}s:{max(1, int(min(grid.step, _LOOKBACK)))}s]"
        last = self._must(f"max_over_time(timestamp(kube_pod_owner){window})", grid.end)
        times = {_pod(series["metric"]): float(series["value"][1]) for series in last}
        return {pod: at for pod, at in times.items() if pod not in alive}

    def _must(self, promql: str, at: datetime) -> list[Any]:
        """An instant query without which nothing can be said."""
        try:
            return self._instant(promql, at)
        except PrometheusApiClientException as error:
            raise Unavailable(f"Prometheus at {self.url} cannot answer {promql}: {_short(error)}") from None

    def _instant(self, promql: str, at: datetime) -> list[Any]:
        return self._call(lambda: self._api.custom_query(promql, params={"time": at.timestamp()}))

    def _range(self, promql: str, start: datetime, end: datetime, step: float) -> list[Any]:
        return self._call(lambda: self._api.custom_query_range(promql, start, end, f"{step:g}s"))

    def _call(self, ask: Callable[[], Any]) -> list[Any]:
        try:
            found: list[Any] = ask()
        except requests.RequestException as error:
            raise Unavailable(
                f"Prometheus at {self.url} does not answer ({_short(error)}): check the URL, the network and the token"
            ) from None
        except PrometheusApiClientException as error:
            if "HTTP Status Code 40" in str(error) and "HTTP Status Code 400" not in str(error):
                raise Forbidden(
                    f"Prometheus at {self.url} refuses the question ({_short(error)}): check the URL's path, the token "
                    "and, on OpenShift, that the ServiceAccount has cluster-monitoring-view"
                ) from None
            raise  # a query that this server cannot answer; others may still do
        return found


def _chosen(names: Iterable[str] | None) -> list[Query]:
    if names is None:
        return list(CATALOGUE)
    wanted = list(names)
    unknown = sorted(set(wanted) - BY_NAME.keys())
    if unknown:
        raise WrongUse(f"no such metric in the catalogue: {', '.join(unknown)}")
    return [BY_NAME[name] for name in wanted]


def _source(form: str) -> str:
    """A metric that tells when a form's exporter was scraped; one for all of cAdvisor's, and one for the cluster's."""
    found = _SOURCE.search(form)
    name = found[0] if found else ""
    return next((source for start, source in _TELLTALES.items() if name.startswith(start)), name)


def _pod(labels: dict[str, str]) -> tuple[str, str]:
    return labels.get("namespace", ""), labels.get("pod", "")


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."
