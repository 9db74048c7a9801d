"""When an incident goes on after a heal that failed, and when it is over."""

from dataclasses import replace
from datetime import timedelta

from controller.incidents import QUIET
from controller.model import Workload
from controller.reconcile import decide
from selfheal.remediation import Outcome, Remediation
from tests.unit.controller import objects, pods
from tests.unit.controller.objects import NOW, ago
from tests.unit.controller.records import healthy, policy, remediation, situation

LEAKS = policy(anomaly_type="OOMKilled", action="adjust-resources", cooldownPeriod="5s")


def leaking(born: int = 60) -> Workload:
    """A Deployment whose only pod was born so many seconds ago, and dies of its memory."""
    body = objects.template(objects.container(memory="64Mi"), labels={"app": "cart"})
    cart = objects.deployment(replicas=1, ready=0, pod_template=body)
    owner = objects.replica_set(cart, 1, replicas=1)
    pod = pods.pod(owner, statuses=[pods.oom()], created=ago(seconds=born))
    return objects.workload(cart, [pod], [owner])


def failed(seconds_ago: int, reason: str = "UnboundedLeak") -> Remediation:
    """A heal that was undone, which brought the pods that there are now."""
    then = ago(seconds=seconds_ago)
    return remediation(leaking().ref, LEAKS, outcome=Outcome.FAILED, reason=reason, decided=then, completed=then)


def test_pods_that_an_undo_brought_begin_no_new_incident_when_they_fail_as_those_before() -> None:
    for reason in ("UnboundedLeak", "ClearedByItself"):
        found = decide(situation(leaking(born=60), LEAKS, history=(failed(70, reason),)))
        assert (found.open, found.reason) == (None, "RetriesExhausted"), reason


def test_one_calm_look_after_a_heal_that_failed_is_not_the_end_of_its_incident() -> None:
    assert decide(situation(healthy(), LEAKS, history=(failed(70),))).cleared == ()
    long_ago = failed(int(QUIET.total_seconds()))
    assert decide(situation(healthy(), LEAKS, history=(long_ago,))).cleared == (long_ago.name,)


def test_what_somebody_has_rolled_out_since_is_a_new_incident() -> None:
    sick = leaking(born=60)
    newer = objects.replica_set(sick.resource, 2, created=NOW - timedelta(seconds=65))
    found = decide(situation(replace(sick, revisions=(newer, *sick.revisions)), LEAKS, history=(failed(70),)))
    assert found.open is not None
