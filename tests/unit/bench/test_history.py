from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bench.history import LEVELS, traffic, write_history
from bench.paths import SOURCE

END = 1_795_550_400.0
LINE = re.compile(r"^(?P<name>[a-z_:0-9]+)\{(?P<labels>.*)\} (?P<value>\S+) (?P<time>\d+)$")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[re.Match[str]]:
    file = tmp_path_factory.mktemp("history") / "history.om"
    write_history(file, END, days=0.5, step=60)
    text = file.read_text().splitlines()
    assert text[-1] == "# EOF"
    found = [LINE.match(line) for line in text if not line.startswith("#")]
    assert all(found)
    return [line for line in found if line]


def _labels(lines: list[re.Match[str]], metric: str, label: str) -> set[str]:
    pattern = re.compile(rf'(?:^|,){label}="([^"]+)"')
    return {value for line in lines if line["name"] == metric for value in pattern.findall(line["labels"])}


def test_every_series_says_that_it_is_synthetic(lines: list[re.Match[str]]) -> None:
    assert all('synthetic="true"' in line["labels"] for line in lines)


def test_nothing_is_newer_than_the_end(lines: list[re.Match[str]]) -> None:
    assert max(int(line["time"]) for line in lines) < END


def test_counters_only_grow(lines: list[re.Match[str]]) -> None:
    series: dict[str, list[float]] = {}
    for line in lines:
        if line["name"] == "container_cpu_usage_seconds_total":
            series.setdefault(line["labels"], []).append(float(line["value"]))
    assert series
    assert all((np.diff(values) >= 0).all() for values in series.values())


def test_memory_stays_near_the_level_of_the_real_shop(lines: list[re.Match[str]]) -> None:
    for name, level in LEVELS.items():
        values = [
            float(line["value"])
            for line in lines
            if line["name"] == "container_memory_working_set_bytes" and f'pod="{name}-' in line["labels"]
        ]
        assert np.median(values) == pytest.approx(level.working_set, rel=0.03)
        assert max(values) < level.limit


def test_every_pod_has_an_owner_that_belongs_to_a_deployment(lines: list[re.Match[str]]) -> None:
    sets = _labels(lines, "kube_replicaset_owner", "replicaset")
    owners = _labels(lines, "kube_pod_owner", "owner_name")
    assert owners
    assert owners <= sets


def test_the_same_seed_draws_the_same_past(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_history(tmp_path / name, END, days=0.1, step=60, seed=3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_traffic_has_the_shape_of_the_real_customers() -> None:
    source = (SOURCE / "shop" / "main.go").read_text()
    assert "0.55 - 0.45*math.Cos(2*math.Pi*(hour-2)/24)" in source
    monday = 1_795_392_000.0  # 2026-11-23T00:00:00Z
    at = traffic(np.array([monday + 14 * 3600, monday + 2 * 3600, monday - 86400 + 14 * 3600]))
    assert at == pytest.approx([1.0, 0.1, 0.9])
