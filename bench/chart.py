"""``python -m bench.chart``: what the chart has from elsewhere in the repository; helm reads no file outside of it.

CRDs, RBAC, admission policies, rules and dashboards are copied; the schema of ``controller.settings`` is made from the
controller's own settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.paths import SOURCE
from controller.settings import Settings

MANIFESTS = SOURCE.parent / "manifests"
CHART = MANIFESTS / "chart"
FOLDERS = ("crds", "rbac", "admission", "monitoring")
# The bench and kubectl make the namespace; helm makes its own.
_NOT_COPIED = {MANIFESTS / "rbac" / "namespace.yaml"}
# These have values of their own, because they come with volumes, Secrets or a Service.
_ELSEWHERE = {
    "namespace",
    "prometheus_url",
    "prometheus_token_file",
    "prometheus_ca_file",
    "endpoint_url",
    "endpoint_token_file",
    "endpoint_ca_file",
    "slack_webhook_file",
    "webhook_url",
    "kafka_bootstrap_servers",
    "kafka_topic",
    "kafka_properties_file",
    "metrics_auth",
    "metrics_cert_file",
    "metrics_key_file",
}
_DROPPED = ("title", "default", "format")


def files() -> dict[Path, str]:
    """Every made file of the chart with its content."""
    sources = [file for folder in FOLDERS for file in sorted((MANIFESTS / folder).glob("*.*"))]
    copied = {
        CHART / "files" / file.relative_to(MANIFESTS): file.read_text() for file in sources if file not in _NOT_COPIED
    }
    return copied | {CHART / "values.schema.json": _schema()}


def _schema() -> str:
    found = json.loads((CHART / "values.schema.json").read_text())
    found["properties"]["controller"]["properties"]["settings"]["properties"] = settings()
    return json.dumps(found, indent=2) + "\n"


def settings() -> dict[str, Any]:
    """JSON schema of ``controller.settings``, by the name in camelCase."""
    properties = Settings.model_json_schema()["properties"]
    return {
        camel(name): {key: value for key, value in about.items() if key not in _DROPPED}
        for name, about in properties.items()
        if name not in _ELSEWHERE
    }


def camel(name: str) -> str:
    """A setting's name as values have it: ``tickSeconds`` for ``tick_seconds``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def stale(made: Mapping[Path, str]) -> list[Path]:
    """Made files that are not what they would be made to."""
    return [file for file, text in made.items() if not file.exists() or file.read_text() != text]


def left(made: Mapping[Path, str]) -> list[Path]:
    """Files of the chart that nothing makes any more."""
    return [file for file in (CHART / "files").rglob("*") if file.is_file() and file not in made]


def renew(made: Mapping[Path, str], needless: Sequence[Path] = (), *, check: bool) -> None:
    """Write made files anew and delete needless ones, and say which; with ``check`` say it only, and end with 1."""
    wrong = [*stale(made), *needless]
    for file in wrong:
        if not check and file in made:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(made[file])
        elif not check:
            file.unlink()
        typer.echo(f"{'out of date' if check else 'made anew'}: {file.relative_to(MANIFESTS.parent)}")
    raise typer.Exit(1 if check and wrong else 0)


def main(
    check: Annotated[bool, typer.Option(help="Write nothing; end with 1 when a file is out of date.")] = False,
) -> None:
    """Bring the chart's made files up to date, and say which were not."""
    made = files()
    renew(made, left(made), check=check)


if __name__ == "__main__":
    typer.run(main)
