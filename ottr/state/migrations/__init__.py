# SPDX-License-Identifier: Apache-2.0
"""Brings the tables to the newest revision with Alembic; two processes may start at once."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from ottr.errors import JournalError

_LOCK = 0x6F747472  # "ottr" as an advisory lock's number in PostgreSQL


def upgrade(engine: sa.Engine) -> None:
    """Run what is missing. Raises JournalError for a database that a newer Ottr has made."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with _alone(engine), engine.connect() as connection:
        _refuse_newer(connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        with connection.execution_options(ottr_begin="BEGIN IMMEDIATE").begin():
            command.upgrade(config, "head")


def _refuse_newer(connection: sa.Connection, script: ScriptDirectory) -> None:
    with connection.begin():
        current = MigrationContext.configure(connection).get_current_revision()
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise JournalError(
            f"the state database is of revision {current}, which this version does not know",
            hint="run the newer Ottr that made it",
        )


@contextmanager
def _alone(engine: sa.Engine) -> Iterator[None]:
    """One process at a time: a lock file beside SQLite, an advisory lock in PostgreSQL."""
    if engine.url.get_backend_name() == "sqlite":
        with Path(f"{engine.url.database}.migrating").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_advisory_lock(:n)"), {"n": _LOCK})
        try:
            yield
        finally:
            connection.execute(sa.text("SELECT pg_advisory_unlock(:n)"), {"n": _LOCK})
