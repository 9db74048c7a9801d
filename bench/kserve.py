"""KServe on the bench: its controller as a process of a running cluster, its webhooks by URL, Standard mode alone.

InferenceServices become a Deployment and a Service each. ``python -m bench.kserve up`` starts it in .bench.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
import yaml

from bench.__main__ import run_app, teller
from bench.build import BY_NAME, binary, build_programs, module_folder
from bench.cluster import Cluster, Say
from bench.controlplane import KubectlFailed, free_ports
from bench.paths import DEFAULT_STATE
from selfheal.errors import SelfhealError

NAMESPACE = "kserve"
ACCOUNT = "kserve-controller-manager"
_MODULE = "github.com/kserve/kserve"
_PROCESS = "kserve-controller"
_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_FOLDERS = ("crd", "rbac")  # of the module's config/, for kustomize
_FILES = ("configmap/inferenceservice.yaml", "webhook/manifests.yaml")
# Of its ConfigMap we change what needs other software (Istio, Knative, Ingress); sizes stay as KServe ships them.
_SETTINGS: dict[str, dict[str, Any]] = {
    "deploy": {"defaultDeploymentMode": "Standard"},
    "ingress": {"disableIngressCreation": True, "disableIstioVirtualHost": True, "ingressDomain": "cluster.local"},
}

Document = dict[str, Any]


@dataclass(frozen=True)
class KServe:
    """KServe beside one cluster.

    Attributes:
        cluster: Where its objects are; its API server must be a process of this machine, to reach the webhooks.
    """

    cluster: Cluster

    @classmethod
    def start(cls, cluster: Cluster, say: Say) -> KServe:
        """Start what does not run, and wait until InferenceServices are taken.

        Raises:
            selfheal.errors.SelfhealError: With what is missing and what to do.
        """
        build_programs([BY_NAME["kserve"]], say)
        found = cls(cluster)
        documents = manifests()
        install_crds(cluster, [one for one in documents if one["kind"] == "CustomResourceDefinition"])
        found._install(documents)
        found._run()
        found._hook(documents)
        return found

    @property
    def _folder(self) -> Path:
        return self.cluster.plane.state.folder("kserve")

    def _install(self, documents: Iterable[Document]) -> None:
        """Rights and settings."""
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        kept = [one for one in documents if one["kind"] not in (*_WEBHOOKS, "CustomResourceDefinition")]
        self.cluster.apply(*kept)

    def configure(self, **sections: dict[str, Any]) -> None:
        """Change sections of KServe's ConfigMap, which its controller reads at every reconciliation."""
        (found,) = [one for one in manifests() if one["kind"] == "ConfigMap"]
        for name, content in sections.items():
            found["data"][name] = json.dumps(json.loads(found["data"].get(name, "{}")) | content)
        self.cluster.apply(found)

    def _run(self) -> None:
        processes, ports, folder = self.cluster.plane.processes, self._ports(), self._folder
        account = self.cluster.service_account_kubeconfig(NAMESPACE, ACCOUNT, "720h")
        words = [f"--webhook-port={ports['webhook']}", f"--health-probe-addr=127.0.0.1:{ports['health']}"]
        words += [f"--metrics-addr=127.0.0.1:{ports['metrics']}", "--zap-log-level=info"]
        env = {"POD_NAMESPACE": NAMESPACE, "TMPDIR": str(folder), "KUBECONFIG": str(account)}
        self._certificates(folder / "k8s-webhook-server" / "serving-certs")
        processes.start(_PROCESS, [binary("kserve"), *words], env)
        processes.wait(_PROCESS, lambda: _answers(f"http://127.0.0.1:{ports['health']}/readyz"), 120)

    def _certificates(self, folder: Path) -> None:
        """Where controller-runtime looks for them below TMPDIR: no flag names another place."""
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in zip(
            self.cluster.plane.authority.issue("kserve-webhook", "kserve-webhook", hosts=("127.0.0.1", "localhost")),
            ("tls.crt", "tls.key"),
            strict=True,
        ):
            (folder / target).touch(mode=0o600)
            (folder / target).write_bytes(source.read_bytes())

    def _hook(self, documents: Iterable[Document]) -> None:
        """Webhooks by URL, once somebody listens: until then they would hold up everybody's InferenceServices."""
        authority = base64.b64encode((self.cluster.plane.state.pki / "ca.crt").read_bytes()).decode()
        url = f"https://127.0.0.1:{self._ports()['webhook']}"
        found = [one for one in documents if one["kind"] in _WEBHOOKS]
        for hook in (hook for one in found for hook in one["webhooks"]):
            path = hook["clientConfig"]["service"]["path"]
            hook["clientConfig"] = {"url": f"{url}{path}", "caBundle": authority}
        self.cluster.apply(*found)

    def _ports(self) -> dict[str, int]:
        """Ports nobody uses, the same at every later start."""
        file = self._folder / "ports.json"
        if not file.exists():
            names = ("webhook", "health", "metrics")
            file.write_text(json.dumps(dict(zip(names, free_ports(len(names)), strict=True))))
        ports: dict[str, int] = json.loads(file.read_text())
        return ports

    def stop(self) -> list[str]:
        """Delete every InferenceService, take webhooks, kinds and rights away, and end the controller.

        Returns:
            Names of what ran.
        """
        documents = manifests()
        if self.cluster.plane.processes.pid(_PROCESS) is None:  # nobody would answer the webhooks or clear finalizers
            self._delete(one for one in documents if one["kind"] in _WEBHOOKS)
            self._free()
        if self.cluster.plane.kubectl_ok("get", "inferenceservices", "-A"):
            self.cluster.kubectl("delete", "inferenceservices", "-A", "--all", "--timeout=60s")
        self._delete(one for one in documents if one["kind"] in _WEBHOOKS)
        ended = [_PROCESS] if self.cluster.plane.processes.stop(_PROCESS) else []
        self._delete(one for one in documents if one["kind"] not in _WEBHOOKS)
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")
        return ended

    def _free(self) -> None:
        """Take finalizers from InferenceServices whose controller is gone."""
        try:
            listed = json.loads(self.cluster.kubectl("get", "inferenceservices", "-A", "-o", "json"))["items"]
        except KubectlFailed:
            return
        for one in listed:
            where = [one["metadata"]["name"], "-n", one["metadata"]["namespace"]]
            patch = '{"metadata":{"finalizers":null}}'
            self.cluster.kubectl("patch", "inferenceservice", *where, "--type=merge", "-p", patch)

    def _delete(self, documents: Iterable[Document]) -> None:
        everything = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=json.dumps(everything))


def manifests() -> list[Document]:
    """Kinds, rights, settings and webhooks of KServe's own release, ours where they must differ.

    They are kept beside the program in the cache.

    Raises:
        bench.build.BuildFailed: Without go, where they are not in the cache yet.
    """
    program = binary("kserve")
    file = program.with_name(f"{program.name}.yaml")
    if not file.exists():
        source = module_folder("kserve", _MODULE) / "config"
        parts = [_kustomize(source / name) for name in _FOLDERS] + [(source / name).read_text() for name in _FILES]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n---\n".join(parts))
    return [_ours(one) for one in yaml.load_all(file.read_text(), yaml.CSafeLoader) if one]


def _ours(document: Document) -> Document:
    meta = document["metadata"]
    meta.pop("creationTimestamp", None)
    if document["kind"] in ("ConfigMap", "ServiceAccount", "Role", "RoleBinding", "Service"):
        meta["namespace"] = NAMESPACE
    for subject in document.get("subjects", ()):
        subject["namespace"] = NAMESPACE
    if document["kind"] == "ConfigMap":
        document["data"].pop("_example", None)
        for name, content in _SETTINGS.items():
            document["data"][name] = json.dumps(json.loads(document["data"][name]) | content)
    return document


def _kustomize(folder: Path) -> str:
    words = [str(binary("kubectl")), "kustomize", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SelfhealError(f"kubectl kustomize {folder} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def kserve_crds() -> list[Document]:
    """KServe's custom resource definitions."""
    return [one for one in manifests() if one["kind"] == "CustomResourceDefinition"]


def monitoring_crds() -> list[Document]:
    """ServiceMonitor and PrometheusRule, from the Prometheus operator's module.

    Raises:
        bench.build.BuildFailed: Without go, or where the module cannot be fetched.
    """
    source = module_folder("prometheus-operator", "github.com/prometheus-operator/prometheus-operator")
    folder = source / "example" / "prometheus-operator-crd"
    names = ("servicemonitors", "prometheusrules")
    return [yaml.safe_load((folder / f"monitoring.coreos.com_{name}.yaml").read_text()) for name in names]


def install_crds(cluster: Cluster, crds: Iterable[Document]) -> None:
    """Install kinds, and wait until the API server takes objects of them.

    Raises:
        SelfhealError: When it does not within a minute.
    """
    found = list(crds)
    cluster.apply(*found)
    names = [f"crd/{one['metadata']['name']}" for one in found]
    deadline = time.monotonic() + 60
    # A definition that is seconds old has no conditions yet, and kubectl wait fails on that.
    while not cluster.plane.kubectl_ok("wait", "--for=condition=Established", "--timeout=30s", *names):
        if time.monotonic() > deadline:
            raise SelfhealError(f"not established after 60 s: {', '.join(names)}")
        time.sleep(0.5)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
StateOption = Annotated[Path, typer.Option(help="The folder of the cluster that it is for.")]


@app.command()
def build() -> None:
    """Build it from its Go module; kept in the user's cache."""
    build_programs([BY_NAME["kserve"]], teller())
    manifests()


@app.command()
def up(state: StateOption = DEFAULT_STATE) -> None:
    """Start it beside a running cluster, or find it running."""
    say = teller()
    KServe.start(Cluster.of(state, "node"), say)
    say("KServe takes InferenceServices in every namespace, as Deployment and Service (Standard mode)")


@app.command()
def down(state: StateOption = DEFAULT_STATE) -> None:
    """Delete every InferenceService and all that up installed, and end it."""
    teller()(f"ended {', '.join(KServe(Cluster.of(state, 'node')).stop()) or 'nothing: no process was left'}")


if __name__ == "__main__":
    run_app(app)
