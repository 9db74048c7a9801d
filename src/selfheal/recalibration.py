"""The daily step between two trainings: the champion's votes are measured by what was usual lately.

Nothing is trained. The result is a challenger like any other: it shares the champion's detectors, is judged on the
newest hours, which the calibration has not seen, and is promoted only when it is not worse
(docs/adr/0007-recalibration.md).
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from selfheal.ensemble import Ensemble
from selfheal.errors import NoData
from selfheal.hearing import held_out
from selfheal.protocol import MODEL_NAME
from selfheal.registry import Registry
from selfheal.window import MetricWindow, load_windows, save_windows

logger = logging.getLogger(__name__)


def recalibrate(tracking_uri: str, source: Path, target: Path, judged: Path) -> str:
    """Calibrate the model in service on stored history.

    Args:
        tracking_uri: Of MLflow.
        source: Windows that reach back to the day of the training, as far as Prometheus does.
        target: Folder for the new ensemble.
        judged: Folder for the newest hours, to judge it on.

    Returns:
        The version whose detectors it shares.

    Raises:
        NoData: When nothing is in service, or no workload of the model has history after its training.
        MetricMismatch: When metrics of the model are no longer there.
        BadRequest: When the windows have another step than the model.
    """
    champion = Registry(tracking_uri).champion()
    if champion is None:
        raise NoData(f"no version of {MODEL_NAME} is in service: run the training pipeline first")
    ensemble, version = champion
    windows = [_of(window, ensemble) for window in load_windows(source)]
    known = [window for window in windows if _is_new(window, ensemble)]
    if not known:
        raise NoData(
            f"none of {len(windows)} workloads has history after the training of version {version}: collect up to now, "
            "or run the training pipeline for workloads that are new"
        )
    newest = held_out(ensemble.step)
    found = ensemble.recalibrated([ensemble.hear(window.rows(0, -newest)) for window in known])
    found.save(target)
    save_windows(judged, [window.rows(-newest) for window in known])
    logger.info("selfheal: version %s calibrated again for %d workloads", version, len(known))
    return version


def _of(window: MetricWindow, ensemble: Ensemble) -> MetricWindow:
    """With the model's metrics alone; those that it lacks stay missing, for the model to name."""
    return window.select(tuple(name for name in ensemble.names if name in window.names))


def _is_new(window: MetricWindow, ensemble: Ensemble) -> bool:
    """Whether a window of a workload with models goes on beyond the data of the training and the hours held out."""
    if window.workload not in ensemble.workloads:
        return False
    _, last = ensemble.calibrated[window.workload]
    older = window.times[: -held_out(ensemble.step)].astype("datetime64[s]").astype(np.int64)
    return bool((older > last).any())
