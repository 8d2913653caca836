# SPDX-License-Identifier: Apache-2.0
"""Writing to SQLite from many threads: one connection, one thread at a time, one wait for the disk for all of them.

Whoever is done while others wait for their turn leaves the transaction open, and the last one commits it. Nobody
returns before what it wrote is committed. What one writes and takes back does not touch the others.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import sqlalchemy as sa

_PATIENCE_S = 1.0
"""After this long one who waits for the last of its group looks whether there still is one."""


class _Group:
    """Writes that are committed together."""

    def __init__(self, *, durable: bool) -> None:
        self.durable = durable
        self.filled = False
        """Somebody's writes are in it."""
        self.over = False
        self.told: threading.Event | None = None
        """Set when it is over, for those who have left it open to others."""
        self.error: BaseException | None = None
        """Why nothing of it is in the database."""


class SqliteWriter:
    """The one writing connection of a process."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self._coming: deque[None] = deque()
        """As many as threads wait for their turn."""
        self._connection: sa.Connection | None = None
        self._durable: bool | None = None
        """Whether the connection waits for the disk; None: it has not been told."""
        self._group: _Group | None = None

    @contextmanager
    def write(self, *, durable: bool) -> Iterator[sa.Connection]:
        """A transaction; see ``Database.write``."""
        self._await_turn()
        try:
            try:
                connection, group = self._join(durable)
                shared = group.filled
                try:
                    if shared:
                        tell_sqlite(connection, "SAVEPOINT part")
                    yield connection
                    if shared:
                        tell_sqlite(connection, "RELEASE part")
                    group.filled = True
                except BaseException as error:
                    lost = _take_back(connection, error) if shared else error
                    if lost is not None:
                        self._end(connection, group, lost)
                    raise
            finally:
                self._leave()
        finally:
            self._turn.release()
        if not group.over:
            self._await(group)
        if group.error is not None:
            raise group.error

    def close(self) -> None:
        """Give back the connection."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._durable = None

    def _await_turn(self) -> None:
        self._coming.append(None)
        try:
            self._turn.acquire()
        finally:
            self._coming.pop()

    def _join(self, durable: bool) -> tuple[sa.Connection, _Group]:
        """The transaction that is open, or a new one."""
        if self._connection is None:
            self._connection = self._engine.connect()
        if self._group is not None and durable and not self._group.durable:
            self._commit()
        if self._group is None:
            self._group = self._begin(self._connection, durable)
        return self._connection, self._group

    def _begin(self, connection: sa.Connection, durable: bool) -> _Group:
        if durable is not self._durable:
            tell_sqlite(connection, f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        tell_sqlite(connection, "BEGIN IMMEDIATE")
        return _Group(durable=durable)

    def _leave(self) -> None:
        """Commit, or leave that to those who wait for their turn."""
        if not self._coming:
            self._commit()
        elif self._group is not None and self._group.told is None:
            self._group.told = threading.Event()

    def _commit(self) -> None:
        """End the open group, if there is one."""
        group, connection = self._group, self._connection
        if group is None or connection is None:
            return
        try:
            end_sqlite(connection, "COMMIT")
        except BaseException as error:
            self._end(connection, group, error)
        else:
            self._end(connection, group)

    def _end(self, connection: sa.Connection, group: _Group, error: BaseException | None = None) -> None:
        self._group = None
        group.error = error
        try:
            if error is not None:
                end_sqlite(connection, "ROLLBACK")
        finally:
            group.over = True
            if group.told is not None:
                group.told.set()

    def _await(self, group: _Group) -> None:
        told = cast(threading.Event, group.told)  # made before the turn was left to others
        while not told.wait(_PATIENCE_S):
            with self._turn:
                if self._group is group:
                    self._commit()


def tell_sqlite(connection: sa.Connection, statement: str) -> None:
    """Past SQLAlchemy, whose way costs ten times what SQLite does with such a word."""
    cast(Any, connection.connection.dbapi_connection).execute(statement)


def _take_back(connection: sa.Connection, error: BaseException) -> BaseException | None:
    """Undo one part; or return why all is lost: SQLite takes all of it back itself when a disk is full."""
    try:
        tell_sqlite(connection, "ROLLBACK TO part")
        tell_sqlite(connection, "RELEASE part")
    except sqlite3.Error as failure:
        return error if isinstance(error, sqlite3.Error | sa.exc.SQLAlchemyError) else failure
    return None


def end_sqlite(connection: sa.Connection, word: str) -> None:
    """Commit or roll back, if a transaction is still open: some errors end it, and a commit that failed may not."""
    if is_open(connection):
        tell_sqlite(connection, word)
    if connection.in_transaction():  # what SQLAlchemy takes for one, since it was asked to execute something
        connection.rollback()


def is_open(connection: sa.Connection) -> bool:
    """Whether SQLite has begun a transaction."""
    return bool(cast(Any, connection.connection.dbapi_connection).in_transaction)
