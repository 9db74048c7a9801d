"""The predictor between two models."""

import weakref

import numpy as np

from selfheal.window import MetricWindow, grid
from serving.predictor import Predictor
from tests.support.endpoint import KNOWN, NAMES, samples, tiny_ensemble


def test_the_model_before_is_let_go_once_another_is_served() -> None:
    predictor = Predictor("m")
    before, after = tiny_ensemble(), tiny_ensemble()
    predictor.serve(before)
    times = grid(np.datetime64("2026-11-23T20:00:00", "s"), 60, 60.0)
    assert before.judge([MetricWindow(KNOWN, times, samples(60, 1), NAMES, 60.0)])[0].anomaly is False
    gone = weakref.ref(before)
    del before
    predictor.serve(after)
    assert gone() is None
    assert predictor.ensemble is after
