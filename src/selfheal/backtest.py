"""Fit on the train part of one series, run causally over its test part, write what the ensemble said of each row.

As in service (``pipelines/recalibration.py``), the ensemble is calibrated again every day of the test part, on what
was known some hours before.

``python -m selfheal.backtest SERIES.parquet --out SCORES.parquet``.
Exit codes: 0 done, 1 failed, 2 wrong use, 3 no data.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from selfheal.detectors import DETECTORS
from selfheal.detectors.base import Flags
from selfheal.ensemble import Ensemble, Trace
from selfheal.errors import NoData, SelfhealError, WrongUse
from selfheal.hearing import Hearing, held_out
from selfheal.window import DAY, Floats, MetricWindow, places_on_grid, read_table

if TYPE_CHECKING:
    import pandas as pd

RESERVED = ("label", "split", "timestamp")
log = logging.getLogger("selfheal.backtest")


@dataclass(frozen=True)
class Series:
    """One series, cut into what may be learned from and what is to be judged.

    Attributes:
        whole: All rows on an even grid.
        training: The rows to learn from.
        judged: Rows of ``whole`` that stand for the test rows, in their order.
    """

    whole: MetricWindow
    training: MetricWindow
    judged: npt.NDArray[np.intp]

    @classmethod
    def read(cls, frame: pd.DataFrame, name: str) -> Self:
        """From a table.

        Args:
            frame: Metric columns with any names, ``split`` (train, then test), optional ``timestamp``; ``label`` is
                ignored.
            name: Of the series, for messages.

        Raises:
            WrongUse: When ``split`` is missing, unknown, or out of order.
            NoData: Without train or test rows.
        """
        train, test = _parts(frame, name)
        frame = _in_order(frame, name)
        metrics = frame.drop(columns=[column for column in ("label", "split") if column in frame])
        whole = MetricWindow.from_frame(metrics, name)
        places = np.arange(len(frame), dtype=np.intp)
        if "timestamp" in frame:
            places, _ = places_on_grid(frame["timestamp"], name, whole.step)
        log.info(
            "%s: %d metrics every %g s, %d rows to train, %d to judge", name, len(whole.names), whole.step, train, test
        )
        return cls(whole, whole.rows(0, int(places[train - 1]) + 1), places[train:])


def scores(ensemble: Ensemble, series: Series) -> pd.DataFrame:
    """What an ensemble says of the test rows.

    Returns:
        One row for each test row: ``score``, ``anomaly``, ``confidence``, ``NAME_score`` and ``NAME_vote`` of each
        detector; one that abstains has score 0 and vote False.
    """
    import pandas as pd

    heard, rows = ensemble.hear(series.whole), series.judged
    parts = [(begin, end, then.read(heard.until(end))) for begin, end, then in _days(ensemble, series, heard)]

    def joined(column: Callable[[Trace], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([column(trace)[begin:end] for begin, end, trace in parts])[rows]

    found = {
        "score": joined(attrgetter("score")),
        "anomaly": joined(attrgetter("anomaly")),
        "confidence": joined(attrgetter("confidence")),
    }
    for detector in DETECTORS:
        if detector in heard.raw:
            found[f"{detector}_score"] = joined(partial(_score_of, detector))
            found[f"{detector}_vote"] = joined(partial(_vote_of, detector))
        else:
            why = heard.abstained.get(detector, "is no part of the ensemble")
            log.warning("%s: %s abstains, it %s", series.whole.workload, detector, why)
            found |= {f"{detector}_score": np.zeros(len(rows)), f"{detector}_vote": np.zeros(len(rows), dtype=bool)}
    return pd.DataFrame(found)


def _score_of(detector: str, trace: Trace) -> Floats:
    return trace.scores[detector]


def _vote_of(detector: str, trace: Trace) -> Flags:
    return trace.votes[detector]


def _days(ensemble: Ensemble, series: Series, heard: Hearing) -> Iterator[tuple[int, int, Ensemble]]:
    """First row of each day of the test part, the row after its last, and the ensemble in service then."""
    first, rows = len(series.training), len(series.whole)
    day, newest = max(round(DAY / series.whole.step), 1), held_out(series.whole.step)
    yield 0, min(first + day, rows), ensemble
    for begin in range(first + day, rows, day):
        yield begin, min(begin + day, rows), ensemble.recalibrated([heard.until(begin - newest)])


def backtest(frame: pd.DataFrame, name: str = "series", *, seed: int = 0) -> pd.DataFrame:
    """Train on the train rows, judge the test rows; see :meth:`Series.read` and :func:`scores`.

    Args:
        frame: The series.
        name: Of the series, for messages.
        seed: For the detectors.

    Raises:
        WrongUse: When ``split`` is missing, unknown, or out of order.
        NoData: Without train or test rows, or with too few to train two detectors.
    """
    series = Series.read(frame, name)
    return scores(Ensemble.fit([series.training], seed=seed), series)


def _parts(frame: pd.DataFrame, name: str) -> tuple[int, int]:
    """Rows to train on and rows to judge."""
    if "split" not in frame:
        raise WrongUse(f"{name} has no column 'split': mark each row 'train' or 'test'")
    split = frame["split"].astype(str).to_numpy()
    unknown = sorted(set(split) - {"train", "test"})
    if unknown:
        raise WrongUse(f"{name}: column 'split' holds {', '.join(unknown)}: only 'train' and 'test' are known")
    train = int((split == "train").sum())
    if train in (0, len(split)):
        raise NoData(f"{name} has {train} train rows of {len(split)}: it needs both parts")
    if (split[:train] != "train").any():
        raise WrongUse(f"{name}: train rows come after test rows: sort by time")
    return train, len(split) - train


def _in_order(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The frame with timestamps that never run backwards: a clock that was set back says nothing about the order."""
    if "timestamp" not in frame or frame["timestamp"].is_monotonic_increasing:
        return frame
    import pandas as pd

    stamps = pd.to_datetime(frame["timestamp"])
    step = stamps.diff().median()
    log.warning("%s: timestamps run backwards: rows are taken as they stand, one every %s", name, step)
    return frame.assign(timestamp=[stamps.iloc[0] + place * step for place in range(len(frame))])


def _read(path: Path) -> pd.DataFrame:
    try:
        return read_table(path)
    except FileNotFoundError:
        raise WrongUse(f"{path} does not exist") from None
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise WrongUse(f"{path} is no parquet file that can be read: {error}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m selfheal.backtest", description=__doc__)
    parser.add_argument("series", type=Path, help="parquet file: metric columns, split, optional timestamp")
    parser.add_argument("--out", type=Path, required=True, help="parquet file for the scores of the test rows")
    parser.add_argument("--seed", type=int, default=0, help="for the detectors (0)")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        found = backtest(_read(args.series), args.series.stem, seed=args.seed)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        found.to_parquet(args.out, index=False)
    except SelfhealError as error:
        log.error("%s", error)
        return 2 if error.exit_code == 1 else error.exit_code
    except OSError as error:
        log.error("cannot write %s: %s", args.out, error.strerror)
        return 1
    log.info("wrote %d rows to %s", len(found), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
