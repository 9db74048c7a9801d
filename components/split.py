"""Old data to train on, newer data to calibrate on, the newest to judge on."""

from kfp import dsl

from components.base import component


@component
def split(
    windows: dsl.Input[dsl.Dataset],
    shard_size: int,
    training: dsl.Output[dsl.Dataset],
    calibration: dsl.Output[dsl.Dataset],
    held_back: dsl.Output[dsl.Dataset],
) -> list[str]:
    """Cut each window in time, so that nothing is judged on data it has seen, and the workloads into shards.

    Args:
        windows: What was collected.
        shard_size: Workloads that one task trains at most.
        training: The oldest four fifths, in shards.
        calibration: The older half of the rest, for thresholds and confidence.
        held_back: The newest tenth, for the evaluation alone.

    Returns:
        The names of the shards.
    """
    from pathlib import Path

    from selfheal.training import split_windows

    targets = [Path(one.path) for one in (training, calibration, held_back)]
    return split_windows(Path(windows.path), shard_size, *targets)
