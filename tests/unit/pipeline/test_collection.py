"""Choosing metrics and workloads: nothing disappears without being named."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal import collection
from selfheal.collection import gather, halves, mounted
from selfheal.errors import InsufficientData, NoData
from selfheal.series import WindowSet

END = datetime(2026, 11, 23, tzinfo=UTC)
ROWS = 400
Samples = list[float | None]


def history(**workloads: dict[str, Samples]) -> WindowSet:
    windows = {f"{name.replace('__', '/Deployment/')}": window for name, window in workloads.items()}
    return WindowSet(END, 60.0, ROWS, windows, failed={"cpu_throttled_ratio": "timeout"})


def full(rows: int = ROWS) -> Samples:
    return [None] * (ROWS - rows) + [1.0] * rows


NOTHING: Samples = [None] * ROWS


def test_metrics_without_data_are_left_out_and_listed_apart_from_failed_ones() -> None:
    window = {"pod_cpu_usage": NOTHING, "pod_memory_usage": full(), "cpu_throttled_ratio": NOTHING}
    found = gather(history(shop__cart=window))
    assert found.names == ("pod_memory_usage",)
    assert found.without_data == ("pod_cpu_usage",)
    assert found.failed == {"cpu_throttled_ratio": "timeout"}


def test_a_metric_that_one_workload_has_is_a_gap_for_the_others() -> None:
    found = gather(
        history(
            shop__cart={"pod_cpu_usage": full(), "pod_memory_usage": full()},
            shop__web={"pod_cpu_usage": NOTHING, "pod_memory_usage": full()},
        )
    )
    web = next(window for window in found.windows if window.workload == "shop/Deployment/web")
    assert np.isnan(web.values[:, web.names.index("pod_cpu_usage")]).all()


def test_a_workload_with_too_little_history_is_listed_with_what_it_needs() -> None:
    found = gather(history(shop__cart={"pod_memory_usage": full()}, shop__new={"pod_memory_usage": full(10)}))
    assert [window.workload for window in found.windows] == ["shop/Deployment/cart"]
    assert found.left_out == {"shop/Deployment/new": "needs 360 samples of history, has 10"}
    assert "left out shop/Deployment/new" in found.summary()


def test_namespaces_are_patterns() -> None:
    window = {"pod_memory_usage": full()}
    found = gather(history(shop__cart=window, teama__x=window, other__y=window), namespaces=["shop", "team*"])
    assert [one.workload for one in found.windows] == ["shop/Deployment/cart", "teama/Deployment/x"]


def test_no_workload_at_all_says_what_to_check() -> None:
    with pytest.raises(NoData, match="check the namespaces"):
        gather(history(shop__cart={"pod_memory_usage": full()}), namespaces=["nowhere"])


def test_when_all_are_too_young_the_oldest_is_named() -> None:
    with pytest.raises(InsufficientData, match=r"shop/Deployment/cart has the longest history.*needs 360.*has 20"):
        gather(history(shop__cart={"pod_memory_usage": full(20)}, shop__web={"pod_memory_usage": full(3)}))


def test_the_newest_sample_stands_at_the_end_of_the_history() -> None:
    found = gather(history(shop__cart={"pod_memory_usage": full()}))
    assert found.windows[0].times[-1] == np.datetime64("2026-11-23T00:00:00")


@given(st.integers(0, ROWS - 360))
def test_the_halves_are_the_whole(cut: int) -> None:
    windows = gather(history(shop__cart={"pod_memory_usage": full(ROWS - cut)})).windows
    older, newer = halves(windows)
    assert np.array_equal(np.concatenate([older[0].times, newer[0].times]), windows[0].times)
    assert abs(len(older[0]) - len(newer[0])) <= 1


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pod's file system with a ServiceAccount."""
    monkeypatch.setattr(collection, "_SECRET", tmp_path / "secret")
    monkeypatch.setattr(collection, "_SERVICE_ACCOUNT", tmp_path / "account")
    (tmp_path / "account").mkdir()
    for name in ("token", "ca.crt", "service-ca.crt"):
        (tmp_path / "account" / name).write_text("x")
    return tmp_path


def test_the_service_accounts_token_is_sent_over_tls_only(pod: Path) -> None:
    assert mounted("", "token", "https://prometheus") == pod / "account" / "token"
    assert mounted("", "token", "http://prometheus") is None


def test_on_openshift_the_service_ca_is_trusted_first(pod: Path) -> None:
    assert mounted("", "ca.crt", "https://prometheus") == pod / "account" / "service-ca.crt"


def test_a_mounted_secret_goes_before_the_service_account_and_a_setting_before_both(pod: Path) -> None:
    (pod / "secret").mkdir()
    (pod / "secret" / "token").write_text("x")
    assert mounted("", "token", "https://prometheus") == pod / "secret" / "token"
    assert mounted("/given", "token", "https://prometheus") == Path("/given")
