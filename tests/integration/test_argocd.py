"""Workloads that a real Argo CD owns: what is tried, what stays, what goes back, and what Argo CD says to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.argocd import ArgoCD
from bench.cluster import ApiCluster
from selfheal.cli.app import app
from selfheal.policy import API_VERSION
from tests.integration.conftest import MANIFESTS, wait_until
from tests.integration.test_admission import REMEDIATION_SPEC
from tests.support.controller import Controller, Shop, running
from tests.support.gitops import LEAVE, Application, Repository, manifest, stays
from tests.support.rights import allowed

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("argocd")]

V1, V2, V3 = (f"registry.example/shop:v{number}" for number in (1, 2, 3))


@pytest.fixture(scope="module")
def argocd(api_cluster: ApiCluster) -> Iterator[ArgoCD]:
    """Argo CD beside the cluster, and our right to read its Applications."""
    found = ArgoCD.start(api_cluster, print)
    api_cluster.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "argocd" / "read.yaml"))
    yield found
    api_cluster.kubectl("delete", "-f", str(MANIFESTS / "argocd" / "read.yaml"))
    found.stop()


@pytest.fixture
def controller(api_cluster: ApiCluster, tmp_path: Path) -> Iterator[Controller]:
    """A process with its own rights."""
    account = api_cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
    with running(account, tmp_path / "log", {"SELFHEAL_RESYNC_SECONDS": "2"}) as found:
        yield found


def managers(shop: Shop) -> set[str]:
    """Whose names stand on fields of the Deployment."""
    words = ("get", "deployment", "cart", "-n", shop.namespace, "-o", "json", "--show-managed-fields")
    return {one["manager"] for one in json.loads(shop.cluster.kubectl(*words))["metadata"]["managedFields"]}


class Case:
    """A namespace whose Deployment ``cart`` comes from a repository."""

    def __init__(self, cluster: ApiCluster, namespace: str, folder: Path, **application: Any) -> None:
        self.shop = Shop(cluster, namespace)
        self.repository = Repository(folder)
        self.good = self.repository.commit(manifest("v1"))
        self.application = Application(cluster, namespace, self.repository, **application)
        wait_until(lambda: cluster.plane.kubectl_ok("get", "deployment", "cart", "-n", namespace), "the first sync")
        wait_until(self.shop.healthy, "a healthy cart")
        wait_until(lambda: bool(self.application.has("cart")), "the Application's own list")
        self.shop.opt_in()

    def push(self, document: dict[str, Any], *more: dict[str, Any]) -> str:
        """Commit a manifest and have Argo CD look at it."""
        revision = self.repository.commit(document, *more)
        self.application.refresh()
        return revision

    def ended(self) -> Any:
        """The status of the only Remediation, once it has ended."""
        wait_until(lambda: any(one.get("outcome") for one in self._statuses()), "the end of a Remediation", 90)
        return self.status()

    def status(self) -> Any:
        """The status of the only Remediation."""
        (found,) = self._statuses()
        return found

    def _statuses(self) -> list[Any]:
        """One that came while Argo CD was still at the bad commit ended at once, and was about that moment alone."""
        found = [one.get("status", {}) for one in self.shop.remediations()]
        return [one for one in found if one.get("reason") != "SyncInProgress"]

    def healed(self, **policy: Any) -> Any:
        """A bad commit is synced, and rolled back from with Argo CD's leave; the status of the Remediation."""
        self.shop.policy(**policy)
        bad = self.push(manifest("v2", "crashloop"))
        status = self.ended()
        assert (status["outcome"], self.shop.image()) == ("Successful", V1)
        assert status["loan"]["revision"] == bad
        return status

    def returned(self) -> Any:
        """What the Remediation says of its loan, once it is returned."""
        wait_until(lambda: "returnedTime" in self.status()["loan"], "the return of what was lent")
        assert "selfheal-controller" not in managers(self.shop)
        return self.status()["loan"]["reason"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For the repository."""
    (tmp_path / "git").mkdir()
    return tmp_path / "git"


@pytest.mark.usefixtures("controller")
def test_a_template_is_not_touched_without_leave_and_people_read_what_to_add_or_run(
    api_cluster: ApiCluster, namespace: str, folder: Path
) -> None:
    case = Case(api_cluster, namespace, folder)
    case.shop.policy()
    bad = case.push(manifest("v2", "crashloop"))
    status = case.ended()
    assert (status["outcome"], status["reason"]) == ("Observed", "OwnedByArgoCD")
    assert f"image of app: {V2} -> {V1}" in status["message"]
    assert (
        "ignoreDifferences: [{group: apps, kind: Deployment, managedFieldsManagers: [selfheal-controller]}]"
        in (status["message"])
    )
    assert f"`git revert {case.good}..{bad}`" in status["message"]
    assert f"argocd app rollback {namespace} 0" in status["message"]
    assert (case.shop.writes(), case.shop.image()) == ([], V2)


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("options", [[], ["RespectIgnoreDifferences=true"]])
def test_with_leave_a_rollback_stays_and_is_verified_and_goes_back_when_git_moves_on(
    api_cluster: ApiCluster, namespace: str, folder: Path, options: list[str]
) -> None:
    case = Case(api_cluster, namespace, folder, ignores=[LEAVE], options=options)
    status = case.healed()
    assert "image of app" in status["loan"]["fields"]
    assert status["loan"]["owner"] == f"Argo CD ({namespace})"
    assert stays(lambda: case.shop.image() == V1 and case.application.sync == "Synced", 5)
    assert lent(case) == ["image of app", "template metadata.annotations.bench.selfheal/fault"]
    case.push(manifest("v3"))
    assert case.returned() in ("GitChanged", "TakenBack")
    wait_until(lambda: case.shop.image() == V3 and case.application.sync == "Synced", "Git's value")
    assert lent(case) == []


def lent(case: Case) -> list[str]:
    """What ``selfheal status`` shows as lent."""
    words = ["status", "-n", case.shop.namespace, "--json", "--kubeconfig", str(case.shop.cluster.kubeconfig)]
    shown = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    return [field for one in shown["lent"] for field in one["loan"]["fields"]]


@pytest.mark.slow
@pytest.mark.usefixtures("controller")
def test_what_is_lent_goes_back_when_the_policy_goes(api_cluster: ApiCluster, namespace: str, folder: Path) -> None:
    case = Case(api_cluster, namespace, folder, ignores=[LEAVE])
    case.healed()
    api_cluster.kubectl("delete", "selfhealingpolicy", "healing", "-n", namespace)
    assert case.returned() == "PolicyGone"
    wait_until(lambda: case.shop.image() == V2, "Git's value, bad as it is")
    assert len(case.shop.remediations()) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("controller")
def test_what_is_lent_goes_back_after_an_undo(api_cluster: ApiCluster, namespace: str, folder: Path) -> None:
    case = Case(api_cluster, namespace, folder, ignores=[LEAVE])
    case.healed()
    (found,) = case.shop.remediations()
    undone = CliRunner().invoke(
        app, ["undo", found["metadata"]["name"], "--kubeconfig", str(api_cluster.kubeconfig)], catch_exceptions=False
    )
    assert undone.exit_code == 0, undone.output
    assert case.returned() == "Undone"
    assert case.shop.image() == V2
    case.push(manifest("v3"))
    wait_until(lambda: case.shop.image() == V3 and case.application.sync == "Synced", "Git's value")


@pytest.mark.slow
@pytest.mark.usefixtures("controller")
def test_leave_for_everything_is_read_in_argo_cds_own_settings(
    api_cluster: ApiCluster, namespace: str, folder: Path
) -> None:
    key = "resource.customizations.ignoreDifferences.all"
    body = {"data": {key: "managedFieldsManagers:\n- selfheal-controller\n"}}
    words = ("patch", "configmap", "argocd-cm", "-n", "argocd", "--type=merge", "-p")
    api_cluster.kubectl(*words, json.dumps(body))
    try:
        case = Case(api_cluster, namespace, folder)
        case.healed()
        assert stays(lambda: case.shop.image() == V1 and case.application.sync == "Synced", 3)
    finally:
        api_cluster.kubectl(*words, json.dumps({"data": {key: None}}))


@pytest.mark.slow
@pytest.mark.usefixtures("controller")
def test_what_the_older_template_lacks_cannot_be_lent(api_cluster: ApiCluster, namespace: str, folder: Path) -> None:
    case = Case(api_cluster, namespace, folder, ignores=[LEAVE])
    case.shop.policy()
    case.push(manifest("v2", "crashloop", MODE="new"))
    status = case.ended()
    assert (status["outcome"], status["reason"]) == ("Skipped", "OwnedByArgoCD")
    assert "lacks spec.containers.app.env" in status["message"]
    assert (case.shop.writes(), case.shop.image()) == ([], V2)


@pytest.mark.slow
@pytest.mark.parametrize(("leave", "replicas"), [([LEAVE], 3), ([], 2)])
def test_argo_cd_leaves_replicas_alone_that_were_scaled_in_our_name_with_leave(
    api_cluster: ApiCluster, namespace: str, folder: Path, leave: list[dict[str, Any]], replicas: int
) -> None:
    case = Case(api_cluster, namespace, folder, ignores=leave)
    words = ("patch", "deployment", "cart", "-n", namespace, "--subresource=scale", "--type=merge", "-p")
    api_cluster.kubectl(*words, '{"spec":{"replicas":3}}', "--field-manager=selfheal-controller")

    def settled() -> bool:
        found = case.shop.get("deployment", "cart")["spec"]["replicas"]
        return bool(found == replicas) and case.application.sync == "Synced"

    wait_until(settled, f"{replicas} replicas")
    assert stays(settled, 6)


@pytest.mark.slow
@pytest.mark.usefixtures("controller")
def test_memory_is_raised_in_place_without_leave_and_argo_cd_sees_no_difference(
    api_cluster: ApiCluster, namespace: str, folder: Path
) -> None:
    case = Case(api_cluster, namespace, folder)
    checks = {"stabilizationPeriod": "2s", "timeout": "10s"}
    case.shop.policy(anomalyType="OOMKilled", action="adjust-resources", verification=checks, undoOnFailure=False)
    case.push(manifest("v1", "oom"))
    wait_until(lambda: bool(case.shop.remediations()) and "attempts" in case.status(), "a plan")
    change = case.status()["attempts"][0]["change"]
    assert {one["verb"] for one in change["operations"]} == {"Resize"}
    assert "the size lasts as long as the pods" in change["note"]
    assert "loan" not in case.ended()
    assert (case.shop.writes(), case.application.sync) == ([], "Synced")


@pytest.mark.slow
@pytest.mark.usefixtures("controller")
def test_a_restart_needs_nobodys_leave_and_stays(api_cluster: ApiCluster, namespace: str, folder: Path) -> None:
    case = Case(api_cluster, namespace, folder)
    case.shop.policy(
        action="restart", verification={"stabilizationPeriod": "2s", "timeout": "10s"}, undoOnFailure=False
    )
    case.push(manifest("v1", "crashloop"))
    wait_until(lambda: "aiops.example.com/restarted-by" in marks(case.shop), "the restart")
    assert stays(lambda: "aiops.example.com/restarted-by" in marks(case.shop), 5)
    assert case.application.sync == "Synced"
    assert "loan" not in case.ended()


def marks(shop: Shop) -> dict[str, str]:
    """Annotations of the pod template."""
    found: dict[str, str] = shop.get("deployment", "cart")["spec"]["template"]["metadata"].get("annotations", {})
    return found


@pytest.mark.usefixtures("controller")
def test_a_fight_ends_after_one_try(api_cluster: ApiCluster, namespace: str, folder: Path) -> None:
    case = Case(api_cluster, namespace, folder, ignores=[LEAVE])
    case.shop.policy(verification={"stabilizationPeriod": "60s", "timeout": "120s"})
    case.push(manifest("v2", "crashloop"))
    wait_until(lambda: bool(case.shop.writes()), "the rollback")
    case.application.patch(ignoreDifferences=[])
    status = case.ended()
    assert (status["outcome"], status["reason"]) == ("Failed", "RevertedByOwner"), status["message"]
    assert "argocd-controller" in status["message"]
    assert stays(lambda: case.shop.image() == V2, 8)
    assert [image for one in case.shop.writes() if (image := written_image(one))] == [V1]
    assert case.returned() == "TakenBack"


def written_image(entry: Any) -> str:
    """Which image a write of ours set, by the API server's audit log; the empty text for none."""
    steps = (step for step in entry["requestObject"] if (step["op"], step["path"]) == ("replace", "/spec/template"))
    return next((str(one["value"]["spec"]["containers"][0]["image"]) for one in steps), "")


def test_the_right_to_read_applications_is_one_of_argo_cds_namespace_alone(
    api_cluster: ApiCluster, namespace: str
) -> None:
    wanted = [("get", "argoproj.io", "applications"), ("patch", "argoproj.io", "applications")]
    assert allowed(api_cluster, "argocd", wanted) == set(wanted[:1])
    assert allowed(api_cluster, namespace, wanted) == allowed(api_cluster, "", wanted) == set()
    assert allowed(api_cluster, "argocd", [("get", "", "secrets"), ("list", "", "configmaps")]) == set()


@pytest.fixture
def may_roll_back(api_cluster: ApiCluster) -> Iterator[None]:
    """The right to change Applications."""
    words = ("-f", str(MANIFESTS / "argocd" / "rollback.yaml"))
    api_cluster.kubectl("apply", "--server-side", *words)
    yield
    api_cluster.kubectl("delete", *words)


@pytest.mark.usefixtures("controller", "may_roll_back")
def test_a_rollback_through_the_application_heals_and_its_undo_turns_automation_on_again(
    api_cluster: ApiCluster, namespace: str, folder: Path
) -> None:
    case = Case(api_cluster, namespace, folder)
    before = case.application.automated
    case.shop.policy(parameters={"rollback": {"gitops": "Application"}})
    bad = case.push(manifest("v2", "crashloop"))
    status = case.ended()
    assert (status["outcome"], case.shop.image()) == ("Successful", V1), status["message"]
    assert case.shop.writes() == []
    assert (
        f"revision of Application argocd/{namespace}: {bad} -> {case.good}" in status["attempts"][0]["change"]["diff"]
    )
    assert case.application.automated is None
    assert "returnedTime" not in status["loan"]
    assert stays(lambda: case.application.sync == "OutOfSync" and case.shop.image() == V1, 5)
    (found,) = case.shop.remediations()
    undone = CliRunner().invoke(
        app, ["undo", found["metadata"]["name"], "--kubeconfig", str(api_cluster.kubeconfig)], catch_exceptions=False
    )
    assert undone.exit_code == 0, undone.output
    assert case.application.automated == before
    wait_until(lambda: case.shop.image() == V2, "the newest revision again")
    wait_until(lambda: "returnedTime" in case.status()["loan"], "the end of the loan")
    assert len(case.shop.remediations()) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("controller", "may_roll_back")
def test_who_turns_automation_on_again_has_the_last_word(api_cluster: ApiCluster, namespace: str, folder: Path) -> None:
    case = Case(api_cluster, namespace, folder)
    way = {"rollback": {"gitops": "Application"}}
    case.shop.policy(parameters=way, verification={"stabilizationPeriod": "40s", "timeout": "60s"})
    case.push(manifest("v2", "crashloop"))
    wait_until(lambda: case.application.automated is None, "the rollback")
    case.application.patch(syncPolicy={"automated": {"selfHeal": True}})
    status = case.ended()
    assert (status["outcome"], status["reason"]) == ("Failed", "RevertedByOwner"), status["message"]
    assert case.application.automated == {"selfHeal": True}
    marks = case.application.get()["metadata"].get("annotations", {})
    assert [name for name in marks if name.startswith("aiops.example.com")] == []


@pytest.mark.slow
@pytest.mark.usefixtures("controller")
def test_without_the_right_to_change_applications_people_are_told_which_manifest_gives_it(
    api_cluster: ApiCluster, namespace: str, folder: Path
) -> None:
    case = Case(api_cluster, namespace, folder)
    case.shop.policy(parameters={"rollback": {"gitops": "Application"}})
    case.push(manifest("v2", "crashloop"))
    status = case.ended()
    assert (status["outcome"], status["reason"]) == ("Error", "Forbidden"), status["message"]
    assert "manifests/argocd/rollback.yaml" in status["message"]
    assert case.application.automated is not None


SPECS: dict[str, dict[str, Any]] = {
    "SelfHealingPolicy": {"anomalyType": "CrashLoopBackOff", "action": "rollback"},
    "Remediation": REMEDIATION_SPEC,
    "RemediationApproval": {"remediationName": "one", "decision": "Approve", "approver": "admin"},
    "HealingConfig": {"suspended": False},
}


def own(kind: str, **spec: Any) -> dict[str, Any]:
    """One of our kinds, as a repository has it."""
    name = "cluster" if kind == "HealingConfig" else "one"
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": SPECS[kind] | spec}


@pytest.mark.slow
def test_argo_cd_shows_how_our_own_kinds_are(api_cluster: ApiCluster, namespace: str, folder: Path) -> None:
    words = ("apply", "--server-side", "--field-manager=selfheal", "-f", str(MANIFESTS / "argocd" / "health.yaml"))
    api_cluster.kubectl(*words)
    repository = Repository(folder)
    repository.commit(*(own(kind) for kind in SPECS))
    application = Application(api_cluster, namespace, repository)

    def shows(**health: str) -> None:
        wait_until(lambda: health.items() <= application.health().items(), f"{health} of {application.health()}")

    def say(kind: str, **status: Any) -> None:
        where = (kind, "one", "-n", namespace, "--subresource=status", "--type=merge", "-p")
        api_cluster.kubectl("patch", *where, json.dumps({"status": status}))

    def ready(status: str, reason: str) -> list[dict[str, str]]:
        since = "2026-11-23T12:00:00Z"
        one = {"type": "Ready", "status": status, "reason": reason, "message": "", "lastTransitionTime": since}
        return [one]

    try:
        fresh = {"SelfHealingPolicy": "Progressing", "Remediation": "Progressing"}
        shows(**fresh, RemediationApproval="Healthy", HealingConfig="Healthy")
        say("SelfHealingPolicy", conditions=ready("True", "Watching"))
        say("Remediation", outcome="Successful", message="done")
        shows(SelfHealingPolicy="Healthy", Remediation="Healthy")
        say("SelfHealingPolicy", conditions=ready("False", "Invalid"))
        say("Remediation", outcome="Failed", message="no")
        shows(SelfHealingPolicy="Degraded", Remediation="Degraded")
        say("SelfHealingPolicy", conditions=ready("False", "Disabled"))
        repository.commit(
            *(own(kind) for kind in SPECS if kind != "HealingConfig"), own("HealingConfig", suspended=True)
        )
        application.refresh()
        shows(SelfHealingPolicy="Suspended", HealingConfig="Suspended")
    finally:
        application.delete()
        api_cluster.kubectl("delete", "healingconfig", "cluster", "--ignore-not-found")
