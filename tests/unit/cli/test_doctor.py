"""What ``selfheal doctor`` makes of a Lease and of policies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal.cli.doctor import State, leader, policies

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def lease(silent: float = 3, holder: str | None = "controller-a") -> dict[str, Any]:
    renewed = (NOW - timedelta(seconds=silent)).isoformat()
    return {"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15}}


def policy(name: str, *conditions: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name}, "status": {"conditions": list(conditions)}}


def test_a_leader_that_renews_is_named_with_its_age() -> None:
    found = leader(lease(), NOW)
    assert (found.state, found.found) == (State.OK, "controller-a, renewed 3s ago")


@pytest.mark.parametrize("found", [None, {}, {"spec": {}}, lease(holder=None), lease(holder="")])
def test_without_a_holder_nobody_acts_and_it_is_said_where_to_look(found: dict[str, Any] | None) -> None:
    check = leader(found, NOW)
    assert check.state is State.FAILED
    assert "kubectl -n selfheal-system get pods" in check.todo


@given(st.floats(0, 100_000))
def test_a_leader_counts_until_it_was_silent_for_two_terms(silent: float) -> None:
    assert (leader(lease(silent), NOW).state is State.OK) == (silent <= 30)


def test_policies_that_are_not_ready_are_named_with_their_reason() -> None:
    ready = {"type": "Ready", "status": "True", "reason": "Watching"}
    blind = {"type": "Ready", "status": "False", "reason": "EndpointMissing"}
    found = policies([policy("a", ready), policy("b", blind), policy("c")])
    assert found.state is State.WARNING
    assert found.found == "2 of 3 not ready: shop/b (EndpointMissing), shop/c (not looked at yet)"
    assert policies([policy("a", ready)]).state is State.OK
    assert policies([]).state is State.WARNING
