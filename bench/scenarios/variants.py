"""Other faults of the catalogue's kinds, on other kinds of workloads: a fix must not know the list. Real kubelet.

Numbers begin at 101. Verification is short, so that all of them take a quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.client import Resource
from bench.images import FAULTY
from bench.scenarios.objects import container, policy, thing, workload
from bench.scenarios.scenario import Answer, Budget, Scenario, Step, Tier
from bench.scenarios.stage import Stage

_SHELL = ["/bin/sh", "-c"]
_SHORT = {"verification": {"stabilizationPeriod": "15s", "timeout": "90s"}}
_NO_IMAGE = FAULTY.replace(":1", ":no-such-tag")
_NOWHERE = {"exec": {"command": ["cat", "/no-such-file"]}, "periodSeconds": 1}
_PROBED = Budget(detected=40.0, recovered=70.0, verified=150.0)
"""A probe fails only after what it allows itself."""
_READS = '[ "$MODE" = calm ] || exit 1; exec sleep 100000'


def _plain(kind: str, body: Resource | None = None) -> Callable[[Stage], list[Resource]]:
    return lambda _: [workload(kind=kind, body=body)]


def _configured(_: Stage) -> list[Resource]:
    body = container(_READS, envFrom=[{"configMapRef": {"name": "app"}}])
    return [thing("ConfigMap", "app", data={"MODE": "calm"}), workload(body=body)]


def _change(kind: str = "Deployment", **body: Any) -> Step:
    return lambda stage: stage.change(kind=kind, **body)


def _pod(**spec: Any) -> Step:
    return lambda stage: stage.patch("Deployment", "cart", {"spec": {"template": {"spec": spec}}})


def _new_setting(stage: Stage) -> None:
    """A ConfigMap is edited, and the pods are restarted to take it."""
    stage.apply(thing("ConfigMap", "app", data={"MODE": "broken"}))
    stage.patch("Deployment", "cart", {"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}})


def _zero(stage: Stage) -> None:
    stage.patch("StatefulSet", "cart", {"spec": {"replicas": 0}})


def _scenario(
    number: int,
    title: str,
    anomaly: str,
    fault: Step,
    *,
    action: str = "rollback",
    kind: str = "Deployment",
    baseline: Callable[[Stage], list[Resource]] | None = None,
    budget: Budget | None = None,
) -> Scenario:
    return Scenario(
        number=number,
        title=title,
        tier=Tier.NODE,
        answer=Answer.HEAL,
        baseline=baseline or _plain(kind),
        policies=(policy(anomaly, action, **_SHORT),),
        fault=fault,
        target=(kind, "cart"),
        budget=budget or Budget(),
        calm=15.0,
    )


def _mounted() -> Step:
    volume = {"name": "settings", "configMap": {"name": "no-such-map"}}
    mount = {"name": "app", "volumeMounts": [{"name": "settings", "mountPath": "/settings"}]}
    return _pod(volumes=[volume], containers=[mount])


def _sidecar() -> Step:
    size = {"limits": {"memory": "32Mi", "cpu": "50m"}}
    return _pod(containers=[{"name": "side", "image": FAULTY, "command": [*_SHELL, "exit 3"], "resources": size}])


_SECRET = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "no-such-secret", "key": "token"}}}
_HUGE = {"requests": {"memory": "900Gi"}, "limits": {"memory": "900Gi"}}
_SMALL = {"requests": {"memory": "48Mi"}, "limits": {"memory": "48Mi"}}
_DIES = [*_SHELL, "exit 1"]

VARIANTS: tuple[Scenario, ...] = (
    _scenario(101, "a program that is not in the image", "CrashLoopBackOff", _change(command=["/bin/no-such-program"])),
    _scenario(
        102,
        "a command that ends at once, StatefulSet",
        "CrashLoopBackOff",
        _change("StatefulSet", command=_DIES),
        kind="StatefulSet",
    ),
    _scenario(
        103,
        "a command that ends at once, DaemonSet",
        "CrashLoopBackOff",
        _change("DaemonSet", command=_DIES),
        kind="DaemonSet",
    ),
    _scenario(
        104,
        "an image tag that does not exist, StatefulSet",
        "ImagePullBackOff",
        _change("StatefulSet", image=_NO_IMAGE),
        kind="StatefulSet",
    ),
    _scenario(105, "a reference to a missing Secret", "ConfigError", _change(env=[_SECRET])),
    _scenario(106, "a volume of a missing ConfigMap", "ConfigError", _mounted()),
    _scenario(107, "a ServiceAccount that does not exist", "RolloutStuck", _pod(serviceAccountName="no-such-account")),
    _scenario(108, "more memory than any node has", "PodPending", _change(resources=_HUGE)),
    _scenario(109, "a node selector that no node has", "PodPending", _pod(nodeSelector={"disk": "none"})),
    _scenario(110, "a program that ends with success", "CrashLoopBackOff", _change(command=[*_SHELL, "exit 0"])),
    _scenario(
        111,
        "a user that its security context forbids",
        "ConfigError",
        _change(securityContext={"runAsNonRoot": True, "runAsUser": 0}),
    ),
    _scenario(
        112,
        "an init container's image that does not exist",
        "ImagePullBackOff",
        _pod(initContainers=[{"name": "migrate", "image": _NO_IMAGE}]),
    ),
    _scenario(
        113,
        "a startup probe that never succeeds",
        "ProbeFailure",
        _change(startupProbe=_NOWHERE | {"failureThreshold": 3}),
        budget=_PROBED,
    ),
    _scenario(
        114,
        "a liveness probe that never succeeds",
        "ProbeFailure",
        _change(livenessProbe=_NOWHERE | {"failureThreshold": 2}),
        budget=_PROBED,
    ),
    _scenario(
        115,
        "a memory limit below what is needed, StatefulSet",
        "OOMKilled",
        _change("StatefulSet", resources=_SMALL),
        action="adjust-resources",
        kind="StatefulSet",
        baseline=_plain("StatefulSet", container("exec mem 64", memory="128Mi")),
        budget=Budget(detected=30.0, recovered=75.0, verified=150.0),
    ),
    _scenario(116, "a second container that ends at once", "CrashLoopBackOff", _sidecar()),
    _scenario(
        117,
        "a program that ends after five seconds",
        "CrashLoopBackOff",
        _change(command=[*_SHELL, "sleep 5; exit 1"]),
        budget=Budget(detected=30.0),
    ),
    _scenario(118, "a setting that the program refuses", "CrashLoopBackOff", _new_setting, baseline=_configured),
    _scenario(
        119, "a host port that is taken", "PodPending", _change(ports=[{"containerPort": 80, "hostPort": 30999}])
    ),
    _scenario(
        120, "a StatefulSet is scaled to zero by mistake", "MetricAnomaly", _zero, action="scale", kind="StatefulSet"
    ),
)
