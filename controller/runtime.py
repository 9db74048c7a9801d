"""All parts of one controller put together: what watches tell goes in, work comes out of the queue."""

from __future__ import annotations

import socket
import time
import uuid
from pathlib import Path

from controller.cluster import Api, Cluster, Key, LeaseStore
from controller.cluster.client import NotFound
from controller.cluster.reviews import Reviews
from controller.healer import TICK, Healer, policy_key
from controller.inference import InferenceClient, secured
from controller.leadership import Leadership
from controller.logs import log
from controller.metrics import Metrics
from controller.model import Resource
from controller.notify.base import NoticeQueue, Notifier
from controller.notify.journal import Journal
from controller.notify.slack import Slack
from controller.notify.webhook import Webhook
from controller.observe import OWN_KINDS, World, target_key
from controller.publishing import Publisher
from controller.queue import WorkQueue
from controller.scraping import MayGet, serve_metrics
from controller.settings import Settings
from controller.symptoms import is_failing, might_be_sick
from controller.telling import Teller
from controller.verdicts import Verdicts
from selfheal.errors import WrongUse
from selfheal.heaps import give_back
from selfheal.policy import SERVICE_ACCOUNT
from selfheal.prometheus import PrometheusClient
from selfheal.remediation import Remediation


class Runtime:
    """One controller.

    Args:
        settings: From the environment.
        cluster: The API server.
        lease: Says which replica acts.
        may_get: Asked who may scrape; none: everybody.
    """

    def __init__(self, settings: Settings, cluster: Cluster, lease: LeaseStore, may_get: MayGet | None = None) -> None:
        self._settings = settings
        self._may_get = may_get
        self._cluster = cluster
        self.metrics = Metrics()
        self._leads = False
        self._notices = NoticeQueue(_notifiers(settings))
        self._world = World(settings.namespace, cluster.now)
        self._publisher = self._connect_publisher()
        publish = self._publisher.tell if self._publisher else _to_nobody
        teller = Teller(cluster.records, self._notices, self.metrics, time.monotonic, publish)
        verdicts = Verdicts(settings, _prometheus(settings), _endpoint(settings, self.metrics), cluster.now)
        self._healer = Healer(cluster, self._world, verdicts, teller, self.metrics, settings, cluster.now, self._wake)
        self._queue = WorkQueue(self._tend, settings.workers, failed=self._failed)
        self._leadership = Leadership(
            lease,
            f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}",
            self._begin,
            self._lost,
            duration=settings.lease_seconds,
            deadline=settings.renew_deadline_seconds,
            retry=settings.lease_retry_seconds,
        )
        cluster.fence(lambda: self._leadership.acts)

    def _connect_publisher(self) -> Publisher | None:
        """For Kafka; its client is not even imported where none is told."""
        settings, cluster = self._settings, self._cluster
        if not settings.kafka_bootstrap_servers:
            return None
        from controller.notify.kafka import Kafka

        kafka = Kafka(
            settings.kafka_bootstrap_servers,
            settings.kafka_topic,
            cluster=settings.cluster_name,
            properties=settings.kafka_properties_file,
        )
        return Publisher(cluster.records, self._world, Journal(kafka), self.metrics, cluster.now)

    @classmethod
    def connect(cls, settings: Settings, kubeconfig: Path | None) -> Runtime:
        """With the API server that the credentials lead to.

        Raises:
            WrongUse: Without credentials.
        """
        patience = min(settings.api_timeout_seconds, settings.renew_deadline_seconds / 2)
        api = Api.connect(kubeconfig, patience)
        lease = LeaseStore(api, settings.namespace, SERVICE_ACCOUNT, settings.lease_seconds, api.clock.now)
        cluster = Cluster.connect(kubeconfig, settings.api_timeout_seconds, settings.argocd_namespace)
        return cls(settings, cluster, lease, Reviews(api).may_get if settings.metrics_auth else None)

    def __copy__(self) -> Runtime:
        """Itself: kopf copies its memo for every object that it watches."""
        return self

    def start(self) -> None:
        """Read what is there, and take part in the election; the work begins when this replica leads.

        Raises:
            WrongUse: When our CRDs are not installed.
            Unavailable: When the API server does not answer.
        """
        self._read()
        self._wake(TICK)
        if self._settings.metrics_port:
            self._serve_metrics(self._settings.metrics_port)
        self._notices.start()
        if self._publisher:
            self._publisher.start()
        self._queue.start()
        self._leadership.start()
        give_back()
        log("started", policies=len(self._world.policies()))

    def _serve_metrics(self, port: int) -> None:
        cert, key = self._settings.metrics_cert_file, self._settings.metrics_key_file
        certificate = (cert, key) if cert and key else None
        serve_metrics(self.metrics.registry, port, certificate=certificate, may_get=self._may_get)

    def _read(self) -> None:
        try:
            self._healer.read_all()
        except NotFound as error:
            raise WrongUse(f"the API server does not know our kinds: apply manifests/crds first ({error})") from None

    def _begin(self) -> None:
        """Lead: go on with every open Remediation, whoever began it."""
        self._read()
        self._healer.recorder.load()
        self.metrics.leads(True)
        self._leads = True
        open_now = self._open()
        for key in {target_key(one) for one in open_now} | set(self._world.suspects()) | {TICK}:
            self._wake(key)
        log("went on", open_remediations=len(open_now))

    def _lost(self) -> None:
        self._leads = False
        self.metrics.leads(False)
        if self._publisher:
            self._publisher.forget()

    def _tend(self, key: str) -> float | None:
        """The queue's work; a replica that does not lead forgets it, and looks at everything when it begins to."""
        is_tick = key == str(TICK)
        try:
            if self._leads:
                return self._healer.tend(key)
            return self._healer.stand_by() if is_tick else None
        finally:
            if is_tick:
                self._sweep()
                give_back()

    def _sweep(self) -> None:
        if self._publisher and self._leads:
            self._publisher.sweep()

    def _failed(self, key: str, error: BaseException, failures: int) -> None:
        if self._leads:
            self._healer.failed(key, error, failures)

    def stop(self) -> None:
        """End the steps that are running, give the Lease back, deliver what is to be told, and return."""
        self._queue.stop()
        if self._publisher:
            self._publisher.stop()
        self._leadership.stop()
        self._notices.stop()
        log("stopped")

    def observe(self, kind: str, change: str | None, resource: Resource) -> None:
        """A watch event; quick, without a call to anybody.

        Args:
            kind: Of the object.
            change: ``ADDED``, ``MODIFIED``, ``DELETED``, or None for the first listing.
            resource: The object.
        """
        gone = change == "DELETED"
        if kind not in OWN_KINDS:
            self._observe_workload(kind, resource, gone)
            return
        (self._world.drop if gone else self._world.put)(kind, resource)
        for key in self._concerned(kind, resource):
            self._wake(key)

    def _observe_workload(self, kind: str, resource: Resource, gone: bool) -> None:
        key = self._world.observe(kind, resource, might_be_sick(resource), gone, failing=is_failing(resource))
        owner = key or self._world.owner(kind, resource)
        if owner is not None:
            self._healer.recorder.observe(owner, kind, resource, gone)
        if owner is None or not self._world.opted_in(owner.namespace):
            return
        if key is not None or self._world.open_for(owner) is not None:
            self._wake(owner)

    def _concerned(self, kind: str, resource: Resource) -> set[Key]:
        """What deserves a look after one of our resources, or a Namespace, has changed."""
        match kind:
            case "Remediation":
                return self._concerned_by_remediation(resource)
            case "RemediationApproval":
                named = resource.get("spec", {}).get("remediationName")
                return {target_key(one) for one in self._open() if one.name == named}
            case "SelfHealingPolicy":
                return {policy_key(resource), *self._pending()}
            case _:
                return self._pending()

    def _concerned_by_remediation(self, resource: Resource) -> set[Key]:
        meta, spec = resource["metadata"], resource["spec"]
        target, policy = spec["target"], spec["policyRef"]
        owner = {"metadata": {"namespace": policy.get("namespace", meta["namespace"]), "name": policy["name"]}}
        return {Key(meta["namespace"], target["kind"], target["name"]), policy_key(owner)}

    def _pending(self) -> set[Key]:
        return {target_key(one) for one in self._open()} | set(self._world.suspects())

    def _open(self) -> list[Remediation]:
        return [one for one in self._world.remediations() if one.is_open]

    def _wake(self, key: Key) -> None:
        self._queue.add(str(key))


def _to_nobody(_: Remediation) -> None:
    """Where no topic is told."""


def _notifiers(settings: Settings) -> list[Notifier]:
    found: list[Notifier] = []
    if settings.slack_webhook_file is not None:
        found.append(Slack(settings.slack_webhook_file))
    if settings.webhook_url:
        found.append(Webhook(settings.webhook_url))
    return found


def _prometheus(settings: Settings) -> PrometheusClient | None:
    if not settings.prometheus_url:
        return None
    return PrometheusClient(
        settings.prometheus_url, token_file=settings.prometheus_token_file, ca_file=settings.prometheus_ca_file
    )


def _endpoint(settings: Settings, metrics: Metrics) -> InferenceClient | None:
    if not settings.endpoint_url:
        return None
    client = secured(settings.endpoint_ca_file, settings.endpoint_token_file)
    return InferenceClient(settings.endpoint_url, metrics, settings.endpoint_timeout_seconds, client=client)
