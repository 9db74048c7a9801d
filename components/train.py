"""One detector, trained for all workloads in one task."""

from kfp import dsl

from components.base import component


@component
def train(detector: str, seed: int, training: dsl.Input[dsl.Dataset], model: dsl.Output[dsl.Model]) -> None:
    """Train one detector for every workload, and a pooled model for workloads that will appear later.

    Args:
        detector: One of isolation_forest, arima, prophet, lstm.
        seed: Of its chance; the same seed and data give the same model.
        training: Windows of normal data.
        model: A folder of numbers and JSON.
    """
    from pathlib import Path

    from selfheal.training import train_members

    members = train_members(detector, Path(training.path), seed, Path(model.path))
    model.metadata["detector"] = detector
    model.metadata["workloads"] = len(members.models)
