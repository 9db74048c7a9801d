"""What the manifests promise: rights, labels, descriptions, examples and the reference."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from bench import chart
from controller import actions, rights
from selfheal.policy import (
    HEALER_ROLE,
    OPT_IN_LABEL,
    SERVICE_ACCOUNT,
    SYSTEM_NAMESPACE,
    AnomalyType,
    Policy,
)
from tests.manifests.crds import MANIFESTS, ROOT, crd, documents, fields, schema

REFERENCE = ROOT / "docs" / "reference"
PLURALS = ("selfhealingpolicies", "remediations", "remediationapprovals", "healingconfigs")
ROLES = [one for part in ("rbac", "argocd") for one in documents(part) if one["kind"] in ("ClusterRole", "Role")]


def role(name: str) -> dict[str, Any]:
    return next(one for one in ROLES if one["metadata"]["name"] == name and one["kind"] == "ClusterRole")


def test_no_role_has_a_wildcard_or_reaches_secrets() -> None:
    for one in ROLES:
        for rule in one["rules"]:
            words = [word for part in rule.values() for word in part]
            assert not any("*" in word for word in words), one["metadata"]["name"]
            assert not {"secrets", "pods/exec", "serviceaccounts/token"}.intersection(rule.get("resources", ()))
            assert not {"bind", "escalate", "impersonate"}.intersection(rule["verbs"])


def test_nothing_binds_the_healer_or_an_administrators_role() -> None:
    bindings = [one for one in documents("rbac") if one["kind"].endswith("Binding")]
    assert {one["roleRef"]["name"] for one in bindings} == {"selfheal-controller", "selfheal-metrics-auth"}


def test_who_asks_about_tokens_learns_yes_or_no_and_who_scrapes_reaches_no_resource() -> None:
    assert granted(role("selfheal-metrics-auth")) == {
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "subjectaccessreviews", "create"),
    }
    assert role("selfheal-metrics-reader")["rules"] == [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]


def test_the_healer_may_do_exactly_what_the_actions_declare() -> None:
    declared = {right for planner in actions.ACTIONS.values() for right in planner.rights}
    assert granted(role(HEALER_ROLE)) == {right for right in declared if right[0] != "argoproj.io"}


def granted(one: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in one["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_healers_role_is_made_from_what_the_actions_declare() -> None:
    assert (MANIFESTS / "rbac" / "healer.yaml").read_text() == rights.manifest()
    assert (MANIFESTS / "argocd" / "rollback.yaml").read_text() == rights.argocd_manifest()


def test_argo_cds_objects_are_out_of_reach_until_somebody_says_otherwise() -> None:
    ours = [one for one in ROLES if any("argoproj.io" in rule.get("apiGroups", ()) for rule in one["rules"])]
    assert {one["metadata"]["name"]: granted(one) for one in ours} == {
        "selfheal-argocd-read": {("argoproj.io", "applications", "get"), ("", "configmaps", "get")},
        "selfheal-argocd-rollback": {("argoproj.io", "applications", "patch")},
    }
    assert {one["kind"] for one in ours} == {"Role"}
    assert "argocd" not in (MANIFESTS / "kustomization.yaml").read_text()


def test_what_the_chart_has_from_elsewhere_is_what_stands_there() -> None:
    made = chart.files()
    assert chart.stale(made) == [], "run python -m bench.chart"
    assert chart.left(made) == [], "run python -m bench.chart"


def test_the_products_namespace_is_restricted() -> None:
    namespace = next(one for one in documents("rbac") if one["kind"] == "Namespace")
    assert namespace["metadata"]["name"] == SYSTEM_NAMESPACE
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_kustomization_lists_every_file() -> None:
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    files = [file for folder in ("crds", "rbac", "admission") for file in (MANIFESTS / folder).glob("*.yaml")]
    assert sorted(listed) == sorted(str(file.relative_to(MANIFESTS)) for file in files)


def test_the_example_opts_in_with_the_names_of_the_code() -> None:
    namespace, binding = yaml.safe_load_all((MANIFESTS / "examples" / "opt-in.yaml").read_text())
    assert namespace["metadata"]["labels"] == {OPT_IN_LABEL: "enabled"}
    assert (binding["roleRef"]["name"], binding["subjects"][0]["name"]) == (HEALER_ROLE, SERVICE_ACCOUNT)
    assert binding["subjects"][0]["namespace"] == SYSTEM_NAMESPACE


def test_the_articles_policy_is_understood() -> None:
    policy = Policy.from_resource(yaml.safe_load((MANIFESTS / "examples" / "article-policy.yaml").read_text()))
    found = (policy.spec.anomaly_type, policy.spec.action, policy.spec.confidence_threshold, policy.spec.max_retries)
    assert found == ("CrashLoopBackOff", "rollback", 0.85, 3)
    assert policy.spec.cooldown_period.total_seconds() == 300


@pytest.mark.parametrize("plural", PLURALS)
def test_every_field_and_column_is_described(plural: str) -> None:
    version = crd(plural)["spec"]["versions"][0]
    assert all("description" in column for column in version["additionalPrinterColumns"])
    for part in ("spec", "status"):
        if part in version["schema"]["openAPIV3Schema"]["properties"]:
            assert [path for path, node in fields(schema(plural, part)) if "description" not in node] == []


def test_names_are_those_people_type() -> None:
    names = {plural: crd(plural)["spec"]["names"] for plural in PLURALS}
    assert names["selfhealingpolicies"]["shortNames"] == ["shp"]
    assert names["remediations"]["shortNames"] == ["rem"]
    assert all(one["categories"] == ["selfheal"] for one in names.values())
    assert "phase" not in (MANIFESTS / "crds" / "selfhealingpolicies.yaml").read_text()


@pytest.mark.parametrize("plural", PLURALS)
def test_the_reference_names_every_field(plural: str) -> None:
    page = (REFERENCE / f"{crd(plural)['spec']['names']['singular']}.md").read_text()
    named = set(re.findall(r"`([A-Za-z.\[\]]+)`", page))
    for part in ("spec", "status"):
        if part in crd(plural)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]:
            for path, _ in fields(schema(plural, part)):
                last = path.replace("[]", "").rsplit(".", 1)[-1]
                assert path in named or last in named, path


def test_the_reference_has_a_heading_for_every_type() -> None:
    page = (REFERENCE / "selfhealingpolicy.md").read_text()
    assert [kind for kind in AnomalyType if f"\n### {kind}\n" not in page] == []
