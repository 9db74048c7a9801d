"""One small ensemble for all tests that only read it: training takes seconds."""

import pytest
import torch

from selfheal.ensemble import Ensemble
from tests.unit.detection.series import daily

SHOP = ("pod_memory_usage", "memory_limit_ratio", "pod_cpu_usage", "cpu_throttled_ratio", "persistent_volume_usage")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ensemble() -> Ensemble:
    windows = [
        daily(SHOP, 6, seed=seed, workload=f"shop/Deployment/{name}") for seed, name in enumerate(("cart", "web"))
    ]
    return Ensemble.fit(windows)
