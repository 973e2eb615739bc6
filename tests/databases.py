"""A real PostgreSQL server for tests, from Debian's packages, in a folder of its own, ended and deleted afterwards."""

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needed import missing

SETTINGS = """
shared_buffers = 16MB
max_connections = 50
fsync = off
synchronous_commit = off
full_page_writes = off
password_encryption = scram-sha-256
log_min_messages = warning
"""
"""A small server, fast on a busy disk: what a crash of the machine would lose is deleted after the tests anyway."""


class Postgres:
    """One server with one database, reachable with its password alone (scram), by TCP and by a private unix socket."""

    def __init__(self, folder: Path, programs: Path, addresses: tuple[str, ...]) -> None:
        """Take an empty folder for everything, the folder of PostgreSQL's programs, and where to listen."""
        self._folder, self._programs, self.addresses = folder, programs, addresses
        self.password = secrets.token_hex(16)
        self.port = _free_port(addresses)
        self._server: subprocess.Popen[bytes] | None = None

    def url(self, address: str = "127.0.0.1", database: str = "swell") -> str:
        """Return `postgresql://user:password@address:port/database`."""
        return f"postgresql://swell:{self.password}@{address}:{self.port}/{database}"

    def start(self) -> "Postgres":
        """Make the database cluster and start the server."""
        password_file = self._folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
            shutil.chown(password_file, "postgres", "postgres")
        self._run(
            "initdb", "--username=swell", f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8",
            "--locale=C", "--no-sync", "-D", str(self._data),
        )  # fmt: skip
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS)
        with (self._data / "pg_hba.conf").open("a") as entries:
            entries.writelines(f"host all all {a.rpartition('.')[0]}.0/24 scram-sha-256\n" for a in self.addresses)
        self._boot()
        self.sql("create database swell", database="postgres")
        return self

    def stop(self, mode: str = "fast") -> None:
        """End the server: `fast` ends connections first, `immediate` is a crash."""
        if self._server and self._server.poll() is None:
            self._run("pg_ctl", "stop", "-D", str(self._data), "-m", mode, "-t", "30")
            self._server.wait(30)

    def restart(self, mode: str = "fast") -> None:
        """End the server and start it again on the same data and port."""
        self.stop(mode)
        self._boot()

    def sql(self, command: str, database: str = "swell") -> str:
        """Run SQL; return its rows, as psql prints them without headers."""
        return self._run("psql", "-v", "ON_ERROR_STOP=1", "-qtA", "-c", command, self.url(self.addresses[0], database))

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _boot(self) -> None:
        # PDEATHSIG: it ends with a test run that is killed. A change of user would clear it, so it comes last.
        log = (self._folder / "log").open("ab")
        with log:
            self._server = subprocess.Popen(
                [*_as_postgres(), "setpriv", "--pdeathsig=QUIT", self._programs / "postgres", "-D", self._data,
                 "-p", str(self.port), "-h", ",".join(self.addresses), "-k", self._folder],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._answers():
            said = (self._folder / "log").read_text()
            assert self._server.poll() is None, f"postgres ended:\n{said}"
            assert time.monotonic() < deadline, f"postgres does not answer:\n{said}"
            time.sleep(0.1)

    def _answers(self) -> bool:
        words = [self._programs / "pg_isready", "-q", "-h", self.addresses[0], "-p", str(self.port)]
        return subprocess.run(words, timeout=600, check=False).returncode == 0

    def _run(self, program: str, *words: str) -> str:
        done = subprocess.run(
            [*_as_postgres(), self._programs / program, *words],
            cwd=self._folder, text=True, capture_output=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}:\n{done.stdout}{done.stderr}"
        return done.stdout


def start_postgres(folder: Path, *addresses: str) -> Postgres:
    """Start a server in an empty folder that the user `postgres` can reach, on loopback by default."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if not found:
        missing("there is no PostgreSQL server here")
    newest = max(found, key=lambda path: float(path.parent.name))
    return Postgres(folder, newest, addresses or ("127.0.0.1",)).start()


@contextlib.contextmanager
def running_postgres(*addresses: str) -> Iterator[Postgres]:
    """Have a server for as long as the context lasts."""
    # Not under pytest's folder, which only its owner can enter: the server runs as the user `postgres`.
    folder = Path(tempfile.mkdtemp(prefix="swell-pg-"))
    server = None
    try:
        server = start_postgres(folder, *addresses)
        yield server
    finally:
        if server:
            server.stop("immediate")
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a PostgreSQL server on loopback, one per process that runs tests; each test names its studies itself."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """Return `postgresql://user:password@127.0.0.1:port/database` of a real, running server."""
    return postgres.url()


def _as_postgres() -> list[str]:
    """Return what makes a command run as `postgres` for root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _free_port(addresses: tuple[str, ...]) -> int:
    with socket.socket() as probe:
        probe.bind((addresses[0], 0))
        return probe.getsockname()[1]
