"""A controller that dies at any write, on an API server in memory: its successor writes the rest, and nothing twice."""

from __future__ import annotations

from collections import Counter

import pytest

from controller.cluster.paths import item
from controller.model import Workload
from selfheal.policy import Policy
from selfheal.remediation import Remediation
from tests.unit.controller.actions.test_adjust_resources import shop
from tests.unit.controller.argo import application, bad_image, owned
from tests.unit.controller.memory import Killed, Stage
from tests.unit.controller.records import bad_rollout, policy, remediation

TARGETS = ("/deployments/", "/pods/", "/applications/")
EVICT = {"restart": {"strategy": "Evict"}}
SYNC = {"rollback": {"gitops": "Application"}}
SHOP = item("argoproj.io/v1alpha1", "Application", "argocd", "shop")
PLOTS: dict[str, tuple[Workload, Policy]] = {
    "one patch": (bad_rollout(), policy()),
    "an eviction": (bad_rollout(), policy(action="restart", parameters=EVICT)),
    "a resize, then the template": (shop(), policy(anomaly_type="OOMKilled", action="adjust-resources")),
    "a sync of the Application": (owned(bad_image(), application()), policy(parameters=SYNC)),
}


def stage(plot: str) -> tuple[Stage, Remediation]:
    """A sick workload with a fresh Remediation."""
    workload, owner = PLOTS[plot]
    found = Stage(workload)
    if workload.application is not None:
        found.api.store(SHOP, workload.application)
    found.put_policy(owner)
    return found, found.put_remediation(remediation(workload.ref, owner))


def take_up(found: Stage) -> None:
    """Argo CD takes the operation up that it is asked for: it does not stand in the Application any more."""
    there = found.api.objects.get(SHOP, {})
    if "operation" in there:
        there["status"]["operationState"] = {"phase": "Running", "operation": there.pop("operation")}


def writes(found: Stage) -> Counter[str]:
    """What was written to workloads, and how often."""
    return Counter(path for _, path in found.api.stored if any(part in path for part in TARGETS))


def undisturbed(plot: str) -> tuple[Counter[str], int]:
    """What is written to workloads, and how many calls other than GET it takes in all."""
    found, fresh = stage(plot)
    found.stepper.run(fresh)
    return writes(found), len(found.api.writes())


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("plot", PLOTS)
def test_a_successor_writes_what_is_missing_and_nothing_twice(plot: str, before: bool) -> None:
    expected, calls = undisturbed(plot)
    for lives in range(calls):
        found, fresh = stage(plot)
        found.api.lives, found.api.dies_before = lives, before
        with pytest.raises(Killed):
            found.stepper.run(fresh)
        take_up(found)
        found.succeed().stepper.run(fresh)
        (attempt,) = found.remediations()[0].status.attempts
        assert (lives, attempt.result, writes(found)) == (lives, "Applied", expected)
