"""The referee's command, as a user starts it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from selfheal.backtest import backtest
from selfheal.detectors import DETECTORS
from selfheal.errors import NoData, WrongUse
from tests.unit.detection.series import SOURCES, daily


def frame(days: float = 4, seed: int = 0) -> pd.DataFrame:
    window = daily(("any name", "b"), days, seed=seed)
    table = pd.DataFrame(window.values, columns=list(window.names))
    table.insert(0, "timestamp", window.times)
    return table.assign(split=np.where(np.arange(len(table)) < 0.75 * len(table), "train", "test"))


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "selfheal.backtest", *map(str, arguments)]
    return subprocess.run(words, env=SOURCES, capture_output=True, text=True, check=False)


def test_the_command_writes_a_row_for_every_test_row(tmp_path: Path) -> None:
    table = frame()
    table.to_parquet(tmp_path / "series.parquet", index=False)
    done = command(tmp_path / "series.parquet", "--out", tmp_path / "new/scores.parquet", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert "2 metrics every 600 s" in done.stderr
    scores = pd.read_parquet(tmp_path / "new/scores.parquet")
    assert len(scores) == (table["split"] == "test").sum()
    members = [f"{name}_{part}" for name in DETECTORS for part in ("score", "vote")]
    assert list(scores.columns) == ["score", "anomaly", "confidence", *members]
    assert np.isfinite(scores.to_numpy(dtype=float)).all()
    assert scores["confidence"].between(0, 1).all()
    assert {str(scores[c].dtype) for c in ("anomaly", "lstm_vote")} == {"bool"}
    pd.testing.assert_frame_equal(scores, backtest(table, "series", seed=3))


def test_what_comes_later_never_changes_an_earlier_score() -> None:
    table = frame()
    later = table.copy()
    later.loc[len(table) - 50 :, ["any name", "b"]] = 1e5
    whole, other = backtest(table), backtest(later)
    pd.testing.assert_frame_equal(whole[:-50], other[:-50])
    assert other["score"][-50:].max() > whole["score"][-50:].max()


def test_labels_are_never_read() -> None:
    table = frame()
    pd.testing.assert_frame_equal(backtest(table), backtest(table.assign(label=1.0)))


def test_a_detector_that_abstains_has_neutral_columns() -> None:
    scores = backtest(frame(2))
    assert (scores["prophet_score"] == 0).all()
    assert not scores["prophet_vote"].any()
    assert scores["arima_score"].nunique() > 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["missing.parquet", "--out", "x"], 2, "does not exist"),
        (["notes.txt", "--out", "x"], 2, "no parquet file"),
        (["short.parquet", "--out", "x"], 3, "not enough|no workload has enough history"),
        (["short.parquet"], 2, "--out"),
    ],
)
def test_mistakes_end_with_their_exit_code_and_a_sentence(
    tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "notes.txt").write_text("no parquet")
    frame(0.1).to_parquet(tmp_path / "short.parquet", index=False)
    done = command(*[tmp_path / word if "." in word else word for word in arguments])
    assert done.returncode == code, done.stderr
    assert any(part in done.stderr for part in says.split("|"))
    assert "Traceback" not in done.stderr


def test_a_wrong_split_says_what_is_wrong() -> None:
    table = frame()
    with pytest.raises(WrongUse, match="no column 'split'"):
        backtest(table.drop(columns="split"))
    with pytest.raises(WrongUse, match="holds validation"):
        backtest(table.assign(split="validation"))
    with pytest.raises(WrongUse, match="sort by time"):
        backtest(table.assign(split=table["split"].to_numpy()[::-1]))
    with pytest.raises(NoData, match="needs both parts"):
        backtest(table.assign(split="train"))
