"""Layer 1 by a real Ansible on a real API server: made once, then nothing to do; wrong variables end in a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.ansible import PLAYBOOK, playbook
from bench.cluster import ApiCluster
from selfheal.policy import HEALER_ROLE, OPT_IN_LABEL, SERVICE_ACCOUNT, SYSTEM_NAMESPACE

pytestmark = [pytest.mark.api, pytest.mark.integration, pytest.mark.slow]

WANTED: dict[str, Any] = {
    "namespaces": [{"name": SYSTEM_NAMESPACE}, {"name": "shop", "pod_security": "baseline"}],
    "storage_class": {"name": "fast", "provisioner": "csi.example.com", "default": True},
    "needs_volumes": True,
    "groups_of_people": {"view": ["developers"], "edit": [], "approve": ["sre", "team:leads"]},
    "opted_in": ["shop"],
}
OPERATORS = {
    "openshift_ai": {"enabled": True, "channel": "stable"},
    "amq_streams": {"enabled": True, "channel": "stable"},
    "gitops": {"enabled": False, "channel": "latest"},
}


@dataclass(frozen=True)
class Run:
    """How a run of the playbook ended."""

    code: int
    said: str

    @property
    def changed(self) -> int:
        """Tasks that changed something, or in a check run would have."""
        (found,) = re.findall(r"changed=(\d+)", self.said)
        return int(found)


@dataclass(frozen=True)
class Site:
    """A cluster, and where variables are written for the playbook."""

    cluster: ApiCluster
    folder: Path

    def run(self, *words: str, **variables: Any) -> Run:
        """With variables on top of those that are wanted."""
        file = self.folder / "variables.yaml"
        file.write_text(yaml.safe_dump(WANTED | variables))
        done = playbook(self.cluster.kubeconfig, "-e", f"@{file}", *words)
        return Run(done.returncode, done.stdout + done.stderr)

    def get(self, kind: str, *words: str) -> Any:
        """As the API server has it."""
        return json.loads(self.cluster.kubectl("get", kind, *words, "-o", "json"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Nothing of ours in it."""
    with ApiCluster.start(tmp_path_factory.mktemp("ansible")) as found:
        yield Site(found, tmp_path_factory.mktemp("variables"))


@pytest.fixture(scope="module")
def first(site: Site) -> Run:
    """The first run; what comes before it is a check run, which makes nothing."""
    check = site.run("--check")
    assert (check.code, check.changed > 0) == (0, True), check.said
    assert "shop" not in site.cluster.kubectl("get", "namespaces", "-o", "name")
    return site.run()


def test_the_first_run_makes_what_was_asked_for(site: Site, first: Run) -> None:
    assert (first.code, first.changed > 0) == (0, True), first.said
    level = "pod-security.kubernetes.io/enforce"
    assert site.get("namespace", SYSTEM_NAMESPACE)["metadata"]["labels"][level] == "restricted"
    shop = site.get("namespace", "shop")["metadata"]["labels"]
    assert (shop[level], shop[OPT_IN_LABEL]) == ("baseline", "enabled")
    assert site.get("storageclass", "fast")["provisioner"] == "csi.example.com"
    healer = site.get("rolebinding", "selfheal-healer", "-n", "shop")
    assert healer["roleRef"]["name"] == HEALER_ROLE
    assert healer["subjects"] == [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": SYSTEM_NAMESPACE}]
    bound = {one["metadata"]["name"]: one for one in site.get("rolebinding", "-n", "shop")["items"]}
    assert bound.keys() == {"selfheal-healer", "selfheal-view", "selfheal-approve"}
    assert [one["name"] for one in bound["selfheal-approve"]["subjects"]] == ["sre", "team:leads"]


@pytest.mark.usefixtures("first")
def test_the_second_run_changes_nothing_and_a_check_run_finds_nothing_to_change(site: Site) -> None:
    for words in ((), ("--check",)):
        again = site.run(*words)
        assert (again.code, again.changed) == (0, 0), again.said


@pytest.mark.usefixtures("first")
def test_what_somebody_changed_is_told_by_a_check_run_and_mended_by_a_run(site: Site) -> None:
    site.cluster.kubectl("label", "namespace", SYSTEM_NAMESPACE, "pod-security.kubernetes.io/audit-")
    site.cluster.kubectl("label", "namespace", SYSTEM_NAMESPACE, "team=sre")
    assert site.run("--check").changed == 1
    assert site.run().changed == 1
    labels = site.get("namespace", SYSTEM_NAMESPACE)["metadata"]["labels"]
    assert (labels["pod-security.kubernetes.io/audit"], labels["team"]) == ("restricted", "sre")


def kind_of_olm(plural: str, kind: str, version: str) -> dict[str, Any]:
    """A definition of OLM's, without its schema."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    one = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.operators.coreos.com"},
        "spec": {"group": "operators.coreos.com", "scope": "Namespaced", "names": names, "versions": [one]},
    }


@pytest.mark.usefixtures("first")
def test_operators_are_left_out_without_olm_and_where_they_are_there_already(site: Site) -> None:
    without = site.run(operators=OPERATORS)
    assert (without.code, without.changed) == (0, 0), without.said
    assert "no OLM on this cluster: left out amq_streams, openshift_ai" in without.said
    site.cluster.apply(
        kind_of_olm("subscriptions", "Subscription", "v1alpha1"),
        kind_of_olm("operatorgroups", "OperatorGroup", "v1"),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openshift-operators"}},
    )
    crds = [f"crd/{plural}.operators.coreos.com" for plural in ("subscriptions", "operatorgroups")]
    site.cluster.kubectl("wait", "--for=condition=Established", *crds)
    theirs = {"name": "amq-streams", "channel": "amq-streams-2.9.x"}
    meta = {"name": "amq-streams", "namespace": "openshift-operators"}
    site.cluster.apply(
        {"apiVersion": "operators.coreos.com/v1alpha1", "kind": "Subscription", "metadata": meta, "spec": theirs}
    )
    assert site.run("--check", operators=OPERATORS).code == 0
    made = site.run("--tags", "operators", operators=OPERATORS)
    assert made.code == 0, made.said
    assert "Subscription openshift-operators/amq-streams is somebody else's" in made.said
    found = {one["metadata"]["name"]: one["spec"] for one in site.get("subscriptions", "-A")["items"]}
    assert found.keys() == {"amq-streams", "selfheal-rhods-operator"}
    assert found["amq-streams"] == theirs
    assert (found["selfheal-rhods-operator"]["name"], found["selfheal-rhods-operator"]["channel"]) == (
        "rhods-operator",
        "stable",
    )
    again = site.run(operators=OPERATORS)
    assert (again.code, again.changed) == (0, 0), again.said


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"opted_in": ["Shop!"]}, '"Shop!" is no name of a namespace'),
        ({"opted_in": ["kube-system"]}, "kube-system cannot be opted in"),
        ({"opted_in": ["elsewhere"]}, "namespace elsewhere does not exist: add it to namespaces"),
        ({"namespaces": [{"name": "shop", "pod_security": "strict"}]}, "write restricted, baseline or privileged"),
        ({"namespaces": [{"name": SYSTEM_NAMESPACE, "pod_security": "baseline"}]}, "has to be restricted"),
        ({"namespaces": [{"pod_security": "baseline"}]}, '"" is no name of a namespace'),
        ({"storage_class": {"name": "fast"}}, "storage_class needs name and provisioner"),
        ({"operators": {"kafka": {"enabled": True}}}, "operators.kafka is not known: write amq_streams"),
        ({"operators": {"gitops": {"enabled": "yes please"}}}, "operators.gitops.enabled has to be true or false"),
        ({"operator_approval": "Never"}, "write Automatic or Manual"),
        ({"groups_of_people": {"approve": "sre"}}, "groups_of_people.approve is not understood"),
    ],
)
def test_a_wrong_variable_ends_it_with_a_sentence(variables: dict[str, Any], sentence: str, site: Site) -> None:
    found = site.run("--check", **variables)
    assert found.code != 0
    assert sentence in re.sub(r"\s+", " ", found.said), found.said


def test_no_volume_without_a_default_storage_class(site: Site) -> None:
    with_default = site.cluster.kubectl("get", "storageclass", "-o", "name").split()
    for name in with_default:
        site.cluster.kubectl("delete", name)
    found = site.run("--check", storage_class={})
    assert found.code != 0
    assert "no StorageClass is the default one" in re.sub(r"\s+", " ", found.said)


def test_the_playbook_names_every_variable_it_reads() -> None:
    said = yaml.safe_load((PLAYBOOK.parent / "group_vars" / "all.yaml").read_text())
    assert said.keys() >= WANTED.keys() | {"operators", "operator_source", "operator_approval"}
