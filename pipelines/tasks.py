"""What the pipelines share: what a task asks for, and the way from a model to its release."""

from typing import Any, NamedTuple

from kfp import dsl, kubernetes
from kfp.dsl import PipelineTask

from components.compare import compare
from components.evaluate import evaluate
from components.promote import promote
from components.register import register
from components.smoke_test import smoke_test

PROMETHEUS = "https://thanos-querier.openshift-monitoring.svc:9091"  # where OpenShift has it

_PROMETHEUS_SECRET = "selfheal-prometheus"  # optional, keys token and ca.crt
_MLFLOW_SECRET = "selfheal-mlflow"  # optional, keys username and password, or token
_MLFLOW_KEYS = {
    "username": "MLFLOW_TRACKING_USERNAME",
    "password": "MLFLOW_TRACKING_PASSWORD",
    "token": "MLFLOW_TRACKING_TOKEN",
}


class Outcome(NamedTuple):
    """What a run comes to.

    Attributes:
        version: Of the ensemble, as registered.
        verdict: ``accepted`` and ``reason``.
        in_service: Version of the champion afterwards.
        answer: What that answered to the smoke test.
    """

    version: str
    verdict: dict[str, object]
    in_service: str
    answer: str


def sized(task: PipelineTask, cpu: str = "500m", memory: str = "1Gi") -> PipelineTask:
    """What a task asks for; memory is also its limit, cpu has none, so that an idle node is used. Retried twice."""
    task.set_cpu_request(cpu).set_memory_request(memory).set_memory_limit(memory)
    task.set_env_variable("OMP_NUM_THREADS", "1")  # the networks are so small that threads only wait for each other
    task.set_retry(num_retries=2, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="300s")
    return kubernetes.set_image_pull_policy(task, "IfNotPresent")


def fresh(task: PipelineTask) -> PipelineTask:
    """Never from the cache: the world outside changes while the inputs stay equal."""
    return sized(task).set_caching_options(False)


def asks_prometheus(task: PipelineTask) -> PipelineTask:
    """With the credentials for Prometheus, where there is a Secret."""
    return kubernetes.use_secret_as_volume(
        task, _PROMETHEUS_SECRET, "/var/run/secrets/selfheal/prometheus", optional=True
    )


def asks_mlflow(task: PipelineTask) -> PipelineTask:
    """With the credentials for MLflow, where there is a Secret."""
    return kubernetes.use_secret_as_env(task, _MLFLOW_SECRET, _MLFLOW_KEYS, optional=True)


def released(
    *,
    model: Any,
    training: Any,
    held_back: Any,
    seed: int,
    endpoint_url: str,
    tracking_uri: str,
    git_sha: str,
    shares: Any = "",
) -> Outcome:
    """Judge a model, register it, compare it with the champion, promote it and test what is in service.

    Args:
        model: The ensemble.
        training: What it was made of, for the report.
        held_back: Normal windows to judge on.
        seed: Of everything that is drawn by chance.
        endpoint_url: Base URL of the endpoint to test at the end; the registry's model is tested when empty.
        tracking_uri: Of MLflow.
        git_sha: Commit that the pipeline was started from.
        shares: Version whose detectors it shares; empty when it has its own.
    """
    judged = evaluate(ensemble=model, training=training, held_back=held_back, seed=seed)
    found = {"held_back": held_back, "report": sized(judged, memory="2Gi").outputs["report"]}
    origin = {"git_sha": git_sha, "pipeline_run": dsl.PIPELINE_JOB_ID_PLACEHOLDER, "shares": shares}
    registered = fresh(asks_mlflow(register(tracking_uri=tracking_uri, **origin, ensemble=model, **found)))
    given = {"tracking_uri": tracking_uri, "version": registered.output}
    verdict = fresh(asks_mlflow(compare(**given, seed=seed, **found)))
    promoted = fresh(asks_mlflow(promote(**given, verdict=verdict.output)))
    target = {"tracking_uri": tracking_uri, "endpoint_url": endpoint_url, "in_service": promoted.output}
    tested = fresh(asks_mlflow(smoke_test(**target, held_back=held_back)))
    return Outcome(registered.output, verdict.output, promoted.output, tested.output)
