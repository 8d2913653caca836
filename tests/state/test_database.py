# SPDX-License-Identifier: Apache-2.0
"""One door to SQLite and PostgreSQL: durable, shared by threads and processes, honest when it fails."""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from ottr.errors import DeviceLeased, JournalError
from ottr.model import Secret
from ottr.state.database import Database, upsert
from ottr.state.schema import lease, observation, schedule
from ottr.statement import Statement
from tests.state.book import NOW

PASSWORD = "hunter2-is-a-secret"
_LEASES = Statement(sa.select(lease))


def put(database: Database, device: str) -> None:
    with database.write() as connection:
        connection.execute(schedule.insert(), {"device": device, "failures": 1, "failure_kind": "", "failure": ""})


def devices(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(sa.select(schedule.c.device)).scalars())


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_what_is_written_is_there_for_another_process(open_database):
    put(open_database(), "web1")
    assert devices(open_database()) == {"web1"}


@pytest.mark.parametrize("error", [DeviceLeased("x"), ZeroDivisionError(), KeyboardInterrupt()])
def test_what_ends_badly_is_not_written(database, error):
    def write_and_fail() -> None:
        with database.write() as connection:
            connection.execute(schedule.insert(), {"device": "web1", "failures": 1, "failure_kind": "", "failure": ""})
            raise error

    with pytest.raises(type(error)):
        write_and_fail()
    assert devices(database) == set()
    put(database, "web2")


def test_thirty_threads_write_at_once_and_nothing_is_lost(open_database):
    """Each counts one row up ten times, reading before it writes."""
    database, other = open_database(), open_database()
    put(database, "web1")
    failures: list[BaseException] = []
    together = threading.Barrier(30)

    def count(one: Database) -> None:
        try:
            together.wait()
            for _ in range(10):
                with one.write() as connection:
                    row = sa.select(schedule.c.failures).where(schedule.c.device == "web1").with_for_update()
                    found = connection.execute(row).scalar_one()
                    connection.execute(schedule.update().values(failures=found + 1))
                with one.read() as connection:
                    connection.execute(sa.select(schedule)).all()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=count, args=(one,)) for one in [database, other] * 15]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with database.read() as connection:
        assert connection.execute(sa.select(schedule.c.failures)).scalar_one() == 301


def test_a_row_is_made_once_and_then_changed(database):
    key = {"device": "web1", "endpoint": "a:443"}
    for sha256 in ("aa", "bb"):
        with database.write() as connection:
            upsert(connection, observation, key, {"at": NOW, "sha256": sha256}, {"problem": "none yet"})
    with database.read() as connection:
        [row] = connection.execute(sa.select(observation))
    assert (row.sha256, row.problem) == ("bb", "none yet")


def test_two_processes_may_make_one_row_at_the_same_moment(database, open_database, database_url):
    """The second one is in the middle of it when the first one is done; neither fails."""
    other, begun, failed = open_database(), threading.Event(), []

    def second() -> None:
        try:
            with other.write() as connection:
                begun.set()
                upsert(connection, observation, {"device": "w", "endpoint": "e"}, {**values, "sha256": "second"})
        except BaseException as error:
            failed.append(error)

    values = {"at": NOW, "problem": ""}
    thread = threading.Thread(target=second)
    with database.write() as connection:
        upsert(connection, observation, {"device": "w", "endpoint": "e"}, {**values, "sha256": "first"})
        thread.start()
        if "postgresql" in database_url:
            assert begun.wait(10)
            _await_lock(connection)
    thread.join()
    assert failed == []
    with database.read() as connection:
        assert connection.execute(sa.select(observation.c.sha256)).scalars().all() == ["second"]


def _await_lock(connection: sa.Connection) -> None:
    """Until another session waits for ours."""
    query = sa.text(
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.datname = current_database() WHERE NOT granted"
    )
    deadline = threading.Event()
    threading.Timer(10, deadline.set).start()
    while not connection.execute(query).scalar_one():
        assert not deadline.is_set()


@pytest.mark.parametrize(
    "url",
    [
        "",
        PASSWORD,
        f"postgresql://ottr:{PASSWORD}@with:colon@host/db",
        f"postgresql://ottr:x@y:{PASSWORD}@host/db",
        f"postgresql://ottr:x@{PASSWORD}@host/db",
        f"postgresql://ottr:x@y/{PASSWORD}@host/db",
        f"mysql://ottr:{PASSWORD}@host/db",
        f"oracle+strange://ottr:{PASSWORD}@host/db",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_a_url_that_is_none_of_ours_is_refused_without_its_password(url):
    with pytest.raises(JournalError, match="state URL") as caught:
        Database(Secret(url))
    assert PASSWORD not in told(caught.value)
    assert "state.url in ottr.yaml" in caught.value.hint


def test_a_missing_library_is_named_with_what_installs_it():
    with pytest.raises(JournalError, match="psycopg2") as caught:
        Database(Secret(f"postgresql+psycopg2://ottr:{PASSWORD}@127.0.0.1/db"))
    assert "pip install" in caught.value.hint
    assert PASSWORD not in told(caught.value)


def test_a_plain_postgresql_url_uses_the_library_of_the_extra(postgresql):
    url = postgresql.create_database("plain_url")
    database = Database(Secret(url.replace("postgresql+psycopg://", "postgresql://")))
    put(database, "web1")
    assert devices(database) == {"web1"}
    database.close()


@pytest.mark.parametrize("form", ["postgresql://ottr:{}@{}/db", "postgresql://{1}/db?user=ottr&password={0}"])
def test_an_unreachable_postgresql_is_named_without_its_password(network, form, caplog):
    where = f"{network.address(5)}:1"
    with caplog.at_level(logging.DEBUG), pytest.raises(JournalError) as caught:
        Database(Secret(form.format(PASSWORD, where)))
    assert where in str(caught.value)
    assert "efused" in str(caught.value)
    assert "reached" in caught.value.hint
    assert PASSWORD not in told(caught.value) + caplog.text


def test_a_refused_password_is_not_shown(postgresql):
    with pytest.raises(JournalError, match="authentication failed") as caught:
        Database(Secret(postgresql.url.replace(postgresql.password, PASSWORD)))
    assert PASSWORD not in told(caught.value)


def test_a_postgresql_that_was_restarted_is_used_again(database, request, database_url):
    """Connections of the pool are dead then; nobody has to restart Ottr."""
    put(database, "web1")
    if "postgresql" in database_url:
        server = request.getfixturevalue("postgresql")
        admin = sa.create_engine(server.url, isolation_level="AUTOCOMMIT")
        name = sa.make_url(database_url).database
        with admin.connect() as connection:
            connection.execute(
                sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
            )
        admin.dispose()
    put(database, "web2")
    assert devices(database) == {"web1", "web2"}


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "state.db"
    database = Database(Secret(f"sqlite:///{path}"))
    put(database, "before")
    database.close()
    return path


def test_the_folder_of_a_new_database_is_private(sqlite_path):
    assert sqlite_path.parent.stat().st_mode & 0o777 == 0o700


def test_sqlite_is_durable_and_lets_readers_be(sqlite_path):
    database = Database(Secret(f"sqlite:///{sqlite_path}"))
    with database.write() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        assert pragmas == ["wal", 2]
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert devices(database) == {"before"}  # another connection, in the middle of a write
    database.close()


def test_sqlite_waits_for_the_disk_unless_told_otherwise(sqlite_path):
    database = Database(Secret(f"sqlite:///{sqlite_path}"))
    found = []
    for durable in (True, False, False, True):
        with database.write(durable=durable) as connection:
            found.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())
    assert found == [2, 1, 1, 2]
    database.close()


def test_a_database_another_process_holds_is_named_with_what_to_do(sqlite_path):
    database = Database(Secret(f"sqlite:///{sqlite_path}"), busy_timeout_s=0.05)
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="locked") as caught:
            put(database, "web1")
        assert "another process holds the database" in caught.value.hint
        assert devices(database) == {"before"}
        other.execute("ROLLBACK")
    put(database, "web1")
    assert devices(database) == {"before", "web1"}
    database.close()


def test_a_database_another_process_holds_for_a_moment_is_waited_for(sqlite_path):
    database = Database(Secret(f"sqlite:///{sqlite_path}"), busy_timeout_s=30)
    other = sqlite3.connect(sqlite_path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, other.execute, ("ROLLBACK",))
    timer.start()
    put(database, "web1")
    timer.join()
    other.close()
    assert devices(database) == {"before", "web1"}
    database.close()


def close_to_everybody(server, name):
    """As a PostgreSQL that has just lost its machine, for one of its databases."""
    engine = sa.create_engine(server.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    engine.dispose()


def test_a_read_that_gets_no_connection_is_an_error_of_the_journal(postgresql):
    database = Database(Secret(postgresql.create_database("closed_for_readers")))
    close_to_everybody(postgresql, "closed_for_readers")
    with pytest.raises(JournalError, match="closed_for_readers"):
        devices(database)
    database.close()


def test_a_connection_lost_in_the_middle_of_a_write_is_named_as_the_server_does(postgresql):
    def write() -> None:
        with database.write() as connection:
            _LEASES.fetch_named(connection, {})
            close_to_everybody(postgresql, "closed_for_writers")
            _LEASES.fetch_named(connection, {})

    database = Database(Secret(postgresql.create_database("closed_for_writers")))
    with pytest.raises(JournalError, match="terminating connection"):
        write()
    database.close()


def test_a_full_disk_is_named_with_what_to_do(sqlite_path):
    database = Database(Secret(f"sqlite:///{sqlite_path}"))
    with database.write() as connection:  # the connection stays the same
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match="full") as caught:
        put(database, "x" * 100_000)
    assert "make room" in caught.value.hint
    assert devices(database) == {"before"}
    database.close()


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user who may not write everywhere, as root may."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o555, 0o444), (0o555, 0o666), (0o000, 0o666)])
def test_a_database_that_may_not_be_written_is_named_with_what_to_do(folder_mode, file_mode):
    with tempfile.TemporaryDirectory() as name:  # the folder of pytest lets nobody in
        path = Path(name) / "folder" / "state.db"
        Path(name).chmod(0o755)
        Database(Secret(f"sqlite:///{path}")).close()
        path.chmod(file_mode)
        path.parent.chmod(folder_mode)
        with without_rights(), pytest.raises(JournalError, match="state database sqlite:///") as caught:
            put(Database(Secret(f"sqlite:///{path}")), "web1")
        path.parent.chmod(0o700)
    assert caught.value.hint == "let the user ottr runs as write the database file and its folder"


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "state.db"
    path.write_text("not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(JournalError, match="not a database"):
        Database(Secret(f"sqlite:///{path}"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="state database sqlite:///"):
        Database(Secret(f"sqlite:///{tmp_path}/file/state.db"))
