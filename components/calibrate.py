"""Four trained detectors become one calibrated ensemble."""

from kfp import dsl

from components.base import component


@component
def calibrate(
    isolation_forest: dsl.Input[dsl.Model],
    arima: dsl.Input[dsl.Model],
    prophet: dsl.Input[dsl.Model],
    lstm: dsl.Input[dsl.Model],
    seed: int,
    calibration: dsl.Input[dsl.Dataset],
    ensemble: dsl.Output[dsl.Model],
) -> None:
    """Set every detector's threshold to the same false-alarm rate, and calibrate the confidence on injected faults.

    Args:
        isolation_forest: Trained detector.
        arima: Trained detector.
        prophet: Trained detector.
        lstm: Trained detector.
        seed: Of the injected faults.
        calibration: Normal windows, newer than the training data.
        ensemble: A folder of numbers and JSON.
    """
    from pathlib import Path

    from selfheal.training import assemble

    members = [Path(one.path) for one in (isolation_forest, arima, prophet, lstm)]
    found = assemble(members, Path(calibration.path), seed, Path(ensemble.path))
    ensemble.metadata["workloads"] = len(found.workloads)
    ensemble.metadata["catalogue"] = found.info.catalogue
