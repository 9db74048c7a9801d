"""Which records of the past may go, and what they are still needed for."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.coordination import refusal
from controller.history import beyond_limit
from controller.stored import Stored
from selfheal.policy import HealingConfig, Policy
from selfheal.remediation import Outcome, Remediation, TargetRef
from tests.unit.controller import objects
from tests.unit.controller.objects import NOW
from tests.unit.controller.records import bad_rollout, policy, remediation, situation

SICK = bad_rollout()
OTHER = TargetRef(api_version="apps/v1", kind="Deployment", namespace="shop", name="other", uid="other")
HEALED = Outcome.SUCCESSFUL


def closed(
    owner: Policy, name: str, minutes: int, outcome: Outcome = HEALED, target: TargetRef = SICK.ref
) -> Remediation:
    when = NOW - timedelta(minutes=minutes)
    reason = "Verified" if outcome is HEALED else "RetriesExhausted"
    return remediation(target, owner, name=name, outcome=outcome, reason=reason, decided=when, completed=when)


def test_the_record_that_ends_a_loop_stays_while_its_incident_goes_on() -> None:
    owner = policy(remediationHistoryLimit=1, cooldownPeriod="1s")
    failed = closed(owner, "a", 1, Outcome.FAILED)
    known = [failed, closed(owner, "b", 0, target=OTHER)]
    assert beyond_limit(known, owner, {SICK.ref.uid, "other"}) == []
    held = refusal(situation(SICK, owner, history=tuple(known)), owner, situation(SICK).symptoms[0])
    assert held is not None
    assert held.reason == "RetriesExhausted"


def test_it_goes_with_its_workload() -> None:
    owner = policy(remediationHistoryLimit=1)
    known = [closed(owner, "a", 9, Outcome.FAILED), closed(owner, "b", 0, target=OTHER)]
    assert [one.name for one in beyond_limit(known, owner, {"other"})] == ["a"]


def test_a_record_that_was_deleted_still_uses_the_hourly_budget() -> None:
    owner = policy(remediationHistoryLimit=1, cooldownPeriod="1s")
    config = HealingConfig.model_validate({"budget": {"maxPerHour": 4}})
    gone = tuple(closed(owner, name, minutes) for name, minutes in (("a", 5), ("b", 4), ("c", 70)))
    known = (closed(owner, "d", 3, target=OTHER),)
    now = situation(SICK, owner, history=known, deleted=gone, config=config)
    held = refusal(now, owner, now.symptoms[0])
    assert held is None
    now = situation(SICK, owner, history=known, deleted=(*gone, closed(owner, "e", 2)), config=config)
    held = refusal(now, owner, now.symptoms[0])
    assert held is not None
    assert held.reason == "BudgetExhausted"


def test_every_replica_remembers_for_an_hour_what_it_saw_deleted() -> None:
    known = Stored("selfheal-system")
    known.put("Namespace", objects.namespace())
    for name, minutes in (("old", 90), ("young", 5), ("new", 0)):
        known.keep(closed(policy(), name, minutes))
        known.forget_remediation(closed(policy(), name, minutes))
    assert {one.name for one in known.deleted()} == {"young", "new"}
    assert known.remediations() == ()


def test_what_went_with_its_namespace_uses_no_budget() -> None:
    known = Stored("selfheal-system")
    namespace = objects.namespace()
    leaving = namespace["metadata"] | {"deletionTimestamp": objects.stamp(NOW)}
    known.put("Namespace", namespace)
    known.put("Namespace", namespace | {"metadata": leaving})
    known.keep(closed(policy(), "a", 1))
    known.forget_remediation(closed(policy(), "a", 1))
    assert known.deleted() == ()
    assert not known.opted_in(objects.NAMESPACE)


ages = st.lists(
    st.tuples(st.sampled_from([SICK.ref, OTHER]), st.sampled_from([HEALED, Outcome.FAILED, Outcome.ERROR])), max_size=12
)


@given(ages, st.integers(1, 5), st.integers(0, 4))
def test_what_may_go_never_changes_what_a_target_is_refused_for(
    past: list[tuple[TargetRef, Outcome]], limit: int, retries: int
) -> None:
    owner = policy(remediationHistoryLimit=limit, maxRetries=retries, cooldownPeriod="1s")
    known = [closed(owner, f"r{n}", n, outcome, target) for n, (target, outcome) in enumerate(past, 1)]
    gone = beyond_limit(known, owner, {SICK.ref.uid, OTHER.uid})
    left = [one for one in known if one not in gone]

    def why(records: list[Remediation]) -> str:
        now = situation(SICK, owner, history=tuple(records), deleted=tuple(gone))
        held = refusal(now, owner, None)
        return held.reason if held else ""

    assert len(gone) >= len(known) - limit - 2 * max(retries, 1)
    assert why(left) == why(known)
