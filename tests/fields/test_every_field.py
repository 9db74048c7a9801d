"""No field without behaviour: each leaf of our CRDs names a test that fails when the field is ignored."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.fields.registry import PLURALS, TESTS, paths

FOLDER = Path(__file__).parents[1]


@pytest.mark.parametrize("plural", PLURALS)
def test_every_field_has_a_test(plural: str) -> None:
    assert sorted(paths(plural) - TESTS[plural].keys()) == []


@pytest.mark.parametrize("plural", PLURALS)
def test_the_list_names_no_field_that_is_gone(plural: str) -> None:
    assert sorted(TESTS[plural].keys() - paths(plural)) == []


def functions(file: str) -> set[str]:
    """Names of the tests of a file."""
    tree = ast.parse((FOLDER / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("file", sorted({one.split("::")[0] for tests in TESTS.values() for one in tests.values()}))
def test_every_test_that_is_named_is_there(file: str) -> None:
    named = {one.split("::")[1] for tests in TESTS.values() for one in tests.values() if one.startswith(f"{file}::")}
    assert sorted(named - functions(file)) == []


def test_a_field_without_a_test_would_be_found() -> None:
    some = dict(list(TESTS["healingconfigs"].items())[1:])
    assert paths("healingconfigs") - some.keys() == {"spec.suspended"}
