"""Training in shards gives the models that one task would have trained, and fails as a whole or not at all."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Sequence
from multiprocessing import parent_process
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from selfheal.detectors.arima import ArimaDetector
from selfheal.errors import BadModel, PermanentError, WrongUse
from selfheal.members import Members
from selfheal.shards import cut, load_all, load_shard, merge, save_shards
from selfheal.training import assemble, split_windows, train_shard
from selfheal.window import MetricWindow, load_windows, save_windows
from tests.unit.detection.series import daily

NAMES = ("pod_memory_usage", "pod_cpu_usage")
LONG = [daily(NAMES, 4, seed=seed, workload=f"shop/Deployment/w{seed}") for seed in range(4)]
SHORT = daily(NAMES, 0.1, workload="shop/Deployment/new")


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def trained(folder: Path, windows: Sequence[MetricWindow], shard_size: int) -> list[Path]:
    """What split and each train task write, below a folder."""
    save_windows(folder / "windows", windows)
    parts = [folder / name for name in ("training", "calibration", "held_back")]
    shards = split_windows(folder / "windows", shard_size, *parts)
    for shard in shards:
        train_shard(folder / "training", shard, 0, folder / shard, workers=1)
    return [folder / shard for shard in shards]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ensemble of one shard."""
    folder = tmp_path_factory.mktemp("whole")
    shards = trained(folder, [*LONG, SHORT], 200)
    assert len(shards) == 1
    assemble(shards, folder / "calibration", 0, folder / "ensemble")
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of three shards."""
    folder = tmp_path_factory.mktemp("parts")
    assert [shard.name for shard in trained(folder, [*LONG, SHORT], 2)] == ["s0000", "s0001", "s0002"]
    return folder


@pytest.mark.parametrize("order", [("s0000", "s0001", "s0002"), ("s0002", "s0000", "s0001")])
def test_shards_in_any_order_give_the_very_files_that_one_shard_gives(
    order: tuple[str, ...], whole: Path, parts: Path, tmp_path: Path
) -> None:
    assemble([parts / shard for shard in order], parts / "calibration", 0, tmp_path / "ensemble")
    assert digests(tmp_path / "ensemble") == digests(whole / "ensemble")


def test_a_workload_with_too_little_history_abstains_and_fails_no_shard(parts: Path) -> None:
    # The new workload shares the last shard with one that is trained.
    arima = Members.load(parts / "s0002" / "arima")
    assert list(arima.silent) == [SHORT.workload]
    assert list(arima.models) == [LONG[3].workload]


def test_only_the_first_shard_has_pooled_models_and_reads_all_windows(parts: Path) -> None:
    assert [Members.load(parts / f"s000{number}" / "lstm").pooled is not None for number in range(3)] == [
        True,
        False,
        False,
    ]
    assert [len(load_shard(parts / "training", f"s000{number}")[1]) for number in range(3)] == [5, 0, 0]


def test_shards_that_overlap_are_no_model(parts: Path) -> None:
    one = Members.load(parts / "s0001" / "arima")
    with pytest.raises(BadModel, match="overlap"):
        merge([one, one], [window.workload for window in LONG])


def test_shards_of_different_detectors_are_no_model(parts: Path) -> None:
    found = [Members.load(parts / "s0000" / "arima"), Members.load(parts / "s0001" / "lstm")]
    with pytest.raises(BadModel, match="differ in detector"):
        merge(found, [])


def test_a_workload_that_cannot_be_trained_fails_its_shard_by_name(tmp_path: Path) -> None:
    values = LONG[1].values.copy()
    values[::7] = 1e308  # the sum of such numbers is no number
    save_shards(tmp_path, [LONG[0], LONG[1].with_values(values)], 1)
    with (
        np.errstate(all="ignore"),
        pytest.raises(PermanentError, match="isolation_forest cannot be trained for shop/Deployment/w1: ValueError"),
    ):
        train_shard(tmp_path, "s0001", 0, tmp_path / "models", workers=1)


class DiesInAWorker(ArimaDetector):
    """As happens when several workers need more memory than there is."""

    def fit(self, window: MetricWindow) -> Self:
        if parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(window)


def test_a_shard_whose_worker_was_killed_is_trained_again_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_shards(tmp_path, LONG[:2], 2)
    for home in ("selfheal.detectors", "selfheal.members"):
        monkeypatch.setattr(f"{home}.DETECTORS", {"arima": DiesInAWorker})
    assert train_shard(tmp_path, "s0000", 0, tmp_path / "models", workers=2) == 2
    assert len(Members.load(tmp_path / "models" / "arima").models) == 2


@given(some.integers(0, 500), some.integers(1, 300))
def test_shards_are_as_few_as_possible_of_nearly_one_size_and_in_order(count: int, most: int) -> None:
    parts = cut(count, most)
    assert [number for part in parts for number in range(count)[part]] == list(range(count))
    sizes = [len(range(count)[part]) for part in parts]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == max(1, -(-count // most))


def test_a_shard_must_hold_a_workload() -> None:
    with pytest.raises(WrongUse, match="shard_size must be at least 1"):
        cut(10, 0)


def test_windows_come_back_from_shards_in_their_order(tmp_path: Path) -> None:
    save_shards(tmp_path / "shards", LONG, 3)
    save_windows(tmp_path / "whole", LONG)
    found, expected = load_all(tmp_path / "shards"), load_windows(tmp_path / "whole")
    assert [(one.workload, one.digest()) for one in found] == [(one.workload, one.digest()) for one in expected]


def test_windows_that_were_not_cut_are_read_as_they_are(tmp_path: Path) -> None:
    save_windows(tmp_path, LONG)
    assert [window.digest() for window in load_all(tmp_path)] == [window.digest() for window in LONG]


def test_an_unknown_shard_is_named_beside_those_there_are(tmp_path: Path) -> None:
    save_shards(tmp_path, LONG, 2)
    with pytest.raises(WrongUse, match="no shard 's0007': there are s0000, s0001"):
        load_shard(tmp_path, "s0007")
