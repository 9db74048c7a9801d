"""``make images``: the product's three images by podman, on a Debian base, handed to the node bench if one runs.

No registry can be reached, so the base comes from debootstrap. On OpenShift the same Containerfiles are built on UBI 9.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.machine import SOCKET, Say, install_packages
from bench.paths import SOURCE
from selfheal.errors import SelfhealError, WrongUse

ROOT = SOURCE.parent
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
BASE, BUILDER = "localhost/selfheal-base", "localhost/selfheal-builder"
TOOLS = {"podman": "podman", "debootstrap": "debootstrap", "ctr": "containerd"}
_SUITE = "bookworm"
_PACKAGES = ("python3", "ca-certificates", "libgomp1", "libstdc++6", "tzdata")
_NEEDLESS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/lib/apt/lists", "dev")
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_SHARED = ("pyproject.toml", "README.md", "LICENSE", "requirements/venv.sh", "requirements/build.txt", "src")
# Where no limit may be raised, podman must not try. The steps of a build need no namespaces of their own.
_PODMAN = ("--runtime=runc", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--isolation=chroot")


@dataclass(frozen=True)
class ProductImage:
    """One of the product's images.

    Attributes:
        name: ``controller``, ``serving`` or ``trainer``; also of its locked requirements.
        folder: Has the Containerfile.
        sources: What is copied besides the wheel.
        minutes: How long a build takes on two cores.
    """

    name: str
    folder: str
    sources: tuple[str, ...]
    minutes: float

    @property
    def repository(self) -> str:
        """Its name without a tag; podman prefixes what has no registry so."""
        return f"localhost/selfheal-{self.name}"

    @cached_property
    def key(self) -> str:
        """Version and digest of all that goes into it, as it is when first asked."""
        digest = hashlib.sha256(_base_key().encode())
        for path in (*_SHARED, f"requirements/{self.name}.txt", f"{self.folder}/Containerfile", *self.sources):
            for file in _files(ROOT / path):
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
        return f"{VERSION}-{digest.hexdigest()[:12]}"

    @property
    def tag(self) -> str:
        """Its name with the key: another source is another image, so that pods see a change."""
        return f"{self.repository}:{self.key}"

    @property
    def released(self) -> str:
        """Its name with the version alone, which chart and pipelines name by default."""
        return f"{self.repository}:{VERSION}"


IMAGES = (
    ProductImage("controller", "controller", ("controller",), 1),
    ProductImage("serving", "serving", ("serving",), 2),
    ProductImage("trainer", "components", ("components", "pipelines"), 7),
)
BY_NAME = {image.name: image for image in IMAGES}


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    found = (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return sorted(found)


def _base_key() -> str:
    return hashlib.sha256(" ".join((_SUITE, *_PACKAGES)).encode()).hexdigest()[:12]


def build_images(images: Sequence[ProductImage], say: Say) -> None:
    """Build what podman does not have yet.

    Raises:
        WrongUse: Without root, or where podman cannot be installed.
        SelfhealError: When a build fails, with where its log is.
    """
    if os.geteuid() != 0:
        raise WrongUse("images are built as root here (debootstrap, containerd): run it with sudo")
    install_packages(say, TOOLS)
    todo = [image for image in images if not _has(image.tag)]
    if todo and not _has(f"{BUILDER}:{_base_key()}"):
        _make_base(say)
    for number, image in enumerate(todo, 1):
        start = time.monotonic()
        say(f"[{number}/{len(todo)}] {image.repository}, about {image.minutes:g} min ...")
        _build(image)
        say(f"[{number}/{len(todo)}] {image.repository}, {size(image)} MB, built in {time.monotonic() - start:.0f} s")
    for image in images:
        _podman("tag", image.tag, image.released)
        _forget_older(image)


def _forget_older(image: ProductImage) -> None:
    """Each is gigabytes; what was built before is built again from the layers that are kept."""
    tags = _podman("images", "--format={{.Repository}}:{{.Tag}}", image.repository).split()
    old = [tag for tag in tags if tag not in (image.tag, image.released)]
    if old:
        _podman("rmi", *old)


def _has(tag: str) -> bool:
    return subprocess.run(["podman", "image", "exists", tag], check=False).returncode == 0


def size(image: ProductImage) -> int:
    """What it takes unpacked, in MB."""
    return int(_podman("image", "inspect", "--format={{.Size}}", image.tag)) // 1_000_000


def _make_base(say: Say) -> None:
    say(f"base image: Debian {_SUITE} with Python, by debootstrap")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        words = ["debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, str(root)]
        _run(words, "debootstrap")
        for needless in _NEEDLESS:
            shutil.rmtree(root / needless, ignore_errors=True)
        for package in (root / "var/cache/apt/archives").glob("*.deb"):
            package.unlink()
        whole = Path(folder, "base.tar")
        with tarfile.open(whole, "w") as archive:
            archive.add(root, ".", filter=lambda entry: entry if not entry.isdev() else None)
        path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        _podman("import", "--change", path, str(whole), f"{BASE}:{_base_key()}")
    install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-pip >/dev/null"
    containerfile = f"FROM {BASE}:{_base_key()}\nRUN DEBIAN_FRONTEND=noninteractive sh -c '{install}'\n"
    with tempfile.TemporaryDirectory() as empty:
        Path(empty, "Containerfile").write_text(containerfile)
        _podman("build", *_options(), "-t", f"{BUILDER}:{_base_key()}", empty)


def _options() -> list[str]:
    mount = f"--volume={_AUTHORITIES}:{_AUTHORITIES}:ro"  # a machine behind a proxy has authorities of its own
    return [*_PODMAN, "--network=host", *([mount] if _AUTHORITIES.exists() else [])]


def _build(image: ProductImage) -> None:
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    arguments = {
        "BASE_IMAGE": f"{BASE}:{_base_key()}",
        "BUILD_IMAGE": f"{BUILDER}:{_base_key()}",
        "VERSION": VERSION,
        "REVISION": revision.stdout.strip() or "unknown",
    }
    given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    _podman("build", *_options(), *given, "-f", f"{image.folder}/Containerfile", "-t", image.tag, str(ROOT))


def import_to_bench(images: Sequence[ProductImage], say: Say) -> None:
    """Give images to the node bench's containerd, under both of their tags; those that it has are left alone.

    Raises:
        SelfhealError: With what ctr said.
    """
    ctr = ["ctr", "-a", str(SOCKET), "-n", "k8s.io", "images"]
    known = subprocess.run([*ctr, "ls", "-q"], capture_output=True, text=True, check=True).stdout.split()
    for image in images:
        if image.tag not in known:
            say(f"giving {image.repository} to the bench")
            _pipe(["podman", "save", "--quiet", image.tag], [*ctr, "import", "--base-name", image.repository, "-"])
            _run([*ctr, "tag", "--force", image.tag, image.released], f"ctr tag {image.released}")


def _pipe(source: Sequence[str], sink: Sequence[str]) -> None:
    """Run two commands with a pipe between them: an image is gigabytes, and need not lie on the disk once more."""
    with subprocess.Popen(source, stdout=subprocess.PIPE) as first:
        done = subprocess.run(sink, stdin=first.stdout, capture_output=True, text=True, check=False)
    if first.returncode or done.returncode:
        raise SelfhealError(f"{source[0]} {source[1]} | {sink[0]} import failed: {done.stderr.strip()[-500:]}")


def _podman(*words: str) -> str:
    return _run(["podman", *words], f"podman {words[0]}", cwd=ROOT)


def _run(words: Sequence[str], what: str, cwd: Path | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n  ".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise SelfhealError(f"{what} failed with {done.returncode}:\n  {said}")
    return done.stdout.strip()
