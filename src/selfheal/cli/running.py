"""``selfheal train``, ``serve`` and ``backtest``: other packages' programs, run as they are.

The library may import neither the pipelines nor the endpoint, and a model server should not live inside a command that
parses flags; so each is ``python -m`` in the place of this process. Signals and the exit code are then its own.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from selfheal.errors import WrongUse

Arguments = Annotated[
    list[str] | None, typer.Argument(help="Handed on as they are; after `--` also --help.", metavar="ARGUMENT")
]


def train(arguments: Arguments = None) -> None:
    """Train and register the models, here.

    Runs the whole pipeline on this machine by kfp's local runner.
    Flags are those of `python -m pipelines run`; `selfheal train -- --help` lists them.
    """
    _become("pipelines", ["run", *(arguments or [])], "the training pipeline", "kfp and kfp-kubernetes (extra trainer)")


def serve(arguments: Arguments = None) -> None:
    """Serve the champion over HTTP.

    KServe's V1 and V2 protocols, until a signal ends it.
    Flags are those of `python -m serving`; `selfheal serve -- --help` lists them.
    """
    _become("serving", arguments or [], "the endpoint", "kserve (extra serving)")


def backtest(arguments: Arguments = None) -> None:
    """Score one recorded series, causally.

    Fits on its train rows and scores its test rows.
    Flags are those of `python -m selfheal.backtest`; `selfheal backtest -- --help` lists them.
    """
    _become("selfheal.backtest", arguments or [], "the backtest", "the extra detect")


def _become(module: str, arguments: list[str], what: str, needs: str) -> NoReturn:
    """Replace this process.

    Raises:
        WrongUse: When the package is neither installed nor beside, with what to do.
    """
    if not _is_there(module):
        raise WrongUse(
            f"{what} is not here: the package {module!r} is neither installed nor in {Path.cwd()}. Run it in a "
            f"checkout of the project or in its image, with {needs}."
        )
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def _is_there(module: str) -> bool:
    """Whether ``python -m`` would find it: on the path, or in the working directory."""
    top = module.partition(".")[0]
    return importlib.util.find_spec(top) is not None or Path(top, "__main__.py").is_file()
