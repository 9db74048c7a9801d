"""The chart's InferenceService on the node bench: applied with a model, asked, and put under load."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from bench.chart import CHART
from bench.cluster import Cluster
from bench.containerfiles import BY_NAME
from bench.controlplane import KubectlFailed
from bench.helm import helm
from tests.support.endpoint import KNOWN, PREDICT, instance, samples

NAME, SPACE = "selfheal-ensemble", "kserve-endpoint"
SYSTEM = "selfheal-system"  # where the chart puts everything; other work may have the product there
PREDICTOR = f"{NAME}-predictor"
VOLUME = "kserve-endpoint-models"
_TEMPLATES = ("kserve", "accounts", "controller", "monitoring")


def space() -> dict[str, Any]:
    """The namespace, under PSA ``restricted``."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}}


def volume(folder: Path) -> list[dict[str, Any]]:
    """A PersistentVolumeClaim ``models`` whose files lie in a folder of this machine."""
    size, modes = {"storage": "1Gi"}, ["ReadOnlyMany"]
    here = {"path": str(folder), "type": "Directory"}
    spec = {"capacity": size, "accessModes": modes, "storageClassName": VOLUME, "hostPath": here}
    claim = {"accessModes": modes, "storageClassName": VOLUME, "volumeName": VOLUME, "resources": {"requests": size}}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": VOLUME}, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models", "namespace": SPACE},
            "spec": claim,
        },
    ]


@dataclass(frozen=True)
class InferenceService:
    """What the chart makes of the endpoint with KServe, in a namespace of the tests.

    Attributes:
        cluster: Where.
    """

    cluster: Cluster

    def documents(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        """The chart's objects with these values on top of one replica of this checkout's image."""
        image = BY_NAME["serving"]
        endpoint = {"replicas": 1, "kserve": {"enabled": True}} | values.pop("endpoint", {})
        merged = values | {"endpoint": endpoint, "monitoring": {"serviceMonitor": {"enabled": True}}}
        merged["images"] = {"serving": {"repository": image.repository, "tag": image.key}}
        file = self.cluster.plane.state.folder("kserve") / "values.json"
        file.write_text(json.dumps(merged))
        only = [word for name in _TEMPLATES for word in ("--show-only", f"templates/{name}.yaml")]
        rendered = helm(self.cluster, SPACE, "template", "selfheal", str(CHART), "-f", str(file), *only)
        return [one for one in yaml.safe_load_all(rendered.replace(SYSTEM, SPACE)) if one]

    def url(self, **values: Any) -> str:
        """Where the chart has the controller ask, with these values."""
        (found,) = [one for one in self.documents(values) if one["kind"] == "Deployment"]
        env = found["spec"]["template"]["spec"]["containers"][0]["env"]
        return str(next(one["value"] for one in env if one["name"] == "SELFHEAL_ENDPOINT_URL"))

    def monitor(self) -> dict[str, Any]:
        """The chart's ServiceMonitor."""
        registry = {"mlflow": {"trackingUri": "http://mlflow.example.com"}}
        (found,) = [one["spec"] for one in self.documents(registry) if one["kind"] == "ServiceMonitor"]
        return dict(found)

    def apply(self, **values: Any) -> None:
        """Apply what belongs to the endpoint."""
        wanted = ("ServingRuntime", "InferenceService", "ServiceAccount", "PodDisruptionBudget")
        self.cluster.apply(*(one for one in self.documents(values) if one["kind"] in wanted))

    def get(self, kind: str, name: str = PREDICTOR) -> dict[str, Any]:
        """An object of the namespace."""
        found: dict[str, Any] = json.loads(self.cluster.kubectl("get", kind, name, "-n", SPACE, "-o", "json"))
        return found

    def pods(self) -> list[dict[str, Any]]:
        """The predictor's, the oldest first."""
        words = ("get", "pods", "-n", SPACE, "-l", f"serving.kserve.io/inferenceservice={NAME}", "-o", "json")
        found = json.loads(self.cluster.kubectl(*words))["items"]
        return sorted(found, key=lambda one: str(one["metadata"]["creationTimestamp"]))

    def log_of_another(self, old: dict[str, Any]) -> str:
        """What the predictor's pod beside an old one has said; empty before it says anything."""
        names = [one["metadata"]["name"] for one in self.pods() if one["metadata"]["uid"] != old["metadata"]["uid"]]
        try:
            return self.cluster.kubectl("logs", names[0], "-n", SPACE) if names else ""
        except KubectlFailed:
            return ""

    def conditions(self) -> dict[str, str]:
        """Status by type; empty before the controller has seen it."""
        try:
            found = self.get("inferenceservice", NAME)
        except KubectlFailed:
            return {}
        return {one["type"]: one["status"] for one in found.get("status", {}).get("conditions", [])}

    def ready(self) -> bool:
        """Whether KServe says so."""
        return self.conditions().get("Ready") == "True"

    def rolled_out(self) -> bool:
        """Whether only pods of the newest template are left, and they are ready."""
        found = self.get("deployment")
        status, wanted = found.get("status", {}), found["spec"]["replicas"]
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
        return status.get("observedGeneration") == found["metadata"]["generation"] and counts == [wanted] * 3

    def address(self) -> str:
        """URL of the Service by its cluster address, as this machine reaches it."""
        spec = self.get("service")["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def version(self) -> str:
        """Of the model that answers; empty when nobody does."""
        try:
            answer = httpx.get(f"{self.address()}/v2/models/{NAME}", timeout=5)
        except httpx.TransportError:
            return ""
        return str(answer.json()["versions"][0]) if answer.is_success else ""

    def in_pod(self, script: str, **env: str) -> str:
        """What a Python script prints that runs in a pod of its own, in the endpoint's image."""
        restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        container = {
            "name": "asks",
            "image": BY_NAME["serving"].tag,
            "command": ["python", "-c", script],
            "env": [{"name": name, "value": value} for name, value in env.items()],
            "securityContext": restricted,
        }
        security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        spec = {"restartPolicy": "Never", "securityContext": security, "containers": [container]}
        meta = {"name": "asks", "namespace": SPACE}
        self.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        try:
            done = "--for=jsonpath={.status.phase}=Succeeded"
            self.cluster.plane.kubectl_ok("wait", done, "pod/asks", "-n", SPACE, "--timeout=60s")
            return self.cluster.kubectl("logs", "asks", "-n", SPACE)
        finally:
            self.cluster.kubectl("delete", "pod", "asks", "-n", SPACE, "--grace-period=0", "--force")

    def delete(self) -> None:
        """Take it away, pods included."""
        self.cluster.kubectl("delete", "inferenceservice", NAME, "-n", SPACE, "--ignore-not-found", "--timeout=60s")
        words = ("delete", "pods", "-n", SPACE, "--all", "--grace-period=1", "--timeout=60s")
        self.cluster.kubectl(*words)


@dataclass
class Load:
    """Requests one after the other, each over a connection of its own or all over one.

    Attributes:
        url: Of the endpoint.
        reuse: Whether connections are kept, as the controller keeps them.
        answers: Model versions that answered, with how often.
        failures: What went wrong, with the seconds since the start.
    """

    url: str
    reuse: bool
    answers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def run(self, over: threading.Event) -> None:
        """Ask until it is over."""
        body, start = {"instances": [instance(KNOWN, samples(40, 1))]}, time.monotonic()
        kept = 1 if self.reuse else 0
        limits = httpx.Limits(max_keepalive_connections=kept)
        with httpx.Client(base_url=self.url, timeout=30, limits=limits) as client:
            while not over.is_set():
                try:
                    answer = client.post(PREDICT, json=body)
                    answer.raise_for_status()
                    version = str(answer.json()["predictions"][0]["model"]["version"])
                    self.answers[version] = self.answers.get(version, 0) + 1
                except httpx.HTTPError as error:
                    self.failures.append(f"{time.monotonic() - start:.1f} s: {type(error).__name__} {error}")
                over.wait(0.02)


@contextmanager
def load(url: str, reuse: Iterable[bool] = (False, True)) -> Iterator[list[Load]]:
    """Constant load for the length of a block, by one client each."""
    clients, over = [Load(url, one) for one in reuse], threading.Event()
    threads = [threading.Thread(target=one.run, args=(over,)) for one in clients]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        over.set()
        for thread in threads:
            thread.join()
