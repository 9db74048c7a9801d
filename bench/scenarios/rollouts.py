"""Faults that people ship: commands, images, references, probes and strategies of a new revision. Real kubelet."""

from __future__ import annotations

from bench.client import Resource
from bench.images import FAULTY
from bench.scenarios.objects import container, policy, thing, workload
from bench.scenarios.scenario import Answer, Budget, Scenario, Tier
from bench.scenarios.stage import Stage

_SHELL = ["/bin/sh", "-c"]


def _plain(_: Stage) -> list[Resource]:
    return [workload()]


def _bad_command(stage: Stage) -> None:
    stage.change(command=[*_SHELL, "echo cannot read the configuration; exit 1"])


def _bad_tag(stage: Stage) -> None:
    stage.change(image=FAULTY.replace(":1", ":no-such-tag"))


def _with_config(_: Stage) -> list[Resource]:
    body = container(envFrom=[{"configMapRef": {"name": "app"}}])
    return [thing("ConfigMap", "app", data={"MODE": "calm"}), workload(body=body)]


def _bad_reference(stage: Stage) -> None:
    missing = {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "app-v2", "key": "KEY"}}}
    stage.change(env=[missing])


def _slow_start(stage: Stage) -> None:
    probe = {"exec": {"command": ["cat", "/tmp/started"]}, "initialDelaySeconds": 2, "periodSeconds": 2}
    command = [*_SHELL, "sleep 60; touch /tmp/started; exec sleep 100000"]
    stage.change(command=command, livenessProbe=probe | {"failureThreshold": 2})


def _with_readiness(_: Stage) -> list[Resource]:
    probe = {"exec": {"command": ["cat", "/etc/passwd"]}, "periodSeconds": 2, "failureThreshold": 3}
    return [workload(body=container(readinessProbe=probe))]


def _bad_readiness(stage: Stage) -> None:
    stage.change(readinessProbe={"exec": {"command": ["cat", "/healthz/no-such-path"]}})


def _all_at_once(_: Stage) -> list[Resource]:
    found = workload()
    found["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%", "maxSurge": 0}}
    return [found]


def _bad_init(stage: Stage) -> None:
    init = container("echo no database; exit 1") | {"name": "migrate"}
    stage.patch("Deployment", "cart", {"spec": {"template": {"spec": {"initContainers": [init]}}}})


ROLLOUTS: tuple[Scenario, ...] = (
    Scenario(
        number=1,
        title="a command that ends at once is rolled out",
        tier=Tier.NODE,
        answer=Answer.HEAL,
        baseline=_plain,
        policies=(policy("CrashLoopBackOff", "rollback"),),
        fault=_bad_command,
    ),
    Scenario(
        number=2,
        title="an image tag that does not exist is rolled out",
        tier=Tier.NODE,
        answer=Answer.HEAL,
        baseline=_plain,
        policies=(policy("ImagePullBackOff", "rollback"),),
        fault=_bad_tag,
    ),
    Scenario(
        number=3,
        title="a reference to a missing ConfigMap is rolled out",
        tier=Tier.NODE,
        answer=Answer.HEAL,
        baseline=_with_config,
        policies=(policy("ConfigError", "rollback"),),
        fault=_bad_reference,
    ),
    Scenario(
        number=11,
        title="a liveness probe kills a slow start",
        tier=Tier.NODE,
        answer=Answer.HEAL,
        baseline=_plain,
        policies=(policy("ProbeFailure", "rollback"),),
        fault=_slow_start,
        budget=Budget(detected=60.0, recovered=90.0, verified=160.0),
    ),
    Scenario(
        number=12,
        title="a readiness path that does not exist is rolled out",
        tier=Tier.NODE,
        answer=Answer.HEAL,
        baseline=_with_readiness,
        policies=(policy("ProbeFailure", "rollback"),),
        fault=_bad_readiness,
        budget=Budget(detected=21.0, recovered=66.0, verified=126.0),  # the probe itself needs 6 s to fail
    ),
    Scenario(
        number=15,
        title="a rollout takes all pods at once and its init container fails",
        tier=Tier.NODE,
        answer=Answer.HEAL,
        baseline=_all_at_once,
        policies=(policy("RolloutStuck", "rollback"),),
        fault=_bad_init,
    ),
)
