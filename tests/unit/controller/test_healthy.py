"""When a revision is healthy by what watches tell, and how that is written down."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cluster import Key
from controller.healthy import (
    KEPT,
    Entry,
    beyond,
    healthy_revision,
    name_of,
    noted,
    pod_seen,
    read,
    workload_seen,
)
from controller.model import Resource
from tests.unit.controller import objects, pods
from tests.unit.controller.objects import NOW, ago

CART = Key("shop", "Deployment", "cart")
STORE = Key("shop", "StatefulSet", "store")
AGENT = Key("shop", "DaemonSet", "agent")
DEPLOYMENT = objects.deployment()
OWNER = objects.replica_set(DEPLOYMENT, 1)


def pair(**more: Any) -> list[Resource]:
    """Two pods of the Deployment, of which the second is as told."""
    return [pods.pod(OWNER, 1), pods.pod(OWNER, 2, **more)]


def seen(resource: Resource, found: list[Resource], key: Key = CART) -> str:
    """The healthy revision."""
    return healthy_revision(workload_seen(resource), [one for pod in found if (one := pod_seen(key, pod))], NOW)


def test_all_replicas_that_are_ready_for_two_minutes_make_a_revision_healthy() -> None:
    assert seen(DEPLOYMENT, pair(created=ago(minutes=2))) == "cart-h1"
    assert seen(DEPLOYMENT, pair(created=ago(minutes=1, seconds=59))) == ""


def test_a_revision_of_a_stateful_set_or_daemon_set_is_known_by_the_label_of_its_pods() -> None:
    store, agent = objects.stateful_set(), objects.daemon_set()
    assert seen(store, [pods.pod(store, 0), pods.pod(store, 1)], STORE) == "store-r1"
    found = [pods.pod(agent, 1), pods.pod(agent, 2)]
    for pod in found:
        pod["metadata"]["labels"]["controller-revision-hash"] = "abc"
    assert seen(agent, found, AGENT) == "agent-abc"


@pytest.mark.parametrize(
    ("resource", "found"),
    [
        (DEPLOYMENT, pair()[:1]),
        (DEPLOYMENT, pair(statuses=[pods.running(ready=False)])),
        (DEPLOYMENT, [*pair(), pods.pod(objects.replica_set(DEPLOYMENT, 2), 3)]),
        (DEPLOYMENT, [pods.pod(OWNER, 1), pods.pod(objects.replica_set(DEPLOYMENT, 2), 2)]),
        (objects.deployment(ready=1), pair()),
        (objects.deployment(generation=3, observed=2), pair()),
        (objects.deployment(replicas=0), []),
        (DEPLOYMENT, pair(statuses=[pods.running(restarts=1, last=pods.terminated(1, at=ago(minutes=9)))])),
        (DEPLOYMENT, pair(deleted=NOW)),
    ],
)
def test_anything_less_is_not_healthy(resource: Resource, found: list[Resource]) -> None:
    assert seen(resource, found) == ""


def test_a_death_that_is_long_over_or_that_of_an_init_container_says_nothing() -> None:
    old = pods.running(restarts=1, last=pods.terminated(1, at=ago(minutes=11)))
    assert seen(DEPLOYMENT, pair(statuses=[old])) == "cart-h1"
    found = pair(init_statuses=[pods.status("setup", state=pods.terminated(0, at=ago(minutes=5)))])
    found[1]["spec"]["initContainers"] = [objects.container("setup")]
    assert seen(DEPLOYMENT, found) == "cart-h1"


def test_the_newest_note_comes_first_and_a_few_are_kept() -> None:
    entry: Entry | None = None
    for number in range(15):
        entry = noted(entry, "u", f"cart-{number}", NOW)
    assert entry is not None
    assert (len(entry.revisions), entry.revisions[0]) == (KEPT, "cart-14")
    assert noted(entry, "u", "cart-14", NOW) is None
    again = noted(entry, "u", "cart-9", NOW)
    assert again is not None
    assert again.revisions[:2] == ("cart-9", "cart-14")
    assert len(again.revisions) == KEPT


def test_another_workload_of_the_same_name_begins_anew() -> None:
    assert noted(Entry("old", ("cart-1",), 1), "new", "cart-2", NOW) == Entry("new", ("cart-2",), int(NOW.timestamp()))


def test_what_is_written_is_read_again() -> None:
    entry = Entry("u", ("cart-2", "cart-1"), 5)
    assert entry.text == '{"uid":"u","revisions":["cart-2","cart-1"],"at":5}'
    assert read({name_of(CART): entry.text}) == {"shop.Deployment.cart": entry}


def test_a_name_that_is_too_long_for_a_key_is_not_noted() -> None:
    assert name_of(Key("shop", "Deployment", "x" * 240)) == ""


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.none(), st.integers())))
def test_foreign_content_never_hurts(data: dict[str, Any]) -> None:
    read(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    ),
    st.sampled_from(["uid", "revisions", "at"]),
)
def test_an_entry_with_a_field_that_makes_no_sense_says_nothing_or_makes_sense(value: Any, field: str) -> None:
    body = {"uid": "u", "revisions": ["cart-1"], "at": 5} | {field: value}
    for entry in read({"k": json.dumps(body)}).values():
        assert isinstance(entry.uid, str)
        assert type(entry.at) is int
        assert all(isinstance(one, str) and one for one in entry.revisions)


@given(st.lists(st.integers(0, 99), max_size=20), st.integers(0, 3000))
def test_the_oldest_go_first_until_the_rest_fits(ages: list[int], most: int) -> None:
    data = {f"shop.Deployment.d{n}": Entry("u", ("r",) * (n % 10), at).text for n, at in enumerate(ages)}
    gone = beyond(data, most)
    rest = {key: value for key, value in data.items() if key not in gone}
    assert not rest or sum(len(k) + len(v) for k, v in rest.items()) <= most
    assert max((read(data)[key].at for key in gone), default=0) <= min(
        (one.at for one in read(rest).values()), default=99
    )
    if gone:
        kept = rest | {gone[-1]: data[gone[-1]]}
        assert sum(len(k) + len(v) for k, v in kept.items()) > most


def test_what_is_foreign_is_not_dropped() -> None:
    assert beyond({"theirs": "x" * 100, "shop.Deployment.cart": Entry("u", (), 1).text}, 10) == ["shop.Deployment.cart"]


def test_a_thousand_workloads_fit() -> None:
    revisions = tuple(f"a-rather-long-name-of-a-workload-{n}-5d4f8c7b9d" for n in range(KEPT))
    data = {f"namespace-{n}.Deployment.a-rather-long-name": Entry("u" * 36, revisions, 1).text for n in range(800)}
    assert beyond(data) == []
