from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.current import context
from bench.faults import FAULTS
from bench.mttr import percentile, summarise
from bench.paths import SOURCE, State
from bench.processes import Processes
from bench.report import Chapter, Curve, write_report
from bench.watch import Event, Heal, rolled_out
from selfheal.errors import WrongUse


def kubeconfig(folder: Path, name: str) -> Path:
    file = folder / "config"
    file.write_text(
        f"current-context: {name}\ncontexts: [{{name: {name}, context: {{cluster: c}}}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://here'}}]\n"
    )
    return file


@pytest.mark.parametrize("name", ["selfheal-bench", "kind-trial", "minikube"])
def test_a_trial_cluster_is_taken_as_the_current_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, name)))
    assert context() == (name, "https://here")


@pytest.mark.parametrize("name", ["production", "kind", "minikube-prod", "my-selfheal-x", "''"])
def test_any_other_cluster_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, name)))
    with pytest.raises(WrongUse, match="selfheal-\\*"):
        context()


def test_a_program_is_found_again_by_a_later_command_and_ended_by_its_id(tmp_path: Path) -> None:
    first = Processes(State(tmp_path))
    first.start("sleeper", ["sleep", "60"])
    later = Processes(State(tmp_path))
    assert later.pid("sleeper") == first.pid("sleeper") is not None
    assert later.stop("sleeper")
    assert later.running() == {}


def test_a_reused_process_id_is_not_taken_for_ours(tmp_path: Path) -> None:
    record = {"pid": os.getpid(), "started": "1", "command": []}
    (State(tmp_path).folder("pids") / "old.json").write_text(json.dumps(record))
    assert Processes(State(tmp_path)).pid("old") is None
    assert not Processes(State(tmp_path)).stop("old")


def test_ending_nothing_is_no_error_and_the_status_of_nothing_is_three(tmp_path: Path) -> None:
    base = [sys.executable, "-m", "bench"]
    state = ["--state", str(tmp_path / "none")]
    env = os.environ | {"PYTHONPATH": f"{SOURCE.parent / 'src'}:{SOURCE.parent}"}
    assert subprocess.run([*base, "down", *state], capture_output=True, env=env, check=False).returncode == 0
    asked = subprocess.run([*base, "status", *state], capture_output=True, text=True, env=env, check=False)
    assert asked.returncode == 3
    assert "bench up" in asked.stderr


def test_the_95th_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.95) == 3.0
    assert percentile([float(n) for n in range(1, 101)], 0.95) == 95.0


def test_a_heal_that_did_not_come_counts_as_not_healed() -> None:
    good = Heal("leak", 0.0, [Event("detected", 4.0, ""), Event("verified", 50.0, "")], healed=True)
    bad = Heal("leak", 0.0, [Event("detected", 6.0, "")])
    found = summarise([good, bad])["leak"]
    assert (found["runs"], found["healed"]) == (2, 1)
    assert found["seconds"] == {
        "detected": {"median": 5.0, "p95": 6.0, "values": [4.0, 6.0]},
        "verified": {"median": 50.0, "p95": 50.0, "values": [50.0]},
    }


def test_a_rollout_is_over_only_when_all_replicas_are_new_and_available() -> None:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2)
    deployment = {"metadata": {"generation": 3}, "spec": {"replicas": 2}, "status": {**counts, "observedGeneration": 3}}
    assert rolled_out(deployment)
    assert not rolled_out({**deployment, "status": {**counts, "updatedReplicas": 1, "observedGeneration": 3}})
    assert not rolled_out({**deployment, "status": {**counts, "observedGeneration": 2}})


def test_the_report_needs_nothing_from_elsewhere_and_escapes_what_the_cluster_says(tmp_path: Path) -> None:
    heal = Heal(
        "leak", 0.0, [Event("fault", 0.0, "<script>alert(1)</script>"), Event("verified", 60.0, "")], healed=True
    )
    curve = Curve((-5.0, 0.0, 60.0), (1.0, 2.0, 3.0), limit=(4.0, 4.0, 4.0), expected=1.0)
    write_report(tmp_path / "report.html", [Chapter(FAULTS[2], heal, curve)], {"model": "1"})
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page
    names = re.compile(r' xmlns(:\w+)?="[^"]*"')  # an XML namespace is a name, nothing fetches it
    assert "http" not in names.sub("", page).replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in page
    assert "1 of 1 faults healed" in page
    assert json.loads((tmp_path / "timeline.json").read_text())["faults"][0]["healed"] is True
