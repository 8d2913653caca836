# SPDX-License-Identifier: Apache-2.0
"""Threads that write to SQLite at once share one commit, and nothing else."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from ottr.errors import DeviceLeased, JournalError
from ottr.model import Secret
from ottr.state import writer
from ottr.state.database import Database
from ottr.state.schema import schedule, step
from tests.state.book import NOW


class Line:
    """Threads that wait while the first one writes, and come to their turn one after the other."""

    def __init__(self, path: Path, threads: ThreadPoolExecutor) -> None:
        self.database = Database(Secret(f"sqlite:///{path}"))
        self.threads = threads
        self.commits = 0
        self.database.close()  # what it opens from now on is counted
        sa.event.listen(self.database._engine, "connect", self._trace)

    def _trace(self, connection: sqlite3.Connection, _: object) -> None:
        connection.set_trace_callback(self._count)

    def _count(self, statement: str) -> None:
        self.commits += statement == "COMMIT"

    def add(self, connection: sa.Connection, name: str) -> None:
        connection.execute(schedule.insert(), {"device": name, "failures": 1, "failure_kind": "", "failure": ""})

    def names(self) -> set[str]:
        with self.database.read() as connection:
            return set(connection.execute(sa.select(schedule.c.device)).scalars())

    def write(self, name: str, more: Callable[[sa.Connection], object], durable: bool) -> set[str]:
        """Return what somebody else sees right afterwards."""
        with self.database.write(durable=durable) as connection:
            self.add(connection, name)
            more(connection)
        return self.names()

    def queue(
        self, name: str, more: Callable[[sa.Connection], object] = id, *, durable: bool = True
    ) -> Future[set[str]]:
        """Start a thread, and return when it waits for its turn."""
        before = len(self.database._writer._coming)
        future = self.threads.submit(self.write, name, more, durable)
        deadline = time.monotonic() + 30
        while len(self.database._writer._coming) == before:
            assert time.monotonic() < deadline
            threading.Event().wait(0.001)
        return future


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with ThreadPoolExecutor(8) as threads:
        made = Line(tmp_path / "state.db", threads)
        yield made
    made.database.close()


def test_all_that_wait_are_committed_at_once_and_return_when_that_is_done(line):
    with line.database.write() as connection:
        line.add(connection, "first")
        others = [line.queue(str(number)) for number in range(5)]
        assert line.names() == set()
    everybody = {"first", "0", "1", "2", "3", "4"}
    assert line.commits == 1
    assert [one.result(30) for one in others] == [everybody] * 5


def test_what_one_takes_back_stays_with_the_others(line):
    def fail(_: sa.Connection) -> None:
        raise DeviceLeased("mine alone")

    with line.database.write() as connection:
        line.add(connection, "first")
        bad, good = line.queue("bad", fail), line.queue("good")
    assert isinstance(bad.exception(30), DeviceLeased)
    good.result(30)
    assert line.names() == {"first", "good"}


def test_the_first_that_fails_takes_nothing_of_the_others_with_it(line):
    def fail() -> None:
        with line.database.write() as connection:
            line.add(connection, "first")
            others.append(line.queue("other"))
            raise DeviceLeased("mine alone")

    others: list[Future[set[str]]] = []
    with pytest.raises(DeviceLeased):
        fail()
    assert others[0].result(30) == {"other"}


def test_the_last_that_fails_commits_those_before(line):
    def fail(_: sa.Connection) -> None:
        raise DeviceLeased("mine alone")

    with line.database.write() as connection:
        line.add(connection, "first")
        bad = line.queue("bad", fail)
    assert isinstance(bad.exception(30), DeviceLeased)
    assert line.names() == {"first"}


def test_when_sqlite_takes_all_back_everybody_is_told(line):
    """As it does when the disk is full."""

    def lose(connection: sa.Connection) -> None:
        writer.tell_sqlite(connection, "ROLLBACK")
        raise DeviceLeased("what was wrong in the first place")

    def write() -> None:
        with line.database.write() as connection:
            line.add(connection, "first")
            others.append(line.queue("bad", lose))

    others: list[Future[set[str]]] = []
    with pytest.raises(JournalError):
        write()
    assert isinstance(others[0].exception(30), DeviceLeased)
    assert line.write("next", id, True) == {"next"}


def test_everybody_is_told_why_sqlite_took_all_back(line):
    def fill(connection: sa.Connection) -> None:
        writer.tell_sqlite(connection, "ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")

    def write() -> None:
        with line.database.write() as connection:
            line.add(connection, "first")
            others.append(line.queue("bad", fill))

    others: list[Future[set[str]]] = []
    with pytest.raises(JournalError, match="disk is full"):
        write()
    assert "disk is full" in str(others[0].exception(30))


def test_when_the_commit_fails_everybody_is_told(line):
    def break_promise(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        row = {"rotation_id": "none", "step": "csr", "status": "done", "at": NOW}
        connection.execute(step.insert(), row)

    def write() -> None:
        with line.database.write() as connection:
            line.add(connection, "first")
            others.append(line.queue("bad", break_promise))

    others: list[Future[set[str]]] = []
    with pytest.raises(JournalError, match="FOREIGN KEY"):
        write()
    assert isinstance(others[0].exception(30), JournalError)
    assert line.write("next", id, True) == {"next"}


@pytest.mark.parametrize("first", [True, False])
def test_what_must_be_durable_is_not_committed_with_less(line, first):
    def look(connection: sa.Connection) -> None:
        found.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())

    found: list[int] = []
    with line.database.write(durable=first) as connection:
        line.add(connection, "first")
        durable, hasty = line.queue("durable", look), line.queue("hasty", durable=False)
    durable.result(30)
    hasty.result(30)
    assert found == [2]
    assert line.names() == {"first", "durable", "hasty"}


def test_who_waits_for_one_that_never_comes_commits_itself(line, monkeypatch):
    monkeypatch.setattr(writer, "_PATIENCE_S", 0.01)
    line.database._writer._coming.append(None)  # interrupted just before its turn
    assert line.write("alone", id, True) == {"alone"}


def test_when_another_process_holds_the_database_nobody_is_stuck(tmp_path):
    path = tmp_path / "state.db"
    database, other = Database(Secret(f"sqlite:///{path}"), busy_timeout_s=0.05), Database(Secret(f"sqlite:///{path}"))
    with (
        other.write(),
        pytest.raises(JournalError, match="locked"),
        database.write(),
    ):
        pass
    with database.write() as connection:
        connection.execute(schedule.insert(), {"device": "w", "failures": 1, "failure_kind": "", "failure": ""})
    for one in (database, other):
        one.close()
