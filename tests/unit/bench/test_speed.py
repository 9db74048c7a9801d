"""The bench of speed: what it draws, sends, counts and says."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench.speed.crowd import crowd
from bench.speed.figures import Figure, Findings, number
from bench.speed.memory import of_family, peak, resident
from bench.speed.naive import Naive
from bench.speed.requests import INFER, PREDICT, instances, v1, v2
from bench.speed.workloads import NAMES, history, name
from selfheal.ensemble import Ensemble
from selfheal.protocol import parse_instances
from selfheal.window import DAY


@pytest.fixture(scope="module")
def few() -> Ensemble:
    """Two hours of two workloads: too little for Prophet, enough for the others."""
    return Ensemble.fit([history(number, 8 / 24) for number in range(2)])


def test_a_history_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    np.testing.assert_array_equal(history(3, 0.1).values, history(3, 0.1).values)
    assert not np.array_equal(history(3, 0.1).values, history(4, 0.1).values, equal_nan=True)
    assert not np.array_equal(history(3, 0.1).values, history(3, 0.1, seed=1).values, equal_nan=True)


def test_a_history_has_the_core_metrics_with_a_day_a_counter_and_gaps() -> None:
    window = history(0)
    assert (len(window), len(window.names), window.step) == (7 * 1440, 16, 60.0)
    assert 0 < np.isnan(window.values).mean() < 0.01
    filled = window.values[:, NAMES.index("container_restart_count")]
    assert (np.diff(filled[np.isfinite(filled)]) >= 0).all()
    lag = round(DAY / window.step)
    live = np.nan_to_num(window.values, nan=0.0)
    alike = [np.corrcoef(column[lag:], column[:-lag])[0, 1] for column in live.T if column.std() > 0]
    assert max(alike) > 0.5


def test_a_v1_body_is_what_the_endpoint_parses() -> None:
    windows = [history(number, 0.05).rows(-60) for number in range(3)]
    body = v1(windows)
    assert body.path == PREDICT
    assert parse_instances(json.loads(body.content)) == instances(windows)


def test_a_v2_body_holds_the_same_numbers_as_float32() -> None:
    windows = [history(number, 0.05).rows(-60) for number in range(3)]
    body = v2(windows)
    length = int(body.headers["Inference-Header-Content-Length"])
    header = json.loads(body.content[:length])
    sent, names = header["inputs"]
    values = np.frombuffer(body.content, "<f4", count=3 * 60 * 16, offset=length).reshape(sent["shape"])
    assert body.path == INFER
    assert header["parameters"]["metrics"].split(",") == list(NAMES)
    assert sent["parameters"]["binary_data_size"] + names["parameters"]["binary_data_size"] == (
        len(body.content) - length
    )
    np.testing.assert_allclose(values[1], windows[1].values, rtol=1e-6)


def test_a_crowd_answers_for_each_name_as_the_workload_it_is_a_copy_of(few: Ensemble, tmp_path: Path) -> None:
    crowd(few, map(name, range(5))).save(tmp_path)
    many = Ensemble.load(tmp_path)
    window = history(1, 0.05).rows(-60)
    (original,) = few.predict(instances([window]))
    (copy,) = many.predict(instances([type(window)(name(3), window.times, window.values, window.names, window.step)]))
    assert many.workloads == tuple(name(number) for number in range(5))
    assert copy.basis == original.basis == "workload"
    assert copy.scores == pytest.approx(original.scores)


def test_the_naive_method_trains_and_scores_with_all_four_libraries() -> None:
    naive = Naive(history(0, 0.5), metrics=1, epochs=1)
    trained, scored = naive.train(), naive.score(history(0, 0.5).rows(-60))
    assert trained.keys() == scored.keys() == {"isolation_forest", "arima", "prophet", "lstm"}
    assert all(seconds > 0 for seconds in [*trained.values(), *scored.values()])


def test_what_was_not_run_for_every_metric_is_extrapolated_in_proportion() -> None:
    assert Naive(history(0, 0.1), metrics=4).factor == 4
    assert Naive(history(0, 0.1), metrics=99).factor == 1


@pytest.mark.parametrize(
    ("runs", "verdict"), [((1.0, 9.0, 1.2), "reached"), ((3.0,), "met"), ((5.0,), "missed"), ((4.0, 5.0), "missed")]
)
def test_the_median_is_held_against_the_goals(runs: tuple[float, ...], verdict: str) -> None:
    assert Figure("work", "s", runs, must=4.0, reach=1.5).verdict == verdict


def test_the_ratio_is_to_the_naive_method_and_unknown_without_one() -> None:
    assert Figure("work", "s", (2.0, 4.0, 3.0), naive=30.0).ratio == 10.0
    assert Figure("work", "s", (2.0,)).ratio is None
    assert Figure("work", "s", (2.0,)).verdict == ""


def test_a_table_shows_every_figure_its_note_and_the_machine() -> None:
    figures = [Figure("train", "s", (1.0, 2.0, 3.0), 20.0, "extrapolated", 4.0, 1.5), Figure("memory", "MB", (512.0,))]
    found = Findings("Speed", {"cores": 2}, figures)
    console = Console(width=140, record=True, file=io.StringIO())
    found.show(console)
    text = console.export_text()
    for part in ("train (s)", "1..3", "x10", "met", "train: extrapolated", "512", "cores 2"):
        assert part in text
    assert json.loads(json.dumps(found.to_json()))["figures"][0]["ratio"] == 10.0


def test_numbers_have_three_digits_that_matter() -> None:
    assert [number(value) for value in (None, 0.01234, 1.5, 12.34, 1234.6)] == ["", "0.0123", "1.5", "12.3", "1235"]


def test_the_memory_of_a_child_is_counted_with_its_parents() -> None:
    hold = "held = bytearray(b'x') * 60_000_000; print('ready', flush=True); input()"
    parent = f"import subprocess, sys; {hold.split(';')[0]}; subprocess.run([sys.executable, '-c', {hold!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as family:
        assert family.stdout is not None
        family.stdout.readline()
        together, alone = of_family(family.pid), resident(family.pid)
        family.communicate(b"\n")
    assert together > 120_000_000 > alone > 60_000_000


def test_the_peak_is_at_least_what_there_was_at_the_start() -> None:
    before = of_family(os.getpid())
    with peak() as most:
        held = bytearray(b"x") * 10_000_000
    assert most[0] >= 0.9 * before
    assert len(held) == 10_000_000
