"""Kafka's jars are those that the repository pins, or none at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import kafka
from bench.build import BuildFailed


def tool(folder: Path, name: str, script: str = "") -> None:
    """A program of our own in place of the real one."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/bash\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a PATH of our own programs only."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "tools"))
    tool(tmp_path / "tools", "java")
    return tmp_path / "tools"


def test_a_jar_that_is_not_what_it_was_is_named_and_nothing_is_kept(tools: Path) -> None:
    tool(
        tools, "mvn", 'for word; do out="${word#-DoutputDirectory=}"; done; /bin/mkdir "$out"; echo x >"$out/evil.jar"'
    )
    with pytest.raises(BuildFailed, match=r"evil\.jar.*kafka-clients"):
        kafka.fetch(lambda _: None)
    assert not [one for one in kafka.jars().parent.iterdir() if one.is_dir()]


def test_without_maven_the_package_is_named(tools: Path) -> None:
    assert tools.exists()
    with pytest.raises(BuildFailed, match="apt-get install maven"):
        kafka.fetch(lambda _: None)


def test_a_registry_that_is_not_reached_leaves_a_log(tools: Path) -> None:
    tool(tools, "mvn", "echo no route; exit 1")
    with pytest.raises(BuildFailed, match="the whole log is") as caught:
        kafka.fetch(lambda _: None)
    assert Path(str(caught.value).rsplit(" ", 1)[1]).read_text() == "no route\n"
