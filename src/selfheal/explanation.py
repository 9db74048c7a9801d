"""Why a window was called anomalous: the metrics that carry it, its type, and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfheal.anomaly_type import anomaly_type
from selfheal.catalogue import BY_NAME, Direction
from selfheal.detectors.base import Flags, Witness, soften
from selfheal.protocol import TopMetric
from selfheal.window import Floats, MetricWindow

_MOST_METRICS = 5
_LEAST_SHARE = 0.03
_ECHO = 0.2  # of its evidence is left to a metric on its harmless side, or back to normal
_FADED = 0.25  # of its largest deviation of late: what is below is back to normal
_NEWEST = 3  # rows over which evidence is gathered: votes have a memory too


def explain(window: MetricWindow, voters: Sequence[Witness], *, anomaly: bool) -> dict[str, Any]:
    """Fields of a prediction that say why.

    Args:
        window: In the model's order of metrics.
        voters: The models that voted for an anomaly.
        anomaly: The verdict.

    Returns:
        ``top_metrics`` wherever there was a vote; ``anomaly_type`` and ``message`` for an anomaly.
    """
    if not voters:
        return {}
    shares, expected = _evidence(window, voters)
    observed = window.values[-1]
    order = [int(i) for i in np.argsort(-shares, kind="stable") if shares[i] >= _LEAST_SHARE][:_MOST_METRICS]
    top = tuple(
        TopMetric(
            name=window.names[i],
            observed=float(observed[i]) if np.isfinite(observed[i]) else None,
            expected=float(expected[i]) if np.isfinite(expected[i]) else None,
            share=round(float(shares[i]), 4),
        )
        for i in order
    )
    if not anomaly:
        return {"top_metrics": top}
    kind = anomaly_type(
        window,
        dict(zip(window.names, shares.tolist(), strict=True)),
        dict(zip(window.names, expected.tolist(), strict=True)),
    )
    return {"top_metrics": top, "anomaly_type": kind, "message": _sentence(kind, top)}


def _evidence(window: MetricWindow, voters: Sequence[Witness]) -> tuple[Floats, Floats]:
    """Share of the evidence and expected value of each metric, both of shape [m]."""
    recent = np.array([np.abs(model.deviations(window)[-_NEWEST:]) for model in voters])
    deviations = recent.max(axis=1)
    # What is as expected again was a part of the trouble, but does not carry it any more.
    weights = soften(deviations) ** 2 * np.where(recent[:, -1] < _FADED * deviations, _ECHO, 1.0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    # The voter that a metric surprised most says what it had expected.
    values = np.array([_in_unit(window, model.expected(window)[-1], model.counters) for model in voters])
    expected = values[deviations.argmax(axis=0), np.arange(len(window.names))]
    shares = weights.mean(axis=0) * _bearing(window, expected)
    return shares / max(float(shares.sum()), 1e-12), expected


def _bearing(window: MetricWindow, expected: Floats) -> Floats:
    """How much each metric's deviation may count, shape [m], by what the catalogue says of it.

    A value on its harmless side is an echo of something else. A counter says something when it counts.
    """
    newest, found = _newest(window.values), np.ones(len(window.names))
    for place, query in enumerate(BY_NAME.get(name) for name in window.names):
        if query is None:
            continue
        column = window.values[:, place]
        if query.counter and not np.any(np.diff(column[np.isfinite(column)])):
            found[place] = 0.0
        elif query.direction is Direction.HIGH and newest[place] < expected[place]:
            found[place] = _ECHO
    return found


def _in_unit(window: MetricWindow, expected: Floats, counters: Flags) -> Floats:
    """Expected increases of counters become expected readings."""
    found: Floats = np.where(counters, _newest(window.values[:-1]) + expected, expected)
    return found


def _newest(values: Floats) -> Floats:
    """The last known sample of each metric, shape [m], NaN where there is none."""
    known = np.isfinite(values)
    last = len(values) - 1 - known[::-1].argmax(axis=0) if len(values) else np.zeros(values.shape[1], dtype=int)
    found = values[last, np.arange(values.shape[1])] if len(values) else np.full(values.shape[1], np.nan)
    result: Floats = np.where(known.any(axis=0), found, np.nan)
    return result


def _sentence(kind: str, top: Sequence[TopMetric]) -> str:
    if not top:
        return f"{kind}: no single metric carries it"
    first = top[0]
    observed = "a gap" if first.observed is None else f"{first.observed:.4g}"
    expected = "unknown" if first.expected is None else f"{first.expected:.4g}"
    return f"{kind}: {first.name} is {observed}, expected {expected}"
