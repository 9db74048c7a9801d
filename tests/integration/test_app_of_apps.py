"""Layers 2 to 4 by a real Argo CD: the root Application brings everything onto an empty API server, in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.argocd import NAMESPACE, ArgoCD
from bench.cluster import ApiCluster
from bench.controlplane import KubectlFailed
from selfheal.policy import API_VERSION
from tests.integration.conftest import MANIFESTS, wait_until
from tests.integration.test_admission import REMEDIATION_SPEC
from tests.support.controller import Shop, running
from tests.support.gitops import Repository, stays
from tests.support.liar import lying
from tests.support.prometheus import memory_of, prometheus

pytestmark = [pytest.mark.api, pytest.mark.integration, pytest.mark.slow]

EXAMPLE = "https://git.example/selfheal.git"
SYSTEM, OVERLAY, APPS = "selfheal-system", "manifests/kustomize/overlays/prod", "manifests/argocd/apps/values.yaml"
IN_ORDER = ("selfheal-crds", "selfheal", "selfheal-policies")
OURS = ("selfheal-root", *IN_ORDER)
GOOD = ("Synced", "Healthy")


@dataclass(frozen=True)
class Site:
    """A cluster that Argo CD fills from a repository."""

    cluster: ApiCluster
    repository: Repository

    def get(self, kind: str, name: str, namespace: str = SYSTEM) -> Any:
        """An object; None where there is none."""
        try:
            return json.loads(self.cluster.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        except KubectlFailed:
            return None

    def application(self, name: str) -> Any:
        """One as the API server has it; empty where there is none."""
        return self.get("application", name, NAMESPACE) or {}

    def state(self, name: str) -> tuple[str, str]:
        """Sync and health."""
        status = self.application(name).get("status") or {}
        return status.get("sync", {}).get("status", ""), status.get("health", {}).get("status", "")

    def states(self) -> dict[str, tuple[str, str]]:
        """Of all that are always there."""
        return {name: self.state(name) for name in OURS}

    def refresh(self, *names: str) -> None:
        """Have Argo CD look at the repository now."""
        for name in names or OURS:
            note = "argocd.argoproj.io/refresh=normal"
            self.cluster.kubectl("annotate", "application", name, "-n", NAMESPACE, note, "--overwrite")

    def settled(self) -> bool:
        """Whether all of ours are as they should be."""
        return set(self.states().values()) == {GOOD}

    def switch(self, **services: bool) -> None:
        """Turn platform services on or off, in the repository."""
        (values,) = self.repository.read(APPS)
        for name, on in services.items():
            values["platform"][name]["enabled"] = on
        self.repository.commit(values, file=APPS)
        self.refresh("selfheal-root")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The two commands of root.yaml, a namespace that is opted in, and the controller as a process."""
    git = tmp_path_factory.mktemp("git")
    repository = Repository(git)
    repository.add(MANIFESTS)
    with ApiCluster.start(tmp_path_factory.mktemp("site")) as cluster:
        argocd = ArgoCD.start(cluster, print)
        health = str(MANIFESTS / "argocd" / "health.yaml")
        cluster.kubectl("apply", "--server-side", "--field-manager=selfheal", "-f", health)
        root = (MANIFESTS / "argocd" / "root.yaml").read_text().replace(EXAMPLE, repository.url)
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=root)
        found = Site(cluster, repository)
        account = ("serviceaccount", "selfheal-controller")
        wait_until(lambda: found.get(*account) is not None, "the chart's ServiceAccount", 180)
        cluster.kubectl("create", "namespace", "shop")
        Shop(cluster, "shop").opt_in()
        with controller(cluster, git):
            wait_until(found.settled, "all of ours Synced and Healthy", 240)
            yield found
        argocd.stop()


@contextmanager
def controller(cluster: ApiCluster, folder: Path) -> Iterator[None]:
    """What kwok's pods only pretend to be: it sees its policies, and has metrics and an endpoint to ask."""
    account = cluster.service_account_kubeconfig(SYSTEM, "selfheal-controller")
    with prometheus(folder, memory_of("shop", ["cart"])) as url, lying() as endpoint:
        env = {"SELFHEAL_PROMETHEUS_URL": url, "SELFHEAL_ENDPOINT_URL": endpoint.url}
        with running(account, folder / "log", env):
            yield


def test_the_root_brings_everything_of_ours_and_says_so(site: Site) -> None:
    assert site.states() == dict.fromkeys(OURS, GOOD)
    for kind, name in (("deployment", "selfheal-controller"), ("deployment", "selfheal-ensemble")):
        assert site.get(kind, name)["status"]["readyReplicas"] == site.get(kind, name)["spec"]["replicas"], name
    assert site.get("selfhealingpolicy", "shop-crash-loop")["spec"]["mode"] == "Auto"
    assert site.get("cronjob", "selfheal-training") is not None
    labels = site.get("namespace", SYSTEM)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_custom_resources_come_first_then_the_chart_then_the_policies(site: Site) -> None:
    for before, after in pairwise(IN_ORDER):
        done = site.application(before)["status"]["history"][0]["deployedAt"]
        assert done <= site.application(after)["metadata"]["creationTimestamp"], after


def test_a_value_that_changes_in_git_changes_in_the_cluster(site: Site) -> None:
    (values,) = site.repository.read(f"{OVERLAY}/values.yaml")
    site.repository.commit(values | {"controller": {"replicas": 3}}, file=f"{OVERLAY}/values.yaml")
    site.refresh("selfheal")
    wait_until(lambda: site.get("deployment", "selfheal-controller")["spec"]["replicas"] == 3, "three replicas")
    wait_until(site.settled, "all of ours Synced and Healthy again")


def test_what_people_change_by_hand_goes_back_but_not_the_kill_switch(site: Site) -> None:
    site.cluster.kubectl("scale", "deployment/selfheal-ensemble", "-n", SYSTEM, "--replicas=1")
    wait_until(lambda: site.get("deployment", "selfheal-ensemble")["spec"]["replicas"] == 3, "Git's replicas")
    suspended = ("patch", "healingconfig", "cluster", "--type=merge", "-p")
    site.cluster.kubectl(*suspended, '{"spec": {"suspended": true}}')
    site.refresh()
    try:
        assert stays(lambda: site.get("healingconfig", "cluster")["spec"]["suspended"] is True, 8)
        wait_until(lambda: site.state("selfheal-policies") == ("Synced", "Suspended"), "a word about the kill switch")
        wait_until(lambda: site.state("selfheal-root") == GOOD, "a root that goes on")
    finally:
        site.cluster.kubectl(*suspended, '{"spec": {"suspended": false}}')


def test_a_remediation_survives_a_sync_that_prunes(site: Site) -> None:
    meta = {"name": "by-hand", "namespace": SYSTEM}
    site.cluster.apply({"apiVersion": API_VERSION, "kind": "Remediation", "metadata": meta, "spec": REMEDIATION_SPEC})
    policies = "manifests/kustomize/base/policies/shop.yaml"
    kept = [one for one in site.repository.read(policies) if one["metadata"]["name"] != "shop-full-volume"]
    site.repository.commit(*kept, file=policies)
    site.refresh()
    wait_until(
        lambda: site.get("selfhealingpolicy", "shop-full-volume") is None, "the end of a policy that Git dropped"
    )
    wait_until(site.settled, "all of ours Synced and Healthy again")
    assert site.get("remediation", "by-hand") is not None
    for name in OURS:
        assert "Remediation" not in {one["kind"] for one in site.application(name)["status"]["resources"]}, name


def test_what_the_controller_notes_is_no_drift(site: Site) -> None:
    note = '{"data": {"shop.Deployment.cart": "{}"}}'
    words = ("patch", "configmap", "selfheal-healthy-revisions", "-n", SYSTEM, "--type=merge", "-p", note)
    site.cluster.kubectl(*words)
    site.refresh("selfheal")
    assert stays(lambda: "data" in site.get("configmap", "selfheal-healthy-revisions"), 8)
    assert site.state("selfheal") == GOOD


def kind_of_others(group: str, plural: str, kind: str, version: str) -> dict[str, Any]:
    """A custom resource definition as an operator would bring it, without its schema."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    one = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [one]},
    }


def arguments(site: Site) -> list[str]:
    """Of the recurring training."""
    spec = site.get("cronjob", "selfheal-training")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    found: list[str] = spec["containers"][0]["args"]
    return found


def test_a_service_waits_for_its_operator_and_holds_up_nobody(site: Site) -> None:
    before = site.get("cronjob", "selfheal-training")
    site.switch(kafka=True, pipelines=True, openshiftAI=True, monitoring=True)
    wait_until(site.settled, "all of ours Synced and Healthy without the operators")
    assert stays(lambda: site.application("selfheal-platform-kafka") == {} and site.settled(), 6)
    assert site.get("cronjob", "selfheal-training")["spec"] == before["spec"]
    plurals = {
        "kafkas": "Kafka",
        "kafkanodepools": "KafkaNodePool",
        "kafkatopics": "KafkaTopic",
        "kafkausers": "KafkaUser",
    }
    site.cluster.apply(
        *(kind_of_others("kafka.strimzi.io", plural, kind, "v1beta2") for plural, kind in plurals.items())
    )
    wait_until(lambda: site.state("selfheal-platform-kafka")[0] == "Synced", "Kafka's Application", 120)
    assert site.get("kafkatopics.kafka.strimzi.io", "selfheal.remediations", "kafka") is not None
    assert site.state("selfheal-platform-kafka")[1] != "Healthy"  # no operator makes brokers of it here
    wait_until(site.settled, "all of ours Synced and Healthy although Kafka is not")
    site.cluster.apply(
        kind_of_others(
            "datasciencepipelinesapplications.opendatahub.io",
            "datasciencepipelinesapplications",
            "DataSciencePipelinesApplication",
            "v1",
        )
    )
    wait_until(lambda: "submit" in arguments(site), "training on the pipelines server", 120)
    assert site.get("datasciencepipelinesapplication", "dspa", "selfheal-pipelines") is not None
    site.switch(kafka=False)
    wait_until(lambda: site.application("selfheal-platform-kafka") == {}, "the end of Kafka's Application")
    assert site.get("kafkas.kafka.strimzi.io", "selfheal", "kafka") is not None


def test_what_selfheal_changes_in_a_platform_service_stays_and_what_others_change_does_not(site: Site) -> None:
    site.switch(mlflow=True)
    name = "selfheal-platform-mlflow"
    wait_until(lambda: site.state(name)[0] == "Synced", "MLflow's Application", 120)
    wait_until(lambda: "pod/" in site.cluster.kubectl("get", "pods", "-n", "mlflow", "-o", "name"), "a restricted pod")

    def patch(manager: str, memory: str) -> None:
        limit = {"name": "mlflow", "resources": {"limits": {"memory": memory}}}
        body = json.dumps({"spec": {"template": {"spec": {"containers": [limit]}}}})
        words = ("patch", "deployment", "mlflow", "-n", "mlflow", f"--field-manager={manager}", "-p", body)
        site.cluster.kubectl(*words)

    def memory() -> str:
        container = site.get("deployment", "mlflow", "mlflow")["spec"]["template"]["spec"]["containers"][0]
        return str(container["resources"]["limits"]["memory"])

    patch("somebody", "3Gi")
    wait_until(lambda: memory() == "1Gi", "Git's size")
    patch("selfheal-controller", "2Gi")
    site.refresh(name)
    assert stays(lambda: memory() == "2Gi" and site.state(name)[0] == "Synced", 8)


def test_who_deletes_the_root_keeps_what_it_made(site: Site) -> None:
    site.cluster.kubectl("delete", "application", "selfheal-root", "-n", NAMESPACE)
    assert stays(lambda: all(site.application(name) for name in IN_ORDER), 5)
    assert site.get("deployment", "selfheal-controller") is not None
    site.cluster.kubectl("delete", "application", *IN_ORDER, "-n", NAMESPACE)
    assert stays(lambda: site.get("deployment", "selfheal-controller") is not None, 5)
    assert site.get("remediation", "by-hand") is not None
