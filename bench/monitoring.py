"""kube-state-metrics, node-exporter and a real Prometheus with the recording rules that OpenShift ships."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import yaml

from bench.build import binary
from bench.controlplane import NODE_ADDRESS, ControlPlane

PROMETHEUS = f"http://{NODE_ADDRESS}:9090"
_RULES = Path(__file__).parent / "rules.yaml"
_KSM_RESOURCES = (
    "pods,deployments,replicasets,statefulsets,daemonsets,jobs,cronjobs,nodes,namespaces,"
    "persistentvolumeclaims,persistentvolumes,resourcequotas,horizontalpodautoscalers,services"
)


def start_monitoring(plane: ControlPlane, scrape_interval: str = "5s") -> None:
    """Start what does not run, and wait until Prometheus is ready.

    Args:
        plane: The cluster to watch.
        scrape_interval: Short, so that a demo need not wait; a real cluster has 30s.
    """
    processes, state = plane.processes, plane.state
    client = _monitor(plane)
    processes.start(
        "kube-state-metrics",
        [
            binary("kube-state-metrics"),
            f"--kubeconfig={client}",
            f"--host={NODE_ADDRESS}",
            "--port=8181",
            "--telemetry-host=127.0.0.1",
            "--telemetry-port=8182",
            f"--resources={_KSM_RESOURCES}",
        ],
    )
    processes.start("node-exporter", ["prometheus-node-exporter", f"--web.listen-address={NODE_ADDRESS}:9100"])
    config = state.root / "prometheus.yaml"
    config.write_text(yaml.safe_dump(_scrape_config(plane, scrape_interval)))
    start_prometheus(plane)
    plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(_service()))


def start_prometheus(plane: ControlPlane) -> None:
    """Start Prometheus on the data in the state folder."""
    state = plane.state
    plane.processes.start(
        "prometheus",
        [
            "prometheus",
            f"--config.file={state.root / 'prometheus.yaml'}",
            f"--storage.tsdb.path={data_folder(plane)}",
            "--storage.tsdb.retention.time=60d",
            f"--web.listen-address={NODE_ADDRESS}:9090",
            "--web.enable-lifecycle",
        ],
    )
    plane.processes.wait("prometheus", prometheus_ready)


def prometheus_ready() -> bool:
    """Whether it answers queries."""
    try:
        return httpx.get(f"{PROMETHEUS}/-/ready", timeout=2).is_success
    except httpx.TransportError:
        return False


def data_folder(plane: ControlPlane) -> Path:
    """Prometheus' database."""
    return plane.state.folder("prometheus")


def add_history(plane: ControlPlane, openmetrics: Path) -> None:
    """Turn OpenMetrics text into blocks and put them into the running Prometheus' database.

    Prometheus is restarted, since it looks for foreign blocks only now and then.
    """
    blocks = plane.state.folder("blocks")
    # By default it makes two-hour blocks and reads the whole text once for each of them.
    make = ["promtool", "tsdb", "create-blocks-from", "--max-block-duration=1440h", "openmetrics"]
    make += ["--quiet", str(openmetrics), str(blocks)]
    subprocess.run(make, check=True, capture_output=True)
    plane.processes.stop("prometheus", seconds=30)
    for block in blocks.iterdir():
        block.rename(data_folder(plane) / block.name)
    start_prometheus(plane)


def _monitor(plane: ControlPlane) -> Path:
    """The kubeconfig of what watches the cluster: reads objects and metrics, writes nothing."""
    reads = ["get", "list", "watch"]
    rules = [
        {"apiGroups": ["", "apps", "batch", "autoscaling"], "resources": ["*"], "verbs": reads},
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"nonResourceURLs": ["/metrics", "/metrics/cadvisor"], "verbs": ["get"]},
    ]
    rbac = "rbac.authorization.k8s.io"
    documents = [
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": "bench:monitor"}, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "bench:monitor"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "bench:monitor"},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": "bench:monitor"}],
        },
    ]
    plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))
    path = plane.state.pki / "monitor.kubeconfig"
    return plane.authority.kubeconfig(path, plane.addresses.server, "bench:monitor")


def _scrape_config(plane: ControlPlane, interval: str) -> dict[str, object]:
    crt, key = plane.authority.issue("client-bench-monitor", "bench:monitor")
    tls = {
        "tls_config": {"ca_file": str(plane.state.pki / "ca.crt"), "cert_file": str(crt), "key_file": str(key)},
        "scheme": "https",
    }

    def job(name: str, target: str, **more: object) -> dict[str, object]:
        return {"job_name": name, "static_configs": [{"targets": [target]}], **more}

    # OpenShift's monitoring drops the cgroup hierarchy above containers and the pause container as well.
    drop = [{"source_labels": ["container"], "regex": "POD", "action": "drop"}]
    return {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": [str(_RULES)],
        "scrape_configs": [
            job("apiserver", f"{NODE_ADDRESS}:{plane.addresses.api}", **tls),
            job("kubelet", f"{NODE_ADDRESS}:10250", **tls, honor_labels=True),
            job(
                "cadvisor",
                f"{NODE_ADDRESS}:10250",
                **tls,
                metrics_path="/metrics/cadvisor",
                honor_labels=True,
                metric_relabel_configs=drop,
            ),
            job("kube-state-metrics", f"{NODE_ADDRESS}:8181", honor_labels=True),
            job("node-exporter", f"{NODE_ADDRESS}:9100"),
            job("etcd", f"127.0.0.1:{plane.addresses.etcd}"),
            job("prometheus", f"{NODE_ADDRESS}:9090"),
        ],
    }


def _service() -> list[dict[str, object]]:
    from bench.node import headless

    port = [{"name": "web", "port": 9090, "protocol": "TCP"}]
    namespace: dict[str, object] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}}
    return [namespace, *headless("prometheus", "monitoring", port)]
