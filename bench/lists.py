"""``python -m bench.lists``: what the tests hold the product to, as lists to read: its fields and its rights."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench.__main__ import run_app
from bench.cluster import ApiCluster
from bench.scenarios.objects import opt_in
from bench.scenarios.stage import install
from selfheal.errors import SelfhealError
from tests.fields.registry import TESTS, paths
from tests.support.rights import HEALS, LEASES, NEVER, NEVER_ANYWHERE, READS, RECORDS, Right, allowed

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
_SYSTEM = "selfheal-system"
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@dataclass(frozen=True)
class Answer:
    """What the API server says about one right.

    Attributes:
        where: Namespace, empty for the whole cluster.
        verb: What is asked for.
        resource: ``resource.group/subresource``.
        wanted: Whether the controller should have it.
        has: Whether it has.
    """

    where: str
    verb: str
    resource: str
    wanted: bool
    has: bool


@app.command()
def fields(as_json: AsJson = False) -> None:
    """Every field of the four custom resources, and the test that fails when it is ignored."""
    rows = [(plural, path, TESTS[plural].get(path, "")) for plural in TESTS for path in sorted(paths(plural))]
    if as_json:
        typer.echo(json.dumps([dict(zip(("resource", "field", "test"), row, strict=True)) for row in rows], indent=1))
    else:
        table = Table("resource", "field", "test", title="Fields and the tests that fail when they are ignored")
        for row in rows:
            table.add_row(*row)
        _wide().print(table)
    if bare := [f"{plural}: {path}" for plural, path, test in rows if not test]:
        raise SelfhealError(f"no test for {', '.join(bare)}: write one and name it in tests/fields/registry.py")


@app.command("can-i")
def can_i(as_json: AsJson = False) -> None:
    """Ask a real API server what the controller may do, before and after a namespace is opted in. No root."""
    with tempfile.TemporaryDirectory(prefix="selfheal-") as folder, ApiCluster.start(Path(folder)) as cluster:
        install(cluster)
        cluster.kubectl("create", "namespace", "outside")
        cluster.apply(*opt_in("inside"))
        answers = _ask(cluster)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in answers], indent=1))
    else:
        _wide().print(_matrix(answers))
    wrong = [f"{one.verb} {one.resource} in {one.where or 'the cluster'}" for one in answers if one.has != one.wanted]
    if wrong:
        raise SelfhealError(f"not as it should be: {'; '.join(wrong)}")


def _ask(cluster: ApiCluster) -> list[Answer]:
    asked: list[tuple[str, Sequence[Right], bool]] = [
        ("outside", READS + RECORDS, True),
        ("outside", HEALS + NEVER, False),
        ("inside", HEALS, True),
        ("inside", NEVER, False),
        ("kube-system", HEALS, False),
        ("default", HEALS, False),
        (_SYSTEM, HEALS, False),
        (_SYSTEM, LEASES, True),
        ("kube-system", LEASES, False),
        ("", NEVER_ANYWHERE + HEALS, False),
    ]
    found = []
    for where, rights, wanted in asked:
        has = allowed(cluster, where, list(rights))
        found += [Answer(where, one[0], _name(one), wanted, one in has) for one in rights]
    return found


def _name(right: Right) -> str:
    _, group, resource = right
    plural, _, sub = resource.partition("/")
    return plural + (f".{group}" if group else "") + (f"/{sub}" if sub else "")


def _matrix(answers: Sequence[Answer]) -> Table:
    forbidden = sum(not one.wanted for one in answers)
    table = Table("where", "verb", "resource", "may", title=f"The controller's rights; {forbidden} must be refused")
    for one in answers:
        said = ("yes" if one.has else "no") + ("" if one.has == one.wanted else "  WRONG")
        table.add_row(one.where or "(cluster)", one.verb, one.resource, said)
    return table


def _wide() -> Console:
    return Console(width=None if sys.stdout.isatty() else 200)


if __name__ == "__main__":
    run_app(app)
