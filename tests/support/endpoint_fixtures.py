"""Fixtures of the endpoint's tests: ``pytest_plugins = ["tests.support.endpoint_fixtures"]``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from selfheal.ensemble import Ensemble
from selfheal.protocol import ModelInfo
from tests.support.endpoint import Endpoint, endpoint, tiny_ensemble


@pytest.fixture(scope="session")
def ensemble() -> Ensemble:
    """A small model; training it takes some seconds, so once."""
    return tiny_ensemble().with_info(ModelInfo(version="7", run_id="abc"))


@pytest.fixture(scope="session")
def model_dir(ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in a folder."""
    folder = tmp_path_factory.mktemp("models") / "seven"
    ensemble.save(folder)
    return folder


@pytest.fixture(scope="session")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A ready endpoint with it."""
    with endpoint(tmp_path_factory.mktemp("server"), "--model-dir", str(model_dir)) as running:
        running.wait_ready()
        yield running
