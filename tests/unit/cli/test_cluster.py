"""What the commands write agrees with what the manifests show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from selfheal.cli.output import age
from selfheal.policy import HEALER_ROLE, OPT_IN_LABEL, SERVICE_ACCOUNT, SYSTEM_NAMESPACE

MANIFESTS = Path(__file__).parents[3] / "manifests"


def test_enable_writes_the_binding_that_the_example_shows() -> None:
    from selfheal.cli.cluster import _binding

    namespace, binding = yaml.safe_load_all((MANIFESTS / "examples" / "opt-in.yaml").read_text())
    ours = _binding("shop")
    assert namespace["metadata"]["labels"] == {OPT_IN_LABEL: "enabled"}
    assert ours["roleRef"] == binding["roleRef"]
    assert ours["subjects"] == binding["subjects"]
    assert ours["metadata"]["name"] == binding["metadata"]["name"]


def test_the_names_are_those_of_the_installed_rbac() -> None:
    text = "\n---\n".join(path.read_text() for path in sorted((MANIFESTS / "rbac").glob("*.yaml")))
    found = {(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(text) if one}
    assert {
        ("Namespace", SYSTEM_NAMESPACE),
        ("ServiceAccount", SERVICE_ACCOUNT),
        ("ClusterRole", HEALER_ROLE),
    } <= found


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0s"), (119, "119s"), (120, "2m"), (7199, "120m"), (7200, "2h"), (172_800, "2d")],
)
def test_ages_read_as_kubectl_writes_them(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


def test_work_outside_of_a_terminal_is_told_in_log_lines(capsys: pytest.CaptureFixture[str]) -> None:
    from selfheal.cli.output import progress

    with progress() as show:
        for done in range(1, 6):
            show("pod_cpu_usage", done, 5)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"\S+Z 1/5 pod_cpu_usage\n\S+Z 5/5 pod_cpu_usage\n", err)


def test_json_results_stand_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    from selfheal.cli.output import emit

    emit({"a": None}, "for people", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"a": None}
