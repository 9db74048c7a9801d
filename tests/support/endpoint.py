"""A real endpoint process with a small model."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from selfheal.ensemble import Ensemble
from selfheal.window import Floats, MetricWindow, grid
from tests.support.prometheus import free_port

ROOT = Path(__file__).parents[2]
NAMES = ("pod_cpu_usage", "pod_memory_usage", "container_restart_count")
KNOWN, STRANGER = "shop/Deployment/cart", "shop/Deployment/new"
END = "2026-11-23T20:00:00Z"
ROWS = 180  # of a request
PREDICT, INFER = "/v1/models/selfheal-ensemble:predict", "/v2/models/selfheal-ensemble/infer"


def samples(rows: int, seed: int, *, sick: bool = False) -> Floats:
    """Noise around a level, shape [rows, 3], exact in FP32; a sick one jumps in its last 30 rows."""
    draw = np.random.default_rng(seed)
    cpu = 1 + 0.05 * draw.standard_normal(rows)
    memory = 5e8 + 1e7 * draw.standard_normal(rows)
    found = np.column_stack([cpu, memory, np.zeros(rows)])
    if sick:
        found[-30:, 0] *= 9
        found[-30:, 1] *= 4
    return found.astype(np.float32).astype(np.float64)


def tiny_ensemble() -> Ensemble:
    """One known workload with 400 minutes of history."""
    times = grid(np.datetime64("2026-11-23T10:00:00", "s"), 400, 60.0)
    return Ensemble.fit([MetricWindow(KNOWN, times, samples(400, 0), NAMES, 60.0)])


def instance(workload: str, values: Floats, **more: Any) -> dict[str, Any]:
    """A V1 instance; NaN becomes null."""
    columns = {
        name: [None if np.isnan(value) else value for value in values[:, index].tolist()]
        for index, name in enumerate(NAMES)
    }
    return {"workload": workload, "end": END, "step": 60, "window": columns, **more}


def batch() -> list[dict[str, Any]]:
    gaps = samples(ROWS, 3)
    gaps[20:40, 1] = np.nan
    return [
        instance(KNOWN, samples(ROWS, 1, sick=True)),
        instance(STRANGER, samples(ROWS, 2)),
        instance(KNOWN, gaps),
    ]


def tensors(body: list[dict[str, Any]]) -> tuple[npt.NDArray[np.float32], list[str]]:
    windows = np.array([[one["window"][name] for name in NAMES] for one in body], dtype=np.float32)
    return windows.transpose(0, 2, 1), [one["workload"] for one in body]


def v2_json(body: list[dict[str, Any]], **parameters: Any) -> dict[str, Any]:
    windows, workloads = tensors(body)
    nulls = windows.astype(object)
    nulls[np.isnan(windows)] = None
    return {
        "id": "42",
        "parameters": {"end": END, "step": 60, "metrics": ",".join(NAMES), **parameters},
        "inputs": [
            {"name": "windows", "datatype": "FP32", "shape": list(windows.shape), "data": nulls.tolist()},
            {"name": "workloads", "datatype": "BYTES", "shape": [len(workloads)], "data": workloads},
        ],
    }


def v2_binary(body: list[dict[str, Any]], **parameters: Any) -> tuple[bytes, dict[str, str]]:
    windows, workloads = tensors(body)
    raw = windows.astype("<f4").tobytes()
    names = b"".join(struct.pack("<I", len(name)) + name.encode() for name in workloads)
    header = v2_json(body, **parameters)
    for tensor, data in zip(header["inputs"], (raw, names), strict=True):
        del tensor["data"]
        tensor["parameters"] = {"binary_data_size": len(data)}
    head = json.dumps(header).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return head + raw + names, headers


def outputs(answer: dict[str, Any]) -> dict[str, Any]:
    return {tensor["name"]: tensor for tensor in answer["outputs"]}


@dataclass(frozen=True)
class Endpoint:
    """A running process; ``client`` has its address."""

    client: httpx.Client
    process: subprocess.Popen[bytes]
    log: Path

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait for a loaded model."""
        self.wait_for(lambda: self.client.get("/v2/health/ready").status_code == 200, seconds)

    def wait_live(self, seconds: float = 60) -> None:
        """Wait for a server that answers at all."""
        self.wait_for(lambda: self.client.get("/v2/health/live").status_code == 200, seconds)

    def wait_for(self, holds: Any, seconds: float = 60) -> None:
        """Wait until a question to the server is answered with yes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the endpoint ended: {self.log.read_text()[-2000:]}")
            try:
                if holds():
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"not within {seconds} s: {self.log.read_text()[-2000:]}")


@contextmanager
def endpoint(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Endpoint]:
    """Start ``python -m serving`` on a free port; it is ended with SIGTERM and must obey."""
    port, log = free_port(), folder / f"endpoint-{time.monotonic_ns()}.log"
    more = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1", "SELFHEAL_PORT": str(port)}
    command = [sys.executable, "-m", "serving", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=folder, env={**os.environ, **more, **(environment or {})}
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield Endpoint(client, process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)
