"""``python -m pipelines compile | run | submit``."""

import json
import os
import subprocess
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from kfp.dsl.base_component import BaseComponent

from pipelines.recalibration import recalibration
from pipelines.tasks import PROMETHEUS
from pipelines.training import SHARD, local_training, training
from selfheal.protocol import MODEL_NAME

WORK = Path("local_outputs")
TRACKING = f"sqlite:///{WORK.resolve()}/mlflow.db"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The weekly training and the daily recalibration: compile them, run them here, or submit them.",
)


class Which(StrEnum):
    """The pipelines there are."""

    TRAINING = "training"
    RECALIBRATION = "recalibration"

    @property
    def file(self) -> Path:
        """The compiled package in the repository."""
        return Path(__file__).parent / f"{self}.yaml"

    @property
    def for_server(self) -> BaseComponent:
        """For a Kubeflow Pipelines server."""
        return training if self is Which.TRAINING else recalibration

    @property
    def for_here(self) -> BaseComponent:
        """For kfp's local runner."""
        return local_training if self is Which.TRAINING else recalibration


_HOURS = {Which.TRAINING: 168.0, Which.RECALIBRATION: 240.0}

Pipeline = Annotated[Which, typer.Option("--pipeline", help="which one")]

Prometheus = Annotated[
    str, typer.Option("--prometheus", envvar="SELFHEAL_PROMETHEUS_URL", help="URL of Prometheus or a Thanos querier")
]
Tracking = Annotated[
    str,
    typer.Option(
        "--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="MLflow: sqlite:////path/mlflow.db or a server's URL"
    ),
]
Namespaces = Annotated[str, typer.Option(help="patterns such as shop,team-*; all when empty")]
Hours = Annotated[
    float | None, typer.Option("--hours", min=1, help="history to look back on: a week, for a recalibration ten days")
]
Step = Annotated[float, typer.Option("--step", min=1, help="seconds between samples")]
End = Annotated[str, typer.Option(help="newest sample, ISO 8601; now when empty")]
Endpoint = Annotated[
    str, typer.Option(help="base URL of the endpoint to test at the end; the registry's model when empty")
]
TokenFile = Annotated[str, typer.Option(help="bearer token for Prometheus")]
CaFile = Annotated[str, typer.Option(help="certificate authority of Prometheus")]
Seed = Annotated[int, typer.Option(help="of everything that is drawn by chance")]
ShardSize = Annotated[int, typer.Option(min=1, help="workloads that one task trains at most")]


@app.command("compile")
def compile_package(
    target: Annotated[Path | None, typer.Argument(help="where to write; its place in pipelines/ by default")] = None,
    pipeline: Pipeline = Which.TRAINING,
    check: Annotated[bool, typer.Option(help="write nothing, fail when the file is not what would be written")] = False,
) -> None:
    """Write a pipeline as the YAML that a Kubeflow Pipelines server takes; the same bytes for the same code."""
    found, target = package(pipeline), target or pipeline.file
    if check and (not target.is_file() or target.read_bytes() != found):
        again = f"python -m pipelines compile --pipeline {pipeline}"
        typer.echo(f"{target} is not what the code compiles to: run {again}", err=True)
        raise typer.Exit(1)
    if not check:
        target.write_bytes(found)
    typer.echo(f"{target}: {len(found)} bytes")


def package(pipeline: Which) -> bytes:
    """The compiled pipeline."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "package.yaml")
        compiler.Compiler().compile(pipeline.for_server, str(target))
        return target.read_bytes()


@app.command("run")
def run_here(
    pipeline: Pipeline = Which.TRAINING,
    prometheus: Prometheus = "http://localhost:9090",
    tracking_uri: Tracking = TRACKING,
    namespaces: Namespaces = "",
    hours: Hours = None,
    step: Step = 60.0,
    end: End = "",
    endpoint: Endpoint = "",
    token_file: TokenFile = "",
    ca_file: CaFile = "",
    seed: Seed = 0,
    shard_size: ShardSize = SHARD,
    work: Annotated[Path, typer.Option(help="folder for artifacts and the log")] = WORK,
    as_json: Annotated[bool, typer.Option("--json", help="the result as one JSON object on standard output")] = False,
    verbose: Annotated[bool, typer.Option(help="every line that kfp and the tasks write")] = False,
) -> None:
    """Run a whole pipeline on this machine. Progress goes to standard error, the result to standard output."""
    from pipelines.local import Failed, run

    arguments = _arguments(
        pipeline,
        prometheus,
        tracking_uri,
        namespaces,
        hours,
        step,
        end,
        endpoint,
        token_file,
        ca_file,
        seed,
        shard_size,
    )
    begun = time.monotonic()
    try:
        outputs = run(pipeline.for_here, arguments, work, lambda line: typer.echo(line, err=True), verbose=verbose)
    except Failed as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    result = _result(outputs, tracking_uri, time.monotonic() - begun)
    typer.echo(json.dumps(result) if as_json else "\n".join(f"{name}: {value}" for name, value in result.items()))


@app.command()
def submit(
    host: Annotated[str, typer.Option(envvar="KFP_ENDPOINT", help="URL of the pipelines API server")],
    tracking_uri: Tracking,
    pipeline: Pipeline = Which.TRAINING,
    prometheus: Prometheus = PROMETHEUS,
    namespaces: Namespaces = "",
    hours: Hours = None,
    step: Step = 60.0,
    end: End = "",
    endpoint: Endpoint = "",
    token_file: TokenFile = "",
    ca_file: CaFile = "",
    seed: Seed = 0,
    shard_size: ShardSize = SHARD,
    token: Annotated[str, typer.Option(envvar="KFP_TOKEN", help="bearer token for the server: oc whoami -t")] = "",
    host_token_file: Annotated[
        Path | None, typer.Option(help="file with that token, in a pod its ServiceAccount's", dir_okay=False)
    ] = None,
    ca_cert: Annotated[str, typer.Option(envvar="KFP_CA_CERT", help="certificate authority of the server")] = "",
    wait: Annotated[float, typer.Option(min=0, help="seconds to wait for the end; 0 returns at once")] = 0,
) -> None:
    """Hand a pipeline to a Kubeflow Pipelines server, such as a DSPA of OpenShift AI. Prints the run's id."""
    from kfp import Client

    arguments = _arguments(
        pipeline,
        prometheus,
        tracking_uri,
        namespaces,
        hours,
        step,
        end,
        endpoint,
        token_file,
        ca_file,
        seed,
        shard_size,
    )
    server = Client(host, existing_token=token or _read(host_token_file), ssl_ca_cert=ca_cert or None)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "package.yaml")
        target.write_bytes(package(pipeline))
        started = server.create_run_from_pipeline_package(
            str(target), arguments, run_name=f"selfheal-{pipeline}", experiment_name="selfheal"
        )
    typer.echo(started.run_id)
    if wait:
        state = server.wait_for_run_completion(started.run_id, int(wait)).state
        typer.echo(f"the run ended: {state}", err=True)
        raise typer.Exit(0 if state == "SUCCEEDED" else 1)


def _arguments(
    pipeline: Which,
    prometheus: str,
    tracking_uri: str,
    namespaces: str,
    hours: float | None,
    step: float,
    end: str,
    endpoint: str,
    token_file: str,
    ca_file: str,
    seed: int,
    shard_size: int,
) -> dict[str, Any]:
    of_one = {"shard_size": shard_size} if pipeline is Which.TRAINING else {}
    return of_one | {
        "tracking_uri": tracking_uri,
        "prometheus_url": prometheus,
        "namespaces": namespaces,
        "history_hours": hours or _HOURS[pipeline],
        "step_seconds": step,
        "end": end,
        "endpoint_url": endpoint,
        "token_file": token_file,
        "ca_file": ca_file,
        "git_sha": _git_sha(),
        "seed": seed,
    }


def _read(file: Path | None) -> str | None:
    try:
        return file.read_text().strip() if file is not None else None
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--host-token-file") from None


def _git_sha() -> str:
    """The checkout's commit, or that of the image; empty outside of both."""
    if of_image := os.environ.get("SELFHEAL_GIT_SHA"):
        return of_image
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


def _result(outputs: dict[str, Any], tracking_uri: str, seconds: float) -> dict[str, Any]:
    return {
        "model": MODEL_NAME,
        "version": outputs["version"],
        "promoted": outputs["verdict"]["accepted"],
        "reason": outputs["verdict"]["reason"],
        "inService": outputs["in_service"],
        "answer": outputs["answer"],
        "trackingUri": tracking_uri,
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    app()
