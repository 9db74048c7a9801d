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
    WorkloadSeen,
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


def wanting(replicas: int = 3, minutes: float = 60) -> WorkloadSeen:
    """A workload that wants that many for that long."""
    return WorkloadSeen("u", replicas, True, ago(minutes=minutes))


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
        entry = noted(entry, wanting(), f"cart-{number}", NOW)
    assert entry is not None
    assert (len(entry.revisions), entry.revisions[0]) == (KEPT, "cart-14")
    assert noted(entry, wanting(), "cart-14", NOW) is None
    again = noted(entry, wanting(), "cart-9", NOW)
    assert again is not None
    assert again.revisions[:2] == ("cart-9", "cart-14")
    assert len(again.revisions) == KEPT


def test_another_workload_of_the_same_name_begins_anew() -> None:
    found = noted(Entry("old", ("cart-1",), 1, 7), wanting(), "cart-2", NOW)
    assert found == Entry("u", ("cart-2",), int(NOW.timestamp()), 3)


def test_a_revision_is_noted_with_the_replicas_of_that_moment() -> None:
    found = noted(Entry("u", ("cart-1",), 1, 2), wanting(3, minutes=1), "cart-2", NOW)
    assert found is not None
    assert found.replicas == 3


@pytest.mark.parametrize(("minutes", "replicas"), [(9.9, None), (10, 3)])
def test_another_number_of_replicas_is_noted_when_it_has_stayed(minutes: float, replicas: int | None) -> None:
    found = noted(Entry("u", ("cart-1",), 1, 2), wanting(3, minutes=minutes), "cart-1", NOW)
    assert (found and found.replicas) == replicas


def test_a_note_from_before_numbers_were_noted_gets_one() -> None:
    (old,) = read({"k": '{"uid":"u","revisions":["cart-1"],"at":5}'}).values()
    assert noted(old, wanting(3), "cart-1", NOW) == Entry("u", ("cart-1",), int(NOW.timestamp()), 3)


def test_the_nodes_of_a_daemon_set_are_no_replicas() -> None:
    seen = workload_seen(objects.daemon_set())
    found = noted(None, seen, "agent-abc", NOW)
    assert found is not None
    assert (seen.wanted > 0, found.replicas) == (True, 0)
    assert noted(found, seen, "agent-abc", NOW) is None


def test_the_number_is_as_old_as_the_last_write_of_it() -> None:
    cart = objects.deployment(replicas=3)
    write = {"manager": "kubectl", "subresource": "scale", "time": objects.stamp(ago(minutes=3))}
    cart["metadata"]["managedFields"] = [write | {"fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    assert workload_seen(cart).scaled == ago(minutes=3)


NAMES = st.from_regex(r"[a-z0-9]([-.a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
ENTRIES = st.builds(
    Entry,
    uid=st.text(),
    revisions=st.lists(NAMES, max_size=KEPT).map(tuple),
    at=st.integers(),
    replicas=st.integers(0, 2**31 - 1),
)


@given(ENTRIES)
def test_what_is_written_is_read_again(entry: Entry) -> None:
    assert read({name_of(CART): entry.text}) == {"shop.Deployment.cart": entry}


def test_a_note_is_short_and_names_what_it_holds() -> None:
    assert Entry("u", ("cart-2",), 5, 3).text == '{"uid":"u","revisions":["cart-2"],"at":5,"replicas":3}'
    assert Entry("u", ("cart-2", "cart-1"), 5).text == '{"uid":"u","revisions":["cart-2","cart-1"],"at":5}'


@pytest.mark.parametrize("replicas", [-1, 0, True, "3", 2.0, None, [3], 2**31])
def test_a_number_that_makes_no_sense_is_not_known_and_spoils_nothing_else(replicas: object) -> None:
    text = json.dumps({"uid": "u", "revisions": ["cart-1"], "at": 5, "replicas": replicas})
    assert read({"k": text}) == {"k": Entry("u", ("cart-1",), 5)}


def test_a_name_that_is_too_long_for_a_key_is_not_noted() -> None:
    assert name_of(Key("shop", "Deployment", "x" * 240)) == ""


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.none(), st.integers())))
def test_foreign_content_never_hurts(data: dict[str, Any]) -> None:
    read(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    ),
    st.sampled_from(["uid", "revisions", "at", "replicas"]),
)
def test_an_entry_with_a_field_that_makes_no_sense_says_nothing_or_makes_sense(value: Any, field: str) -> None:
    body = {"uid": "u", "revisions": ["cart-1"], "at": 5} | {field: value}
    for entry in read({"k": json.dumps(body)}).values():
        assert isinstance(entry.uid, str)
        assert type(entry.at) is int
        assert all(isinstance(one, str) and one for one in entry.revisions)
        assert type(entry.replicas) is int
        assert entry.replicas >= 0


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
    revisions = tuple(f"a-rather-long-name-{n}-5d4f8c7b9d" for n in range(KEPT))
    text = Entry("u" * 36, revisions, int(NOW.timestamp()), 100).text
    assert beyond({f"namespace-{n}.Deployment.a-rather-long-name": text for n in range(1000)}) == []
