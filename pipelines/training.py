"""The training pipeline, in reading order. It runs unchanged on a Kubeflow Pipelines server and by kfp's local runner.

The four detectors are four tasks drawn by a Python loop when the pipeline is compiled, and the decision to promote is
taken inside its task: kfp's local runner executes ``dsl.ParallelFor`` only after all other tasks of its level, so that
nothing can follow it, and cannot evaluate the condition of ``dsl.If`` (docs/pipeline.md).
"""

from typing import Any, NamedTuple

from kfp import dsl, kubernetes
from kfp.dsl import PipelineTask

from components.calibrate import calibrate
from components.collect import collect
from components.compare import compare
from components.evaluate import evaluate
from components.probe import probe
from components.promote import promote
from components.register import register
from components.smoke_test import smoke_test
from components.split import split
from components.train import train

DETECTORS = ("isolation_forest", "arima", "prophet", "lstm")
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


def _steps(
    tracking_uri: str,
    prometheus_url: str = PROMETHEUS,
    namespaces: str = "",
    history_hours: float = 168.0,
    step_seconds: float = 60.0,
    end: str = "",
    endpoint_url: str = "",
    token_file: str = "",
    ca_file: str = "",
    git_sha: str = "",
    seed: int = 0,
) -> Outcome:
    """Train, judge and register the models of all workloads, and promote them when they are not worse.

    Args:
        tracking_uri: Of MLflow.
        prometheus_url: Of Prometheus or a Thanos querier.
        namespaces: Patterns with commas between them, such as ``shop,team-*``; all namespaces when empty.
        history_hours: How far to look back.
        step_seconds: Seconds between samples.
        end: Moment of the newest sample, ISO 8601; now when empty.
        endpoint_url: Base URL of the endpoint to test at the end; the registry's model is tested when empty.
        token_file: Bearer token for Prometheus; the mounted secret or the ServiceAccount's by default.
        ca_file: Certificate authority of Prometheus; the mounted one by default.
        git_sha: Commit that the pipeline was started from.
        seed: Of everything that is drawn by chance.

    Returns:
        The version registered, the verdict on it, the version in service, and what that answered.
    """
    source = {"prometheus_url": prometheus_url, "token_file": token_file, "ca_file": ca_file, "end": end}
    probed = _fresh(_asks_prometheus(probe(**source)))
    span = {"history_hours": history_hours, "step_seconds": step_seconds}
    collected = collect(**source, **span, namespaces=namespaces).after(probed)
    _sized(_fresh(_asks_prometheus(collected)), memory="2Gi")
    parts = _sized(split(windows=collected.outputs["windows"]))
    held_back, models = parts.outputs["held_back"], _trained(parts, seed)
    calibrated = _sized(calibrate(**models, seed=seed, calibration=parts.outputs["calibration"]), memory="2Gi")
    model = calibrated.outputs["ensemble"]
    judged = evaluate(ensemble=model, training=parts.outputs["training"], held_back=held_back, seed=seed)
    found = {"held_back": held_back, "report": _sized(judged, memory="2Gi").outputs["report"]}
    origin = {"git_sha": git_sha, "pipeline_run": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
    registered = _fresh(_asks_mlflow(register(tracking_uri=tracking_uri, **origin, ensemble=model, **found)))
    given = {"tracking_uri": tracking_uri, "version": registered.output}
    verdict = _fresh(_asks_mlflow(compare(**given, seed=seed, **found)))
    promoted = _fresh(_asks_mlflow(promote(**given, verdict=verdict.output)))
    target = {"tracking_uri": tracking_uri, "endpoint_url": endpoint_url, "in_service": promoted.output}
    tested = _fresh(_asks_mlflow(smoke_test(**target, held_back=held_back)))
    return Outcome(registered.output, verdict.output, promoted.output, tested.output)


def _trained(parts: PipelineTask, seed: int) -> dict[str, Any]:
    """One task a detector; their models, by detector."""
    models = {}
    for detector in DETECTORS:
        task = _sized(train(detector=detector, seed=seed, training=parts.outputs["training"]), cpu="1", memory="4Gi")
        models[detector] = task.set_display_name(f"train-{detector.replace('_', '-')}").outputs["model"]
    return models


def _sized(task: PipelineTask, cpu: str = "500m", memory: str = "1Gi") -> PipelineTask:
    """What a task asks for; memory is also its limit, cpu has none, so that an idle node is used. Retried twice."""
    task.set_cpu_request(cpu).set_memory_request(memory).set_memory_limit(memory)
    task.set_env_variable("OMP_NUM_THREADS", "1")  # the networks are so small that threads only wait for each other
    task.set_retry(num_retries=2, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="300s")
    return kubernetes.set_image_pull_policy(task, "IfNotPresent")


def _fresh(task: PipelineTask) -> PipelineTask:
    """Never from the cache: the world outside changes while the inputs stay equal."""
    return _sized(task).set_caching_options(False)


def _asks_prometheus(task: PipelineTask) -> PipelineTask:
    return kubernetes.use_secret_as_volume(
        task, _PROMETHEUS_SECRET, "/var/run/secrets/selfheal/prometheus", optional=True
    )


def _asks_mlflow(task: PipelineTask) -> PipelineTask:
    return kubernetes.use_secret_as_env(task, _MLFLOW_SECRET, _MLFLOW_KEYS, optional=True)


training = dsl.pipeline(
    name="selfheal-training", description="Train, judge, register and promote the models that watch workloads."
)(_steps)
