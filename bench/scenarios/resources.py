"""Faults of memory and CPU. Real kubelet; two of them need live metrics and the trained ensemble."""

from __future__ import annotations

from bench.client import Resource
from bench.scenarios.objects import container, policy, workload
from bench.scenarios.scenario import Answer, Budget, Scenario, Tier
from bench.scenarios.stage import Stage

_SHELL = ["/bin/sh", "-c"]


def _roomy(_: Stage) -> list[Resource]:
    return [workload(body=container("exec mem 64", memory="128Mi"))]


def _low_limit(stage: Stage) -> None:
    size = {"memory": "48Mi"}
    stage.change(resources={"limits": size, "requests": size})


def _plain(_: Stage) -> list[Resource]:
    return [workload()]


def _leak(stage: Stage) -> None:
    stage.change(command=[*_SHELL, "exec mem 16 8"])


def _slow_leak(stage: Stage) -> None:
    stage.change(
        command=[
            *_SHELL,
            "i=0; while :; do i=$((i+1)); eval v$i=$(head -c 200000 /dev/zero | tr '\\0' x); sleep 2; done",
        ]
    )


def _busy(_: Stage) -> list[Resource]:
    loop = "while :; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; sleep 0.2; done"
    return [workload(body=container(loop, cpu="400m"))]


def _throttle(stage: Stage) -> None:
    stage.change(resources={"limits": {"cpu": "20m"}, "requests": {"cpu": "10m"}})


RESOURCES: tuple[Scenario, ...] = (
    Scenario(
        number=6,
        title="the memory limit is cut below what is needed",
        tier=Tier.NODE,
        answer=Answer.HEAL,
        baseline=_roomy,
        policies=(policy("OOMKilled", "adjust-resources"),),
        fault=_low_limit,
        budget=Budget(detected=30.0, recovered=75.0, verified=150.0),
    ),
    Scenario(
        number=7,
        title="a leak of 8 MiB a second, without end",
        tier=Tier.NODE,
        answer=Answer.UNDO,
        baseline=_plain,
        policies=(policy("OOMKilled", "adjust-resources", parameters={"adjustResources": {"maxMemory": "512Mi"}}),),
        fault=_leak,
        budget=Budget(detected=30.0, recovered=0.0, verified=420.0),
    ),
    Scenario(
        number=8,
        title="a slow leak that only metrics show",
        tier=Tier.NODE,
        answer=Answer.HEAL,
        baseline=_plain,
        policies=(policy("MemoryLeak", "restart", confidenceThreshold=0.75),),
        fault=_slow_leak,
        budget=Budget(detected=300.0, recovered=360.0, verified=480.0),
        model=True,
    ),
    Scenario(
        number=9,
        title="CPU is throttled at a limit of 20m",
        tier=Tier.NODE,
        answer=Answer.HEAL,
        baseline=_busy,
        policies=(policy("CPUThrottling", "adjust-resources", confidenceThreshold=0.75),),
        fault=_throttle,
        budget=Budget(detected=300.0, recovered=360.0, verified=480.0),
        model=True,
    ),
)
