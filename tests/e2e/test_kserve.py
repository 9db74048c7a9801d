"""The endpoint as an InferenceService of the real KServe controller: ready, asked, rolled over and broken."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from bench.client import answers
from bench.cluster import ApiCluster
from bench.containerfiles import BY_NAME, build_images, import_to_bench
from bench.controlplane import NODE_ADDRESS
from bench.kserve import KServe
from bench.node import NodeCluster
from controller.inference import InferenceClient, secured
from controller.metrics import Metrics
from selfheal.evaluation import evaluate
from selfheal.protocol import ModelInfo, parse_instances
from selfheal.registry import Registry
from selfheal.window import MetricWindow, grid
from tests.e2e.conftest import _say
from tests.integration.conftest import MANIFESTS, wait_until
from tests.support.controller import ROOT, Shop, running
from tests.support.endpoint import INFER, KNOWN, NAMES, PREDICT, batch, samples, tiny_ensemble, v2_json
from tests.support.kserve import NAME, PREDICTOR, SPACE, InferenceService, load, space, volume
from tests.support.prometheus import free_port, memory_of, prometheus

pytestmark = [pytest.mark.node, pytest.mark.slow]

ASK = """
import json, os, urllib.request
for path, body in json.loads(os.environ["BODIES"]).items():
    request = urllib.request.Request(os.environ["URL"] + path, json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    print(urllib.request.urlopen(request, timeout=20).read().decode())
"""


def stored(folder: str) -> dict[str, dict[str, Any]]:
    """Values of the chart for a model in the volume."""
    return {"endpoint": {"model": {"storageUri": f"pvc://models/{folder}"}}}


@pytest.fixture(scope="module")
def kserve(node: NodeCluster) -> Iterator[KServe]:
    """KServe, gone afterwards: a webhook without its server would be in everybody's way."""
    found = KServe.start(node, _say)
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def models() -> Iterator[Path]:
    """Two models and a damaged one, readable for a container's user."""
    folder, ensemble = Path(tempfile.mkdtemp(prefix="selfheal-kserve-")), tiny_ensemble()
    for name, version in (("seven", "7"), ("eight", "8"), ("damaged", "9")):
        ensemble.with_info(ModelInfo(version=version, run_id="abc")).save(folder / name)
    for file in (folder / "damaged").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def place(kserve: KServe, models: Path) -> Iterator[InferenceService]:
    """Namespace, volume and image; everything gone afterwards."""
    node = kserve.cluster
    build_images([BY_NAME["serving"]], _say)
    import_to_bench([BY_NAME["serving"]], _say)
    node.apply(space(), *volume(models))
    found = InferenceService(node)
    try:
        yield found
    finally:
        found.delete()
        node.kubectl("delete", "namespace", SPACE, "--timeout=90s")
        node.kubectl("delete", "persistentvolume", "kserve-endpoint-models", "--timeout=30s")


@pytest.fixture
def service(place: InferenceService) -> InferenceService:
    """The first model served, and KServe says so."""
    start = time.monotonic()
    place.apply(**stored("seven"))
    wait_until(lambda: place.ready() and place.rolled_out() and place.version() == "7", "a ready service", 120)
    _say(f"served {time.monotonic() - start:.1f} s after it was applied")
    wait_until(lambda: len(place.pods()) == 1, "the end of the pods of another test")
    return place


def test_v1_and_v2_are_answered_to_this_machine_and_to_a_pod(service: InferenceService) -> None:
    bodies = {PREDICT: {"instances": batch()}, INFER: v2_json(batch())}
    with httpx.Client(base_url=service.address(), timeout=30) as client:
        v1, v2 = (client.post(path, json=body) for path, body in bodies.items())
    (pod,) = service.pods()
    direct = httpx.post(f"http://{pod['status']['podIP']}:8080{PREDICT}", json=bodies[PREDICT], timeout=30)
    inside = service.in_pod(ASK, URL=service.url(**stored("seven")), BODIES=json.dumps(bodies)).splitlines()
    assert [one["anomaly"] for one in v1.json()["predictions"]] == [True, False, False]
    assert v2.json()["model_version"] == "7"
    assert [json.loads(line) for line in inside] == [v1.json(), v2.json()]
    assert direct.json() == v1.json()


def test_the_service_is_where_the_chart_says_that_the_controller_asks(service: InferenceService) -> None:
    url, kserves = service.url(**stored("seven")), service.get("inferenceservice", NAME)["status"]["address"]["url"]
    (port,) = service.get("service")["spec"]["ports"]
    assert url == f"http://{PREDICTOR}.{SPACE}.svc"
    assert kserves == f"{url}.cluster.local"
    assert (port["port"], port["targetPort"]) == (80, 8080)


def test_a_service_monitor_of_the_chart_selects_the_service(service: InferenceService) -> None:
    wanted = service.monitor()
    found = service.get("service")
    assert wanted["selector"]["matchLabels"].items() <= found["metadata"]["labels"].items()
    assert found["spec"]["ports"][0]["name"] in {one["port"] for one in wanted["endpoints"]}


def test_the_pod_is_the_charts_own_and_nothing_scales_it(service: InferenceService) -> None:
    (pod,) = service.pods()
    (container,) = pod["spec"]["containers"]
    mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
    assert container["name"] == "kserve-container"
    assert container["args"] == ["--model-dir=/mnt/models"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["resources"] == {"requests": {"cpu": "100m", "memory": "384Mi"}, "limits": {"memory": "1Gi"}}
    assert {
        name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    } == {
        "startupProbe": "/v2/health/live",
        "livenessProbe": "/v2/health/live",
        "readinessProbe": "/v2/health/ready",
    }
    assert mounts["/mnt/models"]["readOnly"]
    assert set(mounts) == {"/mnt/models", "/tmp"}, "no ServiceAccount token"
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "endpoint"
    assert not json.loads(service.cluster.kubectl("get", "hpa", "-n", SPACE, "-o", "json"))["items"]


def test_another_model_is_rolled_out_without_a_failed_request(service: InferenceService) -> None:
    with load(service.address()) as clients:
        wait_until(lambda: all(one.answers for one in clients), "answers of the old model")
        start = time.monotonic()
        service.apply(**stored("eight"))
        wait_until(lambda: any("8" in one.answers for one in clients), "an answer of the new model", 120)
        _say(f"the new model answered after {time.monotonic() - start:.1f} s")
        wait_until(lambda: service.rolled_out() and len(service.pods()) == 1, "the end of the old pod", 120)
        _say(f"the old pod was gone after {time.monotonic() - start:.1f} s: {[one.answers for one in clients]}")
    assert [one.failures for one in clients] == [[], []]
    assert [set(one.answers) for one in clients] == [{"7", "8"}, {"7", "8"}]


@pytest.mark.parametrize(("folder", "said"), [("damaged", "not ready, next try"), ("absent", "not ready, next try")])
def test_a_broken_update_leaves_the_old_pod_serving_and_the_new_pod_says_why(
    folder: str, said: str, service: InferenceService
) -> None:
    (old,) = service.pods()
    with load(service.address()) as clients:
        service.apply(**stored(folder))

        wait_until(lambda: said in service.log_of_another(old), "the new pod's log", 60)
        time.sleep(5)
        (new,) = [one for one in service.pods() if one["metadata"]["uid"] != old["metadata"]["uid"]]
    conditions = service.conditions()
    _say(f"a broken update shows as {conditions}")
    assert not new["status"]["containerStatuses"][0]["ready"]
    assert [one.failures for one in clients] == [[], []]
    assert [set(one.answers) for one in clients] == [{"7"}, {"7"}]
    assert conditions["Ready"] != "True", conditions
    assert not service.rolled_out()
    assert service.version() == "7"


def test_the_controllers_client_and_doctor_find_it(service: InferenceService) -> None:
    with secured() as http:
        client = InferenceClient(service.address(), Metrics(), client=http)
        assert (client.wants().metrics, client.wants().step) == (NAMES, 60.0)
        judged = client.predict(parse_instances({"instances": batch()[:1]}))
    assert judged[KNOWN].anomaly is True
    command = [sys.executable, "-m", "selfheal", "doctor", "--json", "--endpoint", service.address()]
    env = {"PYTHONPATH": str(ROOT / "src"), "KUBECONFIG": str(service.cluster.kubeconfig), "PATH": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    (check,) = [one for one in json.loads(done.stdout)["checks"] if one["name"] == "endpoint"]
    assert (check["state"], check["found"]) == ("ok", f"{service.address()} serves {NAME} version 7")


@pytest.fixture
def registry(node: NodeCluster, tmp_path: Path) -> Iterator[Registry]:
    """An MLflow server that pods reach, and that holds two versions; the first is the champion."""
    port, host = free_port(), NODE_ADDRESS
    words = ["-m", "mlflow", "server", f"--host={host}", f"--port={port}", "--workers=1"]
    words += [f"--backend-store-uri=sqlite:///{tmp_path}/mlflow.db", f"--artifacts-destination={tmp_path}/artifacts"]
    processes, uri = node.plane.processes, f"http://{host}:{port}"
    processes.start("kserve-mlflow", [sys.executable, *words, f"--allowed-hosts={host}:{port}"])
    try:
        processes.wait("kserve-mlflow", lambda: answers(f"{uri}/health"), 120)
        found, ensemble = Registry(uri), tiny_ensemble()
        times = grid(np.datetime64("2026-11-23T20:00:00", "s"), 240, 60.0)
        report = evaluate(ensemble, [MetricWindow(KNOWN, times, samples(240, 9), NAMES, 60.0)])
        for _ in range(2):
            found.register(ensemble, list(ensemble.members.values()), report, tags={})
        found.promote("1")
        yield found
    finally:
        processes.stop("kserve-mlflow")


def test_a_promotion_in_the_registry_is_served_without_another_pod(place: InferenceService, registry: Registry) -> None:
    model = {"storageUri": "", "reloadSeconds": 1}
    values = {"mlflow": {"trackingUri": registry.tracking_uri}, "endpoint": {"model": model}}
    place.delete()  # begin without what another test left
    place.apply(**values)
    wait_until(lambda: place.ready() and place.rolled_out() and place.version() == "1", "the champion served", 90)
    (pod,) = place.pods()
    assert [one["name"] for one in pod["spec"]["containers"]] == ["kserve-container"], "no agent that fetches models"
    with load(place.address()) as clients:
        wait_until(lambda: all(one.answers for one in clients), "answers of the old champion")
        registry.promote("2")
        wait_until(lambda: all("2" in one.answers for one in clients), "answers of the new champion", 60)
    assert [one.failures for one in clients] == [[], []]
    assert [one["metadata"]["uid"] for one in place.pods()] == [pod["metadata"]["uid"]]


def test_a_headless_service_is_asked_at_the_pods_port(kserve: KServe, place: InferenceService) -> None:
    values = stored("seven")
    values["endpoint"]["kserve"] = {"enabled": True, "headless": True}
    kserve.configure(service={"serviceClusterIPNone": True})
    try:
        place.delete()
        place.apply(**values)
        wait_until(lambda: place.ready() and place.rolled_out(), "a ready service", 120)
        assert place.get("service")["spec"]["clusterIP"] == "None"
        bodies = json.dumps({PREDICT: {"instances": batch()[:1]}})
        (inside,) = place.in_pod(ASK, URL=place.url(**values), BODIES=bodies).splitlines()
        assert json.loads(inside)["predictions"][0]["anomaly"] is True
    finally:
        kserve.configure(service={"serviceClusterIPNone": False})
        place.delete()


def test_the_controller_asks_the_inference_service_for_verdicts(service: InferenceService, tmp_path: Path) -> None:
    with ApiCluster.start(tmp_path / "api") as cluster, prometheus(tmp_path, memory_of("shop", ["cart"])) as metrics:
        crds = [f"crd/{file.stem}.aiops.example.com" for file in (MANIFESTS / "crds").glob("*.yaml")]
        cluster.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "crds"))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *crds)
        cluster.kubectl("apply", "--server-side", "-k", str(MANIFESTS))
        cluster.kubectl("create", "namespace", "shop")
        shop = Shop(cluster, "shop")
        shop.deploy()
        shop.opt_in()
        shop.policy("leaks", anomalyType="MemoryLeak", action="restart")
        env = {"SELFHEAL_PROMETHEUS_URL": metrics, "SELFHEAL_ENDPOINT_URL": service.address()}
        env |= {"SELFHEAL_STEP_SECONDS": "60", "SELFHEAL_WINDOW_SAMPLES": "6"}
        account = cluster.service_account_kubeconfig("selfheal-system", "selfheal-controller")
        before = verdicts_given(service)
        with running(account, tmp_path / "log", env) as controller:
            wait_until(lambda: verdicts_given(service) > before, "a verdict asked for", 60)
            ready = next(
                one for one in shop.get("selfhealingpolicy", "leaks")["status"]["conditions"] if one["type"] == "Ready"
            )
            assert ready["status"] == "True", ready
            assert not [one for one in controller.lines() if one["message"] == "the endpoint did not judge"]


def verdicts_given(service: InferenceService) -> int:
    """How many workloads the endpoint has judged, by its own metrics."""
    lines = httpx.get(f"{service.address()}/metrics", timeout=10).text.splitlines()
    found = [line for line in lines if line.startswith("selfheal_endpoint_verdicts_total{")]
    return int(sum(float(line.rpartition(" ")[2]) for line in found))
