"""A real node for the tests: the one that runs on this machine, or one of their own."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from bench.client import Client
from bench.controlplane import ControlPlane
from bench.demo import Demo
from bench.machine import holder
from bench.node import NodeCluster
from bench.paths import State
from bench.product import Product

NAMESPACE = "e2e"


def _say(text: str) -> None:
    os.write(2, f"bench: {text}\n".encode())  # pytest holds back what is printed; a start takes a while


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeCluster]:
    """A node: there can be only one on a machine, so one that runs is used and left running."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the kubelet and containerd run containers")
    running = holder()
    if running is not None:
        _say(f"using the node bench that runs already, in {running}; it stays")
        yield NodeCluster(ControlPlane.load_or_create(State(running), "node"))
        return
    # Not in pytest's folder: sockets and mounts want short paths, and a run that was ended early is found again.
    folder = Path(os.environ.get("SELFHEAL_E2E_STATE", "/tmp/selfheal-e2e"))
    shutil.rmtree(folder, ignore_errors=True)
    cluster = NodeCluster.start(folder, _say)
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.copytree(folder / "logs", tmp_path_factory.getbasetemp() / "bench-logs", dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shop(node: NodeCluster) -> Product:
    """The demo shop, ready."""
    product = Product(node, _say)
    product.shop()
    return product


@pytest.fixture(scope="module")
def controller(shop: Product) -> Iterator[Product]:
    """The product without an endpoint: symptoms alone, healed by the controller as its own ServiceAccount."""
    shop.manifests()
    already = shop.cluster.plane.processes.pid("controller") is not None
    shop.control()
    try:
        yield shop
    finally:
        if not already:
            shop.undeploy()


@pytest.fixture
def client(node: NodeCluster) -> Iterator[Client]:
    """The cluster's administrator, to look from outside."""
    with Client(node.kubeconfig) as found:
        yield found


@pytest.fixture
def namespace(node: NodeCluster) -> Iterator[str]:
    """A namespace for one test."""
    meta = {"name": NAMESPACE}
    node.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    while not node.plane.kubectl_ok("get", "serviceaccount", "default", "-n", NAMESPACE):
        time.sleep(0.2)  # pods are refused until the controller manager has made it
    try:
        yield NAMESPACE
    finally:
        node.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")


@contextmanager
def quiet_demo(product: Product) -> Iterator[Demo]:
    """The demo on a product, which tells nobody."""
    with Path(os.devnull).open("w") as nowhere:
        found = Demo(product, Console(file=nowhere))
        yield found
        found.client.close()
