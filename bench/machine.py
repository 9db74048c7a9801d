"""What a real node needs of the machine, and how the machine becomes again what it was before."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.paths import State
from bench.processes import Processes
from selfheal.errors import SelfhealError, WrongUse

Say = Callable[[str], None]

BRIDGE = "shbench0"
RUN = Path("/run/containerd")  # containerd's default: elsewhere cAdvisor does not name containers
SOCKET = RUN / "containerd.sock"
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "busybox": "busybox-static",
    "gcc": "gcc libc6-dev",
    "prometheus": "prometheus",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
}
_CNI = Path("/usr/lib/cni/bridge")
_RECORD = Path("/run/selfheal-bench.json")
VOLUME = Path("/run/selfheal-bench/orders")  # bench/shop/shop.yaml names it
_VOLUME_MIB, _VOLUME_USED_MIB = 64, 12
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_CHAINS = re.compile(r"\b(KUBE-|CNI-HOSTPORT|CNI-DN-|CNI-SN-)")


def missing_packages() -> list[str]:
    """Debian packages that this machine lacks for a node."""
    return _lacking(PACKAGES) + ([] if _CNI.exists() else ["containernetworking-plugins"])


def _lacking(tools: Mapping[str, str]) -> list[str]:
    return [package for tool, packages in tools.items() if not shutil.which(tool) for package in packages.split()]


def install_packages(say: Say, tools: Mapping[str, str] | None = None) -> None:
    """Install what is missing.

    Args:
        say: Told what is installed.
        tools: Programs and their packages; what a node needs by default.

    Raises:
        WrongUse: Where that cannot be done, with the line to run.
    """
    if lacking := missing_packages() if tools is None else _lacking(tools):
        install(lacking, say)


def install(lacking: Sequence[str], say: Say) -> None:
    """Install Debian packages with apt-get, without starting any service.

    Raises:
        WrongUse: Where that cannot be done, with the line to run.
    """
    line = f"apt-get install {' '.join(lacking)}"
    if shutil.which("apt-get") is None:
        raise WrongUse(f"these programs are missing: {', '.join(lacking)}. On Debian: {line}")
    say(f"installing {', '.join(lacking)}")
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # runlevel 1: packages start nothing
    for words in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *lacking]):
        done = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise WrongUse(f"{' '.join(words)} failed: {done.stderr.strip()[-300:]}. Try: {line}")


def run(*words: str) -> bool:
    """Whether a command succeeds."""
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def containerd_answers() -> bool:
    """Whether a containerd, anybody's, listens at the default place."""
    return SOCKET.exists() and run("ctr", "-a", str(SOCKET), "--timeout", "3s", "version")


def holder() -> Path | None:
    """The state folder of the node bench that runs on this machine; None when none does."""
    if not _RECORD.exists():
        return None
    root = Path(json.loads(_RECORD.read_text())["state"])
    return root if root.is_dir() and Processes(State(root)).running() else None


def claim(state: State) -> None:
    """Take the machine for one bench: there is one bridge, one containerd socket and one set of addresses.

    What a bench left that was ended without ``down`` (its folder may be gone) is cleaned away first.

    Raises:
        WrongUse: When another bench or another containerd runs here.
    """
    running = holder()
    if running is not None and running != state.root:
        raise WrongUse(
            f"another node bench runs on this machine, with its state in {running}: use it with --state {running}, "
            f"or end it with: python -m bench down --state {running}"
        )
    if Processes(state).pid("containerd") is None:
        if containerd_answers():
            raise WrongUse(f"another containerd answers on {SOCKET}: stop it first, the bench needs that socket")
        sweep(state.root)
    if not _RECORD.exists():
        _RECORD.write_text(json.dumps({"state": str(state.root), "forward": _FORWARD.read_text().strip()}))


def bridge(address: str) -> None:
    """Make the network bridge of the pods, with the node's address.

    Raises:
        SelfhealError: Without the right to do so.
    """
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        for words in (
            ("ip", "link", "add", BRIDGE, "type", "bridge"),
            ("ip", "addr", "add", f"{address}/24", "dev", BRIDGE),
        ):
            if not run(*words):
                raise SelfhealError(f"{' '.join(words)} failed: the bench needs a network bridge (CAP_NET_ADMIN)")
    run("ip", "link", "set", BRIDGE, "up")
    _FORWARD.write_text("1\n")


def mount_volume() -> None:
    """The disk of the shop's volume: small and its own, so that its fill level says nothing about this machine's disk.

    Raises:
        SelfhealError: Without the right to mount.
    """
    if VOLUME.is_mount():
        return
    VOLUME.mkdir(parents=True, exist_ok=True)
    if not run("mount", "-t", "tmpfs", "-o", f"size={_VOLUME_MIB}m,mode=1777", "selfheal-bench", str(VOLUME)):
        raise SelfhealError(f"cannot mount a small tmpfs on {VOLUME}: the bench needs CAP_SYS_ADMIN")
    (VOLUME / "orders.db").write_bytes(bytes(_VOLUME_USED_MIB << 20))


def write_changed(file: Path, text: str) -> None:
    """Write a configuration only when it differs: some programs end, and all look, when theirs is written."""
    if not file.exists() or file.read_text() != text:
        file.write_text(text)


def remove_containers() -> None:
    """End and delete every container of the bench's containerd."""
    for task in _ctr_list("tasks"):
        _ctr("tasks", "kill", "-s", "SIGKILL", task)
    deadline = time.monotonic() + 5
    while _ctr_list("tasks", running=True) and time.monotonic() < deadline:
        time.sleep(0.1)
    for kind in ("tasks", "containers"):
        for name in _ctr_list(kind):
            _ctr(kind, "delete", name)


def _ctr(*words: str) -> str:
    command = ["ctr", "-a", str(SOCKET), "-n", "k8s.io", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _ctr_list(kind: str, *, running: bool = False) -> list[str]:
    if not running:
        return _ctr(kind, "list", "-q").split()
    return [line for line in _ctr(kind, "list").splitlines() if "RUNNING" in line]


def sweep(root: Path) -> None:
    """Undo what a node bench does to the machine; nothing happens where none ever ran.

    Args:
        root: State folder whose mounts go, beside those of the bench that the machine's record names.
    """
    known = [json.loads(_RECORD.read_text())] if _RECORD.exists() else []
    if not known and not Path(f"/sys/class/net/{BRIDGE}").exists():
        return
    for pid in _leftovers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _unmount([root, *(Path(record["state"]) for record in known)])
    for name in _links():
        run("ip", "link", "del", name)
    for tool in ("iptables", "ip6tables"):
        _remove_rules(tool)
    shutil.rmtree(RUN, ignore_errors=True)
    shutil.rmtree(VOLUME.parent, ignore_errors=True)
    _remove_cgroups()
    for record in known:
        _FORWARD.write_text(record["forward"] + "\n")
    _RECORD.unlink(missing_ok=True)


def _leftovers() -> list[int]:
    """Containers' processes and their shims that outlived their containerd."""
    found = set()
    groups = Path("/sys/fs/cgroup")
    for file in [*groups.glob("*/kubepods/**/cgroup.procs"), *groups.glob("kubepods/**/cgroup.procs")]:
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in file.read_text().split()}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = file.read_bytes().split(b"\0")
            if words[0].endswith(b"/containerd-shim-runc-v2") and str(SOCKET).encode() in words:
                found.add(int(file.parent.name))
    return sorted(found - {os.getpid()})


def _unmount(roots: list[Path]) -> None:
    ours = (*(f"{root}/" for root in roots), f"{RUN}/", "/run/netns/cni-", str(VOLUME))
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(ours)), key=len, reverse=True):
        run("umount", "-l", mount)
    for file in Path("/run/netns").glob("cni-*"):
        run("ip", "netns", "del", file.name)


def _remove_cgroups() -> None:
    """The pods' control groups, the deepest first; the kernel refuses those that still hold processes."""
    for top in [*Path("/sys/fs/cgroup").glob("*/kubepods"), Path("/sys/fs/cgroup/kubepods")]:
        for folder in sorted((f for f in [top, *top.rglob("*")] if f.is_dir()), key=lambda f: -len(f.parts)):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _links() -> list[str]:
    """The bridge and the veth ends that hang on it."""
    ends = Path(f"/sys/class/net/{BRIDGE}/brif")
    return [*(end.name for end in ends.glob("*")), BRIDGE] if ends.exists() else []


def _remove_rules(tool: str) -> None:
    """Take kube-proxy's, the kubelet's and the port mapper's chains out of the tables, and nothing else."""
    if not shutil.which(f"{tool}-save"):
        return
    rules = subprocess.run([f"{tool}-save"], capture_output=True, text=True, check=False).stdout
    kept = [line for line in rules.splitlines() if not _CHAINS.search(line)]
    if len(kept) != len(rules.splitlines()):
        subprocess.run([f"{tool}-restore"], input="\n".join(kept) + "\n", text=True, capture_output=True, check=False)
