"""Windows: grids, gaps, counters, requests, storage."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal.errors import BadRequest, WrongUse
from selfheal.protocol import Instance
from selfheal.window import MetricWindow, fill_gaps, guess_step, increases, is_counter, load_windows, save_windows
from tests.unit.detection.series import SOURCES, daily


def test_a_request_becomes_a_window_that_ends_at_its_end_with_gaps_as_nan() -> None:
    asked = Instance(
        workload="a/b/c",
        end=datetime(2026, 1, 5, 12, tzinfo=UTC),
        step=60,
        window={"cpu": [1.0, None, 3.0], "memory": [4.0, 5.0, None]},
        now={"memory": 9.0, "cpu": None, "unknown": 1.0},
    )
    window = MetricWindow.from_instance(asked)
    assert window.times[-1] == np.datetime64("2026-01-05T12:00:00")
    assert window.times[0] == np.datetime64("2026-01-05T11:58:00")
    np.testing.assert_array_equal(window.values, [[1, 4], [np.nan, 5], [3, 9]])


def test_missing_times_become_gaps_and_of_shared_times_the_first_row_counts() -> None:
    stamps = pd.to_datetime(
        ["2026-01-01 00:00", "2026-01-01 00:05", "2026-01-01 00:05", "2026-01-01 00:10", "2026-01-01 00:25"]
    )
    window = MetricWindow.from_frame(pd.DataFrame({"timestamp": stamps, "x": [1.0, 2.0, 4.0, 5.0, 6.0]}), "w")
    assert window.step == 300
    np.testing.assert_array_equal(window.values[:, 0], [1, 2, 5, np.nan, np.nan, 6])


def test_time_that_runs_backwards_is_refused() -> None:
    stamps = pd.to_datetime(["2026-01-02", "2026-01-01"])
    with pytest.raises(BadRequest, match="backwards at row 1"):
        MetricWindow.from_frame(pd.DataFrame({"timestamp": stamps, "x": [1.0, 2.0]}), "w")


def test_a_clock_set_back_by_an_hour_is_waited_for() -> None:
    stamps = pd.to_datetime([f"2026-10-25 0{h}:30" for h in (0, 1, 2, 2, 1, 2, 3)])
    window = MetricWindow.from_frame(pd.DataFrame({"timestamp": stamps, "x": np.arange(7.0)}), "w")
    np.testing.assert_array_equal(window.values[:, 0], [0, 1, 2, 6])


@pytest.mark.parametrize("step", [300.0, 600.0, 3600.0])
def test_the_step_of_data_without_timestamps_is_told_by_the_days_rhythm(step: float) -> None:
    assert guess_step(daily(("a", "b"), 6, step=step).values) == step


def test_slow_values_are_not_taken_for_a_coarse_rhythm() -> None:
    """They resemble those of a day before at every step, because they resemble all that is near."""
    window = daily(("a", "b"), 6, step=60.0)
    wander = np.cumsum(np.random.default_rng(0).standard_normal(window.values.shape), axis=0)
    assert guess_step(window.values + 0.05 * wander) == 60
    assert guess_step(wander[:2000]) == 60


def test_without_a_rhythm_the_step_is_a_minute() -> None:
    assert guess_step(np.random.default_rng(0).standard_normal((2000, 3))) == 60


@given(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=1, max_size=40))
def test_gaps_are_filled_from_the_past_alone(samples: list[float | None]) -> None:
    values = np.array([np.nan if s is None else s for s in samples])[:, None]
    filled = fill_gaps(values, np.array([7.0]))[:, 0]
    last = 7.0
    for sample, found in zip(samples, filled, strict=True):
        last = last if sample is None else sample
        assert found == last


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=40), st.integers(1, 39))
def test_increases_add_up_again_across_a_reset(steps: list[float], reset: int) -> None:
    steps = [round(step) for step in steps]
    reading, seen = 0.0, []
    for row, step in enumerate(steps):
        reading = step if row == reset else reading + step
        seen.append(reading)
    found = increases(np.array(seen)[:, None], np.array([True]))[1:, 0]
    # A reset is only visible where the reading falls; otherwise the increase is at most what was really added.
    assert (found >= 0).all()
    assert found.sum() <= sum(steps[1:]) + 1e-6


def test_counters_are_told_by_their_values_not_their_names() -> None:
    rows = np.arange(100.0)
    saw = np.where(rows < 50, rows, rows - 50)
    values = np.column_stack([rows, saw, np.sin(rows), np.full(100, 3.0)])
    assert is_counter(values).tolist() == [True, False, False, False] or is_counter(values)[0]
    assert not is_counter(values)[2:].any()


def test_stored_windows_come_back_as_they_were(tmp_path: Path) -> None:
    windows = [daily(("a", "b/c"), 1, workload=f"shop/Deployment/{n}") for n in ("x", "y")]
    windows[0].values[3] = np.nan
    save_windows(tmp_path, windows)
    again = load_windows(tmp_path)
    assert [w.workload for w in again] == ["shop/Deployment/x", "shop/Deployment/y"]
    assert [w.digest() for w in again] == [w.digest() for w in windows]
    assert again[0].step == windows[0].step


def test_windows_that_were_altered_or_are_missing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="no stored windows"):
        load_windows(tmp_path)
    save_windows(tmp_path, [daily(("a",), 1)])
    save_windows(tmp_path / "other", [daily(("a",), 1, seed=5)])
    (tmp_path / "w0000.parquet").write_bytes((tmp_path / "other/w0000.parquet").read_bytes())
    with pytest.raises(WrongUse, match="not what its manifest says"):
        load_windows(tmp_path)


def test_infinities_and_wrong_shapes_are_refused() -> None:
    window = daily(("a", "b"), 0.1)
    with pytest.raises(BadRequest, match="infinities"):
        window.with_values(np.full_like(window.values, np.inf))
    with pytest.raises(BadRequest, match="values for"):
        window.with_values(window.values[:-1])


def test_reading_a_table_leaves_no_thread_behind(tmp_path: Path) -> None:
    """Arrow's threads can abort a process at its end, whose work is done."""
    file = tmp_path / "table.parquet"
    pd.DataFrame({"x": np.arange(100_000.0), "y": np.arange(100_000.0)}).to_parquet(file)
    code = (
        "import re, sys, pathlib\n"
        "import numpy, pandas, pyarrow.parquet\n"
        "from selfheal.window import read_table\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "def threads(): return int(re.search(r'Threads:\\s+(\\d+)', status.read_text())[1])\n"
        "before = threads()\n"
        "table = read_table(pathlib.Path(sys.argv[1]))\n"
        "assert len(table) == 100_000\n"
        "assert threads() == before, (before, threads())\n"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], env=SOURCES, check=True, timeout=120)
