"""The environments of Kustomize on a real API server of their own: what they have in common, in what they differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.chart import CHART, stale
from bench.cluster import ApiCluster
from bench.helm import conforms, template
from bench.layers import BASE, ENVIRONMENTS, KUSTOMIZE, files
from tests.manifests.crds import MANIFESTS

pytestmark = [pytest.mark.api, pytest.mark.integration]

POLICIES = [one["metadata"]["name"] for one in yaml.safe_load_all((BASE / "policies" / "shop.yaml").read_text())]
PER_POLICY = {f"SelfHealingPolicy/{name}": {"mode", "remediationHistoryLimit"} for name in POLICIES}
Objects = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiCluster]:
    """The custom resources are there, as the page says, and nothing else of ours."""
    with ApiCluster.start(tmp_path_factory.mktemp("kustomize")) as found:
        found.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "crds"))
        found.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(MANIFESTS / "crds"))
        yield found


def overlay(environment: str) -> str:
    return str(KUSTOMIZE / "overlays" / environment)


def objects(rendered: str) -> Objects:
    """By kind and name."""
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in yaml.safe_load_all(rendered) if one}


def built(cluster: ApiCluster, environment: str) -> Objects:
    return objects(cluster.kubectl("kustomize", overlay(environment)))


def changed(before: Objects, after: Objects) -> dict[str, set[str]]:
    """Which fields of which objects' specs differ; everything else has to be the same."""
    assert before.keys() == after.keys()
    for name in before:
        rest = [{key: value for key, value in one[name].items() if key != "spec"} for one in (before, after)]
        assert rest[0] == rest[1], name
    pairs = {name: (before[name].get("spec", {}), after[name].get("spec", {})) for name in before}
    found = {
        name: {field for field in old.keys() | new.keys() if old.get(field) != new.get(field)}
        for name, (old, new) in pairs.items()
    }
    return {name: fields for name, fields in found.items() if fields}


def test_what_kustomize_is_built_on_is_the_chart_of_today() -> None:
    assert stale(files()) == [], "run python -m bench.layers"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_conforms(environment: str, cluster: ApiCluster, schemas: Path) -> None:
    summary = conforms(cluster.kubectl("kustomize", overlay(environment)), schemas)
    assert "Invalid: 0, Errors: 0, Skipped: 0" in summary


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_is_applied_and_applying_it_again_changes_nothing(environment: str, cluster: ApiCluster) -> None:
    words = ("apply", "--server-side", "--force-conflicts", "-k", overlay(environment))
    cluster.kubectl(*words)
    for name in ("selfheal-controller", "selfheal-ensemble"):
        cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", "selfheal-system", "--timeout=60s")
    before = versions(cluster)
    assert before.keys() == built(cluster, environment).keys()
    cluster.kubectl(*words)
    assert versions(cluster) == before


def versions(cluster: ApiCluster) -> dict[str, int]:
    """The generation of each object of an overlay, and of one without, the version of what it holds."""
    kinds = "configmaps,serviceaccounts,services,deployments,cronjobs,poddisruptionbudgets,networkpolicies,roles"
    more = "rolebindings,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    ours = "selfhealingpolicies,healingconfigs,namespaces"
    words = ("get", f"{kinds},{more},{ours}", "-A", "-l", "app.kubernetes.io/managed-by=kustomize", "-o", "json")
    listed = yaml.safe_load(cluster.kubectl(*words))["items"]
    return {
        f"{one['kind']}/{one['metadata']['name']}": int(
            one["metadata"].get("generation") or one["metadata"]["resourceVersion"]
        )
        for one in listed
    }


def test_environments_differ_in_mode_retention_budget_and_replicas_and_in_nothing_else(cluster: ApiCluster) -> None:
    dev, staging, prod = (built(cluster, environment) for environment in ENVIRONMENTS)
    replicas = {"Deployment/selfheal-controller": {"replicas"}, "Deployment/selfheal-ensemble": {"replicas"}}
    limits = {"HealingConfig/cluster": {"budget", "storm"}}
    assert changed(dev, prod) == PER_POLICY | limits | replicas
    assert changed(staging, prod) == PER_POLICY | {
        "HealingConfig/cluster": {"approvalTimeout"},
        "Deployment/selfheal-ensemble": {"replicas"},
    }


def test_dev_observes_staging_asks_and_prod_acts_within_tight_budgets(cluster: ApiCluster) -> None:
    found = {environment: built(cluster, environment) for environment in ENVIRONMENTS}
    modes = {
        environment: {one["spec"]["mode"] for name, one in every.items() if name in PER_POLICY}
        for environment, every in found.items()
    }
    assert modes == {"dev": {"Observe"}, "staging": {"Approve"}, "prod": {"Auto"}}
    for field, value in found["prod"]["HealingConfig/cluster"]["spec"]["budget"].items():
        assert value < found["dev"]["HealingConfig/cluster"]["spec"]["budget"][field], field


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_nothing_here_turns_the_kill_switch(environment: str, cluster: ApiCluster) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", overlay(environment))
    try:
        cluster.kubectl("patch", "healingconfig", "cluster", "--type=merge", "-p", '{"spec": {"suspended": true}}')
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", overlay(environment))
        said = cluster.kubectl("get", "healingconfig", "cluster", "-o", "jsonpath={.spec.suspended}")
        assert said == "true"
    finally:
        cluster.kubectl("delete", "healingconfig", "cluster")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_helm_makes_the_same_of_an_environments_values(environment: str, cluster: ApiCluster) -> None:
    values = ("-f", str(BASE / "values.yaml"), "-f", str(Path(overlay(environment)) / "values.yaml"))
    by_helm = objects(template(CHART, *values, "--skip-tests"))
    by_kustomize = built(cluster, environment)
    deployments = {name for name in by_helm if name.startswith("Deployment/")}
    assert deployments == {"Deployment/selfheal-controller", "Deployment/selfheal-ensemble"}
    for name in deployments:
        assert by_helm[name]["spec"]["replicas"] == by_kustomize[name]["spec"]["replicas"], name
