"""Isolation Forest over windowed features of all metrics jointly: combinations that never occurred.

Its cuts run along one axis each, so levels and drifts are turned into independent parts first. Trained with
scikit-learn, kept as plain arrays and walked with numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from selfheal.detectors.base import (
    Flags,
    Sight,
    Testimony,
    check_names,
    require,
    smooth,
    soft,
    whitening,
)
from selfheal.detectors.scaling import Scaling, scaling_of
from selfheal.detectors.stack import Seen, of_models, stacked_arrays
from selfheal.detectors.storage import load_arrays, pick, save_arrays
from selfheal.window import Floats, MetricWindow, Places, Windows

_TREES = 48
_SAMPLES = 512
_FIT_ROWS = 8_000
_SHORT, _LONG = 3.0, 15.0  # samples: what is going on, and what was
_TURNS = ("turn_level", "turn_drift")
_FIELDS = ("cut", "feature", "skip")
_NODE = np.dtype(list(zip(_FIELDS, ("<f4", "<i2", "<i2"), strict=True)))
"""A node of a tree in eight bytes. Where the feature is at most ``cut``, the walk goes on at the next node, else
``skip`` nodes ahead. A leaf skips to itself: its feature is the one that is infinite in every row, and its ``cut`` the
mean depth there."""


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
        self._arrays: dict[str, Any] = {}

    def fit(self, window: MetricWindow) -> Self:
        """See :class:`selfheal.detectors.base.Detector`."""
        from sklearn.ensemble import IsolationForest

        require(window, self.need, self.name)
        self.names = window.names
        scaling = Scaling.learn(window)
        told = _told(scaling.alive)
        scaled = scaling.apply(window)
        level, drift, _ = _views(scaled)
        turns = {key: whitening(part, scaling.alive) for key, part in zip(_TURNS, (level, drift), strict=True)}
        rows = _features(scaled, scaling.alive, list(turns.values()), len(window))[:, told]
        picked = np.random.default_rng(self.seed).choice(len(rows), min(len(rows), _FIT_ROWS), replace=False)
        forest = IsolationForest(
            n_estimators=_TREES, max_samples=min(_SAMPLES, len(picked)), random_state=self.seed
        ).fit(rows[np.sort(picked)])
        self._arrays = scaling.arrays() | turns | _export(forest, told, len(window.names))
        return self

    @classmethod
    def stack(cls, models: Sequence[Self]) -> Self:
        """See :class:`selfheal.detectors.base.Batched`; the nodes of all forests lie end to end."""
        found = cls()
        found.names = models[0].names
        found._arrays = stacked_arrays([model._arrays for model in models])
        return found

    def look(self, windows: Windows, places: Places) -> Sight:
        """See :class:`selfheal.detectors.base.Batched`."""
        arrays = of_models(self._arrays, places)
        scaling, nodes, root, usual = scaling_of(arrays), arrays["nodes"], arrays["root"], arrays["usual"][:, 0]
        scaled = scaling.apply(windows)

        def score(newest: int, which: Places) -> Floats:
            turns = [arrays[key][which] for key in _TURNS]
            features = _features(scaled[:, which], scaling.alive[which], turns, newest)
            found: Floats = np.exp2(-_depth(features, nodes, root[which]) / usual[which])
            return found

        def testify(place: int) -> Testimony:
            one, seen = scaling.of(place), scaled[:, place]
            usual = one.in_units(np.zeros(seen.shape), windows.times[:, place])
            return Testimony(seen, usual, one.counter.astype(bool))

        return Seen(score, testify)

    def score(self, window: MetricWindow) -> Floats:
        """See :class:`selfheal.detectors.base.Detector`."""
        nodes, root, usual, *turns = pick(self._arrays, "nodes", "root", "usual", *_TURNS)
        scaled = self.deviations(window)
        depth = _depth(_features(scaled, scaling_of(self._arrays).alive, turns, len(scaled)), nodes, root)
        result: Floats = np.exp2(-depth / usual[0])
        return result

    def deviations(self, window: MetricWindow) -> Floats:
        """See :class:`selfheal.detectors.base.Detector`; the forest itself does not point at metrics."""
        return scaling_of(self._arrays).apply(check_names(window, self.names))

    def expected(self, window: MetricWindow) -> Floats:
        """See :class:`selfheal.detectors.base.Detector`: the usual value, at any time of the day."""
        return scaling_of(self._arrays).in_units(np.zeros(window.values.shape), window.times)

    @property
    def counters(self) -> Flags:
        """See :class:`selfheal.detectors.base.Detector`."""
        return pick(self._arrays, "counter")[0].astype(bool)

    def save(self, folder: Path) -> None:
        """See :class:`selfheal.detectors.base.Detector`."""
        arrays, nodes = dict(self._arrays), self._arrays["nodes"]
        del arrays["nodes"]
        save_arrays(folder, self.name, self.names, arrays | {key: nodes[key] for key in _FIELDS})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See :class:`selfheal.detectors.base.Detector`."""
        found = cls()
        found.names, arrays = load_arrays(folder, cls.name)
        found._arrays = {key: array for key, array in arrays.items() if key not in _FIELDS}
        found._arrays["nodes"] = _nodes(*pick(arrays, *_FIELDS))
        return found


def _views(scaled: Floats) -> tuple[Floats, Floats, Floats]:
    """Level, drift and jump of each metric, each of the shape of what is given."""
    live = soft(scaled)
    short = smooth(live, _SHORT)
    return short, short - smooth(live, _LONG), live - short


def _features(scaled: Floats, alive: Floats, turns: Sequence[Floats], newest: int) -> Floats:
    """What a forest looks at, shape [t, .., 3 m + 9].

    Independent parts of the levels and of the drifts, so that a combination that never occurred stands out along one
    axis; unrest of each metric; sizes of levels, drifts, jumps and of both kinds of parts; the three largest drifts.

    Of the newest rows alone. In float32, as scikit-learn sees them, so that its thresholds fall between the same rows
    here. Metrics that are not alive are 0 everywhere and count nowhere. The last column is infinite (see _NODE).
    """
    short, drift, jump = _views(scaled)
    old, size = len(scaled) - newest, scaled.shape[-1]
    unrest = np.sqrt(smooth(jump**2, _SHORT)[old:])
    short, drift, jump = short[old:], drift[old:], jump[old:]
    levels, drifts = (soft(np.matvec(turn, part)) for turn, part in zip(turns, (short, drift), strict=True))
    found = np.zeros((newest, *scaled.shape[1:-1], 3 * size + 9), np.float32)
    for place, part in enumerate((levels, drifts, unrest)):
        found[..., place * size : (place + 1) * size] = part
    count = np.maximum(alive.sum(axis=-1), 1)
    for place, part in enumerate((short, drift, jump, levels, drifts), start=3 * size):
        found[..., place] = np.sqrt((part**2).sum(axis=-1) / count)
    largest = np.sort(np.abs(drift), axis=-1)[..., : -min(size, 3) - 1 : -1]
    found[..., 3 * size + 5 : 3 * size + 5 + min(size, 3)] = largest
    found[..., -1] = np.inf
    return found


def _told(alive: Floats) -> Places:
    """Columns of the features that a forest is trained on: those that metrics with data have a part in."""
    live, size = np.flatnonzero(alive), len(alive)
    if not live.size:
        return np.zeros(1, dtype=np.intp)
    whole = 3 * size + np.arange(5 + min(len(live), 3))
    return np.concatenate([live, size + live, 2 * size + live, whole])


def _export(forest: Any, told: Places, metrics: int) -> dict[str, Any]:
    """The trees as nodes end to end, where each begins, and the mean depth of an unremarkable row.

    scikit-learn grows them depth first: the left child is the next node.
    """
    trees = [estimator.tree_ for estimator in forest.estimators_]
    parts = []
    for tree in trees:
        leaf = tree.children_left < 0
        depth = _depths(tree.children_left, tree.children_right) + _path(tree.n_node_samples)
        feature = np.where(leaf, 3 * metrics + 8, told[np.where(leaf, 0, tree.feature)])
        skip = np.where(leaf, 0, tree.children_right - np.arange(tree.node_count))
        parts.append(_nodes(np.where(leaf, depth, tree.threshold), feature, skip))
    root = np.cumsum([0, *(len(part) for part in parts[:-1])])
    return {"nodes": np.concatenate(parts), "root": root, "usual": _path(np.array([forest.max_samples_]))}


def _nodes(cut: Any, feature: Any, skip: Any) -> Any:
    found = np.empty(len(cut), _NODE)
    found["cut"], found["feature"], found["skip"] = cut, feature, skip
    return found


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


def _depth(features: Floats, nodes: Any, root: Any) -> Floats:
    """Mean depth at which each row is isolated, shape [t, ..].

    Args:
        features: Shape [t, .., f].
        nodes: Of all trees, end to end.
        root: First node of each tree, shape [.., trees].
    """
    place = np.repeat(root[None], len(features), axis=0)
    rows = (np.arange(place.size // root.shape[-1]) * features.shape[-1]).reshape(*place.shape[:-1], 1)
    flat, leaf = features.ravel(), features.shape[-1] - 1
    node = nodes.take(place)
    while (node["feature"] != leaf).any():
        place += np.where(flat.take(rows + node["feature"]) <= node["cut"], 1, node["skip"])
        node = nodes.take(place)
    found: Floats = node["cut"].mean(axis=-1, dtype=float)
    return found
