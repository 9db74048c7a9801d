"""The client against a real Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from selfheal.errors import Forbidden, Unavailable, WrongUse
from selfheal.prometheus import PrometheusClient
from tests.support.prometheus import free_port, prometheus

pytestmark = pytest.mark.integration

START = datetime(2026, 11, 22, 0, 0, tzinfo=UTC)
MINUTES = 240
END = START + timedelta(minutes=MINUTES - 1)


def openmetrics() -> str:
    """Two replicas of shop/Deployment/cart; the second one is missing for ten minutes, and restarts once.

    Of shop/StatefulSet/orders one pod is gone after ten minutes; its samples echo for ten more, as cAdvisor's do.
    """
    rows: dict[str, list[str]] = {"memory": [], "restarts": [], "owner": [], "parent": [], "phase": []}
    for minute in range(MINUTES):
        at = int(START.timestamp()) + 60 * minute
        for pod, base in (("cart-a-1", 100), ("cart-a-2", 50)):
            if pod == "cart-a-2" and 100 <= minute < 110:
                continue
            labels = f'namespace="shop",pod="{pod}",container="app"'
            rows["memory"].append(f"container_memory_working_set_bytes{{{labels}}} {base + minute} {at}")
            restarts = int(pod == "cart-a-2" and minute > 200)
            rows["restarts"].append(f"kube_pod_container_status_restarts_total{{{labels}}} {restarts} {at}")
            owner = f'namespace="shop",pod="{pod}",owner_kind="ReplicaSet",owner_name="cart-a"'
            rows["owner"].append(f"kube_pod_owner{{{owner}}} 1 {at}")
        for pod, first, last, echo in (("orders-0", 0, MINUTES, 0), ("orders-1", 130, 140, 10)):
            labels = f'namespace="shop",pod="{pod}"'
            if first <= minute <= last + echo:
                used = 10 if pod == "orders-0" else 1000
                rows["memory"].append(f'container_memory_working_set_bytes{{{labels},container="app"}} {used} {at}')
            if first <= minute <= last:
                owner = f'{labels},owner_kind="StatefulSet",owner_name="orders"'
                rows["owner"].append(f"kube_pod_owner{{{owner}}} 1 {at}")
        parent = 'namespace="shop",replicaset="cart-a",owner_kind="Deployment",owner_name="cart"'
        rows["parent"].append(f"kube_replicaset_owner{{{parent}}} 1 {at}")
        rows["phase"].append(f'kube_pod_status_phase{{namespace="shop",pod="cart-a-1",phase="Running"}} 1 {at}')
    kinds = {
        "memory": "container_memory_working_set_bytes gauge",
        "restarts": "kube_pod_container_status_restarts counter",
        "owner": "kube_pod_owner gauge",
        "parent": "kube_replicaset_owner gauge",
        "phase": "kube_pod_status_phase gauge",
    }
    return "".join(f"# TYPE {kinds[key]}\n" + "\n".join(lines) + "\n" for key, lines in rows.items()) + "# EOF\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusClient]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), openmetrics()) as url:
        yield PrometheusClient(url)


def test_the_probe_tells_what_returns_data_and_how_old_it_is(client: PrometheusClient) -> None:
    found = {result.query.name: result for result in client.probe(at=END + timedelta(seconds=45))}
    assert len(found) == 23
    assert found["pod_memory_usage"].series == 3
    assert found["pod_memory_usage"].age == 45.0
    assert found["node_memory_utilization"].series == 0
    assert found["node_memory_utilization"].age is None
    assert not found["node_memory_utilization"].error


def test_history_comes_by_workload_with_the_worst_replica_for_all(client: PrometheusClient) -> None:
    found = client.workload_history(START, END, 60.0)
    assert list(found.windows) == ["shop/Deployment/cart", "shop/StatefulSet/orders"]
    memory = found.windows["shop/Deployment/cart"]["pod_memory_usage"]
    assert memory == [100.0 + minute for minute in range(MINUTES)]
    assert found.worst["shop/Deployment/cart"]["container_restart_count"] == "cart-a-2"


def test_the_echo_of_a_pod_that_is_gone_does_not_count(client: PrometheusClient) -> None:
    found = client.workload_windows(START + timedelta(minutes=147), 20, 60.0, names=["pod_memory_usage"])
    memory = found.windows["shop/StatefulSet/orders"]["pod_memory_usage"]
    assert memory == [10.0] * 2 + [1000.0] * 11 + [10.0] * 7
    assert found.worst["shop/StatefulSet/orders"]["pod_memory_usage"] == "orders-0"


def test_metrics_without_data_are_gaps_and_say_so_by_having_no_form(client: PrometheusClient) -> None:
    found = client.workload_windows(END, 10, 60.0)
    window = found.windows["shop/Deployment/cart"]
    assert window["pod_cpu_usage"] == [None] * 10
    assert "pod_cpu_usage" not in found.forms
    assert not found.failed


def test_all_workloads_are_answered_by_one_query_a_metric(client: PrometheusClient) -> None:
    seen: list[tuple[str, int, int]] = []
    client.workload_windows(END, 5, 60.0, names=["pod_memory_usage"], progress=lambda *step: seen.append(step))
    assert seen == [("pod_memory_usage", 1, 1)]


def test_wider_metrics_come_as_entities_of_their_own(client: PrometheusClient) -> None:
    found = client.workload_windows(END, 3, 60.0, names=["pods_running", "pod_memory_usage"])
    assert found.windows["shop/Namespace/shop"] == {"pods_running": [1.0, 1.0, 1.0]}
    assert set(found.windows["shop/Deployment/cart"]) == {"pod_memory_usage"}


def test_a_moment_before_all_data_is_no_data_and_no_error(client: PrometheusClient) -> None:
    found = client.workload_windows(START - timedelta(days=2), 5, 60.0, workloads=["shop/Deployment/cart"])
    assert found.windows["shop/Deployment/cart"]["pod_memory_usage"] == [None] * 5


def test_a_prometheus_that_is_down_is_unavailable_and_says_where() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable, match=url):
        PrometheusClient(url, retries=0).probe()


def test_a_url_that_is_none_is_refused_with_an_example() -> None:
    with pytest.raises(WrongUse, match="http://prometheus"):
        PrometheusClient("prometheus:9090")


def test_a_path_that_is_no_prometheus_is_refused_and_not_read_as_no_data(client: PrometheusClient) -> None:
    with pytest.raises(Forbidden, match="check the URL"):
        PrometheusClient(client.url + "/nothing-here").probe()


def test_a_history_that_ends_before_it_starts_is_wrong_use(client: PrometheusClient) -> None:
    with pytest.raises(WrongUse, match="after the start"):
        client.workload_history(END, START, 60.0)


def scraped(silent: range) -> str:
    """A pod that uses one core all the time; nothing at all was scraped in some minutes."""
    counter, memory, owner = [], [], []
    labels = 'namespace="shop",pod="orders-0"'
    for minute in range(MINUTES):
        at = int(START.timestamp()) + 60 * minute
        if minute not in silent:
            counter.append(f'container_cpu_usage_seconds_total{{{labels},container="app"}} {60 * minute} {at}')
            memory.append(f'container_memory_working_set_bytes{{{labels},container="app"}} {100 + minute} {at}')
            owner.append(f'kube_pod_owner{{{labels},owner_kind="StatefulSet",owner_name="orders"}} 1 {at}')
    parts = (
        ("container_cpu_usage_seconds counter", counter),
        ("container_memory_working_set_bytes gauge", memory),
        ("kube_pod_owner gauge", owner),
    )
    return "".join(f"# TYPE {kind}\n" + "\n".join(lines) + "\n" for kind, lines in parts) + "# EOF\n"


def test_what_prometheus_makes_up_around_a_silence_of_its_own_is_a_gap(tmp_path: Path) -> None:
    with prometheus(tmp_path, scraped(range(100, 104))) as url:
        found = PrometheusClient(url).workload_history(START, END, 60.0, ["alt_cpu_usage", "pod_memory_usage"])
    window = found.windows["shop/StatefulSet/orders"]
    cores = window["alt_cpu_usage"]
    assert [minute for minute in range(10, MINUTES) if cores[minute] is None] == [*range(101, 109)]
    assert all(value == pytest.approx(1.0, rel=0.01) for value in cores[10:] if value is not None)
    memory = window["pod_memory_usage"]
    assert [minute for minute, value in enumerate(memory) if value is None] == [101, 102, 103]
    assert all(value == 100 + minute for minute, value in enumerate(memory) if value is not None and minute != 100)
