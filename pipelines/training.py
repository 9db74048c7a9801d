"""The training pipeline, in reading order, for a Kubeflow Pipelines server and for kfp's local runner.

Both run the same steps. They differ in how the models of all shards are gathered, because kfp's local runner cannot
hand a list of artifacts to a task, and runs a loop after all other tasks of its level (docs/adr/0005-shards.md). The
decision to promote is taken inside its task: the local runner cannot evaluate the condition of ``dsl.If``.
"""

from collections.abc import Callable
from typing import Any, cast

from kfp import dsl
from kfp.dsl import PipelineTask
from kfp.dsl.base_component import BaseComponent

from components.calibrate import calibrate
from components.calibrate_here import calibrate_here
from components.collect import collect
from components.probe import probe
from components.split import split
from components.train import train
from pipelines.tasks import PROMETHEUS, Outcome, asks_prometheus, fresh, released, sized

SHARD = 200
"""Workloads that one task trains at most: three minutes of work on one core, beside half a minute for its pods."""

_NAME = "selfheal-training"


def _trained(shard: Any, seed: int, windows: Any) -> PipelineTask:
    """One shard. Caching is on: the same windows and seed give the same models."""
    return sized(train(shard=shard, seed=seed, training=windows), cpu="1", memory="4Gi")


def _by_server(parts: PipelineTask, seed: int) -> PipelineTask:
    """A loop over the shards, and their artifacts."""
    with dsl.ParallelFor(parts.outputs["Output"], name="shards") as shard:
        task = _trained(shard, seed, parts.outputs["training"])
    return calibrate(shards=dsl.Collected(task.outputs["models"]), seed=seed, calibration=parts.outputs["calibration"])


@dsl.pipeline(name="shards")
def _shards(names: list[str], seed: int, training: dsl.Input[dsl.Dataset]) -> list[str]:
    with dsl.ParallelFor(names, name="shards") as shard:
        task = _trained(shard, seed, training)
    return cast("list[str]", dsl.Collected(task.outputs["Output"]))


def _by_local_runner(parts: PipelineTask, seed: int) -> PipelineTask:
    """The same loop, as a pipeline of its own, so that it runs before what follows; and the artifacts' paths."""
    done = _shards(names=parts.outputs["Output"], seed=seed, training=parts.outputs["training"])
    task = calibrate_here(shards=done.output, seed=seed, calibration=parts.outputs["calibration"])
    return task.set_display_name("calibrate")


def _pipeline(gather: Callable[[PipelineTask, int], PipelineTask]) -> BaseComponent:
    """The whole, with a way to train all shards and calibrate what they give."""

    def steps(
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
        shard_size: int = SHARD,
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
            shard_size: Workloads that one task trains at most.

        Returns:
            The version registered, the verdict on it, the version in service, and what that answered.
        """
        source = {"prometheus_url": prometheus_url, "token_file": token_file, "ca_file": ca_file, "end": end}
        span = {"history_hours": history_hours, "step_seconds": step_seconds, "namespaces": namespaces}
        probed = fresh(asks_prometheus(probe(**source)))
        collected = asks_prometheus(collect(**source, **span).after(probed))
        windows = sized(fresh(collected), memory="2Gi").outputs["windows"]
        parts = sized(split(windows=windows, shard_size=shard_size), memory="2Gi")
        model = sized(gather(parts, seed), memory="2Gi").outputs["ensemble"]
        given = {"model": model, "training": parts.outputs["training"], "held_back": parts.outputs["held_back"]}
        return released(**given, seed=seed, endpoint_url=endpoint_url, tracking_uri=tracking_uri, git_sha=git_sha)

    return dsl.pipeline(name=_NAME, description="Train, judge, register and promote the models that watch workloads.")(
        steps
    )


training = _pipeline(_by_server)
"""For a Kubeflow Pipelines server."""

local_training = _pipeline(_by_local_runner)
"""For kfp's local runner, see pipelines.local."""
