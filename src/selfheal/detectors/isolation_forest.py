"""Isolation Forest over windowed features of all metrics jointly: combinations that never occurred.

Trained with scikit-learn, kept as plain arrays and walked with numpy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from selfheal.detectors.base import (
    Flags,
    Scaling,
    check_names,
    load_arrays,
    pick,
    require,
    save_arrays,
    scaling_of,
    smooth,
    soften,
)
from selfheal.window import Floats, MetricWindow

_TREES = 48
_SAMPLES = 512
_FIT_ROWS = 8_000
_SHORT, _LONG = 3.0, 15.0  # samples: what is going on, and what was


class IsolationForestDetector:
    """Catches outliers, and combinations of values that are usual one by one.

    Attributes:
        names: Metrics fitted.
    """

    name: ClassVar[str] = "isolation_forest"
    need: ClassVar[int] = 50
    warmup: ClassVar[int] = 10
    seasonal: ClassVar[bool] = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.names: tuple[str, ...] = ()
        self._arrays: dict[str, Floats] = {}

    def fit(self, window: MetricWindow) -> Self:
        """See :class:`selfheal.detectors.base.Detector`."""
        from sklearn.ensemble import IsolationForest

        require(window, self.need, self.name)
        self.names = window.names
        scaling = Scaling.learn(window)
        rows = _features(scaling.apply(window), scaling.alive)
        picked = np.random.default_rng(self.seed).choice(len(rows), min(len(rows), _FIT_ROWS), replace=False)
        forest = IsolationForest(
            n_estimators=_TREES, max_samples=min(_SAMPLES, len(picked)), random_state=self.seed
        ).fit(rows[np.sort(picked)])
        self._arrays = scaling.arrays() | _export(forest)
        return self

    def score(self, window: MetricWindow) -> Floats:
        """See :class:`selfheal.detectors.base.Detector`."""
        window = check_names(window, self.names)
        if not len(window):
            return np.zeros(0)
        scaling = scaling_of(self._arrays)
        rows = _features(scaling.apply(window), scaling.alive)
        feature, threshold, left, right, depth, usual = pick(
            self._arrays, "feature", "threshold", "left", "right", "depth", "usual"
        )
        mean_depth = _walk(rows, feature.astype(int), threshold, left.astype(int), right.astype(int), depth)
        result: Floats = np.exp2(-mean_depth / float(usual[0]))
        return result

    def deviations(self, window: MetricWindow) -> Floats:
        """See :class:`selfheal.detectors.base.Detector`; the forest itself does not point at metrics."""
        return scaling_of(self._arrays).apply(check_names(window, self.names))

    def expected(self, window: MetricWindow) -> Floats:
        """See :class:`selfheal.detectors.base.Detector`: the usual value, at any time."""
        return np.repeat(pick(self._arrays, "centre")[0][None, :], len(window), axis=0)

    @property
    def counters(self) -> Flags:
        """See :class:`selfheal.detectors.base.Detector`."""
        return pick(self._arrays, "counter")[0].astype(bool)

    def save(self, folder: Path) -> None:
        """See :class:`selfheal.detectors.base.Detector`."""
        save_arrays(folder, self.name, self.names, self._arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`selfheal.detectors.base.Detector`."""
        found = cls()
        found.names, found._arrays = load_arrays(folder, cls.name)
        return found


def _features(scaled: Floats, alive: Floats) -> Floats:
    """Level, drift and unrest of each metric, sizes of the whole and the three largest drifts, shape [t, 3 m + 6].

    In float32 precision, as scikit-learn sees them, so that its thresholds fall between the same rows here.
    """
    live = scaled[:, alive.astype(bool)]
    if live.shape[1] == 0:
        return np.zeros((len(scaled), 1))
    live = np.sign(live) * soften(live)
    short = smooth(live, _SHORT)
    drift, jump = short - smooth(live, _LONG), live - short
    unrest = np.sqrt(smooth(jump**2, _SHORT))
    sizes = [np.sqrt((part**2).mean(axis=1)) for part in (short, drift, jump)]
    largest = -np.sort(-np.abs(drift), axis=1)[:, :3]
    return np.hstack([short, drift, unrest, np.column_stack(sizes), largest]).astype(np.float32).astype(float)


def _export(forest: Any) -> dict[str, Floats]:
    """The trees as arrays, shape [trees, nodes], and the mean depth of an unremarkable row."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    nodes = max(tree.node_count for tree in trees)
    shape = (len(trees), nodes)
    feature, left, right = (np.zeros(shape, dtype=np.int32) for _ in range(3))
    threshold, depth = (np.zeros(shape, dtype=np.float32) for _ in range(2))
    for i, tree in enumerate(trees):
        n = tree.node_count
        leaf = tree.children_left < 0
        here = np.arange(n)
        feature[i, :n] = np.where(leaf, 0, tree.feature)
        threshold[i, :n] = np.where(leaf, np.inf, tree.threshold)
        left[i, :n] = np.where(leaf, here, tree.children_left)
        right[i, :n] = np.where(leaf, here, tree.children_right)
        depth[i, :n] = _depths(tree.children_left, tree.children_right) + _path(tree.n_node_samples)
    return {
        "feature": feature.astype(np.int16),
        "threshold": threshold,
        "left": left.astype(np.int16),
        "right": right.astype(np.int16),
        "depth": depth,
        "usual": _path(np.array([forest.max_samples_])),
    }


def _depths(left: Any, right: Any) -> Floats:
    depth = np.zeros(len(left))
    for node in range(len(left)):  # children come after their parent
        if left[node] >= 0:
            depth[left[node]] = depth[right[node]] = depth[node] + 1
    return depth


def _path(samples: Any) -> Floats:
    """Mean depth of an unsuccessful search in a tree of so many samples (Liu, Ting and Zhou 2008)."""
    n = np.asarray(samples, dtype=float)
    many = np.maximum(n, 3.0)
    found: Floats = np.where(
        n <= 1, 0.0, np.where(n == 2, 1.0, 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many)
    )
    return found


def _walk(rows: Floats, feature: Any, threshold: Any, left: Any, right: Any, depth: Any) -> Floats:
    """Mean depth at which each row is isolated, shape [t]."""
    total = np.zeros(len(rows))
    index = np.arange(len(rows))
    for f, cut, low, high, deep in zip(feature, threshold, left, right, depth, strict=True):
        node = np.zeros(len(rows), dtype=np.intp)
        for _ in range(int(np.ceil(np.log2(_SAMPLES))) + 1):
            node = np.where(rows[index, f[node]] <= cut[node], low[node], high[node])
        total += deep[node]
    return total / len(feature)
