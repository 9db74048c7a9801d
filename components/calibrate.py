"""The models of all shards become one calibrated ensemble."""

from kfp import dsl

from components.base import component


@component
def calibrate(
    shards: dsl.Input[list[dsl.Model]],
    seed: int,
    calibration: dsl.Input[dsl.Dataset],
    ensemble: dsl.Output[dsl.Model],
) -> None:
    """Set every detector's threshold to the same false-alarm rate, and calibrate the confidence on injected faults.

    Args:
        shards: Trained detectors of each shard, in order.
        seed: Of the injected faults.
        calibration: Normal windows, newer than the training data.
        ensemble: A folder of numbers and JSON.
    """
    from pathlib import Path

    from selfheal.training import assemble

    found = assemble([Path(one.path) for one in shards], Path(calibration.path), seed, Path(ensemble.path))
    ensemble.metadata["workloads"] = len(found.workloads)
    ensemble.metadata["catalogue"] = found.info.catalogue
