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

    def __init__(self, transaction: sa.RootTransaction, *, durable: bool) -> None:
        self.transaction = transaction
        self.durable = durable
        self.filled = False
        """Somebody's writes are in it."""
        self.over = threading.Event()
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
        with self._in_turn():
            try:
                connection, group = self._join(durable)
                with self._part(connection, group):
                    yield connection
            finally:
                if not self._coming:
                    self._commit()
        self._await(group)

    def close(self) -> None:
        """Give back the connection."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._durable = None

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        self._coming.append(None)
        try:
            self._turn.acquire()
        finally:
            self._coming.pop()
        try:
            yield
        finally:
            self._turn.release()

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
        transaction = connection.begin()
        try:
            tell_sqlite(connection, "BEGIN IMMEDIATE")
        except BaseException:
            transaction.rollback()
            raise
        return _Group(transaction, durable=durable)

    @contextmanager
    def _part(self, connection: sa.Connection, group: _Group) -> Iterator[None]:
        """What is written inside stays in the group if the block ends well."""
        shared = group.filled
        try:
            if shared:
                tell_sqlite(connection, "SAVEPOINT part")
            yield
            if shared:
                tell_sqlite(connection, "RELEASE part")
            group.filled = True
        except BaseException as error:
            lost = _take_back(connection) if shared else error
            if lost is not None:
                self._end(connection, group, lost)
            raise

    def _commit(self) -> None:
        """End the open group, if there is one."""
        group, connection = self._group, self._connection
        if group is None or connection is None:
            return
        try:
            group.transaction.commit()
        except BaseException as error:
            self._end(connection, group, error)
        else:
            self._end(connection, group)

    def _end(self, connection: sa.Connection, group: _Group, error: BaseException | None = None) -> None:
        self._group = None
        group.error = error
        try:
            group.transaction.close()
            if _is_open(connection):  # a commit that failed may leave it so
                tell_sqlite(connection, "ROLLBACK")
        finally:
            group.over.set()

    def _await(self, group: _Group) -> None:
        while not group.over.wait(_PATIENCE_S):
            with self._turn:
                if self._group is group:
                    self._commit()
        if group.error is not None:
            raise group.error


def tell_sqlite(connection: sa.Connection, statement: str) -> None:
    """Past SQLAlchemy, whose way costs ten times what SQLite does with such a word."""
    cast(Any, connection.connection.driver_connection).execute(statement)


def _take_back(connection: sa.Connection) -> sqlite3.Error | None:
    """Undo one part; or return why that is not possible: SQLite takes all of it back itself when a disk is full."""
    try:
        tell_sqlite(connection, "ROLLBACK TO part")
        tell_sqlite(connection, "RELEASE part")
    except sqlite3.Error as error:
        return error
    return None


def _is_open(connection: sa.Connection) -> bool:
    return bool(cast(Any, connection.connection.driver_connection).in_transaction)
