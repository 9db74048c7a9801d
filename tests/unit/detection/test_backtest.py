"""The backtest answers for every test row, however short or disorderly the series."""

import numpy as np
import pandas as pd
import pytest

from selfheal.backtest import backtest
from selfheal.errors import NoData, WrongUse


def series(train: int, test: int, *, step: str = "5min", seed: int = 0) -> pd.DataFrame:
    """One noisy metric with a jump at the end."""
    rows = train + test
    values = np.random.default_rng(seed).normal(10.0, 1.0, rows)
    values[-10:] += 40.0
    return pd.DataFrame(
        {
            "timestamp": pd.date_range("2026-01-05", periods=rows, freq=step),
            "value": values,
            "split": ["train"] * train + ["test"] * test,
        }
    )


def test_a_train_part_of_half_a_day_is_enough_to_find_a_jump() -> None:
    found = backtest(series(169, 60))
    assert len(found) == 60
    assert found["score"].iloc[-5] > found["score"].iloc[:-15].median()
    assert found["isolation_forest_vote"].iloc[-10:].any()
    assert not found["prophet_vote"].any()


def test_timestamps_that_run_backwards_are_taken_in_the_order_of_the_rows(caplog: pytest.LogCaptureFixture) -> None:
    frame = series(169, 60)
    frame.loc[200:, "timestamp"] -= pd.Timedelta(hours=1)
    found = backtest(frame)
    assert len(found) == 60
    assert "run backwards" in caplog.text
    pd.testing.assert_frame_equal(found, backtest(series(169, 60)))


def test_a_series_that_is_too_short_says_how_much_is_needed() -> None:
    with pytest.raises(NoData, match="collect longer"):
        backtest(series(20, 60))


def test_a_series_without_split_says_what_to_add() -> None:
    with pytest.raises(WrongUse, match="mark each row"):
        backtest(series(20, 60).drop(columns="split"))
