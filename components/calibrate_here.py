"""As calibrate, for kfp's local runner."""

from kfp import dsl

from components.base import component


@component
def calibrate_here(
    shards: list[str],
    seed: int,
    calibration: dsl.Input[dsl.Dataset],
    ensemble: dsl.Output[dsl.Model],
) -> None:
    """As calibrate: kfp 2.16's local runner cannot hand a list of artifacts to a task, so it gets their paths.

    Args:
        shards: Where the trained detectors of each shard lie, in order.
        seed: Of the injected faults.
        calibration: Normal windows, newer than the training data.
        ensemble: A folder of numbers and JSON.
    """
    from pathlib import Path

    from selfheal.training import assemble

    found = assemble([Path(one) for one in shards], Path(calibration.path), seed, Path(ensemble.path))
    ensemble.metadata["workloads"] = len(found.workloads)
    ensemble.metadata["catalogue"] = found.info.catalogue
