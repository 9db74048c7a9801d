"""MetricWindow: the validated form in which samples reach the detectors.

A window is a regular grid of float64 values, time downwards, metrics across; NaN is a gap. What a metric is (a counter,
a clock, a constant) is found by rule from its values, never by its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from selfheal.catalogue import BY_NAME
from selfheal.errors import BadRequest, WrongUse

if TYPE_CHECKING:
    import pandas as pd

    from selfheal.protocol import Instance

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]
Places = npt.NDArray[np.intp]

DAY = 86_400.0
_FORMAT = 1
_CLOCK_SET_BACK = 7200.0  # seconds: the end of summer time
_NO_TIME = np.datetime64("2024-01-01T00:00:00", "s")  # where rows without timestamps are put: a Monday
_LEAST_RHYTHM = 0.05  # a rhythm must explain that much more than the other phase before it is believed
_CANDIDATE_STEPS = (3600.0, 1800.0, 900.0, 600.0, 300.0, 60.0)  # the coarsest first: two days repeat as well as one


@dataclass(frozen=True)
class MetricWindow:
    """Samples of one workload.

    Attributes:
        workload: ``namespace/Kind/name``, or any name.
        times: Moments of the samples, ``datetime64[s]`` in UTC, shape [t], evenly spaced.
        values: Shape [t, m], NaN for a gap; infinities are not allowed.
        names: Of the m metrics, unique.
        step: Seconds between samples.
    """

    workload: str
    times: Times
    values: Floats
    names: tuple[str, ...]
    step: float

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.times), len(self.names)):
            raise BadRequest(
                f"window of {self.workload}: {self.values.shape} values for {len(self.times)} times and "
                f"{len(self.names)} metrics"
            )
        if len(set(self.names)) != len(self.names):
            raise BadRequest(f"window of {self.workload}: a metric name stands twice in {list(self.names)}")
        if np.isinf(self.values).any():
            raise BadRequest(f"window of {self.workload} holds infinities: send null for a gap")

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def from_mapping(
        cls, workload: str, end: np.datetime64, step: float, samples: Mapping[str, Sequence[float | None]]
    ) -> MetricWindow:
        """From lists as they come over the wire, the newest last, None for a gap."""
        names = tuple(samples)
        values = np.array([samples[name] for name in names], dtype=float).T.reshape(-1, len(names))
        values = np.where(np.isfinite(values), values, np.nan)
        return cls(workload, grid(end, len(values), step), values, names, step)

    @classmethod
    def from_instance(cls, instance: Instance) -> MetricWindow:
        """From a request, with its ``now`` laid over the newest sample."""
        end = np.datetime64(instance.end.replace(tzinfo=None), "s")
        window = cls.from_mapping(instance.workload, end, instance.step, instance.window)
        for name, value in instance.now.items():
            if name in window.names and value is not None and np.isfinite(value):
                window.values[-1, window.names.index(name)] = value
        return window

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, workload: str, step: float | None = None) -> MetricWindow:
        """From metric columns, with an optional ``timestamp`` column.

        Args:
            frame: Numeric columns are metrics; rows are in time order. Of rows that share a time the first
                counts, missing times become gaps.
            workload: Name of the whole.
            step: Seconds between rows; by default told by the timestamps or, without any, guessed from the data's
                daily rhythm (:func:`guess_step`).

        Raises:
            BadRequest: Without a numeric column, or with timestamps that run backwards or mostly name no sample.
        """
        metrics = frame.drop(columns="timestamp", errors="ignore").select_dtypes(["number", "bool"]).astype(float)
        if metrics.shape[1] == 0:
            raise BadRequest(f"{workload}: no numeric metric column among {list(frame.columns)}")
        names = tuple(str(name) for name in metrics.columns)
        values = np.where(np.isfinite(metrics.to_numpy()), metrics.to_numpy(), np.nan)
        if "timestamp" not in frame:
            seconds = step or guess_step(values)
            return cls(workload, grid(_NO_TIME, len(values), seconds, first=True), values, names, seconds)
        places, seconds = places_on_grid(frame["timestamp"], workload, step)
        times = grid(_moments(frame["timestamp"])[0], int(places[-1]) + 1, seconds, first=True)
        return cls(workload, times, _placed(values, places, len(times)), names, seconds)

    def rows(self, start: int, stop: int | None = None) -> MetricWindow:
        """The rows ``start:stop``."""
        return replace(self, times=self.times[start:stop], values=self.values[start:stop])

    def with_values(self, values: Floats) -> MetricWindow:
        """The same grid with other values."""
        return replace(self, values=values)

    def select(self, names: Sequence[str]) -> MetricWindow:
        """The metrics named, in that order."""
        columns = [self.names.index(name) for name in names]
        return replace(self, values=self.values[:, columns], names=tuple(names))

    @property
    def usable(self) -> int:
        """Rows with at least one sample."""
        return int(np.isfinite(self.values).any(axis=1).sum()) if len(self) else 0

    @property
    def span(self) -> timedelta:
        """From the first to the last moment."""
        if not len(self):
            return timedelta(0)
        return timedelta(seconds=float((self.times[-1] - self.times[0]) / np.timedelta64(1, "s")))

    def digest(self) -> str:
        """SHA-256 of names, grid and values: what a model says it was trained on."""
        found = hashlib.sha256("\0".join(self.names).encode())
        found.update(np.ascontiguousarray(self.times.astype("int64")).tobytes())
        found.update(np.ascontiguousarray(np.nan_to_num(self.values, nan=-1e300)).tobytes())
        return f"sha256:{found.hexdigest()}"


@dataclass(frozen=True)
class Windows:
    """Windows of several workloads on grids of one length: what a request of many is judged as.

    Whatever is written for time first and metrics last takes them like a :class:`MetricWindow`.

    Attributes:
        times: Shape [t, n].
        values: Shape [t, n, m], NaN for a gap.
        names: Of the m metrics.
        step: Seconds between samples.
    """

    times: Times
    values: Floats
    names: tuple[str, ...]
    step: float

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def of(cls, windows: Sequence[MetricWindow]) -> Windows:
        """Stack windows of one length, with the same metrics and step; at least one."""
        first = windows[0]
        times = np.stack([window.times for window in windows], axis=1)
        values = np.stack([window.values for window in windows], axis=1)
        return cls(times, values, first.names, first.step)

    def take(self, which: Places) -> Windows:
        """The windows of some workloads, in that order."""
        if len(which) == self.values.shape[1] and np.array_equal(which, np.arange(len(which))):
            return self
        return replace(self, times=self.times[:, which], values=self.values[:, which])

    def with_values(self, values: Floats) -> Windows:
        """The same grids with other values."""
        return replace(self, values=values)

    def each(self) -> Iterator[MetricWindow]:
        """One by one; their names are lost."""
        for i in range(self.values.shape[1]):
            yield MetricWindow(f"window {i}", self.times[:, i], self.values[:, i], self.names, self.step)


def grid(moment: np.datetime64, samples: int, step: float, *, first: bool = False) -> Times:
    """Evenly spaced moments that end (or start) at one, shape [samples]."""
    offsets = (np.arange(samples) * step).round().astype("timedelta64[s]")
    start = moment if first or not samples else moment - offsets[-1]
    times: Times = start.astype("datetime64[s]") + offsets
    return times


def _moments(timestamps: pd.Series[Any]) -> Times:
    import pandas as pd

    stamps = pd.to_datetime(timestamps, utc=True).dt.tz_localize(None)
    moments: Times = stamps.to_numpy().astype("datetime64[s]")
    return moments


def places_on_grid(
    timestamps: pd.Series[Any], workload: str, step: float | None = None
) -> tuple[npt.NDArray[np.intp], float]:
    """Row of an even grid for each timestamp, shape [t], and the grid's step in seconds.

    Args:
        timestamps: In time order; the first one starts the grid. Where a clock was set back by up to two hours, rows
            share the last moment before it until time goes on.
        workload: For the message.
        step: Seconds; by default the median distance.

    Raises:
        BadRequest: When time runs backwards, or the grid would be more than twenty times as long as the data.
    """
    given = _moments(timestamps)
    if not len(given):
        raise BadRequest(f"{workload}: there is no row")
    moments = np.maximum.accumulate(given)
    back = (moments - given).astype(float)
    if (back > _CLOCK_SET_BACK).any():
        raise BadRequest(f"{workload}: timestamps run backwards at row {int(np.argmax(back > 0))}: sort by time")
    distances = np.diff(moments).astype(float)
    forward = distances[distances > 0]
    seconds = step or max(float(np.median(forward)) if forward.size else 60.0, 1.0)
    places = np.rint((moments - moments[0]).astype(float) / seconds).astype(np.intp)
    if places[-1] > 20 * len(moments) + 1000:
        raise BadRequest(f"{workload}: {len(moments)} rows over {places[-1]} steps of {seconds:g} s: split the series")
    return places, seconds


def _placed(values: Floats, places: npt.NDArray[np.intp], rows: int) -> Floats:
    """Put rows on their places; the first counts where several share one, as a mean would look ahead."""
    found = np.full((rows, values.shape[1]), np.nan)
    taken, first = np.unique(places, return_index=True)
    found[taken] = values[first]
    return found


def guess_step(values: Floats) -> float:
    """Seconds between rows of data without timestamps, by the daily rhythm that fits best; 60 where none shows.

    A rhythm shows where values resemble those a day before more than those half a day before: values that merely change
    slowly resemble both.

    Args:
        values: Shape [t, m].
    """
    filled = fill_gaps(values)
    centred = filled - filled.mean(axis=0)
    energy = (centred**2).sum(axis=0)
    live = energy > 0

    def likeness(lag: int) -> float:
        overlap = (centred[lag:, live] * centred[:-lag, live]).sum(axis=0) * len(values) / (len(values) - lag)
        return float(np.mean(overlap / energy[live]))

    best, best_match = 60.0, _LEAST_RHYTHM
    for step in _CANDIDATE_STEPS:
        lag = round(DAY / step)
        if not live.any() or len(values) < 2 * lag:
            continue
        match = likeness(lag) - likeness(lag // 2)
        if match > best_match + 0.05:
            best, best_match = step, match
    return best


def fill_gaps(values: Floats, start: Floats | None = None) -> Floats:
    """Carry the last known sample forward; before the first one ``start`` (or the column's first sample, else 0).

    Args:
        values: Shape [t, .., m].
        start: Shape [.., m].
    """
    filled = values.copy()
    gaps = ~np.isfinite(values)
    rows = np.flatnonzero(gaps.any(axis=tuple(range(1, values.ndim))))
    if not rows.size:
        return filled
    if start is None:
        start = np.take_along_axis(values, (~gaps).argmax(axis=0)[None], axis=0)[0]
    start = np.nan_to_num(start)
    for row in rows.tolist():
        np.copyto(filled[row], filled[row - 1] if row else start, where=gaps[row])
    return filled


def is_counter(values: Floats) -> npt.NDArray[np.bool_]:
    """Which metrics only grow, resets aside: most steps up, almost none down, shape [m].

    A running clock is a counter by this rule too; its increase is a constant, which carries nothing, as it should.
    """
    steps = np.diff(values, axis=0)
    known = np.isfinite(steps)
    count = np.maximum(known.sum(axis=0), 1)
    up = (np.where(known, steps, 0) > 0).sum(axis=0) / count
    down = (np.where(known, steps, 0) < 0).sum(axis=0) / count
    rising: npt.NDArray[np.bool_] = (up > 0.3) & (down < 0.005) & (known.sum(axis=0) >= 30)
    return rising


def counters(window: MetricWindow) -> npt.NDArray[np.bool_]:
    """Which metrics only grow, shape [m]: those that the catalogue calls counters, and those that look like one.

    A counter that hardly ever moves, such as that of restarts, does not look like one: taken for a level it would be
    off for good after a single event.
    """
    known = np.array([name in BY_NAME and BY_NAME[name].counter for name in window.names], dtype=bool)
    found: npt.NDArray[np.bool_] = known | is_counter(window.values)
    return found


def increases(values: Floats, columns: npt.NDArray[np.bool_]) -> Floats:
    """Replace counters by their increase since the sample before; a reset starts from zero.

    Args:
        values: Shape [t, .., m].
        columns: Which are counters, shape [.., m] or [m].

    Returns:
        Shape [t, .., m]; the first increase of a counter is unknown (NaN).
    """
    if not columns.any():
        return values
    columns = np.broadcast_to(columns, values.shape[1:])
    result = values.copy()
    before, after = values[:-1, columns], values[1:, columns]
    result[1:, columns] = np.where(after < before, after, after - before)
    result[:1, columns] = np.nan
    return result


def save_windows(folder: Path, windows: Sequence[MetricWindow]) -> None:
    """Write one parquet file a workload and a manifest: how windows travel between steps of the pipeline."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, window in enumerate(windows):
        file = f"w{number:04d}.parquet"
        index = pd.DatetimeIndex(window.times, name="timestamp")
        pd.DataFrame(window.values, columns=list(window.names), index=index).to_parquet(folder / file)
        entries.append({"workload": window.workload, "file": file, "step": window.step, "digest": window.digest()})
    (folder / "manifest.json").write_text(json.dumps({"format": _FORMAT, "windows": entries}, indent=1) + "\n")


def read_table(file: Path) -> pd.DataFrame:
    """A parquet file, read on this thread alone.

    Arrow's own threads may still run when the interpreter ends, and then abort a process whose work is done
    (apache/arrow, issue 34314): a step of the pipeline would fail after it had succeeded.

    Raises:
        OSError: When it cannot be read.
        ValueError: When it is no parquet file.
    """
    from pyarrow.parquet import ParquetFile

    with BytesIO(file.read_bytes()) as content:
        table = ParquetFile(content, pre_buffer=False).read(use_threads=False)
    return table.to_pandas(use_threads=False)


def load_windows(folder: Path) -> list[MetricWindow]:
    """Read what :func:`save_windows` wrote, in the same order.

    Raises:
        WrongUse: When the folder holds no windows, or other ones than the manifest says.
    """
    import pandas as pd

    found = []
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        if manifest["format"] != _FORMAT:
            raise WrongUse(f"{folder}: windows of format {manifest['format']}, this version reads {_FORMAT}")
        for entry in manifest["windows"]:
            frame = read_table(folder / entry["file"])
            times = pd.DatetimeIndex(frame.index).to_numpy().astype("datetime64[s]")
            names = tuple(str(name) for name in frame.columns)
            window = MetricWindow(entry["workload"], times, frame.to_numpy(dtype=float), names, float(entry["step"]))
            if window.digest() != entry["digest"]:
                raise WrongUse(f"{folder / entry['file']} is not what its manifest says: collect again")
            found.append(window)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WrongUse(f"{folder} holds no stored windows ({type(error).__name__}: {error})") from None
    return found
