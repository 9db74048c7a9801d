"""The benches that say where the level is from, and what each lever is worth."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.detection.ablations import BASE, FIGURES, LEVERS, judge, summary
from bench.detection.clean import AT_MOST, LEVELS, Quiet, chosen, listen
from bench.detection.clean import summary as clean_summary
from bench.detection.series import names_of
from selfheal.detectors import DETECTORS
from selfheal.errors import NoData
from tests.unit.detection.series import daily


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One set with one series of seven days, the last two to be judged; an hour of them is broken."""
    window = daily(("cpu", "memory", "requests"), 7)
    values = window.values.copy()
    values[800:806] *= 2
    frame = pd.DataFrame(values, columns=list(window.names))
    frame["timestamp"] = pd.DatetimeIndex(window.times)
    frame["split"] = np.where(np.arange(len(frame)) < 720, "train", "test")
    frame["label"] = (np.arange(len(frame)) // 6 == 800 // 6).astype(float)
    folder = tmp_path_factory.mktemp("data")
    (folder / "made" / "deep").mkdir(parents=True)
    frame.to_parquet(folder / "made" / "deep" / "one.parquet")
    return folder


@pytest.fixture(scope="module")
def judged(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    assert judge(data / "made" / "deep" / "one.parquet", "made/deep/one", 0, out) == "made/deep/one"
    return out


def read(out: Path, lever: str) -> pd.DataFrame:
    return pd.read_parquet(out / lever.replace(" ", "-") / "made" / "deep" / "one.parquet")


def test_series_are_named_as_the_referee_names_them(data: Path) -> None:
    assert names_of(data) == ["made/deep/one"]
    with pytest.raises(NoData, match="of absent"):
        names_of(data, "absent")


def test_every_lever_leaves_scores_that_the_referee_can_read(judged: Path) -> None:
    columns = {"score", "anomaly", "confidence"} | {
        f"{name}_{part}" for name in DETECTORS for part in ("score", "vote")
    }
    for lever in LEVERS:
        found = read(judged, lever)
        assert set(found) == columns
        assert len(found) == 7 * 144 - 720


def test_a_lever_changes_what_it_says_and_nothing_else(judged: Path) -> None:
    usual, eager, alone = (read(judged, lever) for lever in (BASE, "no persistence", "without lstm"))
    assert (eager["score"] == usual["score"]).all()
    assert usual["anomaly"].any()
    assert np.argmax(eager["anomaly"]) < np.argmax(usual["anomaly"])
    assert not alone["lstm_vote"].any()
    assert (alone["arima_score"] == usual["arima_score"]).all()
    assert (read(judged, "no smoothing")["arima_score"] != usual["arima_score"]).any()


def test_a_day_without_calibration_changes_votes_and_no_score(judged: Path) -> None:
    usual, never = read(judged, BASE), read(judged, "not calibrated again")
    assert (never["score"] == usual["score"]).all()
    assert (never["confidence"][:144] == usual["confidence"][:144]).all()
    assert (never["confidence"][144:] != usual["confidence"][144:]).any()


def test_the_table_shows_means_over_seeds_and_the_change() -> None:
    def figures(value: float) -> dict[str, float | None]:
        return dict.fromkeys(FIGURES, value) | {"ece": None}

    seeds = [{BASE: {"all": figures(a)}, "no knee": {"all": figures(b)}} for a, b in ((0.2, 0.1), (0.4, 0.1))]
    usual, changed = summary(seeds)
    assert usual["f1"]["mean"] == pytest.approx(0.3)
    assert usual["f1"]["spread"] == pytest.approx(0.1)
    assert changed["f1"]["change"] == pytest.approx(-0.2)
    assert changed["ece"] is None


def test_the_level_is_the_largest_that_cries_wolf_seldom_enough() -> None:
    found = [
        Quiet(level, episodes=place, rows=2 * place, of=100, days=1.0, votes={"arima": level})
        for place, level in enumerate(LEVELS)
    ]
    rows = clean_summary(found)
    assert [row["falseAlarmsPerDay"] for row in rows] == list(range(len(LEVELS)))
    assert chosen(rows) == LEVELS[int(AT_MOST)]
    assert rows[3]["realisedOverNominal"]["arima"] == pytest.approx(1.0)
    assert rows[3]["realisedOverNominal"]["lstm"] is None


def test_listening_reads_neither_labels_nor_test_rows(data: Path, tmp_path: Path) -> None:
    file = data / "made" / "deep" / "one.parquet"
    changed = pd.read_parquet(file)
    changed.loc[changed["split"] == "test", ["cpu", "memory", "requests"]] = 0.0
    changed["label"] = 1.0
    changed.to_parquet(tmp_path / "changed.parquet")
    before, after = listen(file, "one"), listen(tmp_path / "changed.parquet", "one")
    assert before == after
    assert [one.level for one in before] == list(LEVELS)
