"""The chart on a real API server of its own: rendered, checked, installed, upgraded, rolled back and uninstalled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.chart import CHART
from bench.cluster import ApiCluster
from bench.helm import conforms, helm
from bench.kserve import install_crds, kserve_crds, monitoring_crds
from selfheal.errors import SelfhealError
from tests.manifests.crds import MANIFESTS

pytestmark = [pytest.mark.api, pytest.mark.integration]

SPACE, RELEASE = "selfheal-system", "selfheal"
REGISTRY = ["--set", "mlflow.trackingUri=http://mlflow.mlflow.svc:5000"]
ALL = [
    *REGISTRY,
    *("--set", "prometheus.url=https://thanos.monitoring.svc:9091"),
    *("--set", "prometheus.serviceAccountToken=true"),
    *("--set", "prometheus.ca.configMap=authority"),
    *("--set", "prometheus.monitoringView=true"),
    *("--set", "mlflow.secret=mlflow"),
    *("--set", "endpoint.serviceAccountToken=true"),
    *("--set", "endpoint.ca.configMap=authority"),
    *("--set", "controller.metrics.tlsSecret=metrics"),
    *("--set", "controller.slack.secret=slack"),
    *("--set", "controller.kafka.bootstrapServers=kafka.kafka.svc:9093"),
    *("--set", "controller.kafka.secret=kafka"),
    *("--set", "controller.webhookUrl=https://hooks.example.com"),
    *("--set", "controller.settings.tickSeconds=30"),
    *("--set", "controller.priorityClassName=system-cluster-critical"),
    *("--set", "endpoint.autoscaling.enabled=true"),
    *("--set", "pipelines.training.enabled=true"),
    *("--set", "pipelines.recalibration.enabled=true"),
    *("--set", "images.pullSecrets={pull}"),
    *("--set", f"images.controller.digest=sha256:{'0' * 64}"),
    *("--set", "monitoring.dashboards.enabled=true"),
]
WAYS: dict[str, list[str]] = {
    "defaults": [],
    "registry": REGISTRY,
    "everything": ALL,
    "server": [
        *ALL,
        *("--set", "pipelines.engine=KubeflowPipelines"),
        *("--set", "pipelines.host=https://ds-pipeline.example.com"),
    ],
    "openshift": [*REGISTRY, "-f", str(CHART / "values-openshift.yaml")],
    "kserve": [
        *ALL,
        *("--set", "endpoint.kserve.enabled=true"),
        *("--set", "endpoint.model.storageUri=pvc://models/champion"),
        *("--set", "endpoint.podAnnotations.team=shop"),
        *("--set", "endpoint.nodeSelector.pool=serving"),
    ],
    "bare": ["--set", "networkPolicy.enabled=false", "--set", "podDisruptionBudget.enabled=false"],
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiCluster]:
    """A namespace under PSA ``restricted``, and kinds of KServe and the Prometheus operator; nothing else of ours."""
    with ApiCluster.start(tmp_path_factory.mktemp("chart")) as found:
        install_crds(found, [*kserve_crds(), *monitoring_crds()])
        found.kubectl("apply", "-f", str(MANIFESTS / "rbac" / "namespace.yaml"))
        yield found


@pytest.fixture
def installed(cluster: ApiCluster) -> Iterator[ApiCluster]:
    """Installed as the README says; uninstalled afterwards."""
    helm(cluster, SPACE, "install", RELEASE, str(CHART), "--wait", "--timeout=120s")
    yield cluster
    helm(cluster, SPACE, "uninstall", RELEASE, "--ignore-not-found", "--wait")


def render(cluster: ApiCluster, *words: str) -> str:
    return helm(cluster, SPACE, "template", RELEASE, str(CHART), *words)


def objects(rendered: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(rendered) if one]


def pods_of(rendered: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod specification, with what it is of."""
    for one in objects(rendered):
        spec = one.get("spec", {})
        for path in (("template",), ("jobTemplate", "spec", "template")):
            found: Any = spec
            for name in path:
                found = found.get(name, {}) if isinstance(found, dict) else {}
            if found:
                yield f"{one['kind']}/{one['metadata']['name']}", found["spec"]
        if one["kind"] == "Pod":
            yield f"Pod/{one['metadata']['name']}", spec


@pytest.mark.parametrize("way", WAYS)
def test_what_is_rendered_conforms_and_lints(way: str, cluster: ApiCluster, schemas: Path) -> None:
    summary = conforms(render(cluster, *WAYS[way]), schemas)
    assert "Invalid: 0, Errors: 0, Skipped: 0" in summary
    assert "0 chart(s) failed" in helm(cluster, SPACE, "lint", str(CHART), "--strict", *WAYS[way])


def test_a_field_that_kubernetes_does_not_know_does_not_conform(cluster: ApiCluster, schemas: Path) -> None:
    wrong = render(cluster).replace("readOnlyRootFilesystem:", "readOnlyRootFileSystem:")
    with pytest.raises(SelfhealError, match="readOnlyRootFileSystem"):
        conforms(wrong, schemas)


@pytest.mark.parametrize(
    ("way", "field"), [("openshift", "minReplicas"), ("kserve", "supportedModelFormats"), ("openshift", "matchNames")]
)
def test_a_field_that_kserve_or_the_prometheus_operator_does_not_know_does_not_conform(
    way: str, field: str, cluster: ApiCluster, schemas: Path
) -> None:
    wrong = render(cluster, *WAYS[way]).replace(f"{field}:", f"{field}x:")
    with pytest.raises(SelfhealError, match=f"{field}x"):
        conforms(wrong, schemas)


def test_only_a_stored_model_is_one_of_kserves(cluster: ApiCluster) -> None:
    def kinds(way: str) -> dict[str, Any]:
        return {one["kind"]: one for one in objects(render(cluster, *WAYS[way]))}

    stored, registered = kinds("kserve"), kinds("openshift")
    assert stored["InferenceService"]["spec"]["predictor"]["model"]["runtime"] == "selfheal-ensemble"
    assert "ServingRuntime" in stored
    assert "ServingRuntime" not in registered
    assert "model" not in registered["InferenceService"]["spec"]["predictor"], "KServe would add its agent to the pod"
    for found in (stored, registered):
        assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= (
            found["InferenceService"]["metadata"]["labels"].items()
        )


def test_the_controller_asks_where_kserve_listens(cluster: ApiCluster) -> None:
    def url(*words: str) -> str:
        (found,) = [
            one
            for one in objects(render(cluster, *words))
            if one["metadata"]["name"] == "selfheal-controller" and one["kind"] == "Deployment"
        ]
        env = found["spec"]["template"]["spec"]["containers"][0]["env"]
        return str(next(one["value"] for one in env if one["name"] == "SELFHEAL_ENDPOINT_URL"))

    host = f"http://selfheal-ensemble-predictor.{SPACE}.svc"
    assert url(*WAYS["kserve"]) == host
    assert url(*WAYS["openshift"]) == f"{host}:8080", "a headless Service has no port of its own"
    assert url(*WAYS["openshift"], "--set", "endpoint.kserve.headless=false") == host


@pytest.mark.parametrize("way", WAYS)
def test_the_api_server_takes_all_of_it_under_psa_restricted(way: str, cluster: ApiCluster) -> None:
    out = helm(cluster, SPACE, "install", f"try-{way}", str(CHART), "--dry-run=server", "-o", "json", *WAYS[way])
    rendered = json.loads(out)["manifest"]
    crds = [one for one in objects(rendered) if one["kind"] == "CustomResourceDefinition"]
    assert len(crds) == 4
    said = cluster.plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=rendered)
    assert "Warning" not in said
    for name, pod in pods_of(rendered):
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "try", "namespace": SPACE}, "spec": pod}
        document["spec"] = pod | {"serviceAccountName": "default", "priorityClassName": ""}
        said = cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(document))
        assert "created" in said, name


@pytest.mark.parametrize("way", WAYS)
def test_no_pod_asks_for_a_user_or_may_write_its_root(way: str, cluster: ApiCluster) -> None:
    for name, pod in pods_of(render(cluster, *WAYS[way])):
        assert not {"runAsUser", "fsGroup", "supplementalGroups"} & pod["securityContext"].keys(), name
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"], name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("controller.settings.tikSeconds=3", "tikSeconds"),
        ("controller.settings.tickSeconds=0", "tickSeconds"),
        ("controller.replicas=0", "replicas"),
        ("prometheus.url=thanos:9091", "prometheus/url"),
        ("endpoint.model.uri=selfheal-ensemble", "endpoint/model/uri"),
        ("images.controller.digest=latest", "digest"),
        ("pipelines.training.schedule=weekly", "schedule"),
        ("pipelines.training.enabled=true", "needs prometheus.url"),
        ("unknown=1", "unknown"),
    ],
)
def test_a_wrong_value_is_named(values: str, words: str, cluster: ApiCluster) -> None:
    with pytest.raises(SelfhealError, match=words):
        render(cluster, "--set", values)


def test_what_helm_installs_may_do_what_kubectl_installs_may(cluster: ApiCluster) -> None:
    def rights(documents: list[dict[str, Any]]) -> dict[str, Any]:
        wanted = ("ClusterRole", "Role", "ValidatingAdmissionPolicy")
        return {
            f"{one['kind']}/{one['metadata']['name']}": one.get("rules") or one["spec"]
            for one in documents
            if one["kind"] in wanted
        }

    applied = objects(cluster.kubectl("kustomize", str(MANIFESTS)))
    assert rights(objects(render(cluster, *ALL))) == rights(applied)


def test_an_upgrade_a_rollback_and_an_uninstall_lose_no_policy_and_no_record(installed: ApiCluster) -> None:
    policy = {
        "apiVersion": "aiops.example.com/v1alpha1",
        "kind": "SelfHealingPolicy",
        "metadata": {"name": "kept", "namespace": "default"},
        "spec": {"anomalyType": "CrashLoopBackOff", "action": "rollback"},
    }
    notes = ["configmap", "selfheal-healthy-revisions", "-n", SPACE]

    def image() -> str:
        where = "jsonpath={.spec.template.spec.containers[0].image}"
        return installed.kubectl("get", "deployment/selfheal-controller", "-n", SPACE, "-o", where)

    installed.kubectl(
        "wait", "--for=condition=Established", "--timeout=30s", "crd/selfhealingpolicies.aiops.example.com"
    )
    installed.apply(policy)
    installed.kubectl("patch", *notes, "--type=merge", "-p", '{"data": {"default.Deployment.cart": "{}"}}')
    before = image()
    helm(installed, SPACE, "upgrade", RELEASE, str(CHART), "--set", "images.controller.tag=2.0.0", "--wait")
    assert image().endswith(":2.0.0")
    helm(installed, SPACE, "rollback", RELEASE, "1", "--wait")
    assert image() == before
    assert "default.Deployment.cart" in installed.kubectl("get", *notes, "-o", "json")
    helm(installed, SPACE, "uninstall", RELEASE, "--wait")
    assert "kept" in installed.kubectl("get", "selfhealingpolicies", "-A", "-o", "name")
    assert not installed.kubectl("get", "pods,deployments,clusterroles", "-A", "-l", "helm.sh/chart", "-o", "name")
    helm(installed, SPACE, "install", RELEASE, str(CHART), "--wait")
    assert "kept" in installed.kubectl("get", "selfhealingpolicies", "-A", "-o", "name")


def test_what_kubectl_applied_can_be_taken_over(cluster: ApiCluster) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(MANIFESTS))
    with pytest.raises(SelfhealError, match="cannot be imported"):
        helm(cluster, SPACE, "install", RELEASE, str(CHART))
    helm(cluster, SPACE, "install", RELEASE, str(CHART), "--take-ownership", "--wait")
    helm(cluster, SPACE, "uninstall", RELEASE, "--wait")
