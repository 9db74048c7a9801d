"""One small ensemble for all tests that only read it: training takes seconds."""

import pytest
import torch

from selfheal.ensemble import Ensemble
from tests.unit.detection.series import shop


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ensemble() -> Ensemble:
    windows = [shop(6, seed=seed, workload=f"shop/Deployment/{name}") for seed, name in enumerate(("cart", "web"))]
    return Ensemble.fit(windows)
