"""The 23 queries as data."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from selfheal.catalogue import BY_NAME, CATALOGUE, CORE_NAMES, Scope, catalogue_hash, workload_metrics


def test_there_are_23_queries_of_which_the_articles_16_are_core() -> None:
    assert [query.number for query in CATALOGUE] == list(range(1, 24))
    assert len(CORE_NAMES) == 16
    assert len(BY_NAME) == 23


def test_the_article_counts_hold_by_category() -> None:
    counts: dict[str, int] = {}
    for query in CATALOGUE:
        if query.core:
            counts[query.category] = counts.get(query.category, 0) + 1
    assert counts == {"Resource": 5, "Stability": 3, "Pod status": 4, "Storage": 2, "Control plane": 2}


def test_the_articles_memory_query_is_kept_to_the_letter() -> None:
    expected = 'sum by (pod, namespace) (container_memory_working_set_bytes{container!="POD", container!=""})'
    assert BY_NAME["pod_memory_usage"].forms[0] == expected


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus")
def test_every_form_parses_in_prometheus(tmp_path: Path) -> None:
    rules = [
        f"  - record: probe:{query.name}:{index}\n    expr: {form!r}"
        for query in CATALOGUE
        for index, form in enumerate(query.forms)
    ]
    file = tmp_path / "rules.yml"
    file.write_text("groups:\n- name: catalogue\n  rules:\n" + "\n".join(rules) + "\n")
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_hash_changes_with_a_name_and_with_the_order() -> None:
    assert catalogue_hash(["pod_cpu_usage", "pod_memory_usage"]) != catalogue_hash(
        ["pod_memory_usage", "pod_cpu_usage"]
    )
    assert catalogue_hash(["pod_cpu_usage"]) != catalogue_hash(["pod_memory_usage"])
    assert re.fullmatch("sha256:[0-9a-f]{64}", catalogue_hash())


def test_only_workload_metrics_may_drive_an_action_and_foreign_ones_count_as_such() -> None:
    assert workload_metrics(["pods_failed", "pod_memory_usage", "queue_length"]) == ("pod_memory_usage", "queue_length")
    assert BY_NAME["apiserver_error_rate"].scope is Scope.CLUSTER
