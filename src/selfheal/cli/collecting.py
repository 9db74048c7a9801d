"""``selfheal metrics probe`` and ``selfheal collect``: what Prometheus has, and taking it away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selfheal.cli.output import Json, age, emit, note, progress, table

if TYPE_CHECKING:
    from selfheal.prometheus import ProbeResult, PrometheusClient

Prometheus = Annotated[
    str,
    typer.Option("--prometheus", envvar="SELFHEAL_PROMETHEUS_URL", help="URL of Prometheus or of a Thanos querier."),
]
TokenFile = Annotated[Path | None, typer.Option(help="File with a bearer token, read at every request.")]
CaFile = Annotated[Path | None, typer.Option(help="Certificate authority to trust.")]


def probe(
    prometheus: Prometheus,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Ask Prometheus for each of the 23 metrics.

    Tells whether it returns data, how many series, how old the newest sample is, and by which PromQL.

    Ends with 3 when none of them returns data.
    """
    results = _client(prometheus, token_file, ca_file).probe()
    with_data = sum(1 for result in results if result.series)
    core = sum(1 for result in results if result.series and result.query.core)
    if as_json:
        emit(
            {"prometheus": prometheus, "withData": with_data, "metrics": [_wire(r) for r in results]}, "", as_json=True
        )
    else:
        columns = ["#", "METRIC", "SCOPE", "DATA", "SERIES", "AGE", "FORM", "PROMQL OR ERROR"]
        table(f"{prometheus}", columns, [_row(result) for result in results])
        typer.echo(f"\n{with_data} of {len(results)} return data; of the article's 16 it is {core}.")
    if not with_data:
        note("selfheal: none of the metrics returns data: check that kube-state-metrics and cAdvisor are scraped here")
        raise typer.Exit(3)


def _client(url: str, token_file: Path | None, ca_file: Path | None) -> PrometheusClient:
    from selfheal.prometheus import PrometheusClient

    return PrometheusClient(url, token_file=token_file, ca_file=ca_file)


def _wire(result: ProbeResult) -> dict[str, Any]:
    query = result.query
    return {
        "number": query.number,
        "name": query.name,
        "category": query.category,
        "scope": query.scope.value,
        "core": query.core,
        "unit": query.unit,
        "data": bool(result.series),
        "series": result.series,
        "ageSeconds": result.age,
        "form": result.form,
        "error": result.error,
    }


def _row(result: ProbeResult) -> list[str]:
    query = result.query
    data = "yes" if result.series else "failed" if result.error else "no"
    form = f"{query.forms.index(result.form) + 1} of {len(query.forms)}" if result.form else "-"
    return [
        str(query.number),
        query.name,
        query.scope.value,
        data,
        str(result.series) if result.series else "-",
        age(result.age),
        form,
        result.form or result.error,
    ]


def collect(
    prometheus: Prometheus,
    out: Annotated[Path, typer.Option(help="Folder for the windows; made when missing, must be empty.")],
    hours: Annotated[float, typer.Option(min=1, help="History to look back on.")] = 168.0,
    step: Annotated[float, typer.Option(min=1, help="Seconds between samples.")] = 60.0,
    end: Annotated[datetime | None, typer.Option(help="Newest sample in UTC; now by default.")] = None,
    namespace: Annotated[list[str] | None, typer.Option(help="Namespace or pattern (team-*); may be repeated.")] = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Take workloads' history from Prometheus.

    The folder gets one parquet file a workload and a manifest.

    Ends with 3 when there is no workload with enough history.
    """
    from selfheal.collection import gather
    from selfheal.errors import WrongUse
    from selfheal.window import save_windows

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WrongUse(f"{out} is not an empty folder: give another one with --out")
    last = end.replace(tzinfo=UTC) if end else datetime.now(UTC)
    client = _client(prometheus, token_file, ca_file)
    with progress() as show:
        history = client.workload_history(last - timedelta(hours=hours), last, step, progress=show)
    found = gather(history, namespaces=namespace or ())
    save_windows(out, list(found.windows))
    note(found.summary())
    result = {
        "out": str(out),
        "workloads": [window.workload for window in found.windows],
        "metrics": list(found.names),
        "withoutData": list(found.without_data),
        "failed": dict(found.failed),
        "leftOut": dict(found.left_out),
    }
    emit(result, f"{len(found.windows)} workloads with {len(found.names)} metrics in {out}", as_json=as_json)
