"""Flags and environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from kserve import model_server

from selfheal.errors import NoData, WrongUse
from serving.settings import Settings, make_parser, read_settings
from serving.source import FolderSource


def read(*flags: str, **environment: str) -> Settings:
    return read_settings(make_parser(model_server.parser, environment).parse_args(list(flags)))


def test_without_any_setting_the_model_is_where_kserve_mounts_it() -> None:
    found = read()
    assert (found.model_dir, found.model_uri, found.reload_seconds) == (Path("/mnt/models"), "", 0.0)
    assert found.model_name == "selfheal-ensemble"
    assert not make_parser(model_server.parser, {}).parse_args([]).enable_grpc


def test_an_alias_is_looked_at_every_half_minute() -> None:
    assert read("--model-uri", "models:/selfheal-ensemble@champion").reload_seconds == 30.0


def test_flags_win_over_the_environment() -> None:
    environment = {"SELFHEAL_MODEL_URI": "models:/a/1", "SELFHEAL_TRACKING_URI": "http://a", "SELFHEAL_PORT": "9"}
    found = read("--model-uri", "models:/b/2", **environment)
    assert (found.model_uri, found.tracking_uri) == ("models:/b/2", "http://a")
    parser = make_parser(model_server.parser, environment)
    assert parser.parse_args([]).http_port == 9
    assert parser.parse_args(["--port", "7"]).http_port == parser.parse_args(["--http_port", "7"]).http_port == 7


def test_a_model_uri_without_a_registry_is_wrong_use() -> None:
    with pytest.raises(WrongUse, match="--tracking-uri"):
        read("--model-uri", "models:/selfheal-ensemble@champion").source()


def test_more_than_one_process_is_refused() -> None:
    with pytest.raises(WrongUse, match="replicas"):
        read("--workers", "2")


def test_a_port_that_is_no_number_is_wrong_use() -> None:
    with pytest.raises(WrongUse, match="SELFHEAL_PORT=http"):
        read(SELFHEAL_PORT="http")


def test_a_folder_tells_when_its_files_change(tmp_path: Path) -> None:
    source = FolderSource(tmp_path)
    with pytest.raises(NoData, match="no model in"):
        source.version()
    (tmp_path / "manifest.json").write_text("{}")
    first = source.version()
    assert source.version() == first
    (tmp_path / "manifest.json").write_text("{ }")
    assert source.version() != first
