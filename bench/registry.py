"""``python -m bench.registry``: a real MLflow server on PostgreSQL and an S3-compatible store, all on loopback.

PostgreSQL is Debian's, run on a database of its own in the state folder; the store is versitygw, which checks
signatures and keeps objects as files. Both can be ended and started again, one by one, with what they hold.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import httpx
import typer

from bench.__main__ import run_app, teller
from bench.build import BY_NAME, Say, binary, build_programs
from bench.machine import install
from bench.paths import State
from bench.processes import Processes
from selfheal.errors import SelfhealError, WrongUse

BUCKET = "mlflow"
_DATABASE, _STORE, _SERVER = "postgresql", "s3", "mlflow"
_ACCOUNT = "postgres"  # of the operating system and of the database; PostgreSQL refuses to run as root
_DEFAULT = Path(".bench-mlflow")

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Settings:
    """Ports and secrets, drawn once for a folder, so that what is started again is found again."""

    database_port: int
    store_port: int
    server_port: int
    password: str
    access_key: str
    secret_key: str

    @classmethod
    def of(cls, state: State) -> Settings:
        """Those of a folder."""
        file = state.root / "mlflow.json"
        if not file.exists():
            drawn = cls(_free_port(), _free_port(), _free_port(), *(secrets.token_hex(16) for _ in range(3)))
            file.touch(mode=0o600)
            file.write_text(json.dumps(asdict(drawn)))
        return cls(**json.loads(file.read_text()))


@dataclass(frozen=True)
class MlflowServer:
    """The three servers of one folder.

    Attributes:
        state: Their folder. The account ``postgres`` must be able to enter it, where root starts them.
        direct: Clients talk to the store themselves, instead of through the server.
    """

    state: State
    direct: bool = False

    @cached_property
    def settings(self) -> Settings:
        """Ports and secrets."""
        return Settings.of(self.state)

    @property
    def processes(self) -> Processes:
        """What runs."""
        return Processes(self.state)

    @property
    def tracking_uri(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.settings.server_port}"

    @property
    def database_uri(self) -> str:
        """As SQLAlchemy takes it, with the password."""
        return (
            f"postgresql+psycopg://{_ACCOUNT}:{self.settings.password}@127.0.0.1:{self.settings.database_port}/mlflow"
        )

    @property
    def store_environment(self) -> dict[str, str]:
        """What boto3 and MLflow read, for whoever talks to the store."""
        return {
            "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{self.settings.store_port}",
            "AWS_ACCESS_KEY_ID": self.settings.access_key,
            "AWS_SECRET_ACCESS_KEY": self.settings.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self, say: Say) -> None:
        """Start what does not run, and wait until the server answers.

        Raises:
            selfheal.errors.SelfhealError: With what is missing and what to do.
        """
        self.start_database(say)
        self.start_store(say)
        self.start_server()

    def start_database(self, say: Say) -> None:
        """Start PostgreSQL; the first time with a new, empty database."""
        programs, data = _postgres(say), self.state.root / "postgresql"
        if not (data / "PG_VERSION").exists():
            say("making a PostgreSQL database")
            self._initialise(programs, data)
        listen = ["-h", "127.0.0.1", "-p", str(self.settings.database_port), "-c", "unix_socket_directories="]
        self.processes.start(_DATABASE, [*_as_owner(), programs / "postgres", "-D", data, *listen])
        self.processes.wait(_DATABASE, lambda: self.postgres("pg_isready", "--quiet", check=False).returncode == 0)
        if self.postgres("psql", "-d", "mlflow", "-c", "select 1", check=False).returncode:
            self.postgres("createdb", "mlflow")

    def _initialise(self, programs: Path, data: Path) -> None:
        data.mkdir(mode=0o700, exist_ok=True)
        password = self.state.root / "password"
        password.touch(mode=0o600)
        password.write_text(self.settings.password)
        if os.geteuid() == 0:
            shutil.chown(data, _ACCOUNT, _ACCOUNT)
            shutil.chown(password, _ACCOUNT, _ACCOUNT)
        make: list[str | Path] = [*_as_owner(), programs / "initdb", "-D", data, "-U", _ACCOUNT, f"--pwfile={password}"]
        make += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]
        done = subprocess.run(make, cwd="/", capture_output=True, text=True, check=False)
        password.unlink()
        if done.returncode:
            raise WrongUse(
                f"initdb failed: {done.stderr.strip()[-300:]}. The account {_ACCOUNT} must be able to enter "
                f"{self.state.root}: name another folder with --state"
            )

    def postgres(self, tool: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's own tools (``psql``, ``pg_dump``) on the database, as its owner.

        Raises:
            SelfhealError: When it fails and ``check`` is set.
        """
        env = os.environ | {"PGPASSWORD": self.settings.password, "PGUSER": _ACCOUNT, "PGHOST": "127.0.0.1"}
        env["PGPORT"] = str(self.settings.database_port)
        command: list[str | Path] = [_programs() / tool, *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise SelfhealError(f"{tool} failed: {done.stderr.strip()[-300:]}")
        return done

    def start_store(self, say: Say) -> None:
        """Start the S3-compatible store, with a bucket."""
        build_programs([BY_NAME["versitygw"]], say)
        objects, beside = self.state.folder("s3") / "objects", self.state.folder("s3") / "attributes"
        (objects / BUCKET).mkdir(parents=True, exist_ok=True)  # a folder of it is a bucket
        beside.mkdir(exist_ok=True)  # not every file system has extended attributes
        keys = {"ROOT_ACCESS_KEY": self.settings.access_key, "ROOT_SECRET_KEY": self.settings.secret_key}
        command: list[str | Path] = [binary("versitygw"), "--port", f"127.0.0.1:{self.settings.store_port}", "--quiet"]
        self.processes.start(_STORE, [*command, "posix", "--sidecar", beside, objects], env=keys)
        url = self.store_environment["MLFLOW_S3_ENDPOINT_URL"]
        self.processes.wait(_STORE, lambda: _answers(url, lambda answer: answer.status_code == httpx.codes.FORBIDDEN))

    def start_server(self) -> None:
        """Start MLflow on both, and wait until it answers. The first start makes the tables."""
        env = {"MLFLOW_BACKEND_STORE_URI": self.database_uri, **self.store_environment, **_QUIET}
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
        command += ["--port", str(self.settings.server_port)]
        place = f"s3://{BUCKET}/artifacts"
        command += (
            ["--no-serve-artifacts", "--default-artifact-root", place]
            if self.direct
            else ["--artifacts-destination", place]
        )
        self.processes.start(_SERVER, command, env=env)
        self.processes.wait(
            _SERVER, lambda: _answers(f"{self.tracking_uri}/health", lambda answer: answer.is_success), 120
        )

    def stop_database(self) -> None:
        """End PostgreSQL: connections are cut, nothing is lost."""
        self.processes.stop(_DATABASE, kindly=signal.SIGINT)  # its SIGTERM waits for clients to leave

    def stop_store(self) -> None:
        """End the store; its objects stay."""
        self.processes.stop(_STORE)

    def stop_server(self) -> None:
        """End MLflow."""
        self.processes.stop(_SERVER, seconds=20)

    def stop(self) -> list[str]:
        """End all three; the folder stays.

        Returns:
            What ran.
        """
        ran = list(self.processes.running())
        self.stop_server()
        self.stop_store()
        self.stop_database()
        return ran


_QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def _answers(url: str, good: Callable[[httpx.Response], bool]) -> bool:
    try:
        return good(httpx.get(url, timeout=2))
    except httpx.TransportError:
        return False


def _programs() -> Path:
    """Where Debian puts PostgreSQL's programs, the newest version's; most are not on the PATH."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if not found:
        raise WrongUse("PostgreSQL is missing. On Debian: apt-get install postgresql")
    return max(found, key=lambda path: int(path.parent.name))


def _postgres(say: Say) -> Path:
    if not any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        install(["postgresql"], say)
    return _programs()


def _as_owner() -> list[str]:
    """Words before a command that make it run as the database's owner; none for who is no root."""
    ids = [f"--reuid={_ACCOUNT}", f"--regid={_ACCOUNT}", "--init-groups", "--no-new-privs"]
    return ["setpriv", *ids, "--"] if os.geteuid() == 0 else []


StateOption = Annotated[Path, typer.Option(help="The folder that holds all of it.")]


@app.command()
def up(
    state: StateOption = _DEFAULT,
    direct: Annotated[bool, typer.Option(help="Clients talk to the store themselves.")] = False,
) -> None:
    """Start a server, or find it running, and print what its clients need in their environment."""
    server = MlflowServer(_folder(state), direct)
    server.start(teller(err=True))
    needed = {"MLFLOW_TRACKING_URI": server.tracking_uri} | (server.store_environment if direct else {})
    typer.echo("\n".join(f"export {name}={value}" for name, value in needed.items()))


@app.command()
def down(
    state: StateOption = _DEFAULT,
    keep: Annotated[bool, typer.Option(help="Keep the folder: the next up finds the models again.")] = False,
) -> None:
    """End the server, its database and its store."""
    server = MlflowServer(State(state.absolute()))
    teller()(f"ended {', '.join(server.stop()) or 'nothing: none of it ran'}")
    if not keep:
        shutil.rmtree(server.state.root, ignore_errors=True)


@app.command()
def env(state: StateOption = _DEFAULT) -> None:
    """Print what the server itself needs, for `mlflow db upgrade` and pg_dump: with secrets."""
    server = MlflowServer(_folder(state))
    typer.echo(f"export MLFLOW_BACKEND_STORE_URI={server.database_uri}")
    typer.echo("\n".join(f"export {name}={value}" for name, value in server.store_environment.items()))


def _folder(path: Path) -> State:
    path.mkdir(parents=True, exist_ok=True)
    return State(path.absolute())


if __name__ == "__main__":
    run_app(app)
