"""The model in service, calibrated again on what was usual lately."""

from kfp import dsl

from components.base import component


@component
def recalibrate(
    tracking_uri: str,
    windows: dsl.Input[dsl.Dataset],
    ensemble: dsl.Output[dsl.Model],
    held_back: dsl.Output[dsl.Dataset],
) -> str:
    """Measure the champion's votes by all history since its training, without its alarms; nothing is trained.

    Args:
        tracking_uri: Of MLflow.
        windows: History that reaches back to the day of the training.
        ensemble: The champion's detectors with new thresholds: a folder of numbers and JSON.
        held_back: The newest hours, which the calibration has not seen.

    Returns:
        The version whose detectors it shares.
    """
    from pathlib import Path

    from selfheal.recalibration import recalibrate

    return recalibrate(tracking_uri, Path(windows.path), Path(ensemble.path), Path(held_back.path))
