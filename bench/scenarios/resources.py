"""Faults of memory and CPU. Real kubelet; two of them need live metrics and the trained ensemble."""

from __future__ import annotations

from bench.client import Resource
from bench.faults import FAULTS
from bench.product import CONTROLLER
from bench.scenarios.objects import container, path, policy, workload
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


def _known(_: Stage) -> list[Resource]:
    """The demo's shop is there already, and the ensemble has learned it."""
    return []


def _with_model(_: Stage) -> dict[str, str]:
    return {name: value for name, value in CONTROLLER.items() if not name.endswith("_PORT")}


def _slow_leak(stage: Stage) -> None:
    next(fault for fault in FAULTS if fault.name == "leak").inject(stage.client)


def _throttle(stage: Stage) -> None:
    """A release that needs more than twice the limit that somebody thought enough."""
    stage.memory["before"] = stage.get("Deployment", "frontend")["spec"]["template"]
    size = {"limits": {"cpu": "20m"}, "requests": {"cpu": "10m"}}
    stage.change("frontend", resources=size, env=[{"name": "CPU_MICROS", "value": "8000"}])


def _unthrottle(stage: Stage) -> None:
    where = path("Deployment", stage.namespace, "frontend")
    stage.client.replace(where, "/spec/template", stage.memory["before"])


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
        watch=90.0,
    ),
    Scenario(
        number=8,
        title="a slow leak that only metrics show",
        tier=Tier.NODE,
        answer=Answer.HEAL,
        baseline=_known,
        policies=(policy("MemoryLeak", "restart", confidenceThreshold=0.75, priority=1),),
        fault=_slow_leak,
        target=("Deployment", "orders"),
        budget=Budget(detected=300.0, recovered=360.0, verified=480.0),
        model=True,
        env=_with_model,
        place="shop",
    ),
    Scenario(
        number=9,
        title="CPU is throttled at a limit of 20m",
        tier=Tier.NODE,
        answer=Answer.HEAL,
        baseline=_known,
        policies=(policy("CPUThrottling", "adjust-resources", confidenceThreshold=0.75, priority=1),),
        fault=_throttle,
        target=("Deployment", "frontend"),
        after=_unthrottle,
        budget=Budget(detected=300.0, recovered=360.0, verified=480.0),
        model=True,
        env=_with_model,
        place="shop",
    ),
)
