"""From Prometheus series to samples by workload."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from selfheal.catalogue import BY_NAME, Scope
from selfheal.series import Collected, Grid, Owners, Samples, Silences, lookback

END = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OWNERS = Owners.read(
    pods=[
        {"namespace": "shop", "pod": "cart-a-1", "owner_kind": "ReplicaSet", "owner_name": "cart-a"},
        {"namespace": "shop", "pod": "cart-a-2", "owner_kind": "ReplicaSet", "owner_name": "cart-a"},
        {"namespace": "shop", "pod": "db-0", "owner_kind": "StatefulSet", "owner_name": "db"},
        {"namespace": "shop", "pod": "night-1-x", "owner_kind": "Job", "owner_name": "night-1"},
        {"namespace": "shop", "pod": "bare", "owner_kind": "<none>", "owner_name": "<none>"},
    ],
    replica_sets=[{"namespace": "shop", "replicaset": "cart-a", "owner_kind": "Deployment", "owner_name": "cart"}],
    jobs=[{"namespace": "shop", "job_name": "night-1", "owner_kind": "CronJob", "owner_name": "night"}],
    claims=[{"namespace": "shop", "pod": "db-0", "persistentvolumeclaim": "data-db-0"}],
)


def series(values: list[tuple[int, str]], **labels: str) -> dict[str, Any]:
    return {"metric": labels, "values": [[END.timestamp() - 60 * ago, text] for ago, text in values]}


def collect(name: str, *found: dict[str, Any], workloads: list[str] | None = None) -> Any:
    collected = Collected(Grid(END, 3, 60.0), [BY_NAME[name]], workloads)
    collected.add(BY_NAME[name], found, "form", "", OWNERS)
    return collected.result()


def test_a_pod_belongs_to_the_deployment_above_its_replica_set() -> None:
    assert OWNERS.entity(Scope.WORKLOAD, {"namespace": "shop", "pod": "cart-a-1"}) == "shop/Deployment/cart"


def test_a_job_s_pod_belongs_to_the_cron_job_above_it() -> None:
    assert OWNERS.entity(Scope.WORKLOAD, {"namespace": "shop", "pod": "night-1-x"}) == "shop/CronJob/night"


def test_a_volume_claim_belongs_to_the_workload_whose_pod_mounts_it() -> None:
    labels = {"namespace": "shop", "persistentvolumeclaim": "data-db-0"}
    assert OWNERS.entity(Scope.WORKLOAD, labels) == "shop/StatefulSet/db"


def test_a_bare_pod_and_an_unknown_one_belong_to_nobody() -> None:
    assert OWNERS.entity(Scope.WORKLOAD, {"namespace": "shop", "pod": "bare"}) is None
    assert OWNERS.entity(Scope.WORKLOAD, {"namespace": "shop", "pod": "stranger"}) is None


def test_wider_scopes_are_entities_of_their_own_so_that_they_cannot_drive_an_action_on_a_workload() -> None:
    assert OWNERS.entity(Scope.NAMESPACE, {"namespace": "shop"}) == "shop/Namespace/shop"
    assert OWNERS.entity(Scope.NODE, {"instance": "10.0.0.7:9100"}) == "cluster/Node/10.0.0.7"
    assert OWNERS.entity(Scope.CLUSTER, {}) == "cluster/Cluster/cluster"


def test_missing_samples_stay_gaps_and_are_never_zero() -> None:
    found = collect("pod_memory_usage", series([(2, "5"), (0, "NaN")], namespace="shop", pod="cart-a-1"))
    assert found.windows["shop/Deployment/cart"]["pod_memory_usage"] == [5.0, None, None]


def test_the_worst_replica_stands_for_the_workload_and_is_named() -> None:
    found = collect(
        "pod_memory_usage",
        series([(1, "9"), (0, "1")], namespace="shop", pod="cart-a-1"),
        series([(1, "2"), (0, "7")], namespace="shop", pod="cart-a-2"),
    )
    assert found.windows["shop/Deployment/cart"]["pod_memory_usage"] == [None, 9.0, 7.0]
    assert found.worst["shop/Deployment/cart"]["pod_memory_usage"] == "cart-a-2"


def test_a_workload_that_was_asked_for_is_answered_even_without_data() -> None:
    found = collect("pod_memory_usage", workloads=["shop/Deployment/new"])
    assert found.windows == {"shop/Deployment/new": {"pod_memory_usage": [None, None, None]}}


def test_workloads_that_were_not_asked_for_are_left_out() -> None:
    found = collect("pod_memory_usage", series([(0, "1")], namespace="shop", pod="db-0"), workloads=["shop/D/x"])
    assert list(found.windows) == ["shop/D/x"]


def test_a_failed_query_is_listed_with_its_reason() -> None:
    collected = Collected(Grid(END, 2, 60.0), [BY_NAME["pod_memory_usage"]], ["shop/Deployment/cart"])
    collected.add(BY_NAME["pod_memory_usage"], [], "", "bad query", OWNERS)
    assert collected.result().failed == {"pod_memory_usage": "bad query"}


@given(st.integers(1, 60_000), st.sampled_from([15.0, 60.0, 300.0]))
def test_chunks_cover_every_moment_of_the_grid_once(samples: int, step: float) -> None:
    grid = Grid(END, samples, step)
    chunks = list(grid.chunks())
    points = sum(round((end - start).total_seconds() / step) + 1 for start, end in chunks)
    assert points == samples
    assert chunks[-1][1] == END
    assert all(later[0] - earlier[1] == timedelta(seconds=step) for earlier, later in itertools.pairwise(chunks))
    assert all((end - start).total_seconds() / step < 10_000 for start, end in chunks)


@given(st.integers(0, 500))
def test_every_moment_has_its_place(ago: int) -> None:
    grid = Grid(END, 501, 60.0)
    assert grid.place(END.timestamp() - 60 * ago) == 500 - ago


def test_a_rate_that_looks_back_into_a_silence_is_none_and_a_gauge_is_one_again_at_once() -> None:
    times = [60.0 * minute for minute in range(30) if not 10 < minute < 15]
    silences = Silences.read(times, end=times[-1])
    assert silences.spans == ((600.0, 900.0),)
    hidden = [minute for minute in range(30) if silences.hide(60.0 * minute, 300.0)]
    assert hidden == [*range(12, 20)]
    assert [minute for minute in range(30) if silences.hide(60.0 * minute, 0.0)] == [12, 13, 14]


def test_a_silence_that_lasts_hides_what_is_repeated_until_now() -> None:
    silences = Silences.read([60.0 * minute for minute in range(10)], end=840.0)
    assert silences.hide(840.0, 0.0)
    assert not silences.hide(540.0, 0.0)


def test_a_single_lost_scrape_is_no_silence() -> None:
    times = [30.0 * scrape for scrape in range(40) if scrape != 20]
    assert Silences.read(times, end=times[-1]).spans == ()


@given(st.lists(st.floats(0, 1e6), max_size=40), st.floats(0, 2e6), st.floats(0, 600))
def test_a_moment_at_which_there_was_a_scrape_is_never_hidden_for_a_gauge(
    times: list[float], moment: float, behind: float
) -> None:
    silences = Silences.read(times, end=max(times, default=0.0))
    assert not any(silences.hide(one, 0.0) for one in times)
    assert silences.hide(moment, behind) or not silences.hide(moment, 0.0)


def test_a_form_looks_back_as_far_as_its_longest_window() -> None:
    assert lookback("sum(rate(a[5m])) / sum(rate(b[10m]))") == 600.0
    assert lookback("max by (pod) (a)") == 0.0
    assert all(lookback(form) <= 3600 for query in BY_NAME.values() for form in query.forms)


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False)))
def test_samples_give_back_what_was_put_in_and_gaps_where_nothing_was(values: list[float | None]) -> None:
    samples = Samples(len(values))
    for place, value in enumerate(values):
        if value is not None:
            samples[place] = value
    assert samples == values
    assert [samples[place] for place in range(len(values))] == values
    assert samples[1:] == values[1:]
