"""Tier ``node``: a real kubelet with containerd, kube-proxy, DNS and Prometheus. Needs root."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench import build
from bench.cluster import Cluster, Say
from bench.controlplane import NODE_ADDRESS, ControlPlane
from bench.images import PAUSE, bench_images, import_images
from bench.machine import (
    BRIDGE,
    RUN,
    SOCKET,
    bridge,
    claim,
    containerd_answers,
    holder,
    install_packages,
    mount_volume,
    remove_containers,
    sweep,
    write_changed,
)
from bench.monitoring import start_monitoring
from bench.paths import State
from selfheal.errors import SelfhealError, WrongUse

NODE = "bench"
DNS = "10.96.0.10"


@dataclass(frozen=True)
class NodeCluster(Cluster):
    """One real node."""

    @classmethod
    def start(cls, folder: Path, say: Say, *, crash_loop_max: str = "20s") -> NodeCluster:
        """Start it, or find it running.

        Args:
            folder: State folder.
            say: Told what is being done.
            crash_loop_max: Longest wait between restarts of a crashing container; Kubernetes' own is 300s.

        Raises:
            selfheal.errors.SelfhealError: With what is missing and what to do.
        """
        if os.geteuid() != 0:
            raise WrongUse("tier node needs root (containers, a network bridge): run it with sudo, or use --tier api")
        install_packages(say)
        build.build("node", say)
        folder.mkdir(parents=True, exist_ok=True)
        state = State(folder.absolute())
        claim(state)
        plane = ControlPlane.load_or_create(state, "node")
        cluster = cls(plane)
        say("network bridge and containerd")
        bridge(NODE_ADDRESS)
        mount_volume()
        cluster._start_containerd()
        say("etcd, API server, controller manager, scheduler")
        plane.start()
        say("kubelet, kube-proxy, DNS")
        cluster._start_kubelet(crash_loop_max)
        cluster._start_proxy()
        cluster._start_dns()
        cluster._wait_ready()
        say("kube-state-metrics, node-exporter, Prometheus")
        start_monitoring(plane)
        return cluster

    def _start_containerd(self) -> None:
        processes, state = self.plane.processes, self.plane.state
        plugins = state.folder("cni")
        (plugins / "10-bench.conflist").write_text(json.dumps(_cni(state)))
        config = state.root / "containerd.toml"
        config.write_text(_containerd_toml(state, plugins))
        processes.start("containerd", ["containerd", "-c", str(config)])
        processes.wait("containerd", containerd_answers)
        marker = state.root / "images.json"
        wanted = [build.binary("shop").name, build.compile_c("mem").name]
        if not marker.exists() or json.loads(marker.read_text()) != wanted:
            import_images(bench_images(), str(SOCKET))
            marker.write_text(json.dumps(wanted))

    def _start_kubelet(self, crash_loop_max: str) -> None:
        state, pki = self.plane.state, self.plane.state.pki
        crt, key = self.plane.authority.issue("kubelet", f"system:node:{NODE}", "system:nodes", (NODE_ADDRESS, NODE))
        file = state.root / "kubelet.yaml"
        file.write_text(yaml.safe_dump(_kubelet_config(pki, crt, key, crash_loop_max)))
        client = self.plane.authority.kubeconfig(
            pki / "kubelet.kubeconfig", self.plane.addresses.server, f"system:node:{NODE}", "system:nodes"
        )
        self.plane.processes.start(
            "kubelet",
            [
                build.binary("kubelet"),
                f"--config={file}",
                f"--kubeconfig={client}",
                f"--hostname-override={NODE}",
                f"--node-ip={NODE_ADDRESS}",
                f"--root-dir={state.folder('kubelet')}",
                f"--cert-dir={state.folder('kubelet-pki')}",
            ],
        )

    def _start_proxy(self) -> None:
        state = self.plane.state
        client = self.plane.authority.kubeconfig(
            state.pki / "kube-proxy.kubeconfig", self.plane.addresses.server, "system:kube-proxy"
        )
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(client)},
            "conntrack": {"maxPerCore": 0},  # 0 leaves the kernel's limit alone
            "clusterCIDR": "10.244.0.0/24",
            "hostnameOverride": NODE,
            "metricsBindAddress": "127.0.0.1:10249",
            "healthzBindAddress": "127.0.0.1:10256",
        }
        file = state.root / "kube-proxy.yaml"
        write_changed(file, yaml.safe_dump(config))  # it ends when its file is touched
        self.plane.processes.start("kube-proxy", [build.binary("kube-proxy"), f"--config={file}"])

    def _start_dns(self) -> None:
        state = self.plane.state
        client = self._reader(
            "coredns", ["", "discovery.k8s.io"], ["endpoints", "services", "pods", "namespaces", "endpointslices"]
        )
        file = state.root / "Corefile"
        write_changed(
            file,
            f".:53 {{\n    bind {NODE_ADDRESS}\n    errors\n    kubernetes cluster.local in-addr.arpa {{\n"
            f"        kubeconfig {client}\n    }}\n    cache 5\n}}\n",
        )
        self.plane.processes.start("coredns", [build.binary("coredns"), "-conf", str(file)])
        ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
        self.apply(*headless("kube-dns", "kube-system", ports, cluster_ip=DNS))

    def _reader(self, name: str, groups: list[str], resources: list[str]) -> Path:
        """A kubeconfig for a component that only reads some resources."""
        self.apply(*reader_role(name, groups, resources))
        return self.plane.authority.kubeconfig(
            self.plane.state.pki / f"{name}.kubeconfig", self.plane.addresses.server, f"bench:{name}"
        )

    def _wait_ready(self, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while '"True"' not in self._ready():
            if self.plane.processes.pid("kubelet") is None or time.monotonic() > deadline:
                raise SelfhealError(f"the node did not get ready. {self.plane.processes.tail('kubelet')}")
            time.sleep(0.3)

    def _ready(self) -> str:
        if not self.plane.kubectl_ok("get", "node", NODE):
            return ""
        return self.kubectl("get", "node", NODE, "-o", 'jsonpath="{.status.conditions[?(@.type=="Ready")].status}"')

    def stop(self) -> list[str]:
        """End everything: pods first, then the programs, then network and mounts."""
        return stop_node(self.plane)


def _kubelet_config(pki: Path, crt: Path, key: Path, crash_loop_max: str) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "failCgroupV1": False,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS],
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "oomScoreAdj": 0,  # we have no CAP_SYS_RESOURCE to lower it
        "featureGates": {"KubeletInUserNamespace": True, "KubeletCrashLoopBackOffMax": True},
        "crashLoopBackOff": {"maxContainerRestartPeriod": crash_loop_max},
        "enforceNodeAllocatable": [],
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "tlsCertFile": str(crt),
        "tlsPrivateKeyFile": str(key),
        "address": NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1",
        "resolvConf": "/etc/resolv.conf",
        "nodeStatusUpdateFrequency": "5s",
        "volumeStatsAggPeriod": "10s",
    }


def reader_role(name: str, groups: list[str], resources: list[str]) -> list[dict[str, object]]:
    """A ClusterRole that reads, and its binding to a bench component's user."""
    meta = {"name": f"bench:{name}"}
    role = {"apiGroups": groups, "resources": resources, "verbs": ["get", "list", "watch"]}
    rbac = "rbac.authorization.k8s.io"
    subject = {"apiGroup": rbac, "kind": "User", "name": f"bench:{name}"}
    return [
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": meta, "rules": [role]},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": f"bench:{name}"},
            "subjects": [subject],
        },
    ]


def headless(
    name: str, namespace: str, ports: list[dict[str, object]], cluster_ip: str = ""
) -> list[dict[str, object]]:
    """A Service for a program that runs on the host, with its EndpointSlice."""
    service: dict[str, object] = {"ports": ports} | ({"clusterIP": cluster_ip} if cluster_ip else {})
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": service},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-host",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "bench"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [NODE_ADDRESS]}],
            "ports": [{"name": p["name"], "port": p["port"], "protocol": p["protocol"]} for p in ports],
        },
    ]


def _cni(state: State) -> dict[str, object]:
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": "10.244.0.0/24", "gateway": NODE_ADDRESS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(state.folder("ipam")),
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True, "ipam": ipam}
    return {
        "cniVersion": "0.4.0",
        "name": "bench",
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def _containerd_toml(state: State, plugins: Path) -> str:
    return f"""version = 2
root = "{state.folder("containerd")}"
state = "{RUN}"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{plugins}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def stop_node(plane: ControlPlane) -> list[str]:
    """End a node cluster and leave the machine as it was before."""
    processes = plane.processes
    ended = [name for name in ("kubelet", "kube-proxy") if processes.stop(name)]
    if processes.pid("containerd") is not None and containerd_answers():
        remove_containers()
    ended += plane.stop()
    if holder() is None:
        sweep(plane.state.root)
    return ended
