"""Old data to train on, newer data to calibrate on, the newest to judge on."""

from kfp import dsl

from components.base import component


@component
def split(
    windows: dsl.Input[dsl.Dataset],
    training: dsl.Output[dsl.Dataset],
    calibration: dsl.Output[dsl.Dataset],
    held_back: dsl.Output[dsl.Dataset],
) -> None:
    """Cut each window in time, so that nothing is judged on data it has seen.

    Args:
        windows: What was collected.
        training: The oldest four fifths.
        calibration: The older half of the rest, for thresholds and confidence.
        held_back: The newest tenth, for the evaluation alone.
    """
    from pathlib import Path

    from selfheal.training import split_windows

    split_windows(Path(windows.path), Path(training.path), Path(calibration.path), Path(held_back.path))
