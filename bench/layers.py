"""``python -m bench.layers``: the chart rendered for Kustomize, which has no helm. Overlays build on what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.__main__ import run_app
from bench.build import BY_NAME, build_programs
from bench.chart import CHART, MANIFESTS, renew
from bench.helm import template

KUSTOMIZE = MANIFESTS / "kustomize"
BASE = KUSTOMIZE / "base"
ENVIRONMENTS = ("dev", "staging", "prod")
_HEAD = "# Made by `python -m bench.layers` from {source}; a test compares.\n"


def files() -> dict[Path, str]:
    """Every made file with its content.

    Raises:
        selfheal.errors.SelfhealError: With what helm says of chart or values.
    """
    namespace = MANIFESTS / "rbac" / "namespace.yaml"
    rendered = template(CHART, "-f", str(BASE / "values.yaml"), "--skip-tests")
    return {
        BASE / "namespace.yaml": _HEAD.format(source="manifests/rbac/namespace.yaml") + namespace.read_text(),
        BASE / "selfheal.yaml": _HEAD.format(source="manifests/chart with values.yaml") + rendered,
    }


def main(
    check: Annotated[bool, typer.Option(help="Write nothing; end with 1 when a file is out of date.")] = False,
) -> None:
    """Render the chart for Kustomize anew, and say which files were out of date."""
    build_programs([BY_NAME["helm"]], typer.echo)
    renew(files(), check=check)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run_app(app)
