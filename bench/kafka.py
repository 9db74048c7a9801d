"""Apache Kafka as one KRaft broker, fetched once, started on free ports in a folder, ended by id."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.build import BuildFailed, Say
from bench.paths import SOURCE, State, cache
from bench.processes import Processes
from selfheal.errors import WrongUse

_POM, _SUMS = SOURCE / "java" / "pom.xml", SOURCE / "java" / "jars.sha256"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_CLUSTER = "c2VsZmhlYWwtYmVuY2gta2"  # 16 bytes in base64: any will do
_JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
_NAME = "kafka"


def jars() -> Path:
    """The folder of Kafka's jars in the cache, there or not; another pin is another folder."""
    digest = hashlib.sha256(_POM.read_bytes() + _SUMS.read_bytes()).hexdigest()[:10]
    return cache() / "jars" / f"kafka-{digest}"


def fetch(say: Say) -> None:
    """Fetch Kafka by Maven unless the cache has it; every jar must have the digest in ``jars.sha256``.

    Raises:
        BuildFailed: Without Java or Maven, when nothing is reached, or a jar is not what it was.
    """
    if jars().exists():
        return
    for tool, package in (("java", "openjdk-17-jre-headless"), ("mvn", "maven")):
        if shutil.which(tool) is None:
            raise BuildFailed(f"{tool} is missing (on Debian: apt-get install {package}), then try again")
    jars().parent.mkdir(parents=True, exist_ok=True)
    with (jars().parent / ".kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if jars().exists():  # somebody else fetched it while we waited
            return
        say(f"fetching Apache Kafka by Maven, 46 MB, about half a minute: kept in {jars()}")
        partial = jars().with_suffix(f".{os.getpid()}")
        _copy(partial)
        _check(partial)
        partial.rename(jars())


def _copy(folder: Path) -> None:
    command = ["mvn", "-q", "-B", "-f", str(_POM), _COPY, "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        log = cache() / "build-kafka.log"
        log.write_text(done.stdout + done.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        raise BuildFailed(f"mvn did not fetch Kafka: the whole log is {log}")


def _check(folder: Path) -> None:
    lines = (line.split() for line in _SUMS.read_text().splitlines())
    wanted = {name: digest for digest, name in lines}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.iterdir()}
    if found != wanted:
        wrong = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        shutil.rmtree(folder)
        raise BuildFailed(f"not the jars that {_SUMS} pins: {', '.join(wrong)}. Nothing of it is kept.")


@dataclass(frozen=True)
class Broker:
    """One broker, which is its own controller.

    Attributes:
        state: Its folder: settings, data, log.
        port: Of its one listener, on 127.0.0.1.
    """

    state: State
    port: int

    @property
    def bootstrap(self) -> str:
        """What clients are given."""
        return f"127.0.0.1:{self.port}"

    @classmethod
    def create(cls, folder: Path, **settings: str) -> Broker:
        """Make the data of a new broker; :meth:`start` starts it.

        Args:
            folder: Holds all of it.
            settings: More server properties, with ``_`` for ``.``.

        Raises:
            BuildFailed: See :func:`fetch`.
            WrongUse: When Kafka refuses the settings.
        """
        fetch(lambda _: None)
        broker = cls(State(folder), _free_port())
        given = {name.replace("_", "."): value for name, value in settings.items()}
        properties = _properties(folder, broker.port, _free_port()) | given
        broker._file.parent.mkdir(parents=True, exist_ok=True)
        broker._file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        command = _java("128m", "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(broker._file))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise WrongUse(f"Kafka cannot use {broker._file}: {done.stderr.strip()[-500:]}")
        return broker

    @property
    def _file(self) -> Path:
        return self.state.root / "server.properties"

    @property
    def _processes(self) -> Processes:
        return Processes(self.state)

    def start(self) -> None:
        """Start it, or find it running, and wait until it listens; it goes on with the data that are there.

        Raises:
            selfheal.errors.SelfhealError: With the end of its log.
        """
        self._processes.start(_NAME, _java("256m", "kafka.Kafka", str(self._file)))
        self._processes.wait(_NAME, self._listens)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, seconds: float = 0.0) -> None:
        """End it; with no seconds to tidy up it is killed. Nobody listens any more when this returns."""
        self._processes.stop(_NAME, seconds)
        while self._listens():  # the threads of a process that was killed end a moment after it
            time.sleep(0.01)


def _java(memory: str, *words: str) -> list[str]:
    return ["java", f"-Xmx{memory}", *_JAVA, "-cp", f"{jars()}/*", *words]


def _properties(folder: Path, port: int, controller: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"CLIENTS://127.0.0.1:{port}",
        "inter.broker.listener.name": "CLIENTS",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(folder / "data"),
        # One that was killed may come back only after its session is over: by default nine seconds.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
