"""What the controller's ServiceAccount may do, asked of a real API server before and after a namespace is opted in."""

from __future__ import annotations

import pytest

from bench.cluster import ApiCluster
from selfheal.policy import HEALER_ROLE, SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from tests.integration.conftest import wait_until
from tests.support.rights import HEALS, LEASES, NEVER, NEVER_ANYWHERE, READS, RECORDS, allowed

pytestmark = pytest.mark.api


def opt_in(cluster: ApiCluster, namespace: str) -> None:
    subject = f"--serviceaccount={SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"
    role = f"--clusterrole={HEALER_ROLE}"
    cluster.kubectl("create", "rolebinding", HEALER_ROLE, "-n", namespace, role, subject)
    wait_until(lambda: bool(allowed(cluster, namespace, HEALS[:2])), "the RoleBinding holds")


def test_before_opting_in_it_reads_and_keeps_records_and_changes_nothing(
    api_cluster: ApiCluster, namespace: str
) -> None:
    assert allowed(api_cluster, namespace, READS + RECORDS) == set(READS + RECORDS)
    assert allowed(api_cluster, namespace, HEALS + NEVER) == set()


def test_opting_in_gives_the_write_verbs_of_the_actions_in_that_namespace_alone(
    api_cluster: ApiCluster, namespace: str
) -> None:
    opt_in(api_cluster, namespace)
    assert allowed(api_cluster, namespace, HEALS) == set(HEALS)
    assert allowed(api_cluster, namespace, NEVER) == set()
    for other in ("kube-system", "default", SYSTEM_NAMESPACE):
        assert allowed(api_cluster, other, HEALS) == set()


def test_nothing_cluster_wide_is_ever_its_to_change(api_cluster: ApiCluster, namespace: str) -> None:
    opt_in(api_cluster, namespace)
    assert allowed(api_cluster, "", NEVER_ANYWHERE + HEALS) == set()


def test_it_elects_its_leader_in_its_own_namespace(api_cluster: ApiCluster) -> None:
    assert allowed(api_cluster, SYSTEM_NAMESPACE, LEASES) == set(LEASES)
    assert allowed(api_cluster, "kube-system", LEASES) == set()
    assert allowed(api_cluster, SYSTEM_NAMESPACE, [("get", "", "secrets"), ("list", "", "secrets")]) == set()
