"""One real API server for all tests of the session, with everything of manifests/ applied."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bench.cluster import ApiCluster
from bench.controlplane import KubectlFailed
from bench.helm import write_schemas
from selfheal.policy import API_VERSION

MANIFESTS = Path(__file__).parents[2] / "manifests"
_FORGED_APPROVAL = {
    "apiVersion": API_VERSION,
    "kind": "RemediationApproval",
    "metadata": {"name": "forged", "namespace": "default"},
    "spec": {"remediationName": "none", "decision": "Approve", "approver": "somebody else"},
}
_FOREIGN_POLICY = {
    "apiVersion": API_VERSION,
    "kind": "SelfHealingPolicy",
    "metadata": {"name": "foreign", "namespace": "default"},
    "spec": {"anomalyType": "MemoryLeak", "action": "restart", "targetNamespace": "elsewhere"},
}


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
        cluster.kubectl("apply", "--server-side", "-k", str(MANIFESTS))
        crds = [f"crd/{file.stem}.aiops.example.com" for file in (MANIFESTS / "crds").glob("*.yaml")]
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *crds)
        # Admission policies hold some seconds after they are stored.
        wait_until(lambda: _is_forbidden(cluster, _FORGED_APPROVAL), "the admission policy selfheal-approver holds")
        wait_until(lambda: _is_forbidden(cluster, _FOREIGN_POLICY), "selfheal-target-namespace holds")
        yield cluster


def _is_forbidden(cluster: ApiCluster, document: dict[str, Any]) -> bool:
    try:
        cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(document))
    except KubectlFailed as error:
        return "denied request" in str(error)
    return False


@pytest.fixture
def namespace(api_cluster: ApiCluster) -> Iterator[str]:
    """A new namespace, deleted afterwards without waiting."""
    name = f"test-{uuid4().hex[:8]}"
    api_cluster.kubectl("create", "namespace", name)
    yield name
    api_cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def schemas(cluster: ApiCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with JSON schemas of every kind that the module's own cluster knows, for kubeconform."""
    folder = tmp_path_factory.mktemp("schemas")
    assert write_schemas(cluster, folder) > 100
    return folder
