"""How commands talk: results on standard output, everything else on standard error; colours only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="The result as one JSON object on standard output.")]
Progress = Callable[[str, int, int], None]

_EVERY = 10.0  # seconds between log lines of one piece of work


def emit(result: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print the result: for a program, or for a person."""
    typer.echo(json.dumps(result) if as_json else text)


def note(text: str) -> None:
    """Say something that is not the result."""
    typer.echo(text, err=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; outside of a terminal plain columns, as wide as they need to be."""
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    console = Console(highlight=False) if terminal else Console(highlight=False, width=400, color_system=None)
    found = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold" if terminal else "")
    for column in columns:
        found.add_column(column, overflow="ellipsis", no_wrap=True)
    for row in rows:
        found.add_row(*row)
    with console.capture() as capture:
        console.print(found)
    typer.echo("\n".join(line.rstrip() for line in capture.get().splitlines()), color=terminal or None)


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar on a terminal, log lines elsewhere; both on standard error."""
    if not sys.stderr.isatty():
        yield _log_lines()
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")

        def show(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of)

        yield show


def _log_lines() -> Progress:
    last = datetime.fromtimestamp(0, UTC)

    def show(what: str, done: int, of: int) -> None:
        nonlocal last
        now = datetime.now(UTC)
        if done == of or (now - last).total_seconds() >= _EVERY:
            last = now
            note(f"{now:%Y-%m-%dT%H:%M:%SZ} {done}/{of} {what}")

    return show


def age(seconds: float | None) -> str:
    """A time span as kubectl writes it: 45s, 7m, 3h, 2d."""
    if seconds is None:
        return "-"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
