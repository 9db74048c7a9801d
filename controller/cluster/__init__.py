"""The API server, as the rest of the controller sees it; only ``controller.cluster.client`` imports kubernetes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from controller.cluster.client import Api
from controller.cluster.healthy import HealthyRevisions
from controller.cluster.lease import LeaseStore
from controller.cluster.paths import Key
from controller.cluster.reader import ARGOCD_NAMESPACE, Reader
from controller.cluster.records import Records
from controller.cluster.writer import Writer

__all__ = ["Api", "Cluster", "Key", "LeaseStore", "Reader", "Records", "Writer"]


class Cluster:
    """One API server: ``read`` workloads, ``write`` operations, keep ``records``, note ``healthy`` revisions.

    Args:
        api: The transport.
        argocd_namespace: Where Argo CD keeps its settings and its Applications.
    """

    def __init__(self, api: Api, argocd_namespace: str = ARGOCD_NAMESPACE) -> None:
        self._api = api
        self.read = Reader(api, argocd_namespace=argocd_namespace)
        self.write = Writer(api)
        self.records = Records(api, self.now)
        self.healthy = HealthyRevisions(api)

    def now(self) -> datetime:
        """What time it is at the API server: that of everything which is recorded."""
        return self._api.clock.now()

    def fence(self, allowed: Callable[[], bool]) -> None:
        """From now on, ask before anything is written."""
        self._api.fence(allowed)

    @classmethod
    def connect(
        cls, kubeconfig: Path | None, timeout: float = 10.0, argocd_namespace: str = ARGOCD_NAMESPACE
    ) -> Cluster:
        """By a kubeconfig file, by ``KUBECONFIG``, or as the pod's ServiceAccount.

        Raises:
            WrongUse: When there are no credentials.
        """
        return cls(Api.connect(kubeconfig, timeout), argocd_namespace)
