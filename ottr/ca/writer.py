# SPDX-License-Identifier: Apache-2.0
"""Writing to an SQLite file: one connection for all of a process, which so can tell whether others have written."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ottr.ca.commits import CommitCounter

Version = tuple[int, int]
"""What this process has written, and what others have, both counted."""
Told = Callable[[int, int], None]
"""Is given the first part of the version before and after a commit."""
_COMMITS = 64
"""To the disk, of some fifteen pages each, after which the log of writes is copied into the file."""
_PAGES = 10_000
"""In the log before whoever commits copies it, as nobody else has done it for long."""
_WRITE = "PRAGMA user_version=0"
"""What it is anyway."""


class Busy(Exception):
    """Somebody else writes now, and one was not to wait."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How one transaction is written."""

    durable: bool
    """The commit waits for the disk."""
    waits: bool
    """For others that write."""

    def tune(self, busy_timeout_s: float) -> tuple[str, ...]:
        """The statements that make SQLite work like that."""
        return (
            f"PRAGMA busy_timeout={int(busy_timeout_s * 1000) if self.waits else 0}",
            f"PRAGMA synchronous={'FULL' if self.durable else 'NORMAL'}",
            f"PRAGMA wal_autocheckpoint={_PAGES}",
        )


class Writer:
    """Takes turns among the threads of a process. Safe for them. Call ``close`` at the end."""

    def __init__(
        self, connect: Callable[[], sa.Connection], count: Callable[[], CommitCounter], busy_timeout_s: float
    ) -> None:
        self._connect = connect
        self._count = count
        self._busy_timeout_s = busy_timeout_s
        self._turn = threading.Lock()
        self._connection: sa.Connection | None = None
        self._driver: Any = None
        self._manner: Manner | None = None
        self._durable = 0
        """Commits to the disk."""
        self._own = 0
        """Commits, and connections: each counts what others do in its own way."""
        self._counter: CommitCounter | None = None
        self._counting = threading.Lock()
        self._seen: tuple[int, Version] | None = None
        """What the counter, which counts what is written by anybody, said when there was that version."""

    def begin(self, manner: Manner) -> sa.Connection:
        """Take the turn and begin. Raises Busy when it was not to wait."""
        if not self._turn.acquire(blocking=manner.waits):
            raise Busy
        try:
            return self._begin(manner)
        except BaseException as error:
            code = getattr(error, "sqlite_errorcode", 0)
            if code != sqlite3.SQLITE_BUSY:  # which says that another one writes, and nothing has begun
                self._drop()
            self._turn.release()
            if not manner.waits and code & 0xFF == sqlite3.SQLITE_BUSY:
                raise Busy from error
            raise

    def end(self, *, well: bool, told: Told | None) -> None:
        """Commit or roll back, and give the turn to the next one.

        ``told`` is called after the commit, before anybody can write or ask for the version.
        """
        try:
            connection: Any = self._connection
            # whether SQLAlchemy has noticed the transaction or not, see ``ottr.statement``
            begun = connection if connection.in_transaction() else self._driver
            if not well:
                begun.rollback()
                return
            begun.commit()
            self._own += 1
            if told is not None:
                told(self._own - 1, self._own)
            self._tidy()
        except BaseException:
            self._drop()
            raise
        finally:
            self._turn.release()

    def read_version(self) -> Version | None:
        """Another one as soon as anybody has written: here, and elsewhere. None: somebody writes now.

        While a commit waits for the disk, what it has written is not to be seen yet, so there is the former version.
        """
        seen, number = self._seen, self._read_counter()
        if seen is not None and seen[0] == number:
            return seen[1]
        if not self._turn.acquire(blocking=False):
            return None
        try:
            if self._connection is None:
                self._open()
            return self._find_version(number)
        finally:
            self._turn.release()

    def close(self) -> None:
        """Give back the connection."""
        with self._turn:
            self._drop()
            if self._counter is not None:
                self._counter.close()
                self._counter = None

    def _begin(self, manner: Manner) -> sa.Connection:
        connection = self._connection or self._open()
        if manner is not self._manner:
            former = () if self._manner is None else self._manner.tune(self._busy_timeout_s)
            for pragma in manner.tune(self._busy_timeout_s):
                if pragma not in former:
                    self._driver.execute(pragma)
            self._manner = manner
        self._driver.execute("BEGIN IMMEDIATE")
        if manner.durable:
            self._find_version(self._read_counter())  # for who asks while the disk is waited for
        return connection

    def _tidy(self) -> None:
        """Copy the log now and then, where a commit waits for the disk anyway, and begin it anew.

        Whoever writes next after a copy waits for the disk, durable or not, for the log's new header; so that is here.
        What has been committed before stays so, whatever happens.
        """
        if self._manner is None or not self._manner.durable:
            return
        self._durable += 1
        if self._durable % _COMMITS == 0:
            with suppress(sqlite3.Error):
                self._driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._driver.execute(_WRITE)

    def _find_version(self, number: int) -> Version:
        """For who has the turn. The counter was read first: what is committed after that makes the next one ask."""
        [(others,)] = self._driver.execute("PRAGMA data_version").fetchall()
        if self._seen is not None and self._seen[0] != number and self._seen[1] == (self._own, others):
            self._own += 1  # what others do is not told as long as something is still being read over the connection
        self._seen = number, (self._own, others)
        return self._own, others

    def _read_counter(self) -> int:
        with self._counting:
            if self._counter is None:
                self._counter = self._count()
            return self._counter.read()

    def _open(self) -> sa.Connection:
        self._connection = connection = self._connect()
        self._driver = connection.connection.driver_connection
        self._manner = self._seen = None
        self._own += 1
        return connection

    def _drop(self) -> None:
        """It may be within a transaction, and is tuned for writing: nobody else gets it."""
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            connection.invalidate()
            connection.close()
