"""The ensemble, judged on data that no step before has seen."""

from kfp import dsl

from components.base import component


@component
def evaluate(
    ensemble: dsl.Input[dsl.Model],
    training: dsl.Input[dsl.Dataset],
    held_back: dsl.Input[dsl.Dataset],
    seed: int,
    report: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    page: dsl.Output[dsl.HTML],
) -> None:
    """Measure false alarms on normal data, and recall, delay and honesty of the confidence on injected faults.

    Args:
        ensemble: To be judged.
        training: What it was trained on, for the report.
        held_back: Normal windows to judge on.
        seed: Of the injected faults.
        report: Everything found, as JSON.
        metrics: The figures, for the run's page.
        page: The report with plots, for people.
    """
    from pathlib import Path

    from selfheal.training import judge

    paths = [Path(one.path) for one in (ensemble, training, held_back, report, page)]
    for name, value in judge(*paths, seed=seed).items():
        metrics.log_metric(name, value)
