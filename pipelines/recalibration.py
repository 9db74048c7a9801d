"""The daily pipeline between two trainings: votes are measured by what was usual lately.

Nothing is trained: two tasks before the same release as after a training (docs/adr/0007-recalibration.md).
"""

from kfp import dsl

from components.collect import collect
from components.recalibrate import recalibrate
from pipelines.tasks import PROMETHEUS, Outcome, asks_mlflow, asks_prometheus, fresh, released, sized


def _steps(
    tracking_uri: str,
    prometheus_url: str = PROMETHEUS,
    namespaces: str = "",
    history_hours: float = 240.0,
    step_seconds: float = 60.0,
    end: str = "",
    endpoint_url: str = "",
    token_file: str = "",
    ca_file: str = "",
    git_sha: str = "",
    seed: int = 0,
) -> Outcome:
    """Calibrate the model in service on the history since its training, and promote the result when it is not worse.

    Args:
        tracking_uri: Of MLflow.
        prometheus_url: Of Prometheus or a Thanos querier.
        namespaces: Patterns with commas between them, such as ``shop,team-*``; all namespaces when empty.
        history_hours: How far to look back: to the day of the training; what lies before is ignored.
        step_seconds: Seconds between samples; the model's.
        end: Moment of the newest sample, ISO 8601; now when empty.
        endpoint_url: Base URL of the endpoint to test at the end; the registry's model is tested when empty.
        token_file: Bearer token for Prometheus; the mounted secret or the ServiceAccount's by default.
        ca_file: Certificate authority of Prometheus; the mounted one by default.
        git_sha: Commit that the pipeline was started from.
        seed: Of the faults that the models are judged with.

    Returns:
        The version registered, the verdict on it, the version in service, and what that answered.
    """
    source = {"prometheus_url": prometheus_url, "token_file": token_file, "ca_file": ca_file, "end": end}
    span = {"history_hours": history_hours, "step_seconds": step_seconds, "namespaces": namespaces}
    windows = sized(fresh(asks_prometheus(collect(**source, **span))), memory="2Gi").outputs["windows"]
    again = sized(fresh(asks_mlflow(recalibrate(tracking_uri=tracking_uri, windows=windows))), memory="2Gi")
    return released(
        model=again.outputs["ensemble"],
        training=windows,
        held_back=again.outputs["held_back"],
        seed=seed,
        endpoint_url=endpoint_url,
        tracking_uri=tracking_uri,
        git_sha=git_sha,
        shares=again.outputs["Output"],
    )


recalibration = dsl.pipeline(
    name="selfheal-recalibration", description="Measure votes by what was usual lately; nothing is trained."
)(_steps)
"""For a Kubeflow Pipelines server and for kfp's local runner alike."""
