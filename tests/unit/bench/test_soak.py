"""The pure parts of the soak: what it draws, what it counts, and when it is not content."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.audit import USER
from bench.controller.soak_audit import Counted, count, slope, turns
from bench.controller.soak_cases import PATIENCE, Case, Ward
from bench.controller.soak_findings import Findings, Memory
from bench.controller.soak_plan import DELETE, KILL, KINDS, POLICIES, RENEW, draw

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
KEY = ("soak-rollback", "shop-1")
Entry = dict[str, Any]


class TestDrawing:
    @given(st.integers(0, 10**6))
    def test_the_same_seed_draws_the_same(self, seed: int) -> None:
        assert draw(seed, 5) == draw(seed, 5)

    def test_another_seed_draws_otherwise(self) -> None:
        assert draw(1, 5) != draw(2, 5)

    @given(st.integers(0, 1000))
    def test_every_kind_of_fault_comes_to_every_namespace_within_ten_minutes(self, seed: int) -> None:
        faults = {(one.namespace, one.kind) for one in draw(seed, 10) if one.namespace}

        assert faults == {(space, kind) for space in POLICIES for kind in KINDS}

    @given(st.integers(0, 1000))
    def test_nobody_is_killed_in_the_second_half(self, seed: int) -> None:
        kills = [one.at for one in draw(seed, 30) if one.kind == KILL]

        assert kills
        assert max(kills) <= 15 * 60

    @given(st.integers(0, 1000))
    def test_a_policy_that_is_deleted_comes_back_before_another_goes(self, seed: int) -> None:
        steps = [(one.kind, one.lot) for one in draw(seed, 30) if one.kind in (DELETE, RENEW)]

        assert steps[::2] == [(DELETE, lot) for _, lot in steps[1::2]]
        assert steps[1::2] == [(RENEW, lot) for _, lot in steps[::2]]


def entry(at: int, verb: str, resource: str, name: str, body: object, **more: Any) -> Entry:
    about = {"resource": resource, "namespace": KEY[0], "name": name, "subresource": more.pop("inner", "")}
    about["apiGroup"] = "aiops.example.com" if resource == "remediations" else "apps"
    return {
        "user": {"username": USER},
        "verb": verb,
        "objectRef": about,
        "requestObject": body,
        "requestURI": "/",
        "requestReceivedTimestamp": f"2026-11-25T10:00:{at:02d}Z",
        "stage": "ResponseComplete",
        "responseStatus": {"code": 200},
    } | more


def opened(at: int = 1) -> Entry:
    return entry(at, "create", "remediations", "", {"metadata": {"name": "rem"}, "spec": {"target": {"name": KEY[1]}}})


def noted(at: int, *undos: object, **status: object) -> Entry:
    value = {"attempts": [{"undo": undo} for undo in undos]} | status
    body = [{"op": "test", "path": "/metadata/uid"}, {"op": "add", "path": "/status", "value": value}]
    return entry(at, "patch", "remediations", "rem", body, inner="status")


def written(at: int, image: str = "v1", **more: Any) -> Entry:
    body = [{"op": "test", "path": "/metadata/resourceVersion", "value": at}, {"op": "replace", "value": image}]
    return entry(at, "patch", "deployments", KEY[1], body, **more)


class TestCounting:
    def test_a_heal_with_its_record_is_in_order(self) -> None:
        found = count(
            [opened(), noted(2, ["take it back"]), written(3), noted(4, ["x"], outcome="Successful", reason="Verified")]
        )

        assert found.writes == {"patch deployments": 1}
        assert found.outcomes == {"Successful, Verified": 1}
        assert (found.twice, found.without_undo) == ([], [])

    def test_a_change_before_its_record_is_told_even_where_the_log_has_it_first(self) -> None:
        found = count([opened(1), noted(3, ["take it back"]), written(2)])

        assert len(found.without_undo) == 1

    def test_an_attempt_without_an_undo_is_no_record(self) -> None:
        assert count([opened(), noted(2, None), written(3)]).without_undo

    def test_the_same_change_again_in_one_attempt_is_twice(self) -> None:
        assert len(count([opened(), noted(2, ["x"]), written(3), written(4)]).twice) == 1

    def test_an_undo_and_the_next_attempt_are_not_twice(self) -> None:
        heal = [opened(), noted(2, ["x"]), written(3), written(4, "v2"), noted(5, ["x"], ["y"]), written(6)]

        assert count(heal).twice == []

    @pytest.mark.parametrize(
        "more",
        [
            {"requestURI": "/?dryRun=All"},
            {"responseStatus": {"code": 409}},
            {"user": {"username": "admin"}},
        ],
        ids=["dry run", "refused", "somebody else"],
    )
    def test_what_changed_nothing_or_is_not_ours_is_not_counted(self, more: Entry) -> None:
        assert not count([written(1, **more)]).writes

    def test_an_eviction_needs_a_record_that_names_its_pod(self) -> None:
        gone = entry(3, "create", "pods", f"{KEY[1]}-5d8f-x2x4q", {}, inner="eviction")
        planned = [[{"change": {"operations": [{"name": f"{KEY[1]}-5d8f-{pod}"}]}}] for pod in ("x2x4q", "other")]

        assert count([opened(), noted(2, attempts=planned[0]), gone]).without_undo == []
        assert count([opened(), noted(2, attempts=planned[1]), gone]).without_undo
        assert count([gone]).without_undo


def test_writers_that_take_turns_are_counted() -> None:
    assert turns([]) == 0
    assert turns([(1, "a"), (2, "a"), (3, "b")]) == 2
    assert turns([(3, "a"), (1, "a"), (2, "b")]) == 3


def test_growth_is_told_by_the_hour_and_only_from_enough_samples() -> None:
    assert slope([(0.0, 100.0), (0.5, 105.0), (1.0, 110.0)]) == pytest.approx(10)
    assert slope([(0.0, 100.0), (0.0, 105.0)]) is None


def deployment(available: int, replicas: int = 2) -> Entry:
    status = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": available}
    return {"metadata": {"generation": 1}, "spec": {"replicas": replicas}, "status": status}


class TestCases:
    def case(self, *, due: bool = True) -> Case:
        return Case("bad image", KEY, 0.0, NOW, due)

    def test_a_fault_that_shows_late_is_not_healed_before(self) -> None:
        case = self.case()
        case.look(deployment(2), [])

        assert not case.is_healed
        case.look(deployment(1), [])
        case.look(deployment(2), [])
        assert case.is_healed

    def test_an_old_record_is_no_answer(self) -> None:
        case = self.case()
        old = {"metadata": {"creationTimestamp": "2026-11-25T09:59:00Z"}, "status": {"outcome": "Successful"}}
        case.look(deployment(1), [old])

        assert case.answer == ""

    def test_what_was_sick_and_healed_between_two_looks_is_known_from_its_record(self) -> None:
        case, status = self.case(), {"outcome": "Successful", "reason": "Verified"}
        case.look(deployment(2), [{"metadata": {"creationTimestamp": "2026-11-25T10:00:03Z"}, "status": status}])

        assert (case.is_sick, case.is_healed, case.answer) == (True, True, "record")

    def test_what_was_suspended_for_too_long_need_not_be_healed(self) -> None:
        case, status = self.case(), {"outcome": "Inconclusive", "reason": "SuspendedTooLong"}
        case.look(deployment(1), [{"metadata": {"creationTimestamp": "2026-11-25T10:00:03Z"}, "status": status}])

        assert not case.due
        assert case.is_over(30, has_open=False)

    def test_a_fault_without_an_answer_is_lost_when_patience_ends(self) -> None:
        ward, case = Ward(), self.case(due=False)
        ward.admit(case)
        case.look(deployment(1), [])

        assert not case.is_over(PATIENCE - 1, has_open=False)
        assert case.is_over(PATIENCE + 1, has_open=False)
        ward.close(case, PATIENCE + 1, "")
        assert ward.lost
        assert not ward.unwell

    def test_a_fault_that_was_to_be_healed_and_was_not_is_told(self) -> None:
        ward, case = Ward(), self.case()
        ward.admit(case)
        case.look(deployment(1), [])
        case.answer = "record"
        ward.close(case, PATIENCE + 1, "Failed")

        assert ward.unwell
        assert not ward.lost

    def test_an_opted_out_workload_may_stay_unwell(self) -> None:
        ward, case = Ward(), self.case()
        case.excuse("opted out")
        case.look(deployment(1), [])
        ward.close(case, 30, "")

        assert not ward.unwell


class TestFindings:
    def findings(self, *, growth: float = 0.0, writers: int = 1) -> Findings:
        memory = Memory({1: [(age, 100 + growth * age) for age in range(0, 900, 5)]})
        ward = Ward(injected=Counter({"bad image": 1}))
        return Findings(15, ward, Counter(), Counter(), [], Counted(), memory, 100, writers, 1)

    def test_what_is_as_it_should_be_is_not_wrong(self) -> None:
        assert self.findings().wrong == []

    def test_memory_that_grows_is_wrong_and_is_told_by_the_hour(self) -> None:
        found = self.findings(growth=0.03)

        assert len(found.wrong) == 1
        assert "+108.0 MiB an hour" in str(found.to_json())

    def test_two_writers_for_one_lease_are_wrong(self) -> None:
        assert len(self.findings(writers=3).wrong) == 1

    def test_no_fault_at_all_shows_nothing(self) -> None:
        found = self.findings()
        found.ward.injected.clear()

        assert found.wrong == ["nothing was shown: no fault was injected"]

    def test_a_young_process_has_no_slope(self) -> None:
        assert Memory({1: [(age, 100.0) for age in range(0, 400, 5)]}).warm() == {}
