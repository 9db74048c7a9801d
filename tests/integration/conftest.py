"""One real API server for all tests of the session, with everything of manifests/ applied."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from bench.cluster import ApiCluster

MANIFESTS = Path(__file__).parents[2] / "manifests"


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for a server to get there; fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)


@pytest.fixture(scope="session")
def api_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiCluster]:
    """etcd, API server, controller manager, scheduler and simulated nodes, with CRDs, RBAC and admission policies.

    Tests share it: work in a namespace of your own (fixture ``namespace``), and take back what is cluster-wide.
    The admission policies hold: an approval must name the user who makes it (the administrator is ``admin``).
    """
    with ApiCluster.start(tmp_path_factory.mktemp("cluster")) as cluster:
        crds = sorted((MANIFESTS / "crds").glob("*.yaml"))
        for crd in crds:
            cluster.kubectl("apply", "--server-side", "-f", str(crd))
            cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(crd))
        cluster.kubectl("apply", "--server-side", "-k", str(MANIFESTS))
        yield cluster


@pytest.fixture
def namespace(api_cluster: ApiCluster) -> Iterator[str]:
    """A new namespace, deleted afterwards without waiting."""
    name = f"test-{uuid4().hex[:8]}"
    api_cluster.kubectl("create", "namespace", name)
    yield name
    api_cluster.kubectl("delete", "namespace", name, "--wait=false")
