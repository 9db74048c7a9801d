"""``make scan``, ``make audit``, ``make sbom``: manifests by checkov, packages by pip-audit, their list by CycloneDX.

What checkov finds has to be answered in docs/security.md, by its number; a finding without an answer is a failure, and
so is an answer to nothing.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.build import BY_NAME as PROGRAMS
from bench.build import binary, build_programs
from bench.chart import CHART, MANIFESTS
from bench.environments import REQUIREMENTS, environment
from bench.helm import output, template
from bench.paths import SOURCE
from selfheal.errors import NoData, SelfhealError

SECURITY = SOURCE.parent / "docs" / "security.md"
IMAGES = ("controller", "serving", "trainer", "mlflow")
_NUMBER = re.compile(r"CKV2?_K8S_\d+")
_EVERYTHING = (
    "mlflow.trackingUri=https://mlflow.example.com",
    "prometheus.url=https://thanos.example.com",
    "pipelines.training.enabled=true",
    "pipelines.recalibration.enabled=true",
    "monitoring.dashboards.enabled=true",
    "endpoint.autoscaling.enabled=true",
)

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@app.command()
def manifests() -> None:
    """Scan the rendered chart and what kubectl applies; ends with 1 when a finding has no answer."""
    build_programs([PROGRAMS["helm"], PROGRAMS["kubectl"]], typer.echo)
    found = findings()
    for number, (text, resources) in sorted(found.items()):
        typer.echo(f"{number}  {text}: {', '.join(sorted(resources))}")
    missing, needless = compare(found, SECURITY.read_text())
    if missing or needless:
        raise SelfhealError(
            f"docs/security.md: no answer to {', '.join(missing) or 'nothing'}; "
            f"answers what nobody found: {', '.join(needless) or 'nothing'}"
        )
    typer.echo(f"{len(found)} kinds of findings, each answered in docs/security.md")


def compare(found: Iterable[str], answers: str) -> tuple[list[str], list[str]]:
    """Findings without an answer, and answers without a finding, by number."""
    answered = set(_NUMBER.findall(answers))
    return sorted(set(found) - answered), sorted(answered - set(found))


def findings() -> dict[str, tuple[str, set[str]]]:
    """What checkov finds, by number: its words and the objects."""
    values = [word for value in _EVERYTHING for word in ("--set", value)]
    rendered = template(CHART, *values)
    applied = output([str(binary("kubectl")), "kustomize", str(MANIFESTS)])
    found: dict[str, tuple[str, set[str]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "chart.yaml").write_text(rendered)
        Path(folder, "manifests.yaml").write_text(applied)
        words = ["--directory", folder, "--framework", "kubernetes", "--output", "json", "--skip-download", "--quiet"]
        quiet = {"LOG_LEVEL": "ERROR", "BC_SKIP_MAPPING": "TRUE"}
        report = json.loads(output([str(environment("scan") / "checkov"), *words], good=(0, 1), **quiet))
    for one in _failed(report):
        found.setdefault(one["check_id"], (one["check_name"], set()))[1].add(one["resource"])
    return found


def _failed(report: Any) -> Sequence[dict[str, Any]]:
    parts = report if isinstance(report, list) else [report]
    if not any(part["summary"]["passed"] for part in parts):
        raise SelfhealError("checkov passed nothing, so it looked at nothing")
    return [one for part in parts for one in part["results"]["failed_checks"]]


@app.command()
def packages() -> None:
    """Ask for known vulnerabilities of locked packages; ends with 1 for any, with 3 where nobody could be asked."""
    program, unknown = environment("audit") / "pip-audit", 0
    for name in IMAGES:
        words = ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
        text = output([str(program), *words, "-r", str(REQUIREMENTS / f"{name}.txt")], good=(0, 1))
        audited = json.loads(text)["dependencies"]
        skipped = [one for one in audited if "skip_reason" in one]
        unknown += len(skipped)
        weak = {one["name"]: [v["id"] for v in one["vulns"]] for one in audited if one.get("vulns")}
        typer.echo(f"{name}: {len(audited) - len(skipped)} packages audited, {len(skipped)} could not be")
        if weak:
            raise SelfhealError(f"requirements/{name}.txt has known vulnerabilities: {weak}")
    if unknown:
        raise NoData(f"{unknown} packages could not be audited: the index here does not tell vulnerabilities")


@app.command()
def sbom(out: Annotated[Path, typer.Option(help="Folder for one file an image.")] = Path("dist/sbom")) -> None:
    """Write a CycloneDX list of the packages in every image."""
    out.mkdir(parents=True, exist_ok=True)
    for name in IMAGES:
        target = out / f"selfheal-{name}.cdx.json"
        program = environment("audit") / "cyclonedx-py"
        output([str(program), "requirements", str(REQUIREMENTS / f"{name}.txt"), "--output-file", str(target)])
        typer.echo(f"{target}: {len(json.loads(target.read_text())['components'])} packages")


if __name__ == "__main__":
    from bench.__main__ import run_app

    run_app(app)
