# SPDX-License-Identifier: Apache-2.0
"""One door to the state database, SQLite (WAL, synchronous=FULL) or PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from ottr.errors import JournalError
from ottr.model import Secret
from ottr.state import schema

BUSY_TIMEOUT_S = 10.0
"""How long a write waits for another process's write."""


class Database:
    """Transactions over the state; every failure of the database is a JournalError."""

    def __init__(self, url: Secret) -> None:
        try:
            self._url = sa.make_url(url.reveal())
        except sa.exc.ArgumentError as error:
            raise JournalError(
                "the state URL cannot be understood",
                hint="state.url in ottr.yaml is an SQLAlchemy URL such as sqlite:////var/lib/ottr/state.db",
            ) from error
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._writing: AbstractContextManager[Any] = threading.Lock() if self._sqlite else nullcontext()
        with self._translated():
            self._engine = self._create_engine()
            self._prepare()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is committed, durably, when the block ends well."""
        with self._translated(), self._writing, self._engine.connect() as connection:
            writing = connection.execution_options(ottr_begin="BEGIN IMMEDIATE")
            with writing.begin():
                yield writing

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        with self._translated(), self._engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()

    def _create_engine(self) -> sa.Engine:
        if not self._sqlite:
            return sa.create_engine(self._url, pool_size=10, max_overflow=40, pool_pre_ping=True)
        if self._url.database:
            Path(self._url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        engine = sa.create_engine(self._url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})
        event.listen(engine, "connect", _tune_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _prepare(self) -> None:
        """Bring the tables to this version; Alembic is imported only when there is something to do."""
        if self._revision() == schema.HEAD:
            return
        from ottr.state import migrations

        migrations.upgrade(self._engine)

    def _revision(self) -> str:
        with self._engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return ""
            return str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() or "")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.SQLAlchemyError, OSError) as error:
            where = self._url.render_as_string(hide_password=True)
            raise JournalError(f"the state database {where}: {_first_line(error)}", hint=_hint(error)) from error


def _tune_sqlite(connection: Any, record: Any) -> None:
    del record
    connection.isolation_level = None  # transactions are begun by us, see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("ottr_begin", "BEGIN"))


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().split("\n", 1)[0]


def _hint(error: BaseException) -> str:
    text = _first_line(error)
    if "locked" in text:
        return "another process holds the database; find and end it, then run `ottr resume`"
    if "full" in text or "No space" in text:
        return "make room on the disk of the state database, then run `ottr resume`"
    if "readonly" in text or "Permission" in text or "unable to open" in text:
        return "let the user ottr runs as write the database file and its folder"
    return "check that the database can be reached and written, then run `ottr resume`"
