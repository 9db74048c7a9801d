"""Flags and environment of the endpoint."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from selfheal.errors import WrongUse
from selfheal.protocol import MODEL_NAME
from serving.source import FolderSource, RegistrySource, Source

_RELOAD = 30.0
_EPILOG = """examples:
  python -m serving --model-dir ./model --port 8080
  python -m serving --model-uri models:/selfheal-ensemble@champion --tracking-uri sqlite:////data/mlflow.db

Without a model the server starts, answers 503 and tries again until there is one; --once ends it with exit code 3
instead. Settings in the environment: SELFHEAL_MODEL_URI, SELFHEAL_TRACKING_URI (or MLFLOW_TRACKING_URI),
SELFHEAL_MODEL_DIR, SELFHEAL_PORT, SELFHEAL_RELOAD_SECONDS. Flags win."""


@dataclass(frozen=True)
class Settings:
    """What the endpoint runs with.

    Attributes:
        model_name: In the URL.
        model_uri: In the registry; empty for a folder.
        tracking_uri: Of the registry.
        model_dir: Folder with the model, where no URI is given.
        reload_seconds: Between looks at the source; 0 for never.
        once: Load before the server starts, and end when that fails.
    """

    model_name: str
    model_uri: str
    tracking_uri: str
    model_dir: Path
    reload_seconds: float
    once: bool

    def source(self) -> Source:
        """Where the model comes from.

        Raises:
            WrongUse: When a URI is given without its registry.
        """
        if not self.model_uri:
            return FolderSource(self.model_dir)
        if not self.tracking_uri:
            raise WrongUse(
                f"--model-uri {self.model_uri} needs --tracking-uri (or SELFHEAL_TRACKING_URI), for example "
                "sqlite:////data/mlflow.db or https://mlflow.example.com"
            )
        return RegistrySource(self.model_uri, self.tracking_uri)


def _number(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(name)
    try:
        return float(text) if text else None
    except ValueError:
        raise WrongUse(f"{name}={text}: not a number") from None


def make_parser(kserve: argparse.ArgumentParser, environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """KServe's flags and ours.

    Args:
        kserve: KServe's parser; its flags keep their names.
        environment: Where defaults come from.

    Raises:
        WrongUse: When the environment holds a number that is none.
    """
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description="Serves the selfheal ensemble over KServe's V1 and V2 protocols.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[kserve],
        conflict_handler="resolve",
        allow_abbrev=False,
    )
    ours = parser.add_argument_group("selfheal")
    env = environment.get
    ours.add_argument("--port", "--http_port", dest="http_port", type=int, help="HTTP port (8080)")
    ours.add_argument(
        "--model-uri", default=env("SELFHEAL_MODEL_URI", ""), help="registered model and alias or version"
    )
    tracking = env("SELFHEAL_TRACKING_URI") or env("MLFLOW_TRACKING_URI", "")
    ours.add_argument("--tracking-uri", default=tracking, help="MLflow that has it")
    folder = env("SELFHEAL_MODEL_DIR", "/mnt/models")
    ours.add_argument("--model-dir", type=Path, default=Path(folder), help="folder with the model (/mnt/models)")
    reload = "seconds between looks for another model, 0 for never (30 with --model-uri, else 0)"
    ours.add_argument(
        "--reload-seconds", type=float, default=_number(environment, "SELFHEAL_RELOAD_SECONDS"), help=reload
    )
    ours.add_argument("--once", action="store_true", help="end when there is no model, instead of waiting for one")
    parser.set_defaults(
        http_port=int(_number(environment, "SELFHEAL_PORT") or 8080),
        model_name=env("SELFHEAL_MODEL_NAME", MODEL_NAME),
        enable_grpc=False,
        enable_latency_logging=False,
    )
    return parser


def read_settings(arguments: argparse.Namespace) -> Settings:
    """From parsed flags.

    Raises:
        WrongUse: When they contradict each other.
    """
    if arguments.workers != 1:
        raise WrongUse("--workers: one process serves one copy of the model, run more replicas instead")
    every = arguments.reload_seconds
    if every is not None and every < 0:
        raise WrongUse(f"--reload-seconds {every:g}: give 0 for never, or a number of seconds")
    return Settings(
        model_name=arguments.model_name,
        model_uri=arguments.model_uri,
        tracking_uri=arguments.tracking_uri,
        model_dir=arguments.model_dir,
        reload_seconds=every if every is not None else (_RELOAD if arguments.model_uri else 0.0),
        once=arguments.once,
    )
