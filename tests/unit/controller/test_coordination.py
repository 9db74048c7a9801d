"""What holds an action back: every rule once, with its reason and its sentence."""

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.coordination import effective_mode, standing
from controller.model import Situation
from controller.reconcile import decide
from selfheal.policy import OPT_IN_LABEL, SYSTEM_NAMESPACE, Action, Budget, HealingConfig, Mode
from selfheal.remediation import Outcome, Remediation, TargetRef
from tests.unit.controller import objects
from tests.unit.controller.objects import NOW, ago
from tests.unit.controller.records import bad_rollout, healthy, policy, remediation, situation

SICK = bad_rollout()
OTHER = TargetRef(api_version="apps/v1", kind="Deployment", namespace="shop", name="other", uid="other")


def closed(minutes: float, outcome: Outcome, reason: str = "Ineffective") -> tuple[Remediation, ...]:
    """One Remediation of the sick workload that ended some minutes ago."""
    past = ago(minutes=minutes)
    return (remediation(SICK.ref, policy(), outcome=outcome, reason=reason, decided=past, completed=past),)


TERMINATING = objects.namespace() | {"status": {"phase": "Terminating"}}
LEAVING = bad_rollout()
LEAVING.resource["metadata"]["deletionTimestamp"] = objects.stamp(ago(minutes=1))


CASES: list[tuple[str, Situation]] = [
    ("Suspended", situation(SICK, policy(), config=HealingConfig(suspended=True))),
    ("NamespaceProtected", situation(SICK, policy(), config=HealingConfig(protected_namespaces=("sh*",)))),
    ("BeingDeleted", situation(bad_rollout(namespace=TERMINATING), policy())),
    ("BeingDeleted", situation(LEAVING, policy())),
    ("NamespaceNotOptedIn", situation(bad_rollout(namespace=objects.namespace(opted_in=False)), policy())),
    ("PolicyDisabled", situation(SICK, policy(enabled=False))),
    ("OutsideWindow", situation(SICK, policy(windows=[{"start": "01:00", "end": "02:00"}]))),
    ("Cooldown", situation(SICK, policy(), history=closed(1, Outcome.SUCCESSFUL))),
    ("RetriesExhausted", situation(SICK, policy(), history=closed(1, Outcome.FAILED))),
    ("AlreadyHandled", situation(SICK, policy(), history=closed(1, Outcome.OBSERVED))),
    ("Storm", situation(SICK, policy(), unhealthy_percent=41.0, unhealthy=200)),
    ("Storm", situation(SICK, policy(), last_storm=ago(minutes=9))),
    ("BudgetExhausted", situation(SICK, policy(), config=HealingConfig(budget=Budget(max_concurrent=0)))),
]


@pytest.mark.parametrize(("reason", "given"), CASES, ids=[reason for reason, _ in CASES])
def test_a_rule_refuses_with_its_reason_and_a_sentence(reason: str, given: Situation) -> None:
    found = decide(given)
    assert (found.open, found.reason, found.refused) == (None, reason, True)
    assert len(found.message.split()) >= 4


def test_without_any_of_them_a_remediation_is_opened() -> None:
    found = decide(situation(SICK, policy()))
    assert (found.reason, found.refused) == ("Opened", False)
    assert found.open is not None


def test_a_workload_that_opted_out_is_left_alone() -> None:
    out = bad_rollout()
    out.resource["metadata"]["annotations"][OPT_IN_LABEL] = "disabled"
    assert decide(situation(out, policy())).reason == "WorkloadOptedOut"


def test_the_product_never_heals_itself_whatever_is_protected() -> None:
    own = replace(SICK, ref=SICK.ref.model_copy(update={"namespace": SYSTEM_NAMESPACE}))
    found = standing(own, HealingConfig(protected_namespaces=()))
    assert found is not None
    assert found.reason == "NamespaceProtected"


def test_one_remediation_at_a_time_works_on_a_target() -> None:
    at_work = remediation(SICK.ref, policy("other"))
    assert decide(situation(SICK, policy(), history=(at_work,))).reason == "AlreadyOpen"


def test_two_sick_of_three_are_no_storm() -> None:
    assert decide(situation(SICK, policy(), unhealthy_percent=66.0, unhealthy=2)).reason == "Opened"


def test_the_hourly_budget_counts_what_may_have_changed_something_and_forgets_after_an_hour() -> None:
    config = HealingConfig(budget=Budget(max_per_hour=1))

    def verdict(outcome: Outcome, minutes: float) -> str:
        past = remediation(OTHER, policy(), outcome=outcome, decided=ago(minutes=minutes))
        return decide(situation(SICK, policy(), history=(past,), config=config)).reason

    assert verdict(Outcome.FAILED, 59) == "BudgetExhausted"
    assert verdict(Outcome.FAILED, 61) == "Opened"


def test_the_cooldown_ends_when_the_policy_says() -> None:
    past = closed(4, Outcome.SUCCESSFUL)
    short = policy(cooldownPeriod="3m")
    assert decide(situation(SICK, short, history=past)).reason == "Opened"


def test_an_incident_that_failed_is_new_again_once_it_was_seen_to_be_over() -> None:
    (past,) = closed(10, Outcome.FAILED)
    calm = decide(situation(healthy(), policy(), history=(past,)))
    assert calm.cleared == ("rem-1",)
    assert decide(situation(SICK, policy(), history=(past,))).cleared == ()


def test_a_newer_rollout_that_goes_well_is_not_disturbed_for_older_pods() -> None:
    fixed = bad_rollout()
    # The sick pod is now of an older ReplicaSet: a third revision has begun.
    body = objects.template(objects.container(image="registry.local/shop:3"), labels={"app": "cart"})
    cart = objects.deployment(revision=3, ready=1, updated=1, pod_template=body)
    going = replace(fixed, resource=cart, revisions=(objects.replica_set(cart, 3, replicas=1), *fixed.revisions))
    found = decide(situation(going, policy(), now=NOW + timedelta(seconds=1)))
    assert found.reason == "RolloutInProgress"


@pytest.mark.parametrize(
    ("annotations", "labels", "action", "mode"),
    [
        ({}, {}, Action.ROLLBACK, Mode.AUTO),
        ({"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/cart"}, {}, Action.ROLLBACK, Mode.OBSERVE),
        ({"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/cart"}, {}, Action.RESTART, Mode.AUTO),
        ({"meta.helm.sh/release-name": "shop"}, {}, Action.ROLLBACK, Mode.OBSERVE),
        ({"meta.helm.sh/release-name": "shop"}, {}, Action.SCALE, Mode.OBSERVE),
        ({"meta.helm.sh/release-name": "shop"}, {}, Action.ADJUST_RESOURCES, Mode.AUTO),
        ({}, {"kustomize.toolkit.fluxcd.io/name": "shop"}, Action.ROLLBACK, Mode.OBSERVE),
        ({}, {"olm.owner": "csv"}, Action.RESTART, Mode.OBSERVE),
    ],
)
def test_an_owner_takes_the_mode_down_and_is_named(
    annotations: dict[str, str], labels: dict[str, str], action: Action, mode: Mode
) -> None:
    owned = objects.workload(objects.deployment(annotations=annotations, labels=labels))
    found, who = effective_mode(policy(action=action), owned)
    assert found is mode
    assert bool(who) == (mode is Mode.OBSERVE)


def test_what_an_operator_made_is_the_operators() -> None:
    made = objects.deployment(ownerReferences=[{"kind": "Cache", "name": "redis", "uid": "u", "controller": True}])
    mode, who = effective_mode(policy(action="restart"), objects.workload(made))
    assert mode is Mode.OBSERVE
    assert "Cache redis" in who
