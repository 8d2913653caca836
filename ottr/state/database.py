# SPDX-License-Identifier: Apache-2.0
"""One door to the state database, SQLite (WAL, synchronous=FULL for what must be durable) or PostgreSQL."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event

from ottr import sqlite
from ottr.errors import JournalError
from ottr.model import Secret
from ottr.state import schema
from ottr.state.writer import SqliteWriter, end_sqlite, tell_sqlite
from ottr.statement import Statement

_LOCK = 0x6F747472  # "ottr" as an advisory lock's number in PostgreSQL
BUSY_TIMEOUT_S = 10.0
"""How long a write waits for another process's write."""


class Database:
    """Transactions over the state; every failure of the database is a JournalError."""

    def __init__(self, url: Secret, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._url = _parse_url(url)
        self._busy_timeout_s = busy_timeout_s
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._reading = threading.local()
        self._readers: list[sa.Connection] = []
        """Connections to SQLite that nobody reads with now."""
        self._driver_error: type[Exception] = sa.exc.DBAPIError
        self._errors: tuple[type[BaseException], ...] = (sa.exc.SQLAlchemyError, OSError)
        with self._translated():
            self._engine = self._create_engine()
            self._driver_error = _find_error(self._engine)
            self._errors += (self._driver_error,)
            self._writer = SqliteWriter(self._engine) if self._sqlite else None
            try:
                self._prepare()
            except BaseException:
                self.close()
                raise

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sa.Connection]:
        """A transaction that is committed when the block ends well.

        What is not ``durable`` outlives the process, but perhaps not a crash of the machine: only for what says nothing
        once the processes of now are gone. It saves SQLite the wait for the disk.
        """
        begun = self._writer.write(durable=durable) if self._writer else self._engine.begin()
        try:
            with begun as connection:
                yield connection
        except self._errors as error:
            raise self._translate(error) from error

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads; inside another one of the same thread, that one."""
        outer: sa.Connection | None = getattr(self._reading, "connection", None)
        if outer is not None:
            yield outer
            return
        try:
            with self._read_sqlite() if self._sqlite else self._engine.connect() as connection:
                self._reading.connection = connection
                yield connection
        except self._errors as error:
            raise self._translate(error) from error
        finally:
            self._reading.connection = None

    @contextmanager
    def _read_sqlite(self) -> Iterator[sa.Connection]:
        """On a connection that is kept: to give it to SQLAlchemy's pool and get it again costs more than reading."""
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = self._engine.connect()
        try:
            tell_sqlite(connection, "BEGIN")
            yield connection
            end_sqlite(connection, "ROLLBACK")
        except BaseException:
            connection.close()
            raise
        self._readers.append(connection)

    def close(self) -> None:
        """Give back the connections."""
        while self._readers:
            self._readers.pop().close()
        if self._writer is not None:
            self._writer.close()
        self._engine.dispose()

    def _create_engine(self) -> sa.Engine:
        if not self._sqlite:
            return _create_postgresql(self._url)
        Path(self._url.database or "").parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        timeout_s = self._busy_timeout_s
        engine = sa.create_engine(
            self._url,
            connect_args={"timeout": timeout_s, "check_same_thread": False},
            pool_size=0,  # as many connections as threads read at once
        )
        event.listen(engine, "connect", lambda connection, _: sqlite.tune(connection, timeout_s))  # not self
        return engine

    def _prepare(self) -> None:
        """Bring the tables to this version; Alembic is imported only when there is something to do."""
        if _find_revision(self._engine) == schema.HEAD:
            return
        with alone(self._engine):
            found = _find_revision(self._engine)
            if found is None:
                self._create_tables()
            elif found != schema.HEAD:
                from ottr.state import migrations

                migrations.upgrade(self._engine)

    def _create_tables(self) -> None:
        """What the migrations come to, without them: a test keeps both the same."""
        with self.write() as connection:
            schema.metadata.create_all(connection, checkfirst=False)
            connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
            connection.execute(sa.text("INSERT INTO alembic_version VALUES (:head)"), {"head": schema.HEAD})
            connection.execute(schema.installation.insert(), {"id": schema.new_installation_id()})

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise self._translate(error) from error

    def _translate(self, error: BaseException) -> JournalError:
        while isinstance(error.__context__, sa.exc.SQLAlchemyError | self._driver_error):
            error = error.__context__  # why a lost connection could not be rolled back either
        where = self._url.set(query={}).render_as_string(hide_password=True)
        return JournalError(f"the state database {where}: {_first_line(error)}", hint=_hint(error))


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    key: Mapping[str, Any],
    values: Mapping[str, Any],
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Change a row or make it, then with ``more`` columns; another process may make it at the same moment."""
    statement = _upsert_statement(connection.dialect.name, table, tuple(key), tuple(values), tuple(more))
    statement.change(connection, {**more, **values, **key})


def insert_new(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Make a row unless there is one with the same key; tell whether it was made."""
    return _insert_statement(connection.dialect.name, table, tuple(row)).change(connection, row) == 1


@cache
def _insert_statement(dialect: str, table: sa.Table, columns: tuple[str, ...]) -> Statement:
    """Made once: this runs for every device."""
    return Statement(_dialect_insert(dialect, table, columns).on_conflict_do_nothing())


@cache
def _upsert_statement(
    dialect: str, table: sa.Table, key: tuple[str, ...], changed: tuple[str, ...], more: tuple[str, ...]
) -> Statement:
    """Made once: this runs for every device."""
    insert = _dialect_insert(dialect, table, (*key, *changed, *more))
    changes = {name: insert.excluded[name] for name in changed}
    return Statement(insert.on_conflict_do_update(index_elements=key, set_=changes))


def _dialect_insert(dialect: str, table: sa.Table, columns: Sequence[str]) -> Any:
    # The engine has imported its own dialect, and the other one is dear.
    insert = import_module(f"sqlalchemy.dialects.{dialect}").insert(table).inline()
    return insert.values({name: sa.bindparam(name) for name in columns})


def _find_revision(engine: sa.Engine) -> str | None:
    """Revision of the tables that are there; None: none are."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar())


@contextmanager
def alone(engine: sa.Engine) -> Iterator[None]:
    """One process at a time makes tables: a lock file beside SQLite, an advisory lock in PostgreSQL."""
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


def _parse_url(url: Secret) -> sa.URL:
    """Not ``from`` SQLAlchemy's error, which may hold a piece of the password."""
    try:
        parsed = sa.make_url(url.reveal())
    except (sa.exc.ArgumentError, ValueError):
        parsed = sa.URL.create("unknown")
    if parsed.get_backend_name() == "postgresql" and "@" in f"{parsed.host}{parsed.database}":
        parsed = sa.URL.create("unknown")  # what is behind an @ of the password would be shown as a host
    backend = parsed.get_backend_name()
    in_memory = backend == "sqlite" and parsed.database in (None, "", ":memory:")
    if in_memory or backend not in ("sqlite", "postgresql"):
        raise JournalError(
            "the state URL is not that of an SQLite file or a PostgreSQL database",
            hint="state.url in ottr.yaml is an SQLAlchemy URL such as sqlite:////var/lib/ottr/state.db; in a password "
            "@, :, / and % are written as %40, %3A, %2F and %25",
        )
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def _create_postgresql(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(url, pool_size=10, max_overflow=40, pool_pre_ping=True)
    except ImportError as error:
        raise JournalError(
            f"the state database needs a library that is not installed: {error}",
            hint="pip install 'ottr[postgresql]'",
        ) from error


def _find_error(engine: sa.Engine) -> type[Exception]:
    """What the database's driver raises when it is asked past SQLAlchemy."""
    return cast(type[Exception], engine.dialect.loaded_dbapi.Error)


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
