# SPDX-License-Identifier: Apache-2.0
"""One door to the CA's database, SQLite (WAL, synchronous=FULL) or PostgreSQL."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from ottr import sqlite
from ottr.ca import schema
from ottr.ca.commits import CommitCounter, find_hint
from ottr.ca.writer import Manner, Told, Version, Writer
from ottr.errors import StoreError

BUSY_TIMEOUT_S = 10.0
"""How long a write waits for another process's write."""
_LOCK = 0x6F74_6361  # "otca" as an advisory lock's number in PostgreSQL


_MANNERS = {(durable, wait): Manner(durable, wait) for durable in (True, False) for wait in (True, False)}


class Database:
    """Transactions over the CA's tables; every failure of the database is a StoreError.

    One object for a process and all its threads. What is read to decide on a write is read in the same ``write``.
    Of SQLite one connection does all the writing: so it knows whether anybody else has written, see ``read_version``.
    """

    def __init__(self, url: str, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._url = _parse_url(url)
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._idle: deque[sa.Connection] = deque()
        self._errors: tuple[type[BaseException], ...] = (sa.exc.SQLAlchemyError,)
        with self._translated():
            self._engine = self._create_engine(busy_timeout_s)
        self._writer = Writer(self._engine.connect, self._open_counter, busy_timeout_s) if self._sqlite else None
        self._errors = (sa.exc.SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error)  # see ``ottr.statement``
        try:
            self.ensure("core", schema.VERSION, schema.metadata)
        except BaseException:
            self.close()
            raise

    def write(
        self, *, durable: bool = True, wait: bool = True, told: Told | None = None
    ) -> AbstractContextManager[sa.Connection]:
        """A transaction that is committed when the block ends well.

        Durably, that is to the disk, unless what it says may be lost when the machine itself dies, not only the
        process (SQLite alone makes a difference). Without ``wait`` it raises Busy where another one writes to the
        file. ``told`` is called when it is committed there, before anybody can ask for the version: it is for who keeps
        rows in memory, and knows how they are now.
        """
        if self._writer is None:
            return _Transaction(self, writes=True)
        return _Writing(self, self._writer, _MANNERS[durable, wait], told)

    def read(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that only reads, all of it from one state of the database."""
        return _Transaction(self, writes=False)

    def read_version(self) -> Version | None:
        """SQLite: another one as soon as anything was committed; None where that cannot be said at once.

        Takes some microseconds. Raises StoreError.
        """
        if self._writer is None:
            return None
        try:
            return self._writer.read_version()
        except self._errors as error:
            raise self._translate(error) from error

    def ensure(self, name: str, version: int, metadata: sa.MetaData) -> None:
        """Make the tables of one part of the CA, once. Raises StoreError when there are some of another version."""
        with self.read() as connection:
            found = _find_version(connection, name)
        if found is None:
            found = self._create(name, version, metadata)
        if found != version:
            raise StoreError(
                f"{self.place}: the tables of {name!r} have version {found}, this program has {version}",
                hint="use the version of Ottr that made them, or a newer one",
            )

    def open_commit_counter(self) -> CommitCounter | None:
        """SQLite: a connection that only counts commits. None elsewhere: asking costs as much as any query there."""
        return self._open_counter() if self._sqlite else None

    def _open_counter(self) -> CommitCounter:
        with self._translated():
            lent = self._engine.raw_connection()
            connection = lent.driver_connection
            lent.detach()
        return CommitCounter(connection, self.place)

    def close(self) -> None:
        """Give back the connections."""
        if self._writer is not None:
            self._writer.close()
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()

    @property
    def is_local(self) -> bool:
        """A file, of which reading waits for nobody."""
        return self._sqlite

    @property
    def place(self) -> str:
        """Where the database is, without its password."""
        return self._url.set(query={}).render_as_string(hide_password=True)

    def _begin(self) -> sa.Connection:
        connection = self._take()
        if self._sqlite:
            try:
                _driver(connection).execute("BEGIN")
            except BaseException:
                connection.close()
                raise
        return connection

    def _finish(self, connection: sa.Connection, *, well: bool, writes: bool) -> None:
        """Connections of SQLite are kept at hand: the pool's way costs more than what is asked over them."""
        try:
            if well:
                _end(connection, "commit" if writes else "rollback")
        except BaseException:
            connection.invalidate()  # it may still be within the transaction
            connection.close()
            raise
        if well and self._sqlite:
            self._idle.append(connection)
        else:
            connection.close()

    def _take(self) -> sa.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._engine.connect()

    def _create(self, name: str, version: int, metadata: sa.MetaData) -> int:
        with self.write() as connection:
            if not self._sqlite:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
            found = _find_version(connection, name)
            if found is not None:
                return found
            metadata.create_all(connection)
            connection.execute(schema.part.insert(), {"name": name, "version": version})
        return version

    def _create_engine(self, busy_timeout_s: float) -> sa.Engine:
        if not self._sqlite:
            return _create_postgresql(self._url)
        given = {"timeout": busy_timeout_s, "check_same_thread": False}
        # Without end: those at hand are not the pool's to give, and nobody would tell who waits there.
        engine = sa.create_engine(self._url, connect_args=given, max_overflow=-1)
        event.listen(engine, "connect", lambda connection, _: sqlite.tune(connection, busy_timeout_s))
        return engine

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise self._translate(error) from error

    def _translate(self, error: BaseException) -> StoreError:
        cause = str(getattr(error, "orig", None) or error).strip().split("\n", 1)[0]
        return StoreError(f"the CA's database {self.place}: {cause}", hint=find_hint(cause))


class _Transaction:
    """One ``with`` block. (Generators as context managers would cost several times what is asked in them.)"""

    __slots__ = ("_connection", "_database", "_writes")
    _connection: sa.Connection

    def __init__(self, database: Database, *, writes: bool) -> None:
        self._database = database
        self._writes = writes

    def __enter__(self) -> sa.Connection:
        try:
            self._connection = self._database._begin()
        except self._database._errors as error:
            raise self._database._translate(error) from error
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._database._finish(self._connection, well=error is None, writes=self._writes)
        except self._database._errors as failed:
            raise self._database._translate(failed) from failed
        if isinstance(error, self._database._errors):
            raise self._database._translate(error) from error


class _Writing:
    """One ``with`` block that writes to an SQLite file."""

    __slots__ = ("_database", "_manner", "_told", "_writer")

    def __init__(self, database: Database, writer: Writer, manner: Manner, told: Told | None) -> None:
        self._database = database
        self._writer = writer
        self._manner = manner
        self._told = told

    def __enter__(self) -> sa.Connection:
        try:
            return self._writer.begin(self._manner)
        except self._database._errors as error:
            raise self._database._translate(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.end(well=error is None, told=self._told)
        except self._database._errors as failed:
            raise self._database._translate(failed) from failed
        if isinstance(error, self._database._errors):
            raise self._database._translate(error) from error


def _find_version(connection: sa.Connection, name: str) -> int | None:
    if not sa.inspect(connection).has_table("part"):
        return None
    found: int | None = connection.execute(sa.select(schema.part.c.version).where(schema.part.c.name == name)).scalar()
    return found


def _parse_url(url: str) -> sa.URL:
    """Not ``from`` SQLAlchemy's error, which may hold a piece of the password."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        parsed = sa.URL.create("unknown")
    if parsed.get_backend_name() == "postgresql" and "@" in f"{parsed.host}{parsed.database}":
        parsed = sa.URL.create("unknown")  # what is behind an @ of the password would be shown as a host
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql") or (backend == "sqlite" and parsed.database in (None, "", ":memory:")):
        raise StoreError(
            "the URL of the CA's database is not that of an SQLite file or a PostgreSQL database",
            hint="`database` in ca.yaml is an SQLAlchemy URL such as postgresql://ca@db.example.com/ca; in a password "
            "@, :, / and % are written as %40, %3A, %2F and %25",
        )
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def _create_postgresql(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(url, pool_size=10, max_overflow=40, pool_pre_ping=True)
    except ImportError as error:
        raise StoreError(
            f"the CA's database needs a library that is not installed: {error}", hint="pip install 'ottr[postgresql]'"
        ) from error


def _driver(connection: sa.Connection) -> Any:
    """The driver's own connection."""
    return connection.connection.driver_connection


def _end(connection: sa.Connection, how: str) -> None:
    """Commit or roll back, whether SQLAlchemy has noticed the transaction or not (see ``ottr.statement``)."""
    getattr(connection if connection.in_transaction() else _driver(connection), how)()


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return sa.URL.create("sqlite", database=str(path)).render_as_string()
