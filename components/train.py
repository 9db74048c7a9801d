"""One shard of workloads, trained in one task by all detectors."""

from kfp import dsl

from components.base import component


@component
def train(shard: str, seed: int, training: dsl.Input[dsl.Dataset], models: dsl.Output[dsl.Model]) -> str:
    """Train the four detectors for every workload of a shard; the first shard also trains the pooled models.

    Args:
        shard: Name of the shard, as split gave it.
        seed: Of all chance; the same seed and data give the same models.
        training: Windows of normal data, in shards.
        models: A folder of numbers and JSON for each detector.

    Returns:
        Where the models lie, for kfp's local runner, which cannot hand on a list of artifacts.
    """
    from pathlib import Path

    from selfheal.training import train_shard

    models.metadata["shard"] = shard
    models.metadata["workloads"] = train_shard(Path(training.path), shard, seed, Path(models.path))
    return models.path
