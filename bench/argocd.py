"""Argo CD on the bench: application controller, repository server and cache as processes of a running cluster.

A repository is a folder: a bare clone, named by its ``file://`` URL. ``python -m bench.argocd up`` starts it in .bench.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
import yaml

from bench.__main__ import run_app, teller
from bench.build import binary, build_programs, module_folder, needed
from bench.cluster import Cluster, Say
from bench.controlplane import KubectlFailed, free_ports
from bench.paths import DEFAULT_STATE
from selfheal.errors import WrongUse

NAMESPACE = "argocd"
_MODULE = "github.com/argoproj/argo-cd/v3"
_PARTS = {"argocd-controller": "argocd-application-controller", "argocd-repo": "argocd-repo-server"}
_RENDERERS = ("helm", "kustomize")  # it calls them by these names
_RESYNC = 5  # seconds between two looks at a repository; people wait for minutes
_PROJECT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AppProject",
    "metadata": {"name": "default", "namespace": NAMESPACE},
    "spec": {
        "sourceRepos": ["*"],
        "destinations": [{"namespace": "*", "server": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    },
}


@dataclass(frozen=True)
class ArgoCD:
    """Argo CD beside one cluster.

    Attributes:
        cluster: Where it syncs to, and keeps its own objects.
    """

    cluster: Cluster

    @classmethod
    def start(cls, cluster: Cluster, say: Say) -> ArgoCD:
        """Start what does not run, and wait until it looks for Applications.

        Raises:
            selfheal.errors.SelfhealError: With what is missing and what to do.
        """
        if shutil.which("git") is None:
            raise WrongUse("git is missing (on Debian: apt-get install git): Argo CD clones repositories with it")
        build_programs(needed("argocd"), say)
        found = cls(cluster)
        found._install()
        found._run()
        return found

    @property
    def _folder(self) -> Path:
        return self.cluster.plane.state.folder("argocd")

    def _install(self) -> None:
        """CRDs, ConfigMaps and rights from the module; what would run in pods runs as processes instead."""
        documents = yaml.safe_load_all(manifests().read_text())
        kept = [one for one in documents if one["kind"] not in ("Deployment", "StatefulSet", "NetworkPolicy")]
        for one in kept:
            if one["kind"] in ("ConfigMap", "Secret", "ServiceAccount", "Role", "RoleBinding", "Service"):
                one["metadata"]["namespace"] = NAMESPACE
            if one["kind"] == "Secret":
                one["stringData"] = {"server.secretkey": "bench-only"}
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        self.cluster.apply(*kept)
        plane = self.cluster.plane
        plane.processes.wait("kube-apiserver", lambda: plane.kubectl_ok("get", "applications.argoproj.io,appprojects"))
        self.cluster.apply(_PROJECT)

    def _run(self) -> None:
        processes, ports, env = self.cluster.plane.processes, self._ports(), self._env()
        program, cache = binary("argocd"), f"127.0.0.1:{ports['cache']}"
        processes.start("argocd-cache", [program, "--address", cache], env | {"ARGOCD_BINARY_NAME": "cache"})
        processes.wait("argocd-cache", lambda: _listens(ports["cache"]))
        metrics = ["--metrics-port", str(ports["repo-metrics"]), "--metrics-address", "127.0.0.1"]
        where = ["--port", str(ports["repo"]), "--address", "127.0.0.1"]
        self._start("argocd-repo", [*where, *metrics, "--redis", cache], env)
        processes.wait("argocd-repo", lambda: _listens(ports["repo"]))
        words = ["--redis", cache, "--repo-server", f"127.0.0.1:{ports['repo']}", "--namespace", NAMESPACE]
        words += ["--app-resync", str(_RESYNC), "--metrics-port", str(ports["controller-metrics"])]
        words += ["--persist-resource-health"]  # else an Application's status does not say how its parts are
        self._start("argocd-controller", words, env | {"HOSTNAME": "argocd-application-controller-0"})
        processes.wait("argocd-controller", lambda: _listens(ports["controller-metrics"]))

    def _start(self, name: str, words: list[str], env: Mapping[str, str]) -> None:
        named = dict(env) | {"ARGOCD_BINARY_NAME": _PARTS[name]}
        self.cluster.plane.processes.start(name, [binary("argocd"), *words], named)

    def _ports(self) -> dict[str, int]:
        """Ports nobody uses, the same for every part and every later start."""
        file = self._folder / "ports.json"
        if not file.exists():
            names = ("cache", "repo", "repo-metrics", "controller-metrics")
            file.write_text(json.dumps(dict(zip(names, free_ports(len(names)), strict=True))))
        ports: dict[str, int] = json.loads(file.read_text())
        return ports

    def _env(self) -> dict[str, str]:
        """Its files are in our folder, and its kubeconfig is a copy whose current namespace is its own."""
        folder = self._folder
        for name in ("tls", "ssh", "gpg", "tmp", "bin"):
            (folder / name).mkdir(exist_ok=True)
        for name in _RENDERERS:
            link = folder / "bin" / name
            link.unlink(missing_ok=True)
            link.symlink_to(binary(name))
        kubeconfig = yaml.safe_load(self.cluster.kubeconfig.read_text())
        for one in kubeconfig["contexts"]:
            one["context"]["namespace"] = NAMESPACE
        (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        return {
            "KUBECONFIG": str(folder / "kubeconfig"),
            "PATH": f"{folder / 'bin'}:{os.environ.get('PATH', '')}",
            "ARGOCD_FAKE_IN_CLUSTER": "true",
            "ARGOCD_TLS_DATA_PATH": str(folder / "tls"),
            "ARGOCD_SSH_DATA_PATH": str(folder / "ssh"),
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_GNUPGHOME": str(folder / "gpg"),
            "TMPDIR": str(folder / "tmp"),
        }

    def stop(self) -> list[str]:
        """End its processes and delete its objects, but nothing that its Applications have made.

        Returns:
            Names of what ran.
        """
        processes = self.cluster.plane.processes
        ended = [name for name in (*_PARTS, "argocd-cache") if processes.stop(name)]
        try:
            names = self.cluster.kubectl("get", "applications.argoproj.io", "-n", NAMESPACE, "-o", "name").split()
        except KubectlFailed:
            return ended
        for name in names:
            patch = '{"metadata":{"finalizers":null}}'
            self.cluster.kubectl("patch", name, "-n", NAMESPACE, "--type=merge", "-p", patch)
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
        return ended


def manifests() -> Path:
    """What Argo CD's own release installs without its web page, beside the program in the cache.

    Raises:
        bench.build.BuildFailed: Without go, where it is not in the cache yet.
    """
    program = binary("argocd")
    file = program.with_name(f"{program.name}.yaml")
    if not file.exists():
        shutil.copyfile(module_folder("argocd", _MODULE) / "manifests" / "core-install.yaml", file)
    return file


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
StateOption = Annotated[Path, typer.Option(help="The folder of the cluster that it is for.")]


@app.command()
def build() -> None:
    """Build it from its Go module; kept in the user's cache."""
    build_programs(needed("argocd"), teller())
    manifests()


@app.command()
def up(state: StateOption = DEFAULT_STATE) -> None:
    """Start it beside a running cluster, or find it running."""
    say = teller()
    ArgoCD.start(Cluster.of(state, "api|node"), say)
    say(f"Argo CD looks for Applications in namespace {NAMESPACE}; a repository is the file:// URL of a bare clone")


@app.command()
def down(state: StateOption = DEFAULT_STATE) -> None:
    """End it and delete its namespace; what Applications have made stays."""
    teller()(f"ended {', '.join(ArgoCD(Cluster.of(state, 'api|node')).stop()) or 'nothing: no process was left'}")


if __name__ == "__main__":
    run_app(app)
