"""``make install-in-cluster``: the product in its own images, by its chart, on the node bench; MLflow beside it.

Nothing of the product runs outside of pods here: training is a Job, endpoint and controller are Deployments, all under
PSA ``restricted``.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
import yaml

from bench.build import binary
from bench.chart import CHART, camel
from bench.containerfiles import BY_NAME, build_images, import_to_bench
from bench.helm import helm
from bench.history import DAYS, STEP
from bench.monitoring import PROMETHEUS
from bench.node import NodeCluster
from bench.paths import DEFAULT_STATE, SOURCE
from bench.product import CONTROLLER, SYSTEM, TELLING, Product
from selfheal.errors import SelfhealError

RELEASE = "selfheal"
MLFLOW = "http://mlflow.mlflow.svc:5000"
_TRAINING = 900.0  # seconds that a training may take
_SETTINGS = ("tick_seconds", "step_seconds", "window_samples")

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)


class InCluster(Product):
    """The product as pods."""

    def deploy(self) -> None:
        """Everything, in order; what is there already is left as it is."""
        self.shop()
        self.images()
        self.registry()
        self.install()
        self.opt_in()
        self.history()
        self.train()
        self.ready()

    def images(self) -> None:
        """Build the images that podman lacks, and give them to the node."""
        build_images(list(BY_NAME.values()), self.say)
        import_to_bench(list(BY_NAME.values()), self.say)

    def space(self) -> None:
        """Our namespace under PSA ``restricted``."""
        self.say(f"namespace {SYSTEM} under PSA restricted")
        self.cluster.apply(_namespace(SYSTEM))

    def registry(self) -> None:
        """Our namespace, and in one of its own an MLflow server from the trainer's image."""
        self.space()
        self.say("MLflow, as a pod")
        self.cluster.apply(_namespace("mlflow"))
        self.cluster.apply(*mlflow(BY_NAME["trainer"].tag))
        self.cluster.kubectl("rollout", "status", "deployment/mlflow", "-n", "mlflow", "--timeout=180s")

    def install(self, values: Mapping[str, Any] | None = None, *words: str) -> None:
        """``helm upgrade --install`` of the chart in this checkout.

        Args:
            values: On top of the bench's.
            words: More flags for helm.
        """
        self.say("helm upgrade --install selfheal manifests/chart")
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file, tempfile.NamedTemporaryFile("w") as more:
            for target, content in ((file, bench_values()), (more, dict(values or {}))):
                yaml.safe_dump(content, target)
                target.flush()
            given = ["-f", file.name, "-f", more.name, "--take-ownership", *words]  # kubectl may have applied it before
            helm(self.cluster, SYSTEM, "upgrade", "--install", RELEASE, str(CHART), *given)

    def train(self) -> None:
        """Run the CronJob of the training once, unless a champion is there; its progress becomes ours.

        Raises:
            SelfhealError: With the end of what it said.
        """
        marker = self.state.root / "trained-in-cluster.json"
        if marker.exists():
            return
        self.say("training pipeline as a Job: collect, train four detectors, calibrate, evaluate, register, promote")
        self.cluster.kubectl("delete", "job", "first-training", "-n", SYSTEM, "--ignore-not-found")
        self.cluster.kubectl("create", "job", "first-training", "--from=cronjob/selfheal-training", "-n", SYSTEM)
        log = self.state.logs / "training-in-cluster.log"
        self._follow("first-training", log)
        marker.write_text(log.read_text().splitlines()[-1])

    def _follow(self, job: str, log: Path) -> None:
        deadline = time.monotonic() + _TRAINING
        while time.monotonic() < deadline:
            self._tell_newest(job, log)
            found = json.loads(self._kubectl("get", "job", job, "-o", "json"))["status"]
            ended = {one["type"] for one in found.get("conditions", []) if one["status"] == "True"}
            if "Complete" in ended:
                return
            if "Failed" in ended:
                break
            time.sleep(2)
        raise SelfhealError(f"the training Job failed: read {log}")

    def _kubectl(self, *words: str) -> str:
        return self.cluster.kubectl("-n", SYSTEM, *words)

    def _tell_newest(self, job: str, log: Path) -> None:
        """What the Job's newest pod says until it ends; a Job tries again."""
        pods = ["pods", "-l", f"job-name={job}", "--sort-by=.metadata.creationTimestamp", "-o", "name"]
        if not (names := self._kubectl("get", *pods).split()):
            return
        command = [str(binary("kubectl")), "--kubeconfig", str(self.cluster.kubeconfig), "-n", SYSTEM]
        words = [*command, "logs", "-f", "--pod-running-timeout=2m", names[-1]]
        with log.open("w") as stream, subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            for line in child.stdout or ():
                stream.write(line)
                if TELLING.search(line):
                    self.say(f"  {line.strip()[:140]}")

    def ready(self) -> None:
        """Endpoint and controller run."""
        self.say("waiting for endpoint and controller")
        for name in ("selfheal-ensemble", "selfheal-controller"):
            self.cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", SYSTEM, "--timeout=180s")

    def undeploy(self) -> None:
        """Uninstall; policies and records stay, as the chart promises."""
        helm(self.cluster, SYSTEM, "uninstall", RELEASE, "--wait")


def bench_values() -> dict[str, Any]:
    """How the chart is installed on the bench: our images, its Prometheus, and the demo's pace."""
    settings = {camel(name): float(CONTROLLER[f"SELFHEAL_{name.upper()}"]) for name in _SETTINGS}
    return {
        "images": {name: {"repository": image.repository, "tag": image.key} for name, image in BY_NAME.items()},
        "prometheus": {"url": PROMETHEUS},
        "mlflow": {"trackingUri": MLFLOW},
        "controller": {"settings": settings},
        "endpoint": {"replicas": 1, "model": {"reloadSeconds": 5}},
        "pipelines": {
            "namespaces": "shop",
            "step": STEP,
            "training": {"enabled": True, "hours": DAYS * 24},
        },
    }


def _namespace(name: str) -> dict[str, Any]:
    label = "pod-security.kubernetes.io/enforce"
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {label: "restricted"}}}


def mlflow(image: str) -> list[dict[str, Any]]:
    """MLflow's server on SQLite and a folder, which live as long as its pod."""
    found = yaml.safe_load_all((SOURCE / "mlflow.yaml").read_text().replace("IMAGE", image))
    return list(found)


_StateOption = typer.Option(DEFAULT_STATE, help="The cluster's folder.")


@app.command()
def deploy(state: Path = _StateOption) -> None:
    """Install everything in the cluster and leave it running."""
    from bench.__main__ import teller

    say = teller()
    product = InCluster(NodeCluster.start(state.absolute(), say), say)
    product.deploy()
    typer.echo(
        f"\nIt runs. Try next:\n  export KUBECONFIG={product.cluster.kubeconfig}\n"
        "  kubectl -n selfheal-system get pods\n"
        "  kubectl -n shop set env deployment/catalogue MEMORY_MIB=900     # a bad change; then watch\n"
        "  kubectl -n shop get remediations,selfhealingpolicies -w\n"
    )


@app.command()
def heal(state: Path = _StateOption) -> None:
    """Break the shop in the demo's three ways; ends with 1 when one is not healed by the pods of the product."""
    from rich.console import Console

    from bench.__main__ import teller
    from bench.demo import Demo
    from bench.faults import FAULTS

    say = teller()
    demo = Demo(InCluster(NodeCluster.start(state.absolute(), say), say), Console())
    demo.allow(2 * len(FAULTS))
    healed = {fault.name: demo.run(fault).heal.healed for fault in FAULTS}
    typer.echo(f"{sum(healed.values())} of {len(healed)} healed by the product in the cluster")
    raise typer.Exit(0 if all(healed.values()) else 1)


@app.command()
def undeploy(state: Path = _StateOption) -> None:
    """Uninstall the chart; cluster, shop and records stay."""
    from bench.__main__ import teller

    product = InCluster(NodeCluster.start(state.absolute(), teller()), teller())
    product.undeploy()


if __name__ == "__main__":
    from bench.__main__ import run_app

    run_app(app)
