# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL, quick and forgetful."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ottr.errors import LabError
from ottr.lab.process import Process, find_program

_CONFIGURATION = """\
listen_addresses = '{address}'
port = {port}
unix_socket_directories = ''
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 200
"""


@dataclass(frozen=True, slots=True)
class Postgresql:
    """A PostgreSQL with one user, ``ottr``, who may do everything."""

    address: str
    port: int
    password: str
    process: Process

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database every cluster has."""
        return self.database_url("postgres")

    def database_url(self, database: str) -> str:
        """SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://ottr:{self.password}@{self.address}:{self.port}/{database}"

    def create_database(self, database: str) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        login = ["--host", self.address, "--port", str(self.port), "--username", "ottr"]
        environment = {**os.environ, "PGPASSWORD": self.password}
        _run([_program("createdb"), *login, database], environment)
        return self.database_url(database)


@contextmanager
def run_postgresql(address: str, port: int = 5432) -> Iterator[Postgresql]:
    """Run a PostgreSQL of its own in a new temporary folder, which goes away at the end. Raises LabError.

    It refuses to be root, so under root it runs as ``postgres``.
    """
    user = "postgres" if os.geteuid() == 0 else ""
    with tempfile.TemporaryDirectory(prefix="ottr-postgresql-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        password = secrets.token_urlsafe(16)
        password_file = folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        if user:
            for path in (folder, password_file):
                shutil.chown(path, user, user)
        _initialize(folder, user)
        with (folder / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION.format(address=address, port=port))
        command = (_program("postgres"), "-D", str(folder / "data"))
        process = Process(
            command,
            log=folder / "postgresql.log",
            listens=[(address, port)],
            announces="ready to accept connections",
            folder=folder,
            user=user,
            stop_signal=signal.SIGQUIT,  # immediate shutdown: nothing here is worth a checkpoint
        )
        with process:
            yield Postgresql(address, port, password, process)


def _initialize(folder: Path, user: str) -> None:
    switch = [find_program("setpriv"), "--reuid", user, "--regid", user, "--init-groups", "--"] if user else []
    options = ["--pgdata", str(folder / "data"), "--username", "ottr", "--pwfile", str(folder / "password")]
    options += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
    _run([*switch, _program("initdb"), *options], dict(os.environ))


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", check=False)
    if done.returncode:
        raise LabError(f"{command[0]} failed: {done.stderr.strip()}")


def _program(name: str) -> str:
    """Path of a program of the newest PostgreSQL, which Debian keeps out of PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    if not folders:
        raise LabError("postgresql is not installed", hint="`make setup` installs what the lab needs")
    return str(folders[-1] / name)
