"""Memory of processes with many threads."""

import pytest

from selfheal.heaps import share_heaps


def test_the_c_library_takes_the_number_of_heaps_unless_the_environment_names_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    assert share_heaps(2)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "8")
    assert not share_heaps(2)
