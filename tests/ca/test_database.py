# SPDX-License-Identifier: Apache-2.0
"""The CA's tables on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import builtins
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
import sqlalchemy as sa

from ottr.ca import certificates, issuers
from ottr.ca.authority import Authority
from ottr.ca.certificates import list_certificates
from ottr.ca.database import _LOCK as LOCK
from ottr.ca.database import Database, sqlite_url
from ottr.ca.est.server import EstServer
from ottr.ca.est.settings import EstSettings
from ottr.ca.est.users import Grant, create_user
from ottr.ca.jwks import list_exposed
from ottr.ca.keyed import issue_with_key
from ottr.ca.model import KeyAlgorithm, Reason, Status
from ottr.ca.names import NameRules, parse_names
from ottr.ca.opening import init_authority, open_authority
from ottr.ca.renewal import renew_certificate
from ottr.ca.rollover import start_rollover
from ottr.ca.schema import VERSION, UtcSeconds, metadata, part
from ottr.ca.status.crls import Kind
from ottr.ca.status.publishing import publish
from ottr.ca.status.service import Status as StatusService
from ottr.errors import StatusConflict, StoreError
from ottr.lab.network import Network
from ottr.lab.postgresql import Postgresql, run_postgresql
from tests.ca.conftest import PASSPHRASE
from tests.ca.est.conftest import Holder, read_issued
from tests.ca.est.test_est_enrolment import basic
from tests.ca.requests import SERVER, build_name, build_request
from tests.ca.status.asking import build_request as build_ocsp_request
from tests.ca.status.asking import read_status
from tests.ca.test_jwks import make_signer, read_kids, sign


@pytest.fixture(scope="module")
def postgresql(network: Network) -> Iterator[Postgresql]:
    with run_postgresql(network.address(6)) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database with nothing in it."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "ca.db")
    server: Postgresql = request.getfixturevalue("postgresql")
    return server.create_database(f"ca_{secrets.token_hex(6)}")


@pytest.fixture
def authority(url: str, tmp_path: Path) -> Iterator[Authority]:
    """A CA whose database is at the URL."""
    folder = tmp_path / "ca"
    init_authority(folder, f"organization: Example\ndatabase: '{url}'\n", PASSPHRASE)
    with open_authority(folder, PASSPHRASE) as opened:
        yield opened


def test_a_life_of_a_CA(authority: Authority) -> None:
    row = authority.issue(build_request("a.test", "192.0.2.1"), SERVER)
    assert authority.find(row.issuer_id, row.serial) == row
    authority.hold(row.issuer_id, row.serial, "operator")
    authority.release(row.issuer_id, row.serial, "operator")
    kept = issue_with_key(authority, parse_names(["b.test"]), build_name(""), SERVER)
    with authority.database.read() as connection:
        assert not list(list_certificates(connection, certificates.certificate.c.auto_renew))
        assert [one.id for one in list_certificates(connection, newest_first=True)][:2] == [kept.id, row.id]
    start_rollover(authority)
    later = authority.issue(build_request("c.test"), SERVER)
    assert later.issuer_id == "intermediate-2"
    old = next(one for one in authority.issuers() if one.id == "intermediate-1")
    authority.revoke(old.parent_id, old.serial, Reason.CA_COMPROMISE, "operator")
    with authority.database.read() as connection:
        found = {one.serial: one.reason for one in certificates.list_revoked(connection, old.id, authority.clock())}
    assert found == {row.serial: Reason.CA_COMPROMISE, kept.serial: Reason.CA_COMPROMISE}
    again = authority.find(later.issuer_id, later.serial)
    assert again is not None
    assert again.status is Status.VALID


def test_many_at_once_lose_nothing(authority: Authority) -> None:
    """Issuing, revoking and numbering CRLs from several threads, as workers of a server do."""
    rows, numbers, conflicts = list[str](), list[int](), list[str]()
    shared = authority.issue(build_request("shared.test"), SERVER)

    def work() -> None:
        for _ in range(4):
            rows.append(authority.issue(build_request("a.test"), SERVER).serial)
            with authority.database.write() as connection:
                numbers.append(issuers.next_crl_number(connection, "intermediate-1"))
        try:
            authority.revoke(shared.issuer_id, shared.serial, Reason.SUPERSEDED, "operator")
        except StatusConflict:
            conflicts.append("conflict")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(rows)) == 16
    assert sorted(numbers) == list(range(1, 17))
    assert len(conflicts) == 3
    with authority.database.read() as connection:
        recorded = {row.serial for row in list_certificates(connection)}
        assert len(certificates.list_changes(connection, "intermediate-1")) == 1
    assert recorded >= set(rows)


def test_EST_enrols_renews_and_gives_the_last_use_of_a_password_to_one(authority: Authority) -> None:
    server = EstServer(authority, EstSettings(enabled=True, profiles=("client",)))
    grant = Grant(NameRules(common_names=("sensor-*",)), ("client",), uses=2)
    password = basic("devices", create_user(authority, "devices", grant))
    device = Holder(server)
    body = device.csr(common_name="sensor-1")
    first = read_issued(device.ask("simpleenroll", body, authorization=password))
    device.row = authority.find_serial(format(first.serial_number, "x"))
    second = read_issued(device.ask("simplereenroll", body))
    assert (second.serial_number != first.serial_number, second.subject) == (True, first.subject)
    assert Holder(server).ask("simpleenroll", body, authorization=basic("a\0b", "x")).status_code == 401

    def enrol(number: int) -> int:
        newcomer = Holder(server)
        return newcomer.ask(
            "simpleenroll", newcomer.csr(common_name=f"sensor-{number}"), authorization=password
        ).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(enrol, range(4)))
    assert (statuses.count(200), set(statuses) <= {200, 400, 401}) == (1, True)
    authority.revoke(device.row.issuer_id, device.row.serial, Reason.SUPERSEDED, "operator")
    assert device.ask("simplereenroll", body).status_code == 403


def test_the_set_of_token_keys_follows_renewal_and_revocation(authority: Authority) -> None:
    old, revoked = make_signer(authority), make_signer(authority, KeyAlgorithm.ED25519)
    authority.revoke(revoked.issuer_id, revoked.serial, Reason.KEY_COMPROMISE, "operator")
    new = renew_certificate(authority, old).new
    assert set(read_kids(authority)) == {old.key_id, new.key_id}
    assert read_kids(authority, grace_s=0.0) == [new.key_id]
    keys = jwt.PyJWKSet.from_dict({"keys": list(list_exposed(authority, 0.0))})
    assert jwt.decode(sign(authority, new, "ES256"), keys[new.key_id], algorithms=["ES256"]) == {"sub": "alice"}


def test_what_is_being_signed_when_the_issuer_is_compromised_goes_with_the_rest(authority: Authority) -> None:
    """The revocation waits for the signature, or comes first; nothing slips through between them."""
    issuer = authority.active_issuer()
    prepared = authority.prepare(build_request("a.test"), SERVER)
    revoked = threading.Thread(
        target=authority.revoke, args=(issuer.parent_id, issuer.serial, Reason.CA_COMPROMISE, "operator")
    )
    with authority.database.write() as connection:
        row = authority.sign(connection, prepared)
        revoked.start()
        _wait_until_blocked(authority)
    revoked.join(60)
    again = authority.find(row.issuer_id, row.serial)
    assert again is not None
    assert again.reason is Reason.CA_COMPROMISE


def test_status_is_told_in_every_process(authority: Authority, tmp_path: Path) -> None:
    """OCSP answers and delta CRLs, with a revocation by another process in between."""
    row = authority.issue(build_request("a.test"), SERVER)
    with (
        open_authority(tmp_path / "ca", PASSPHRASE) as other,
        StatusService(authority) as status,
        StatusService(other) as there,
    ):
        request = build_ocsp_request(authority, row)

        def find_answers() -> list[str]:
            return [read_status(one.responder.answer(request).der) for one in (status, there)]

        assert find_answers() == ["good", "good"]
        assert len(status.cache) == len(there.cache) == 1
        base = status.crls.get(row.issuer_id)
        other.hold(row.issuer_id, row.serial, "operator")
        assert find_answers() == ["revoked", "revoked"]
        delta = status.crls.renew(row.issuer_id, Kind.DELTA)
        assert delta.number > there.crls.get(row.issuer_id).number > base.number
        authority.release(row.issuer_id, row.serial, "operator")
        assert find_answers() == ["good", "good"]
        done = publish(status, tmp_path / "tree")
        assert (done.signed, publish(there, tmp_path / "tree").kept) == (4, 4)


def _wait_until_blocked(authority: Authority) -> None:
    """Until somebody waits for a lock of PostgreSQL; SQLite's second writer waits anyway."""
    deadline = time.monotonic() + 30
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while "postgresql" in authority.database.place:
        with authority.database.read() as connection:
            if connection.execute(waiting).scalar():
                return
        assert time.monotonic() < deadline


def test_two_processes_make_the_tables_once(url: str) -> None:
    opened, problems, start = list[Database](), list[Exception](), threading.Barrier(3)

    def open_it() -> None:
        start.wait(10)
        try:
            opened.append(Database(url))
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert problems == []
    with opened[0].read() as connection:
        assert connection.execute(sa.select(part.c.name, part.c.version)).all() == [("core", 1)]
    for database in opened:
        database.close()


def test_tables_that_another_has_made_meanwhile_are_not_made_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database, own, begun = Database(url), sa.MetaData(), threading.Event()
    table = sa.Table("own", own, sa.Column("at", UtcSeconds))
    create = database._create

    def begin(*given: Any) -> int:
        begun.set()
        return create(*given)

    monkeypatch.setattr(database, "_create", begin)
    with ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            if not database.is_local:  # as who makes tables does; otherwise it is chance who is first
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:n)"), {"n": LOCK})
            own.create_all(connection)
            connection.execute(part.insert(), {"name": "own", "version": 3})
            done = pool.submit(database.ensure, "own", 3, own)
            assert begun.wait(30), "it has seen the tables that nobody has committed"
        done.result(30)
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0
        assert connection.execute(sa.select(part.c.version).where(part.c.name == "own")).scalars().all() == [3]
    database.close()


def test_other_parts_have_tables_of_their_own(url: str) -> None:
    database = Database(url)
    own = sa.MetaData()
    table = sa.Table("own", own, sa.Column("at", UtcSeconds))
    for _ in range(2):
        database.ensure("own", 3, own)
    moment = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
    with database.write() as connection:
        connection.execute(table.insert(), [{"at": moment}, {"at": None}])
    with database.read() as connection:
        assert connection.execute(sa.select(table.c.at)).scalars().all() == [moment.replace(microsecond=0), None]
    with pytest.raises(StoreError, match="'own' have version 3, this program has 4"):
        database.ensure("own", 4, own)
    database.close()


def test_tables_of_another_version_are_refused(url: str) -> None:
    database = Database(url)
    with database.write() as connection:
        connection.execute(part.update().values(version=99))
    database.close()
    with pytest.raises(StoreError, match="version 99") as caught:
        Database(url)
    assert ":" not in caught.value.hint


def test_a_password_is_in_no_error(postgresql: Postgresql) -> None:
    wrong = postgresql.url.replace(postgresql.password, "hunter2")
    with pytest.raises(StoreError) as caught:
        Database(wrong)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://x/y",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://a:b@x:port/",
        "postgresql://a:b@hunter2@x/ca",  # an @ of the password
        "postgresql://a:b@y/hunter2@x/ca",
    ],
)
def test_what_is_no_url_of_a_database(url: str) -> None:
    with pytest.raises(StoreError, match="is not that of") as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)
    assert "%40" in caught.value.hint


def test_a_short_url_of_postgresql_and_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name == "psycopg":
            raise ImportError("no psycopg")
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(StoreError, match="not installed") as caught:
        Database("postgresql://ca@127.0.0.1/ca")
    assert "ottr[postgresql]" in caught.value.hint


def test_a_write_waits_for_the_disk_and_for_others_as_it_was_told_to(tmp_path: Path) -> None:
    database, found = Database(sqlite_url(tmp_path / "ca.db"), 7), []
    for durable, wait in ((True, True), (False, True), (True, False), (False, False), (True, True)):
        with database.write(durable=durable, wait=wait) as connection:
            asked = (connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "busy_timeout"))
            found.append(tuple(asked))
    assert found == [(2, 7000), (1, 7000), (2, 0), (1, 0), (2, 7000)]
    database.close()


def test_who_opens_a_new_file_while_another_one_begins_it_waits(tmp_path: Path) -> None:
    """SQLite itself would not, for what must be changed then."""
    with closing(sqlite3.connect(tmp_path / "ca.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            Database(sqlite_url(tmp_path / "ca.db"), 0.05)
        later = threading.Timer(0.2, other.execute, ["ROLLBACK"])
        later.start()
        Database(sqlite_url(tmp_path / "ca.db")).close()
        later.join()


def test_a_database_that_is_locked(tmp_path: Path) -> None:
    first, second = Database(sqlite_url(tmp_path / "ca.db")), Database(sqlite_url(tmp_path / "ca.db"), 0.05)
    with (
        first.write(),
        pytest.raises(StoreError, match="locked") as caught,
        second.write(),
    ):
        pass
    assert "another process" in caught.value.hint
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("cause", "hint"), [("database or disk is full", "room"), ("unable to open database file", "reached")]
)
def test_hints_say_what_to_do(tmp_path: Path, cause: str, hint: str) -> None:
    database = Database(sqlite_url(tmp_path / "ca.db"))
    with pytest.raises(StoreError, match=cause) as caught, database.read():
        raise sa.exc.OperationalError("SELECT", {}, Exception(cause))
    assert hint in caught.value.hint
    database.close()


def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        Database(sqlite_url(tmp_path / "missing" / "ca.db"))


def test_many_read_at_once(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "ca.db"))
    barrier = threading.Barrier(40)

    def read(_: int) -> int:
        with database.read() as connection:
            barrier.wait(20)
            return int(connection.execute(sa.select(sa.func.count()).select_from(part)).scalar_one())

    with ThreadPoolExecutor(40) as pool:
        assert set(pool.map(read, range(40))) == {1}
    database.close()


def test_a_write_that_fails_leaves_nothing(url: str) -> None:
    database = Database(url)
    with suppress(ZeroDivisionError), database.write() as connection:
        connection.execute(part.insert(), {"name": "x", "version": 1})
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.execute(sa.select(part.c.name)).scalars().all() == ["core"]
    database.close()


def test_a_commit_that_fails_leaves_nothing_and_others_can_write(url: str) -> None:
    database = Database(url)
    with database.write() as connection:
        late = "REFERENCES event (id) DEFERRABLE INITIALLY DEFERRED"
        connection.execute(sa.text(f"CREATE TABLE child (of_event INTEGER {late})"))
    with pytest.raises(StoreError, match=r"(?i)foreign key"), database.write() as connection:
        connection.execute(sa.text("INSERT INTO child VALUES (1)"))
    with database.write() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM child")).scalar_one() == 0
    database.close()


def test_a_statement_that_fails_within_a_write_is_told(url: str) -> None:
    database = Database(url)
    with pytest.raises(StoreError, match="nothing_here"), database.write() as connection:
        connection.execute(sa.text("SELECT * FROM nothing_here"))
    with database.write() as connection:
        assert connection.execute(sa.select(part.c.name)).scalars().all() == ["core"]
    database.close()


def test_a_connection_that_broke_is_told_and_not_taken_again(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "ca.db"))
    with database.read():
        pass
    lent = database._idle[-1].connection.driver_connection
    assert lent is not None
    lent.close()
    with pytest.raises(StoreError), database.read():
        pass
    with database.read() as connection:
        assert connection.execute(sa.select(part.c.name)).scalars().all() == ["core"]
    database.close()


def test_the_version_is_another_one_after_every_commit(url: str) -> None:
    """Of this process and of others; a server's database is not asked."""
    database, other = Database(url), Database(url)
    if not database.is_local:
        assert database.read_version() is None
    else:
        first = other.read_version()
        assert first == other.read_version()
        with database.write() as connection:
            connection.execute(part.insert(), {"name": "one", "version": 1})
        second = other.read_version()
        with other.write(durable=False) as connection:
            connection.execute(part.insert(), {"name": "two", "version": 1})
        third = other.read_version()
        with suppress(ZeroDivisionError), other.write() as connection:
            connection.execute(part.update().values(version=2))
            raise ZeroDivisionError
        assert len({None, first, second, third}) == 4
        assert other.read_version() == third, "nothing was committed"
    other.close()
    database.close()


def test_the_log_is_copied_and_begun_anew_where_a_commit_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next write would wait for the disk to have its header, and that one is not to wait."""
    monkeypatch.setattr("ottr.ca.writer._COMMITS", 4)
    database, log = Database(sqlite_url(tmp_path / "ca.db")), tmp_path / "ca.db-wal"

    def write(*, durable: bool) -> bytes:
        with database.write(durable=durable) as connection:
            connection.execute(part.update().values(version=part.c.version + 1))
        return log.read_bytes()[:32]

    first, second, third = (write(durable=True) for _ in range(3))  # after the tables were made
    assert first == second != third
    assert {write(durable=False) for _ in range(5)} == {third}
    headers = [write(durable=True) for _ in range(4)]
    assert [one == third for one in headers] == [True, True, True, False]
    version = database.read_version()
    with database.read() as connection:  # from what is in the log, which so cannot be begun anew
        assert connection.execute(sa.select(part.c.name)).scalar() == "core"
        assert {write(durable=True) for _ in range(4)} == {headers[-1]}
    assert database.read_version() != version
    with database.read() as connection:
        assert connection.execute(sa.select(part.c.version)).scalar() == VERSION + 16
    database.close()


def test_a_commit_stays_one_when_the_log_cannot_be_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ottr.ca.writer._COMMITS", 1)
    monkeypatch.setattr("ottr.ca.writer._WRITE", "UPDATE no_table SET a = 1")
    database = Database(sqlite_url(tmp_path / "ca.db"))
    with database.write() as connection:
        connection.execute(part.insert(), {"name": "own", "version": 1})
    with database.write(), database.read() as connection:
        assert connection.execute(sa.select(part.c.name)).scalars().all() == ["core", "own"]
    database.close()


def test_a_file_that_is_gone_has_no_counter(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    database = Database(sqlite_url(tmp_path / "here" / "ca.db"))
    (tmp_path / "here").rename(tmp_path / "gone")
    database._engine.dispose()
    with pytest.raises(StoreError, match="unable to open"):
        database.open_commit_counter()
    database.close()


def test_the_tables_are_those_of_the_schema(url: str) -> None:
    database = Database(url)
    with database.read() as connection:
        assert set(sa.inspect(connection).get_table_names()) == set(metadata.tables)
    database.close()


def test_renewal_works_there_too(authority: Authority) -> None:
    kept = issue_with_key(authority, parse_names(["b.test"]), build_name(""), SERVER)
    authority.clock = lambda: kept.not_after
    assert renew_certificate(authority, kept).new.serial != kept.serial
