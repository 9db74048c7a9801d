"""The model registry learns of a new candidate."""

from kfp import dsl

from components.base import component


@component
def register(
    tracking_uri: str,
    git_sha: str,
    pipeline_run: str,
    ensemble: dsl.Input[dsl.Model],
    held_back: dsl.Input[dsl.Dataset],
    report: dsl.Input[dsl.Artifact],
    shares: str = "",
) -> str:
    """Register the four detectors and the ensemble in MLflow, with alias challenger.

    Args:
        tracking_uri: Of MLflow.
        git_sha: Commit that the pipeline was started from.
        pipeline_run: Which run this is.
        ensemble: The model.
        held_back: Where the input example comes from.
        report: What was measured.
        shares: Version whose detectors the ensemble shares: then only the ensemble is new.

    Returns:
        The ensemble's version.
    """
    from pathlib import Path

    from selfheal.training import register_models

    tags = {"selfheal.git_sha": git_sha or "unknown", "selfheal.pipeline_run": pipeline_run}
    model, judged_on, judged = Path(ensemble.path), Path(held_back.path), Path(report.path)
    return register_models(tracking_uri, model, judged_on, judged, tags, shares=shares)
