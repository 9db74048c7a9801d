"""Heals from beginning to end, for the kill table: how a workload breaks, what the policy wants, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tests.support.controller import Shop

Act = Callable[[Shop], None]
CRASH = "CrashLoopBackOff"
API = "aiops.example.com/v1alpha1"
QUICK: Mapping[str, str] = MappingProxyType({"stabilizationPeriod": "1s", "timeout": "60s"})
HASTY: Mapping[str, str] = MappingProxyType({"stabilizationPeriod": "1s", "timeout": "6s"})
SLOW: Mapping[str, str] = MappingProxyType({"stabilizationPeriod": "6s", "timeout": "8s"})


@dataclass(frozen=True)
class Plot:
    """One heal.

    Attributes:
        policy: ``spec`` of the policy.
        break_it: Makes a healthy shop sick.
        outcome: How it ends.
        reason: Why, as the record says.
        person: What people do meanwhile, given the record; called again and again.
        meddles: Whether somebody writes the workload just before our first write.
    """

    policy: Mapping[str, Any]
    break_it: Act
    outcome: str = "Successful"
    reason: str = "Verified"
    person: Callable[[Shop, Any], None] = field(default=lambda *_: None)
    meddles: bool = False


def bad_rollout(shop: Shop) -> None:
    """A new revision whose pods crash."""
    shop.deploy("cart", fault="crashloop")


def _waiting(reason: str, exit_code: int) -> dict[str, Any]:
    end = {"exitCode": exit_code, "reason": reason, "startedAt": None, "finishedAt": None}
    return {
        "name": "app",
        "image": "registry.example/shop:v2",
        "imageID": "",
        "ready": False,
        "started": False,
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
        "lastState": {"terminated": end},
    }


def one_pod(reason: str, exit_code: int) -> Act:
    """One pod of a good revision fails; its successor will be well."""

    def act(shop: Shop) -> None:
        pod = min(shop.get("pods"), key=lambda one: str(one["metadata"]["name"]))
        now = pod["status"]["startTime"]
        status = _waiting(reason, exit_code)
        status["lastState"]["terminated"] |= {"startedAt": now, "finishedAt": now}
        ready = {"lastTransitionTime": now, "status": "False", "reason": "ContainersNotReady"}
        kinds = ("Ready", "ContainersReady")
        body = {"status": {"containerStatuses": [status], "conditions": [{"type": kind} | ready for kind in kinds]}}
        name = pod["metadata"]["name"]
        words = ["patch", "pod", name, "-n", shop.namespace, "--subresource=status", "--type=strategic", "-p"]
        shop.cluster.kubectl(*words, json.dumps(body))

    return act


def scale_to_zero(shop: Shop) -> None:
    """Somebody takes all replicas away, after a good rollout, so that an older revision remembers the number."""
    words = ["-n", shop.namespace]
    shop.cluster.kubectl("set", "image", "deployment/cart", "app=registry.example/shop:v1b", *words)
    shop.cluster.kubectl("rollout", "status", "deployment/cart", "--timeout=60s", *words)
    shop.cluster.kubectl("scale", "deployment/cart", "--replicas=0", "-n", shop.namespace)


def approve(shop: Shop, record: Any) -> None:
    """Say yes as soon as the plan is shown."""
    if record.get("status", {}).get("reason") == "WaitingForApproval":
        name = record["metadata"]["name"]
        meta = {"name": "yes", "namespace": shop.namespace}
        spec = {"remediationName": name, "decision": "Approve", "approver": "admin"}
        shop.cluster.apply({"apiVersion": API, "kind": "RemediationApproval", "metadata": meta, "spec": spec})


def idle(shop: Shop, record: Any) -> None:
    """Take all replicas away on purpose once the change is written, so that nothing can prove itself."""
    attempts = record.get("status", {}).get("attempts") or [{}]
    if attempts[-1].get("result") == "Applied" and shop.get("deployment", "cart")["spec"]["replicas"]:
        words = ["-n", shop.namespace]
        shop.cluster.kubectl("annotate", "deployment/cart", "aiops.example.com/scaled-to-zero=intended", *words)
        shop.cluster.kubectl("scale", "deployment/cart", "--replicas=0", *words)


def opt_out(shop: Shop, record: Any) -> None:
    """Take the workload out of healing once the change is written."""
    attempts = record.get("status", {}).get("attempts") or [{}]
    if attempts[-1].get("result") == "Applied":
        note = "aiops.example.com/self-healing=disabled"
        shop.cluster.kubectl("annotate", "deployment/cart", note, "--overwrite", "-n", shop.namespace)


def edit(shop: Shop, record: Any) -> None:
    """Have people told instead, once a plan is shown."""
    if record.get("status", {}).get("reason") == "WaitingForApproval":
        shop.policy(**policy(CRASH, "notify-only", mode="Approve"))


def without_rights(shop: Shop) -> None:
    """The label is there and the RoleBinding is not."""
    shop.cluster.kubectl("delete", "rolebinding", "selfheal-healer", "-n", shop.namespace)
    bad_rollout(shop)


def policy(anomaly: str, action: str, *, verification: Mapping[str, str] = QUICK, **spec: Any) -> Mapping[str, Any]:
    """A policy's spec."""
    return {"anomalyType": anomaly, "action": action, "verification": dict(verification)} | spec


PLOTS: Mapping[str, Plot] = MappingProxyType(
    {
        "rollback": Plot(policy(CRASH, "rollback"), bad_rollout),
        "restart": Plot(policy(CRASH, "restart", parameters={"restart": {"strategy": "Evict"}}), one_pod("Error", 1)),
        "adjust-resources": Plot(policy("OOMKilled", "adjust-resources"), one_pod("OOMKilled", 137)),
        "scale": Plot(policy("MetricAnomaly", "scale"), scale_to_zero),
        "ladder": Plot(policy(CRASH, "restart", verification=HASTY, escalation=["rollback"]), bad_rollout),
        "approve": Plot(policy(CRASH, "rollback", mode="Approve"), bad_rollout, person=approve),
        "hopeless": Plot(
            policy(CRASH, "restart", verification=HASTY), bad_rollout, outcome="Failed", reason="Ineffective"
        ),
        "refused": Plot(
            policy("OOMKilled", "adjust-resources", parameters={"adjustResources": {"maxMemory": "64Mi"}}),
            one_pod("OOMKilled", 137),
            outcome="Skipped",
            reason="AtMaximum",
        ),
        "observe": Plot(policy(CRASH, "rollback", mode="Observe"), bad_rollout, "Observed", "ObserveMode"),
        "unknown": Plot(
            policy(CRASH, "rollback", verification=SLOW), bad_rollout, "Inconclusive", "CannotTell", person=idle
        ),
        "conflict": Plot(policy(CRASH, "rollback"), bad_rollout, meddles=True),
        "kept": Plot(
            policy(CRASH, "restart", verification=HASTY, undoOnFailure=False), bad_rollout, "Failed", "Ineffective"
        ),
        "nothing safe": Plot(policy(CRASH, "rollback"), one_pod("Error", 1), "Skipped", "NoSafeAction"),
        "no rights": Plot(policy(CRASH, "rollback"), without_rights, "Error", "Forbidden"),
        "opted out": Plot(
            policy(CRASH, "rollback", verification=SLOW),
            bad_rollout,
            "Inconclusive",
            "WorkloadOptedOut",
            person=opt_out,
        ),
        "edited": Plot(policy(CRASH, "rollback", mode="Approve"), bad_rollout, "Observed", "Notified", person=edit),
    }
)
"""By name; the first six are whole heals, the others cross the rest of the state machine."""
HEALS = tuple(PLOTS)[:6]
