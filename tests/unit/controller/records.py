"""Builders of policies, Remediations, situations and progress for tests of the pure controller."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from controller.model import Progress, Resource, Situation, Symptom, Workload
from controller.status import first_status, remediation_status_after
from controller.symptoms import symptoms
from selfheal.policy import REMEDIATION_ANNOTATION, AnomalyType, HealingConfig, Policy, PolicySpec
from selfheal.protocol import Prediction
from selfheal.remediation import (
    AnomalyRecord,
    Change,
    Operation,
    Outcome,
    PolicyRef,
    Remediation,
    RemediationSpec,
    RemediationStatus,
    Source,
    TargetRef,
    Times,
    VerdictRecord,
    with_condition,
)
from tests.unit.controller import objects, pods
from tests.unit.controller.objects import NOW, ago

CRASH = AnomalyType.CRASH_LOOP_BACK_OFF


def policy(
    name: str = "heal", *, anomaly_type: str = "CrashLoopBackOff", action: str = "rollback", **spec: Any
) -> Policy:
    """A policy in the tests' namespace; ``spec`` in camelCase, as people write it."""
    body = PolicySpec.model_validate({"anomalyType": anomaly_type, "action": action, **spec})
    return Policy(name=name, namespace=objects.NAMESPACE, uid=f"uid-{name}", spec=body)


def bad_rollout(**more: Any) -> Workload:
    """A Deployment whose second revision crash-loops while one pod of the first still serves."""
    new = objects.template(objects.container(command=["false"]), labels={"app": "cart"})
    cart = objects.deployment(revision=2, ready=1, updated=1, pod_template=new)
    old = objects.replica_set(cart, 1, replicas=1, ready=1, pod_template=objects.template(labels={"app": "cart"}))
    newest = objects.replica_set(cart, 2, replicas=1, created=ago(minutes=2))
    found = [pods.pod(newest, 1, statuses=[pods.crashlooping()], created=ago(minutes=2)), pods.pod(old, 1)]
    return objects.workload(cart, found, [newest, old], **more)


def healthy(**more: Any) -> Workload:
    """A Deployment with two ready pods."""
    cart = objects.deployment()
    owner = objects.replica_set(cart, 1, replicas=2, ready=2)
    return objects.workload(cart, [pods.pod(owner, 1), pods.pod(owner, 2)], [owner], **more)


def situation(
    workload: Workload,
    *policies: Policy,
    prediction: Prediction | None = None,
    history: tuple[Remediation, ...] = (),
    config: HealingConfig | None = None,
    **more: Any,
) -> Situation:
    """What a decision rests on; the symptoms are the workload's own."""
    found: tuple[Symptom, ...] = more.pop("symptoms", symptoms(workload, more.get("now", NOW)))
    return Situation(
        workload=workload,
        symptoms=found,
        prediction=prediction,
        policies=policies,
        history=history,
        config=config or HealingConfig(),
        unhealthy_percent=more.pop("unhealthy_percent", 5.0),
        now=more.pop("now", NOW),
        **more,
    )


def prediction(
    anomaly: bool | None = True, kind: str | None = "MemoryLeak", confidence: float | None = 0.93, **more: Any
) -> Prediction:
    """The endpoint's answer."""
    return Prediction(
        workload="shop/Deployment/cart", anomaly=anomaly, confidence=confidence, anomaly_type=kind, **more
    )


def remediation(
    target: TargetRef,
    owner: Policy,
    *,
    name: str = "rem-1",
    outcome: Outcome | None = None,
    reason: str = "Verified",
    decided: datetime = NOW,
    completed: datetime = NOW,
    source: Source = Source.SYMPTOM,
    namespace: str = objects.NAMESPACE,
) -> Remediation:
    """A Remediation: fresh, or closed with an outcome."""
    spec = RemediationSpec(
        policy_ref=PolicyRef(name=owner.name, namespace=owner.namespace, uid=owner.uid),
        target=target,
        anomaly=AnomalyRecord(type=owner.spec.anomaly_type, detected_time=decided),
        verdict=VerdictRecord(confidence=0.95, source=source),
    )
    found = Remediation(name=name, namespace=namespace, uid=f"uid-{name}", spec=spec)
    status = first_status(found, decided)
    if outcome is not None:
        done = with_condition(status.conditions, "Complete", "True", reason, "", completed)
        times = Times(detected=decided, decided=decided, completed=completed)
        status = RemediationStatus(conditions=done, outcome=outcome, reason=reason, times=times)
    return found.model_copy(update={"status": status})


def progress(workload: Workload | None, found: Remediation, owner: Policy | None, **more: Any) -> Progress:
    """What a step rests on; the symptoms are the workload's own."""
    now = more.pop("now", NOW)
    seen = more.pop("symptoms", symptoms(workload, now) if workload else ())
    return Progress(
        remediation=found,
        policy=owner,
        workload=workload,
        symptoms=seen,
        prediction=more.pop("prediction", None),
        approval=more.pop("approval", None),
        config=more.pop("config", HealingConfig()),
        now=now,
        **more,
    )


def after(given: Progress, step: Any, **more: Any) -> Remediation:
    """The Remediation as it is stored after a step."""
    status = remediation_status_after(given, step, **more)
    return given.remediation.model_copy(update={"status": status})


def change_of(workload: Workload, mark: str) -> Change:
    """A small change of a Deployment with its undo and the remediation annotation."""
    path = "/metadata/annotations/" + REMEDIATION_ANNOTATION.replace("/", "~1")
    ref = workload.ref
    write = Operation(
        verb="Patch",
        api_version=ref.api_version,
        kind=ref.kind,
        namespace=ref.namespace,
        name=ref.name,
        uid=ref.uid,
        patch=({"op": "add", "path": path, "value": mark},),
    )
    undo = write.model_copy(update={"patch": ({"op": "remove", "path": path},)})
    return Change(operations=(write,), diff="command: false -> true", undo=(undo,), expected={path: mark})


def marked(workload: Workload, mark: str | None) -> Workload:
    """The workload with (or without) the remediation annotation."""
    metadata: Resource = dict(workload.resource["metadata"])
    notes = {key: value for key, value in workload.annotations.items() if key != REMEDIATION_ANNOTATION}
    metadata["annotations"] = notes | ({REMEDIATION_ANNOTATION: mark} if mark else {})
    return Workload(
        ref=workload.ref,
        resource=workload.resource | {"metadata": metadata},
        pods=workload.pods,
        revisions=workload.revisions,
        namespace=workload.namespace,
    )
