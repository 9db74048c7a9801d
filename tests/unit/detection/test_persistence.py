"""How long a score must be high before it is a vote."""

import numpy as np
import pytest

from selfheal.calibration import VoteSettings, raise_votes


@pytest.mark.parametrize(("step", "needed", "among"), [(10, 4, 6), (30, 2, 3), (60, 2, 3), (3600, 2, 3)])
def test_persistence_spans_a_minute_however_fast_rows_come(step: float, needed: int, among: int) -> None:
    settings = VoteSettings.for_step(step)
    assert (settings.needed, settings.among) == (needed, among)


def test_a_burst_of_twenty_seconds_is_no_vote_at_ten_seconds_a_row_and_one_of_a_minute_is() -> None:
    settings, surprise = VoteSettings.for_step(10), np.zeros(30)
    surprise[5:7] = 8.0
    assert not raise_votes(surprise, settings).any()
    surprise[15:21] = 8.0
    assert raise_votes(surprise, settings)[18]
