"""``python -m bench.detection COMMAND``. One command is one file with one function, listed in COMMANDS."""

from __future__ import annotations

import typer

from bench.__main__ import run_app
from bench.detection.ablations import ablations
from bench.detection.cases_command import cases
from bench.detection.clean import clean
from bench.detection.typing_command import typing
from bench.detection.typing_sockshop import sockshop

COMMANDS = (ablations, cases, clean, sockshop, typing)

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@app.callback()
def _several() -> None:
    """Measure detection where the truth is known."""


for command in COMMANDS:
    app.command()(command)

if __name__ == "__main__":
    run_app(app)
