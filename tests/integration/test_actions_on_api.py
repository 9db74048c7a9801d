"""The plans of the actions on a real API server: their patches are valid, and their undo gives back what was there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from bench.cluster import ApiCluster
from controller.actions import ACTIONS
from controller.cluster import Cluster
from controller.model import PlanRequest, Resource, Workload
from selfheal.policy import Action, AnomalyType, Parameters
from selfheal.remediation import Change, Operation, TargetRef
from tests.integration.conftest import wait_until

pytestmark = pytest.mark.api
SUBRESOURCE = {"Patch": "", "Resize": "resize", "Scale": "scale"}


def shop(image: str, replicas: int = 2) -> Resource:
    """A Deployment without annotations, with a memory limit."""
    labels = {"app": "cart"}
    app = {"name": "app", "image": image, "resources": {"limits": {"memory": "48Mi"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [app]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cart"}, "spec": spec}


class Shop:
    """One Deployment on the server, with two revisions."""

    def __init__(self, cluster: ApiCluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        for image in ("registry.local/shop:1", "registry.local/shop:2"):
            self.apply(shop(image))
            self.settle()

    def apply(self, resource: Resource) -> None:
        """Create or change it."""
        self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(resource))

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("-n", self.namespace, *words, stdin=stdin)

    def settle(self) -> None:
        """Wait until the rollout is through."""
        self.kubectl("rollout", "status", "deployment/cart", "--timeout=60s")

    def items(self, kind: str) -> tuple[Resource, ...]:
        """All objects of a kind."""
        found: list[Resource] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return tuple(found)

    def read(self) -> Workload:
        """The Deployment and what belongs to it."""
        (resource,) = self.items("deployments")
        metadata = resource["metadata"]
        ref = TargetRef(
            api_version="apps/v1", kind="Deployment", namespace=self.namespace, name="cart", uid=metadata["uid"]
        )
        return Workload(ref, resource, pods=self.items("pods"), revisions=self.items("replicasets"))

    def plan(self, action: Action, anomaly: AnomalyType = AnomalyType.CRASH_LOOP_BACK_OFF, **more: Any) -> Change:
        """What the action would do now."""
        parameters = Parameters.model_validate(more)
        asked = PlanRequest(self.read(), parameters, anomaly, None, None, 1, "rem-0123456789abcdef0123/1")
        return ACTIONS[action].plan(asked)

    def write(self, operations: Iterable[Operation], *flags: str) -> None:
        """Patch as the plan says; the server checks the patch's tests."""
        for operation in operations:
            sub = SUBRESOURCE[operation.verb]
            words = [operation.kind.lower(), operation.name, "--type=json", "-p", json.dumps(list(operation.patch))]
            self.kubectl("patch", *words, *([f"--subresource={sub}"] if sub else []), *flags)


def report_sizes(cart: Shop) -> None:
    """Say what a kubelet says and the simulated one does not: which resources its containers have."""
    for pod in cart.items("pods"):
        statuses = [
            one | {"resources": pod["spec"]["containers"][0]["resources"]} for one in pod["status"]["containerStatuses"]
        ]
        patch = json.dumps({"status": {"containerStatuses": statuses}})
        cart.kubectl("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", "-p", patch)


@pytest.fixture
def cart(api_cluster: ApiCluster, namespace: str) -> Shop:
    """A Deployment with two revisions and ready pods."""
    return Shop(api_cluster, namespace)


@pytest.mark.parametrize(
    ("action", "anomaly"),
    [
        (Action.ROLLBACK, AnomalyType.CRASH_LOOP_BACK_OFF),
        (Action.RESTART, AnomalyType.CRASH_LOOP_BACK_OFF),
        (Action.ADJUST_RESOURCES, AnomalyType.MEMORY_LEAK),
        (Action.SCALE, AnomalyType.METRIC_ANOMALY),
    ],
)
def test_the_server_accepts_each_plan_and_its_undo_restores_the_spec(
    cart: Shop, action: Action, anomaly: AnomalyType
) -> None:
    before = cart.read().resource
    change = cart.plan(action, anomaly)
    cart.write(change.operations, "--dry-run=server")
    assert cart.read().resource["spec"] == before["spec"]
    on_target = [write for write in change.operations if write.kind == "Deployment"]
    cart.write(on_target)
    assert cart.read().resource["spec"] != before["spec"]
    cart.write([write for write in change.undo if write.kind == "Deployment"])
    after = cart.read().resource
    assert after["spec"] == before["spec"]
    controllers = "deployment.kubernetes.io/revision"
    ours = [after["metadata"]["annotations"], before["metadata"]["annotations"]]
    assert [one.keys() - {controllers} for one in ours] == [set(), set()]


def test_a_resize_and_its_undo_are_accepted_by_the_subresource(cart: Shop) -> None:
    report_sizes(cart)
    change = cart.plan(Action.ADJUST_RESOURCES, AnomalyType.MEMORY_LEAK)
    resizes = [write for write in change.operations if write.verb == "Resize"]
    assert len(resizes) == 2
    cart.write(resizes)
    names = {write.name for write in resizes}
    limits = [pod["spec"]["containers"][0]["resources"]["limits"]["memory"] for pod in cart.items("pods")]
    assert (len(names), limits) == (2, ["148Mi", "148Mi"])
    cart.write([write for write in change.undo if write.verb == "Resize"])
    limits = [pod["spec"]["containers"][0]["resources"]["limits"]["memory"] for pod in cart.items("pods")]
    assert limits == ["48Mi", "48Mi"]


def test_the_undo_of_a_resize_is_done_where_a_rollout_has_replaced_the_pods(cart: Shop) -> None:
    report_sizes(cart)
    change = cart.plan(Action.ADJUST_RESOURCES, AnomalyType.MEMORY_LEAK)
    write = Cluster.connect(cart.cluster.kubeconfig).write
    cart.write(change.operations)
    cart.settle()
    wait_until(lambda: len(cart.items("pods")) == 2, "the old pods are gone")
    assert write.apply(change.undo) == 1
    assert cart.read().resource["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "48Mi"


def test_a_target_scaled_to_zero_comes_back_and_the_undo_is_zero_again(cart: Shop) -> None:
    cart.kubectl("scale", "deployment/cart", "--replicas=0")
    wait_until(lambda: not cart.items("pods"), "the pods are gone")
    change = cart.plan(Action.SCALE)
    cart.write(change.operations)
    assert cart.read().resource["spec"]["replicas"] == change.expected["/spec/replicas"] == 2
    cart.write(change.undo)
    assert cart.read().resource["spec"]["replicas"] == 0
