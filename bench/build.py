"""Builds the bench's programs from Go modules and small C files, once for all clones.

A program is kept under its version in the user's cache; a lock keeps two builds of the same program apart, and a
rename makes it appear whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.paths import SOURCE, cache
from selfheal.errors import SelfhealError

KUBERNETES = "v1.34.4"
Say = Callable[[str], None]


class BuildFailed(SelfhealError):
    """A program cannot be built here; the message says what is missing or where the log is."""


@dataclass(frozen=True)
class Program:
    """A Go program.

    Attributes:
        name: Of the binary.
        module: Folder under ``bench/go`` whose go.mod pins it.
        package: Import path of its main package.
        version: Told to the program and part of the cache's key.
        tiers: Who needs it.
        minutes: How long a cold build takes on two cores.
    """

    name: str
    module: str
    package: str
    version: str
    tiers: tuple[str, ...] = ("api", "node")
    minutes: float = 1.0


def _kubernetes(name: str, *tiers: str) -> Program:
    return Program(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", KUBERNETES, tiers or ("api", "node"), 2.0)


PROGRAMS: tuple[Program, ...] = (
    Program("etcd", "etcd", "go.etcd.io/etcd/server/v3", "v3.6.5"),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    _kubernetes("kubectl"),
    Program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", "v0.7.0", ("api",)),
    _kubernetes("kubelet", "node"),
    _kubernetes("kube-proxy", "node"),
    Program("coredns", "coredns", "github.com/coredns/coredns", "v1.12.0", ("node",)),
    Program("kube-state-metrics", "kube-state-metrics", "k8s.io/kube-state-metrics/v2", "v2.15.0", ("node",)),
    Program("helm", "helm", "helm.sh/helm/v3/cmd/helm", "v3.19.4", ("api", "node", "argocd")),
    Program("kubeconform", "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", "v0.7.0", minutes=0.3),
    Program("shop", "shop", ".", "source", ("node",), 0.2),
    Program("versitygw", "versitygw", "github.com/versity/versitygw/cmd/versitygw", "v1.8.0", (), 2.0),
    Program("argocd", "argocd", ".", "v3.2.0", ("argocd",), 4.0),
    Program("kustomize", "kustomize", "sigs.k8s.io/kustomize/kustomize/v5", "v5.7.1", ("argocd",), 0.7),
)
BY_NAME = {program.name: program for program in PROGRAMS}


def _module(program: Program) -> Path:
    return SOURCE / "shop" if program.module == "shop" else SOURCE / "go" / program.module


def _key(program: Program) -> str:
    """Version and the digest of what it is built from: another pin or source is another file."""
    digest = hashlib.sha256()
    for file in sorted(_module(program).glob("*")):
        if file.suffix in (".go", ".mod", ".sum"):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"{program.version}-{digest.hexdigest()[:10]}"


def binary(name: str) -> Path:
    """Where a program is, or would be, in the cache; KUBEBUILDER_ASSETS goes before it."""
    if (assets := os.environ.get("KUBEBUILDER_ASSETS")) and (found := Path(assets) / name).is_file():
        return found
    return cache() / "bin" / f"{name}-{_key(BY_NAME[name])}"


def needed(tier: str) -> list[Program]:
    """The programs of a tier, in build order."""
    return [program for program in PROGRAMS if tier in program.tiers]


def missing(tier: str) -> list[Program]:
    """Those not built yet."""
    return [program for program in needed(tier) if not binary(program.name).exists()]


def build(tier: str, say: Say) -> None:
    """Build what a tier lacks, telling which, how many and how long.

    Raises:
        BuildFailed: With the way out.
    """
    build_programs(needed(tier), say)


def build_programs(programs: Iterable[Program], say: Say) -> None:
    """Build the programs that the cache lacks."""
    todo = [program for program in programs if not binary(program.name).exists()]
    if not todo:
        return
    if shutil.which("go") is None:
        raise BuildFailed("go is missing: install Go 1.24 or later (on Debian: apt-get install golang), then try again")
    guess = sum(program.minutes for program in todo)
    say(f"building {len(todo)} programs from source, about {guess:.0f} min without Go's cache: kept in {cache()}/bin")
    for number, program in enumerate(todo, 1):
        start = time.monotonic()
        say(f"[{number}/{len(todo)}] {program.name} {program.version} ...")
        _build_one(program)
        say(f"[{number}/{len(todo)}] {program.name} {program.version} built in {time.monotonic() - start:.0f} s")


def _build_one(program: Program) -> None:
    target = binary(program.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{program.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():  # somebody else built it while we waited
            return
        partial = target.with_suffix(f".{os.getpid()}")
        command = ["go", "build", "-trimpath", "-ldflags", _ldflags(program), "-o", str(partial), program.package]
        env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly"}
        done = subprocess.run(command, cwd=_module(program), env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            log = cache() / f"build-{program.name}.log"
            log.write_text(done.stdout + done.stderr)
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise BuildFailed(f"go build of {program.name} failed ({last}); the whole log is {log}")
        partial.replace(target)


def _ldflags(program: Program) -> str:
    if program.module != "kubernetes":
        return "-s -w"
    base = "k8s.io/component-base/version"
    parts = {
        "gitVersion": KUBERNETES,
        "gitMajor": "1",
        "gitMinor": KUBERNETES.split(".")[1],
        "gitCommit": "bench",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
    }
    stamps = [f"-X {base}.{key}={value}" for key, value in parts.items()]
    return " ".join(["-s -w", *stamps, f"-X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES}"])


def compile_c(name: str) -> Path:
    """A static binary of ``bench/images/NAME.c``, kept by the digest of its source.

    Raises:
        BuildFailed: Without a C compiler.
    """
    source = SOURCE / "images" / f"{name}.c"
    target = cache() / "bin" / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:10]}"
    if not target.exists():
        if shutil.which("gcc") is None:
            raise BuildFailed("gcc is missing (on Debian: apt-get install gcc libc6-dev), then try again")
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-O2", "-static", "-o", str(target), str(source)], check=True, capture_output=True)
    return target
