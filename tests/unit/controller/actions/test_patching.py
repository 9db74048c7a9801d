"""Edits: what they write, and that their undo gives back exactly what was there."""

from __future__ import annotations

from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model import Resource
from controller.patching import edit, line, pointer, shown
from tests.unit.controller.actions.server import pruned

KEYS = st.sampled_from(["a", "b", "a/b", "c~d", "metadata", ""])
LEAVES = st.one_of(st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2), st.booleans())
DOCUMENTS = st.recursive(
    st.dictionaries(KEYS, LEAVES, max_size=3), lambda inner: st.dictionaries(KEYS, inner | LEAVES, max_size=3)
)
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(tuple)


def _fits(document: Any, path: tuple[str | int, ...]) -> bool:
    """Whether all that lies above a path is a map or missing."""
    for part in path[:-1]:
        if not isinstance(document, dict) or part not in document:
            return isinstance(document, dict)
        document = document[part]
    return isinstance(document, dict)


@given(DOCUMENTS, PATHS, LEAVES)
def test_an_edit_sets_the_value_and_its_undo_restores_the_document(
    document: Resource, path: tuple[str, ...], value: Any
) -> None:
    if not _fits(document, path):
        return
    made = edit(document, {path: value})
    after = jsonpatch.apply_patch(document, list(made.patch))
    jsonpatch.apply_patch(
        after, [{"op": "test", "path": where, "value": what} for where, what in made.expected.items()]
    )
    assert pruned(jsonpatch.apply_patch(after, list(made.undo))) == pruned(document)


def test_pointers_escape_slashes_and_tildes() -> None:
    assert pointer(("metadata", "annotations", "a.b/c~d", 0)) == "/metadata/annotations/a.b~1c~0d/0"


def test_an_edit_of_a_value_tests_the_old_one_and_its_undo_tests_ours() -> None:
    made = edit({"spec": {"replicas": 1}}, {("spec", "replicas"): 2})
    assert made.patch == (
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 2},
    )
    assert made.undo == (
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "replace", "path": "/spec/replicas", "value": 1},
    )


def test_the_undo_never_overwrites_what_somebody_wrote_after_us() -> None:
    made = edit({"spec": {"replicas": 1}}, {("spec", "replicas"): 2})
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        jsonpatch.apply_patch({"spec": {"replicas": 5}}, list(made.undo))


def test_what_must_not_have_changed_is_tested_in_both_directions() -> None:
    document = {"containers": [{"name": "app", "limit": 1}]}
    made = edit(document, {("containers", 0, "limit"): 2}, [("containers", 0, "name")])
    guard = {"op": "test", "path": "/containers/0/name", "value": "app"}
    assert made.patch[0] == guard
    assert made.undo[0] == guard


def test_an_edit_leaves_the_document_it_was_given_alone() -> None:
    document: Resource = {"metadata": {}}
    edit(document, {("metadata", "annotations", "a"): "1", ("metadata", "annotations", "b"): "2"})
    assert document == {"metadata": {}}


def test_a_value_that_is_there_already_is_not_written_again() -> None:
    made = edit({"a": 1}, {("a",): 1})
    assert made.patch == ()
    assert made.expected == {"/a": 1}


def test_values_from_the_cluster_are_shown_so_that_nothing_in_them_can_act() -> None:
    assert shown("shop:1") == "shop:1"
    assert shown("red\x1b[31m\n") == '"red\\u001b[31m\\n"'
    assert shown(["sh", "-c"]) == '["sh", "-c"]'
    assert len(shown("x" * 1000)) == 120
    assert line("image of app", "shop:2", "shop:1") == "image of app: shop:2 -> shop:1"
