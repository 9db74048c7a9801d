"""A real Prometheus on a free port, filled from OpenMetrics text."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory_of(namespace: str, deployments: Iterable[str]) -> str:
    """Ten minutes of memory of one pod a Deployment, and ten minutes to come, as OpenMetrics text."""
    rows: dict[str, list[str]] = {"container_memory_working_set_bytes": [], "kube_pod_owner": []}
    rows["kube_replicaset_owner"] = []
    now, names = int(time.time()), list(deployments)
    for at in range(now - 600, now + 600, 10):
        for name in names:
            pod = f'namespace="{namespace}",pod="{name}-a-1"'
            rows["container_memory_working_set_bytes"].append(f'{{{pod},container="app"}} {1e8 + at % 7} {at}')
            rows["kube_pod_owner"].append(f'{{{pod},owner_kind="ReplicaSet",owner_name="{name}-a"}} 1 {at}')
            above = f'namespace="{namespace}",replicaset="{name}-a",owner_kind="Deployment",owner_name="{name}"'
            rows["kube_replicaset_owner"].append(f"{{{above}}} 1 {at}")
    series = (f"# TYPE {name} gauge\n" + "".join(f"{name}{one}\n" for one in found) for name, found in rows.items())
    return "".join(series) + "# EOF\n"


@contextmanager
def prometheus(folder: Path, openmetrics: str) -> Iterator[str]:
    """Start Prometheus on the blocks made of the text; yields its URL and ends it afterwards."""
    for tool in ("prometheus", "promtool"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing: apt-get install prometheus")
    text, data, config = folder / "history.om", folder / "data", folder / "prometheus.yml"
    text.write_text(openmetrics)
    config.write_text("scrape_configs: []\n")
    make = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)]
    subprocess.run(make, check=True, capture_output=True)
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_ready(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def _wait_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(150):
        if server.poll() is not None:
            raise RuntimeError("Prometheus ended at once: read prometheus.log")
        try:
            if httpx.get(f"{url}/-/ready").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError("Prometheus did not get ready in 30 s")
