"""One detector fitted for many workloads, and a pooled one for workloads that were never seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from selfheal.artefact import Manifest, read_manifest, write_manifest
from selfheal.detectors import DETECTORS
from selfheal.detectors.base import YARD, Detector, Flags, check_names
from selfheal.detectors.stack import stacked
from selfheal.detectors.storage import load_arrays, pick, save_arrays
from selfheal.errors import BadModel, BadRequest, InsufficientData, NoData
from selfheal.fitting import Lack, fit_each
from selfheal.window import DAY, Floats, MetricWindow, Windows, counters, fill_gaps, increases

W = TypeVar("W", MetricWindow, Windows)

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""

CHUNK = 240
"""Rows of a window as the endpoint typically sees it."""

_MOST_CHUNKS = 40
_TOGETHER = 64  # models moved together while they are loaded
_KIND = "members"


def spell(seconds: float) -> str:
    """A duration as people say it: 2 days, 6 h, 50 min, 30 s."""
    for unit, name in ((DAY, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= unit * (2 if unit == DAY else 1):
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


def chunks(window: MetricWindow) -> Iterator[MetricWindow]:
    """A long window as short ones of CHUNK rows; one that is too short for two stays whole."""
    for start in range(0, max(len(window) - CHUNK + 1, 1), CHUNK):
        yield window.rows(start, start + CHUNK)


@dataclass(frozen=True)
class Yardstick:
    """How a window of an unknown workload becomes comparable: by its own first YARD rows.

    Attributes:
        counter: Which metrics are counters, by majority of the pool, shape [m] (bool).
        relative: Usual spread of a metric as a share of its level, in the pool, shape [m]; the floor for a stranger
            whose first rows happen to be quiet.
    """

    counter: Flags
    relative: Floats

    @classmethod
    def learn(cls, windows: Sequence[MetricWindow]) -> Yardstick:
        """From the windows of the pool, all with the same metrics."""
        counter = np.mean([counters(window) for window in windows], axis=0) > 0.5
        shares = []
        for window in windows:
            values = fill_gaps(increases(window.values, counter))
            shares.append(values.std(axis=0) / np.maximum(np.abs(values).mean(axis=0), 1e-12))
        return cls(counter, np.clip(np.median(shares, axis=0), 0.02, 1.0))

    def scale(self, window: MetricWindow | Windows) -> tuple[Floats, Floats]:
        """Level and spread of each metric in the first rows, each of shape [.., m]."""
        first = fill_gaps(increases(window.values[: YARD + 1], self.counter)[1:])
        if not len(first):
            return np.zeros(first.shape[1:]), np.ones(first.shape[1:])
        centre = np.median(first, axis=0)
        floor = np.maximum(self.relative * np.abs(centre), 1e-6)
        return centre, np.maximum(first.std(axis=0), floor)

    def measure(self, window: W) -> W:
        """The window in units of its own spread, counters as increases; gaps stay gaps."""
        centre, spread = self.scale(window)
        return window.with_values(np.clip((increases(window.values, self.counter) - centre) / spread, -30.0, 30.0))


@dataclass(frozen=True)
class Pooled:
    """A detector trained on many workloads' windows, each measured by its own yardstick."""

    detector: Detector
    yardstick: Yardstick

    @classmethod
    def fit(cls, kind: type[Detector], windows: Sequence[MetricWindow], seed: int) -> Pooled:
        """Train on chunks of all windows.

        Raises:
            InsufficientData: When all together are too little.
        """
        yardstick = Yardstick.learn(windows)
        parts = [part for window in windows for part in chunks(window)]
        every = max(1, -(-len(parts) // _MOST_CHUNKS))
        values = np.vstack([yardstick.measure(part).values for part in parts[::every]])
        whole = MetricWindow(
            "pooled",
            # Chunks of many times and places in a row: no row has a time of the day.
            np.repeat(windows[0].times[:1], len(values)),
            values,
            windows[0].names,
            windows[0].step,
        )
        return cls(kind(seed).fit(whole), yardstick)

    @property
    def warmup(self) -> int:
        """First rows of a window with a neutral score."""
        return YARD + self.detector.warmup

    @property
    def counters(self) -> Flags:
        """Which metrics are counters, shape [m]."""
        return self.yardstick.counter

    def score(self, window: MetricWindow) -> Floats:
        """As :meth:`selfheal.detectors.base.Detector.score`."""
        return self.detector.score(self.yardstick.measure(check_names(window, self.detector.names)))

    def deviations(self, window: MetricWindow) -> Floats:
        """As :meth:`selfheal.detectors.base.Detector.deviations`."""
        return self.detector.deviations(self.yardstick.measure(check_names(window, self.detector.names)))

    def expected(self, window: MetricWindow) -> Floats:
        """As :meth:`selfheal.detectors.base.Detector.expected`."""
        window = check_names(window, self.detector.names)
        centre, spread = self.yardstick.scale(window)
        found: Floats = self.detector.expected(self.yardstick.measure(window)) * spread + centre
        return found


class _MembersManifest(Manifest):
    kind: str = _KIND
    detector: str
    names: tuple[str, ...]
    step: float
    workloads: dict[str, str]
    silent: dict[str, str]
    trained: dict[str, tuple[str, str, str]]
    pooled: bool


@dataclass(frozen=True)
class Members:
    """One detector fitted for many workloads, plus a pooled one.

    Attributes:
        detector: Name in DETECTORS.
        names: Metrics, in the model's order.
        step: Seconds between samples.
        models: By workload.
        silent: Why a workload has no model of its own, by workload.
        pooled: For workloads without one; None where the detector cannot judge strangers.
        trained: First moment, last moment and digest of the data, by workload.
    """

    detector: str
    names: tuple[str, ...]
    step: float
    models: Mapping[str, Detector]
    silent: Mapping[str, str]
    pooled: Pooled | None
    trained: Mapping[str, tuple[str, str, str]]

    @classmethod
    def fit(
        cls,
        detector: str,
        windows: Sequence[MetricWindow],
        *,
        seed: int = 0,
        workers: int = 1,
        progress: Progress | None = None,
        pool: Sequence[MetricWindow] | None = None,
    ) -> Members:
        """Fit one detector for each workload, and the pooled one.

        Args:
            detector: Name in DETECTORS.
            windows: One for each workload, all with the same metrics and step.
            seed: For everything that draws lots.
            workers: Processes to fit in; the numbers do not depend on it.
            progress: Told after each workload.
            pool: What the pooled one learns from: these windows by default, nothing when empty.

        Raises:
            BadRequest: When windows differ in metrics (MetricMismatch) or in step.
            NoData: Without a window.
            Unavailable: When a worker is killed.
        """
        kind = DETECTORS[detector]
        windows = alike(windows)
        models: dict[str, Detector] = {}
        silent: dict[str, str] = {}
        fitted = fit_each(kind, windows, seed=seed, workers=workers)
        for done, (window, model) in enumerate(zip(windows, fitted, strict=True), start=1):
            if isinstance(model, Lack):
                silent[window.workload] = _lack(model, window.step)
            else:
                models[window.workload] = model
            if progress:
                progress(f"train {detector}", done, len(windows))
        trained = {w.workload: (f"{w.times[0]}Z", f"{w.times[-1]}Z", w.digest()) for w in windows if len(w)}
        strangers = windows if pool is None else alike(pool) if pool else []
        pooled = _pool(kind, [window for window in strangers if window.usable > YARD], seed)
        return cls(detector, windows[0].names, windows[0].step, models, silent, pooled, trained)

    def save(self, folder: Path) -> None:
        """Write numbers and a manifest into a folder."""
        places = {workload: f"w{number:04d}" for number, workload in enumerate(self.models)}
        for workload, place in places.items():
            self.models[workload].save(folder / place)
        if self.pooled:
            self.pooled.detector.save(folder / "pooled")
            yardstick = self.pooled.yardstick
            arrays = {"counter": yardstick.counter.astype(float), "relative": yardstick.relative}
            save_arrays(folder / "pooled", "yardstick", self.names, arrays)
        manifest = _MembersManifest(
            detector=self.detector,
            names=self.names,
            step=self.step,
            workloads=places,
            silent=dict(self.silent),
            trained=dict(self.trained),
            pooled=self.pooled is not None,
        )
        write_manifest(folder, manifest)

    @classmethod
    def load(cls, folder: Path) -> Members:
        """Read what :meth:`save` wrote.

        Raises:
            BadModel: When it is damaged, altered or of another format.
        """
        manifest = read_manifest(folder, _MembersManifest, _KIND)
        kind = DETECTORS.get(manifest.detector)
        if kind is None:
            raise BadModel(f"{folder} was trained for a detector {manifest.detector!r} that this version does not have")
        models = _all_listed(kind, folder, manifest)
        pooled = None
        if manifest.pooled:
            detector = _listed(kind, folder, "pooled", manifest)
            counter, relative = pick(load_arrays(folder / "pooled", "yardstick")[1], "counter", "relative")
            pooled = Pooled(detector, Yardstick(counter.astype(bool), relative))
        return cls(manifest.detector, manifest.names, manifest.step, models, manifest.silent, pooled, manifest.trained)


def alike(windows: Sequence[MetricWindow]) -> list[MetricWindow]:
    """The windows with their metrics in the order of the first.

    Raises:
        BadRequest: When they differ in metrics (MetricMismatch), in step, or a workload stands twice.
        NoData: Without a window.
    """
    if not windows:
        raise NoData("no workload has any samples: collect metrics first (selfheal metrics probe shows what there is)")
    first = windows[0]
    if len({window.workload for window in windows}) < len(windows):
        raise BadRequest("a workload stands twice among the windows: give one window a workload")
    for window in windows:
        if abs(window.step - first.step) > 0.01 * first.step:
            raise BadRequest(
                f"windows differ in step: {first.workload} has {first.step:g} s, {window.workload} {window.step:g} s"
            )
    return [replace(check_names(window, first.names), step=first.step) for window in windows]


def _all_listed(kind: type[Detector], folder: Path, manifest: _MembersManifest) -> dict[str, Detector]:
    """All detectors of a folder.

    Some dozens at a time move into arrays of their own: a thousand models' small arrays would leave the heap in
    pieces once they are stacked for good.
    """
    found: dict[str, Detector] = {}
    places = list(manifest.workloads.items())
    for start in range(0, len(places), _TOGETHER):
        part = {
            workload: _listed(kind, folder, place, manifest) for workload, place in places[start : start + _TOGETHER]
        }
        stacked(list(part.values()))
        found |= part
    return found


def _listed(kind: type[Detector], folder: Path, place: str, manifest: _MembersManifest) -> Detector:
    """A detector from a folder whose file the manifest vouches for, so that nothing unlisted is ever read."""
    if f"{place}/{manifest.detector}.npz" not in manifest.files:
        raise BadModel(f"the manifest in {folder} does not list {place}/{manifest.detector}.npz: fetch the model again")
    found = kind.load(folder / place)
    if found.names != manifest.names:
        raise BadModel(f"{folder / place} was trained on other metrics than its manifest says: fetch the model again")
    return found


def _pool(kind: type[Detector], windows: Sequence[MetricWindow], seed: int) -> Pooled | None:
    if kind.seasonal or not windows:
        return None
    try:
        return Pooled.fit(kind, windows, seed)
    except InsufficientData:
        return None


def _lack(lack: Lack, step: float) -> str:
    return f"needs {spell(lack.need * step)} of history, has {spell(lack.got * step)}"
