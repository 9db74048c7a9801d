"""The demo without a cluster: train on the shop's synthetic past, register, serve, and replay a recorded leak."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from bench.client import answers
from bench.history import DAYS, STEP, write_history
from bench.paths import SOURCE, State
from bench.processes import Processes
from bench.product import MODEL, base_env
from selfheal.errors import SelfhealError, WrongUse
from selfheal.prometheus import PrometheusClient

INCIDENT = SOURCE / "incidents" / "leak.json"
_WORKLOAD = "shop/Deployment/orders"
_SAMPLES = 24
_MIB = 1 << 20


def replay(folder: Path, console: Console) -> None:
    """Run the offline demo.

    Args:
        folder: For models, logs and data.
        console: Where to tell.

    Raises:
        WrongUse: Without Prometheus.
        SelfhealError: When the recorded leak is not found.
    """
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        raise WrongUse("the offline demo needs Prometheus: install it (on Debian: apt-get install prometheus)")
    state = State(folder.absolute() / "offline")
    shutil.rmtree(state.root, ignore_errors=True)
    processes = Processes(state)
    try:
        _replay(state, processes, console)
    finally:
        for name in processes.running():
            processes.stop(name)


def _replay(state: State, processes: Processes, console: Console) -> None:
    end = time.time() - 60
    console.print(f"drawing {DAYS:g} days of synthetic history of the demo shop")
    prometheus = _prometheus(state, processes, end)
    tracking = f"sqlite:///{state.folder('mlflow')}/mlflow.db"
    console.print("training pipeline (about a minute): four detectors, calibration, evaluation, registry")
    _train(state, prometheus, tracking, end)
    url = f"http://127.0.0.1:{_port()}"
    command = [sys.executable, "-m", "serving", "--model-uri", MODEL, "--tracking-uri", tracking]
    processes.start("endpoint", [*command, "--port", url.rpartition(":")[2]], base_env())
    processes.wait("endpoint", lambda: answers(f"{url}/v2/health/ready"), seconds=120)
    console.print(f"the endpoint answers on {url}; replaying a leak recorded on the bench, sample by sample")
    found = _ask(url, prometheus, end, console)
    if found is None:
        raise SelfhealError("the recorded leak was not found: the model is not fit for use")
    console.print(f"found {found:.0f} s after it began; with a cluster, the controller would restart the pod now")


def _prometheus(state: State, processes: Processes, end: float) -> str:
    text, config, data = state.root / "history.om", state.root / "prometheus.yaml", state.folder("data")
    write_history(text, end)
    config.write_text("scrape_configs: []\n")
    make = ["promtool", "tsdb", "create-blocks-from", "--max-block-duration=1440h", "openmetrics", "--quiet"]
    subprocess.run([*make, str(text), str(data)], check=True, capture_output=True)
    text.unlink()
    address = f"127.0.0.1:{_port()}"
    flags = [f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address={address}"]
    processes.start("prometheus", ["prometheus", *flags, "--storage.tsdb.retention.time=60d"])
    processes.wait("prometheus", lambda: answers(f"http://{address}/-/ready"))
    return f"http://{address}"


def _train(state: State, prometheus: str, tracking: str, end: float) -> None:
    words = ["-m", "pipelines", "run", "--prometheus", prometheus, "--tracking-uri", tracking, "--namespaces", "shop"]
    words += ["--hours", f"{DAYS * 24:g}", "--step", str(STEP), "--end", datetime.fromtimestamp(end, UTC).isoformat()]
    words += ["--work", str(state.folder("pipeline"))]
    log = state.logs / "pipeline.log"
    with log.open("w") as stream:
        done = subprocess.run([sys.executable, *words], stdout=stream, stderr=stream, env=base_env(), check=False)
    if done.returncode:
        raise SelfhealError(f"the training pipeline failed: read {log}")


def _ask(url: str, prometheus: str, end: float, console: Console) -> float | None:
    """Seconds from the leak's first sample to the first answer that names it; None when none does."""
    now = datetime.fromtimestamp(end, UTC)
    names = httpx.get(f"{url}/v2/models/selfheal-ensemble", timeout=10).raise_for_status().json()
    metrics = _metric_names(names)
    windows = PrometheusClient(prometheus).workload_windows(now, _SAMPLES, STEP, names=metrics, workloads=[_WORKLOAD])
    window = {name: list(values) for name, values in windows.windows[_WORKLOAD].items()}
    recorded: list[float] = json.loads(INCIDENT.read_text())["memory_mib"]
    for number, memory in enumerate(recorded, 1):
        window = {name: [*values[1:], values[-1]] for name, values in window.items()}
        limit = 384.0
        window["pod_memory_usage"][-1] = memory * _MIB
        window["alt_memory_usage"][-1] = (memory - 0.8) * _MIB
        window["memory_limit_ratio"][-1] = memory / limit * 100
        body = {"workload": _WORKLOAD, "end": now.isoformat(), "step": STEP, "window": window}
        answer = _predict(url, body)
        votes = ", ".join(name for name, vote in answer["votes"].items() if vote) or "nobody"
        console.print(
            f"  +{number * STEP:4d} s  {memory:5.0f} MiB  confidence {answer['confidence']:.2f}  votes: {votes}"
            f"  {answer.get('anomalyType') or ''}",
            highlight=False,
        )
        if answer["anomaly"] and answer.get("anomalyType") == "MemoryLeak":
            return float(number * STEP)
    return None


def _metric_names(metadata: dict[str, Any]) -> list[str]:
    return list(metadata["parameters"]["metrics"])


def _predict(url: str, body: dict[str, Any]) -> dict[str, Any]:
    path = f"{url}/v1/models/selfheal-ensemble:predict"
    found: dict[str, Any] = httpx.post(path, json={"instances": [body]}, timeout=30).raise_for_status().json()
    return dict(found["predictions"][0])


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
