"""Faults that calibrate confidence are where they say they are, and nowhere else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from selfheal.injection import AFTERMATH, clear_of, inject
from tests.unit.detection.series import daily

WINDOW = daily(("a", "b", "c"), 3)


@given(st.integers(0, 1000))
def test_faulty_rows_differ_and_few_others_do(seed: int) -> None:
    changed, faulty = inject(WINDOW, np.random.default_rng(seed))
    differs = (changed.values != WINDOW.values).any(axis=1)
    assert differs[faulty].all()
    assert faulty.any()
    assert faulty.mean() < 0.6
    assert not differs[:30].any()


def test_the_original_stays_as_it_was_and_chance_is_seeded() -> None:
    before = WINDOW.digest()
    first, second = (inject(WINDOW, np.random.default_rng(4))[0] for _ in range(2))
    assert WINDOW.digest() == before
    assert first.digest() == second.digest()


def test_data_without_life_take_no_faults() -> None:
    for value in (5.0, np.nan):
        dead = WINDOW.with_values(np.full_like(WINDOW.values, value))
        changed, faulty = inject(dead, np.random.default_rng(0))
        assert changed is dead
        assert not faulty.any()


def test_rows_soon_after_a_fault_are_neither_normal_nor_faulty() -> None:
    faulty = np.zeros(100, dtype=bool)
    faulty[40:50] = True
    clear = clear_of(faulty)
    assert clear[:50].all()
    assert not clear[50 : 50 + AFTERMATH].any()
    assert clear[50 + AFTERMATH :].all()
