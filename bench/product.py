"""``make deploy``: the whole product on the node bench, as processes under their own ServiceAccount.

Endpoint and controller run beside the cluster, with the rights they have inside it and no others; nothing has to be
built. ``bench.incluster`` runs the same as pods of its own images.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import typer

from bench.client import Client, answers
from bench.cluster import Cluster, Say
from bench.history import DAYS, STEP, write_history
from bench.levels import measure, settled
from bench.monitoring import PROMETHEUS, add_history
from bench.node import NodeCluster
from bench.paths import DEFAULT_STATE, SOURCE, State
from bench.processes import StartFailed
from selfheal.errors import NoData, SelfhealError

ROOT = SOURCE.parent
ENDPOINT = "http://127.0.0.1:8080"
MODEL = "models:/selfheal-ensemble@champion"
SYSTEM, ACCOUNT = "selfheal-system", "selfheal-controller"
SHOP = ("frontend", "catalogue", "cart", "orders", "customers")
# The step is the model's; two dozen samples are what the slowest detector needs, and a leak shows in half of them.
CONTROLLER = {
    "SELFHEAL_PROMETHEUS_URL": PROMETHEUS,
    "SELFHEAL_ENDPOINT_URL": ENDPOINT,
    "SELFHEAL_TICK_SECONDS": "10",
    "SELFHEAL_STEP_SECONDS": str(STEP),
    "SELFHEAL_WINDOW_SAMPLES": "24",
    "SELFHEAL_METRICS_PORT": "9400",
    "SELFHEAL_LIVENESS_PORT": "9401",
}
_SETTLE = 240.0  # seconds in which the shop's memory must come to rest
TELLING = re.compile(r"^\[|return data|workloads with|abstains|champion|challenger|[Rr]efused|promoted|failed|faults")
_OURS = ("controller", "endpoint", "mlflow")

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Product:
    """The product on one cluster.

    Attributes:
        cluster: Where.
        say: Told what is being done.
    """

    cluster: Cluster
    say: Say

    @property
    def state(self) -> State:
        """The cluster's folder."""
        return self.cluster.plane.state

    @property
    def tracking(self) -> str:
        """MLflow's registry: one SQLite file, artifacts beside it."""
        return f"sqlite:///{self.state.folder('mlflow')}/mlflow.db"

    def deploy(self) -> None:
        """Everything, in order; what is there already is left as it is."""
        self.shop()
        self.manifests()
        self.history()
        self.train()
        self.serve()
        self.control()

    def shop(self) -> None:
        """The demo shop, all of it ready."""
        self.say("the demo shop: five services, and customers who call them")
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(SOURCE / "shop" / "shop.yaml"))
        for name in SHOP:
            self.cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", "shop", "--timeout=90s")

    def manifests(self) -> None:
        """CRDs, rights and admission policies; the shop opted in; the demo's policies."""
        self.say("CRDs, RBAC and admission policies")
        self._apply_directory()
        self.opt_in()

    def opt_in(self) -> None:
        """What an administrator does to have the shop healed, and the demo's policies."""
        self.say("namespace shop opts in")
        self.cluster.kubectl("label", "namespace", "shop", "aiops.example.com/self-healing=enabled", "--overwrite")
        self.cluster.apply(_role_binding("shop"))
        self.cluster.kubectl("apply", "--server-side", "-f", str(SOURCE / "shop" / "policies.yaml"))

    def _apply_directory(self) -> None:
        crds = str(ROOT / "manifests" / "crds")
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
        for _ in range(50):  # the API server refuses objects of a kind for a moment after it took the kind
            if self.cluster.plane.kubectl_ok("wait", "--for=condition=Established", "--timeout=20s", "-f", crds):
                break
            time.sleep(0.2)
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "manifests"))

    def history(self) -> None:
        """Give the shop its synthetic past, once for a cluster."""
        marker = self.state.root / "history.json"
        if marker.exists():
            return
        born = self.shop_born()
        self.say(f"measuring the running shop, to draw {DAYS:g} days of past at its levels (synthetic)")
        while not settled(PROMETHEUS):
            if time.time() > born + _SETTLE:
                raise StartFailed(
                    f"the shop's memory does not come to rest in {_SETTLE:.0f} s, so its past cannot be drawn at its "
                    "levels: see `kubectl -n shop get pods`"
                )
            time.sleep(2)
        text = self.state.root / "history.om"
        levels = measure(PROMETHEUS)
        samples = write_history(text, born - 15, levels=levels)
        add_history(self.cluster.plane, text)
        text.unlink()
        marker.write_text(json.dumps({name: vars(level) for name, level in levels.items()}, indent=1))
        self.say(f"{samples:,} samples of synthetic history put into Prometheus")

    def shop_born(self) -> float:
        """When the oldest pod of the shop was made, in seconds since 1970."""
        with Client(self.cluster.kubeconfig) as client:
            pods = client.items("/api/v1/namespaces/shop/pods")
        stamps = [datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp() for pod in pods]
        return min(stamps, default=time.time())

    def train(self) -> None:
        """Run the training pipeline unless a champion is there; its progress becomes ours.

        Raises:
            SelfhealError: With the end of what it said.
        """
        marker = self.state.root / "trained.json"
        if marker.exists():
            return
        self.say("training pipeline: collect, train four detectors, calibrate, evaluate, register, promote")
        words = ["-m", "pipelines", "run", "--prometheus", PROMETHEUS, "--tracking-uri", self.tracking]
        words += ["--namespaces", "shop", "--hours", f"{DAYS * 24:g}", "--step", str(STEP), "--json"]
        words += ["--work", str(self.state.folder("pipeline"))]
        log = self.state.logs / "pipeline.log"
        with log.open("w") as stream:
            pipe, env = subprocess.PIPE, os.environ | base_env()
            child = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env=env)
            for line in child.stderr or ():
                stream.write(line)
                if TELLING.search(line):
                    self.say(f"  {line.strip()[:140]}")
            answer = child.stdout.read() if child.stdout else ""
        if child.wait():
            raise SelfhealError(f"the training pipeline failed: read {log}")
        marker.write_text(answer)

    def serve(self) -> None:
        """The inference endpoint."""
        self.say("inference endpoint")
        command = [sys.executable, "-m", "serving", "--model-uri", MODEL, "--tracking-uri", self.tracking]
        self._start("endpoint", [*command, "--port", "8080"], {})
        self.cluster.plane.processes.wait("endpoint", endpoint_ready, seconds=120)

    def control(self) -> None:
        """The controller, as its ServiceAccount."""
        account = self.cluster.service_account_kubeconfig(SYSTEM, ACCOUNT, duration="24h")
        self.say(f"controller, as ServiceAccount {SYSTEM}/{ACCOUNT}")
        self._start("controller", [sys.executable, "-m", "controller"], {**CONTROLLER, "KUBECONFIG": str(account)})
        self.cluster.plane.processes.wait("controller", controller_ready, seconds=60)

    def _start(self, name: str, command: list[str], more: Mapping[str, str]) -> None:
        self.cluster.plane.processes.start(name, command, base_env() | dict(more))

    def undeploy(self) -> None:
        """End the processes and remove what was installed; shop and cluster stay."""
        for name in _OURS:
            if self.cluster.plane.processes.stop(name, seconds=30):
                self.say(f"ended {name}")
        plane = self.cluster.plane
        plane.kubectl_ok("delete", "-n", "shop", "rolebinding", "selfheal-healer", "--ignore-not-found")
        plane.kubectl_ok("label", "namespace", "shop", "aiops.example.com/self-healing-")
        plane.kubectl_ok("delete", "-k", str(ROOT / "manifests"), "--ignore-not-found", "--timeout=60s")
        self.say("removed CRDs with their objects, RBAC and admission policies")


def endpoint_ready() -> bool:
    """Whether the endpoint answers with a loaded model."""
    return answers(f"{ENDPOINT}/v2/health/ready")


def controller_ready() -> bool:
    """Whether the controller's handlers run."""
    return answers(f"http://127.0.0.1:{CONTROLLER['SELFHEAL_LIVENESS_PORT']}/healthz")


def base_env() -> dict[str, str]:
    """The environment of this repository's own processes."""
    # One thread each: the machine also runs the cluster.
    return {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def _role_binding(namespace: str) -> dict[str, object]:
    rbac = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "selfheal-healer", "namespace": namespace},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "selfheal-healer"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}],
    }


_StateOption = typer.Option(DEFAULT_STATE, help="The cluster's folder.")


@app.command()
def deploy(state: Path = _StateOption) -> None:
    """Install everything and leave it running."""
    from bench.__main__ import teller

    say = teller()
    product = Product(NodeCluster.start(state.absolute(), say), say)
    product.deploy()
    typer.echo(
        f"\nIt runs. Prometheus {PROMETHEUS}, endpoint {ENDPOINT}/v2/models/selfheal-ensemble, "
        f"controller metrics http://127.0.0.1:{CONTROLLER['SELFHEAL_METRICS_PORT']}/metrics\n"
        f"Models: mlflow ui --backend-store-uri {product.tracking}\n\nTry next:\n"
        f"  export KUBECONFIG={product.cluster.kubeconfig}\n"
        "  kubectl -n shop set env deployment/catalogue MEMORY_MIB=900     # a bad change; then watch\n"
        "  kubectl -n shop get remediations,selfhealingpolicies -w\n"
        f"  tail -f {product.state.logs}/controller.log\n"
    )


@app.command()
def undeploy(state: Path = _StateOption) -> None:
    """Take the product off; cluster and shop stay."""
    from bench.__main__ import teller

    folder = State(state.absolute())
    if not folder.settings.exists():
        raise NoData(f"no cluster in {folder.root}: nothing to take the product off")
    from bench.controlplane import ControlPlane

    Product(NodeCluster(ControlPlane.load_or_create(folder, "node")), teller()).undeploy()


if __name__ == "__main__":
    from bench.__main__ import run_app

    run_app(app)
