"""Container images from files, without a registry or a build daemon."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.build import binary, compile_c
from selfheal.errors import SelfhealError

PREFIX = "selfheal.bench"
PAUSE = f"{PREFIX}/pause:1"
FAULTY = f"{PREFIX}/faulty:1"
SHOP = f"{PREFIX}/shop:1"
_USER = "65532:0"  # numeric, so that runAsNonRoot can be checked; group 0 as OpenShift gives


@dataclass(frozen=True)
class Image:
    """What goes into an image.

    Attributes:
        tags: Names it is known by.
        files: Path in the image to the file on this machine; all executable.
        entrypoint: Command.
        busybox: Whether the applets of busybox get their links.
    """

    tags: tuple[str, ...]
    files: Mapping[str, Path]
    entrypoint: Sequence[str]
    busybox: bool = False
    env: Sequence[str] = field(default=("PATH=/bin",))

    def tar(self) -> bytes:
        """The image as ``ctr images import`` reads it."""
        layer = self._layer()
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": list(self.entrypoint), "Env": list(self.env), "User": _USER},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
        }
        encoded = json.dumps(config).encode()
        names = (f"{_digest(encoded)}.json", f"{_digest(layer)}/layer.tar")
        manifest = [{"Config": names[0], "RepoTags": list(self.tags), "Layers": [names[1]]}]
        contents = {names[0]: encoded, names[1]: layer, "manifest.json": json.dumps(manifest).encode()}
        return _archive([(_entry(name), data) for name, data in contents.items()])

    def _layer(self) -> bytes:
        entries: list[tuple[tarfile.TarInfo, bytes]] = []
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            entry = _entry(folder, mode)
            entry.type = tarfile.DIRTYPE
            entries.append((entry, b""))
        entries.append((_entry("etc/passwd"), b"root:x:0:0::/:/bin/sh\nshop:x:65532:0::/:/bin/sh\n"))
        entries += [(_entry(name, 0o755), file.read_bytes()) for name, file in self.files.items()]
        if self.busybox:
            entries += [(_link(f"bin/{applet}", "busybox"), b"") for applet in _applets()]
        return _archive(entries)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _entry(name: str, mode: int = 0o644) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    return entry


def _link(name: str, target: str) -> tarfile.TarInfo:
    entry = _entry(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


def _archive(entries: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry, data in entries:
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _applets() -> list[str]:
    listed = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    return [applet for applet in listed if applet != "busybox"]


def bench_images() -> list[Image]:
    """All images of the bench: pause, a busybox for tests, the shop."""
    busybox = Path("/bin/busybox")
    return [
        Image((PAUSE,), {"bin/pause": compile_c("pause")}, ["/bin/pause"]),
        Image(
            (FAULTY, FAULTY.replace(":1", ":2")),
            {"bin/busybox": busybox, "bin/mem": compile_c("mem")},
            ["/bin/sh"],
            busybox=True,
        ),
        Image(
            (SHOP, SHOP.replace(":1", ":2")),
            {"bin/shop": binary("shop"), "bin/busybox": busybox},
            ["/bin/shop"],
            busybox=True,
        ),
    ]


def compile_all() -> None:
    """Compile the small C programs of the images now, so that a later ``up`` finds them."""
    for name in ("pause", "mem"):
        compile_c(name)


def import_images(images: Sequence[Image], address: str) -> None:
    """Give images to a containerd.

    Args:
        images: What to import.
        address: Path of containerd's socket.

    Raises:
        SelfhealError: With what ctr said.
    """
    ctr = ["ctr", "-a", address, "-n", "k8s.io", "images"]
    for image in images:
        done = subprocess.run([*ctr, "import", "-"], input=image.tar(), capture_output=True, check=False)
        if done.returncode:
            raise SelfhealError(f"ctr cannot import {image.tags[0]}: {done.stderr.decode().strip()}")
    # Without the label the kubelet may collect the pause image, which nothing can pull again.
    subprocess.run([*ctr, "label", PAUSE, "io.cri-containerd.pinned=pinned"], check=True, capture_output=True)
