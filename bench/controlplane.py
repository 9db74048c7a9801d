"""etcd, API server, controller manager and scheduler: the part that all tiers share."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import yaml

from bench.build import binary
from bench.paths import State
from bench.pki import Authority
from bench.processes import Processes
from selfheal.errors import SelfhealError

SERVICES = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
NODE_ADDRESS = "10.244.0.1"

# Who wrote what: an independent oracle reads this file, and never our own resources.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:kube-scheduler", "system:kube-controller-manager"]},
        {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
        {"level": "None", "resources": [{"group": "", "resources": ["events"]}, {"group": "events.k8s.io"}]},
        {"level": "Request", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        {"level": "None"},
    ],
}


class KubectlFailed(SelfhealError):
    """kubectl ended with an error; the message is what it said."""


@dataclass(frozen=True)
class Addresses:
    """Where a control plane listens.

    Attributes:
        host: Address of the API server.
        api, etcd, peer, manager, scheduler, simulator: Ports.
    """

    host: str
    api: int
    etcd: int
    peer: int
    manager: int
    scheduler: int
    simulator: int

    @classmethod
    def free(cls) -> Addresses:
        """Loopback with ports nobody uses, so that many clusters live side by side."""
        return cls("127.0.0.1", *free_ports(6))

    @classmethod
    def node(cls) -> Addresses:
        """The one real node: pods must reach the API server at the bridge's address."""
        return cls(NODE_ADDRESS, 6443, 2379, 2380, 10257, 10259, 0)

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{self.host}:{self.api}"


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback address that nobody uses."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@dataclass(frozen=True)
class ControlPlane:
    """A control plane in a state folder."""

    state: State
    addresses: Addresses

    @classmethod
    def load_or_create(cls, state: State, tier: str) -> ControlPlane:
        """The addresses of an earlier start, or new ones; they are kept, so that ``up`` twice is one cluster."""
        if state.settings.exists():
            record = json.loads(state.settings.read_text())
            return cls(state, Addresses(**record["addresses"]))
        addresses = Addresses.node() if tier == "node" else Addresses.free()
        state.root.mkdir(parents=True, exist_ok=True)
        state.settings.write_text(json.dumps({"tier": tier, "addresses": asdict(addresses)}, indent=1) + "\n")
        return cls(state, addresses)

    @property
    def processes(self) -> Processes:
        """The programs of this cluster."""
        return Processes(self.state)

    @property
    def authority(self) -> Authority:
        """Signs everything here."""
        return Authority(self.state.pki)

    def start(self) -> None:
        """Start what does not run, and wait until the API server is ready.

        Raises:
            bench.processes.StartFailed: With the end of the log.
        """
        self._start_etcd()
        self._start_api_server()
        self.authority.kubeconfig(self.state.kubeconfig, self.addresses.server, "admin", "system:masters")
        self._start_controllers()

    def _start_etcd(self) -> None:
        client = f"http://127.0.0.1:{self.addresses.etcd}"
        peer = f"http://127.0.0.1:{self.addresses.peer}"
        self.processes.start(
            "etcd",
            [
                binary("etcd"),
                f"--data-dir={self.state.folder('etcd')}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",  # a bench may lose its data; disks here are slow
                "--log-level=warn",
            ],
        )
        self.processes.wait("etcd", lambda: _answers(f"{client}/health", None))

    def _start_api_server(self) -> None:
        pki, host = self.state.pki, self.addresses.host
        names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        hosts = ("127.0.0.1", KUBERNETES_SERVICE, NODE_ADDRESS, *names, "kubernetes.default.svc.cluster.local")
        crt, key = self.authority.issue("apiserver", "kube-apiserver", hosts=hosts)
        client_crt, client_key = self.authority.issue(
            "kubelet-client", "kube-apiserver-kubelet-client", "system:masters"
        )
        audit = self.state.root / "audit-policy.yaml"
        audit.write_text(yaml.safe_dump(_AUDIT_POLICY))
        self.processes.start(
            "kube-apiserver",
            [
                binary("kube-apiserver"),
                f"--etcd-servers=http://127.0.0.1:{self.addresses.etcd}",
                f"--bind-address={host}",
                f"--secure-port={self.addresses.api}",
                f"--advertise-address={host}",
                # The Service "kubernetes" must point at us on the node; a loopback address may not stand in Endpoints.
                f"--endpoint-reconciler-type={'lease' if host == NODE_ADDRESS else 'none'}",
                f"--client-ca-file={pki / 'ca.crt'}",
                f"--tls-cert-file={crt}",
                f"--tls-private-key-file={key}",
                f"--service-account-key-file={pki / 'sa.pub'}",
                f"--service-account-signing-key-file={pki / 'sa.key'}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-cluster-ip-range={SERVICES}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
                f"--kubelet-client-certificate={client_crt}",
                f"--kubelet-client-key={client_key}",
                f"--kubelet-certificate-authority={pki / 'ca.crt'}",
                "--kubelet-preferred-address-types=InternalIP",
                f"--audit-policy-file={audit}",
                f"--audit-log-path={self.state.logs / 'audit.log'}",
                "--audit-log-maxsize=100",
                "--audit-log-maxbackup=2",
                "--profiling=false",
            ],
        )
        trust = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self.processes.wait("kube-apiserver", lambda: _answers(f"{self.addresses.server}/readyz", trust))

    def _start_controllers(self) -> None:
        pki = self.state.pki
        manager = self._client("system:kube-controller-manager")
        self.processes.start(
            "kube-controller-manager",
            [
                binary("kube-controller-manager"),
                f"--kubeconfig={manager}",
                f"--authentication-kubeconfig={manager}",
                f"--authorization-kubeconfig={manager}",
                f"--service-account-private-key-file={pki / 'sa.key'}",
                f"--root-ca-file={pki / 'ca.crt'}",
                "--use-service-account-credentials",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                f"--secure-port={self.addresses.manager}",
            ],
        )
        scheduler = self._client("system:kube-scheduler")
        self.processes.start(
            "kube-scheduler",
            [
                binary("kube-scheduler"),
                f"--kubeconfig={scheduler}",
                f"--authentication-kubeconfig={scheduler}",
                f"--authorization-kubeconfig={scheduler}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                f"--secure-port={self.addresses.scheduler}",
            ],
        )
        # Pods need their namespace's ServiceAccount, which the controller manager makes.
        self.processes.wait("kube-controller-manager", lambda: self.kubectl_ok("get", "serviceaccount", "default"))

    def _client(self, name: str, group: str = "") -> Path:
        file = self.state.pki / f"{name.replace(':', '-')}.kubeconfig"
        return self.authority.kubeconfig(file, self.addresses.server, name, group)

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl as administrator and return what it printed.

        Raises:
            KubectlFailed: With what it said.
        """
        command = [str(binary("kubectl")), "--kubeconfig", str(self.state.kubeconfig), *words]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise KubectlFailed(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def kubectl_ok(self, *words: str) -> bool:
        """Whether kubectl succeeds."""
        try:
            self.kubectl(*words)
        except KubectlFailed:
            return False
        return True

    def stop(self) -> list[str]:
        """End everything of this cluster, the youngest first; returns the names of what ran."""
        order = ["kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"]
        running = self.processes.running()
        names = [name for name in running if name not in order] + [name for name in order if name in running]
        return [name for name in names if self.processes.stop(name)]


def _answers(url: str, trust: ssl.SSLContext | None) -> bool:
    try:
        return httpx.get(url, verify=trust or True, timeout=2).is_success
    except httpx.TransportError:
        return False
