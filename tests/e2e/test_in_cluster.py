"""The product as pods of its own image, installed by its chart under PSA ``restricted``, on a real kubelet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.containerfiles import BY_NAME as IMAGES
from bench.containerfiles import build_images, import_to_bench
from bench.demo import Demo
from bench.faults import FAULTS
from bench.helm import helm
from bench.incluster import RELEASE, InCluster
from bench.product import SYSTEM, Product
from bench.watch import Event
from tests.e2e.conftest import quiet_demo

pytestmark = pytest.mark.node

FAULT = next(fault for fault in FAULTS if fault.name == "bad-rollout")
# Symptoms alone: the images of trainer and endpoint take minutes more, and `make install-in-cluster` runs them.
ALONE = {"endpoint": {"enabled": False}, "pipelines": {"training": {"enabled": False}}}


@pytest.fixture(scope="module")
def product(shop: Product) -> Iterator[InCluster]:
    found = InCluster(shop.cluster, shop.say)
    build_images([IMAGES["controller"]], found.say)
    import_to_bench([IMAGES["controller"]], found.say)
    found.space()
    found.install(ALONE, "--wait", "--timeout=180s")
    found.opt_in()
    yield found
    found.undeploy()


@pytest.fixture
def demo(product: InCluster) -> Iterator[Demo]:
    with quiet_demo(product) as found:
        yield found


def pods(product: InCluster) -> list[dict[str, Any]]:
    label = "app.kubernetes.io/component=controller"
    found: list[dict[str, Any]] = json.loads(
        product.cluster.kubectl("get", "pods", "-n", SYSTEM, "-l", label, "-o", "json")
    )["items"]
    return [one for one in found if not one["metadata"].get("deletionTimestamp")]


def test_both_replicas_run_under_psa_restricted_and_helm_test_is_content(product: InCluster) -> None:
    assert len(pods(product)) == 2
    assert "Phase:          Succeeded" in helm(product.cluster, SYSTEM, "test", RELEASE, "--timeout=120s")
    assert "TokenReview" not in product.cluster.kubectl("logs", "deployment/selfheal-controller", "-n", SYSTEM)


def test_a_user_of_the_clusters_own_choice_is_enough(product: InCluster) -> None:
    """OpenShift draws the user of a namespace by lot; nothing may depend on the one in the image."""
    container = {
        "name": "lot",
        "image": IMAGES["controller"].tag,
        "command": ["selfheal", "version"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 1000690000,
            "runAsGroup": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lot", "namespace": SYSTEM}}
    product.cluster.apply(pod | {"spec": {"restartPolicy": "Never", "containers": [container]}})
    try:
        ended = "--for=jsonpath={.status.phase}=Succeeded"
        product.cluster.kubectl("wait", "pod/lot", "-n", SYSTEM, ended, "--timeout=60s")
        assert "selfheal 0.1.0" in product.cluster.kubectl("logs", "lot", "-n", SYSTEM)
    finally:
        product.cluster.kubectl("delete", "pod", "lot", "-n", SYSTEM)


def test_it_heals_a_bad_rollout_from_inside(demo: Demo) -> None:
    chapter = demo.run(FAULT)
    told = [f"{event.seconds} {event.name} {event.text}" for event in chapter.heal.events]
    assert chapter.heal.healed, told


def test_an_upgrade_in_the_middle_of_a_heal_loses_nothing_and_writes_nothing_twice(
    product: InCluster, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, upgraded = {pod["metadata"]["uid"] for pod in pods(product)}, list[str]()
    tell = demo._tell

    def upgrade_once_it_is_detected(event: Event) -> None:
        tell(event)
        if event.name == "detected" and not upgraded:
            upgraded.append(event.name)
            product.install(ALONE | {"controller": {"podAnnotations": {"upgraded": "yes"}}})

    monkeypatch.setattr(demo, "_tell", upgrade_once_it_is_detected)
    chapter = demo.run(FAULT)
    told = [f"{event.seconds} {event.name} {event.text}" for event in chapter.heal.events]
    assert upgraded, told
    assert chapter.heal.healed, told
    assert len(chapter.heal.remediations[0]["status"]["attempts"]) == 1
    product.cluster.kubectl("rollout", "status", "deployment/selfheal-controller", "-n", SYSTEM, "--timeout=120s")
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in pods(product))
    assert not [pod for pod in pods(product) if pod["status"]["containerStatuses"][0]["restartCount"]]
