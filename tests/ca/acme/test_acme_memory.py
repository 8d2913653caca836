# SPDX-License-Identifier: Apache-2.0
"""What the ACME server keeps in memory is what the database says, whoever writes there and whenever."""

from __future__ import annotations

import json
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ottr.ca.acme import memory
from ottr.ca.acme.exchange import Later, Message, Reply
from ottr.ca.acme.memory import Memory
from ottr.ca.acme.records import Account, Issued, Order
from ottr.ca.acme.schema import account as table
from ottr.ca.acme.server import AcmeServer
from ottr.ca.authority import Authority
from ottr.ca.database import Database, sqlite_url
from ottr.ca.writer import Busy
from ottr.errors import StoreError
from tests.ca.acme.client import BASE, TYPE, Client, make_csr, write_jws
from tests.ca.acme.conftest import Prove, Serve

_DEACTIVATE = sa.update(table).values(status="deactivated")


@pytest.fixture
def reads(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each transaction that reads."""
    begun, begin = list[None](), authority.database.read

    def read() -> Any:
        begun.append(None)
        return begin()

    monkeypatch.setattr(authority.database, "read", read)
    return begun


def test_what_others_write_is_seen_by_the_next_request(client: Client, elsewhere: Database) -> None:
    assert client.post(client.kid).status == 200
    with elsewhere.write() as connection:
        connection.execute(_DEACTIVATE)
    assert client.post(client.kid).document["detail"] == "the account is deactivated"


def test_what_another_part_of_this_process_writes_is_seen_too(client: Client, authority: Authority) -> None:
    assert client.post(client.kid).status == 200
    with authority.database.write() as connection:
        connection.execute(_DEACTIVATE)
    assert client.post(client.kid).status == 403


def test_a_second_server_of_the_process_learns_what_the_first_has_done(client: Client, serve: Serve) -> None:
    other = Client(serve(), client.key, client.kid)
    order = client.order("a.lab.test")
    [url] = order.document["authorizations"]
    assert other.post(url).document["status"] == "pending"
    assert client.post(url, {"status": "deactivated"}).document["status"] == "deactivated"
    assert other.post(url).document["status"] == "deactivated"
    assert other.post(order.headers["Location"]).document["status"] == "invalid"


def test_an_order_is_read_from_memory_alone(client: Client, prove: Prove, reads: list[None]) -> None:
    order = client.order("a.lab.test")
    prove(client, order)
    reads.clear()
    assert client.post(order.headers["Location"]).document["status"] == "ready"
    assert not reads
    done = client.finalize(order, make_csr("a.lab.test"))
    reads.clear()
    assert client.post(done.document["certificate"]).status == 200
    assert len(reads) == 1, "the chain, for the first who asks"
    again = client.post(done.document["certificate"])
    assert (len(reads), b"BEGIN CERTIFICATE" in again.body) == (1, True)


def test_an_order_in_memory_is_the_order_of_the_database(
    client: Client, prove: Prove, serve: Serve, authority: Authority
) -> None:
    """To the last field and second: a server that has to read it says the same."""
    order = client.order("a.lab.test", "*.lab.test")
    reader = Client(serve(), client.key, client.kid)
    urls = [order.headers["Location"], *order.document["authorizations"]]

    def read_all() -> None:
        for url in urls:
            assert (kept := client.post(url).document) == reader.post(url).document
            assert kept["status"]

    read_all()
    prove(client, order)
    read_all()
    urls.append(client.finalize(order, make_csr("a.lab.test", "*.lab.test")).document["certificate"])
    for url in urls[:-1]:
        assert client.post(url).document == reader.post(url).document
    assert client.post(urls[-1]).body == reader.post(urls[-1]).body
    del authority


def test_what_was_read_before_a_change_is_not_kept_after_it(authority: Authority, client: Client) -> None:
    """A thread that has read, and then another one has written before it goes on."""
    kept, account_id = Memory(authority.database), client.kid.rpartition("/")[2]
    with kept.look() as before:
        found = before.find_account(account_id)
        assert found is not None
        late = kept.look()
        with authority.database.write() as connection:
            connection.execute(_DEACTIVATE)
        with kept.look() as after:
            assert after.find_account(account_id) != found
        late._keep((Account, account_id), found)
    with kept.look() as again:
        assert (read := again.find_account(account_id)) is not None
        assert read.status == "deactivated"


def test_while_a_commit_waits_for_the_disk_memory_says_what_was_before(
    authority: Authority, client: Client, reads: list[None]
) -> None:
    kept, account_id = Memory(authority.database), client.kid.rpartition("/")[2]
    with kept.look() as rows:
        found = rows.find_account(account_id)
    reads.clear()
    with authority.database.write() as connection:
        connection.execute(_DEACTIVATE)
        with kept.look() as rows:
            assert rows.find_account(account_id) is found
    assert not reads
    with kept.look() as rows:
        assert (changed := rows.find_account(account_id)) is not None
    assert (changed.status, len(reads)) == ("deactivated", 1)


def test_where_the_version_cannot_be_told_the_database_is_asked(authority: Authority, client: Client) -> None:
    """Somebody writes here, and before that somebody else has written."""
    kept, account_id = Memory(authority.database), client.kid.rpartition("/")[2]
    with authority.database.write(durable=False) as connection:
        connection.execute(_DEACTIVATE)
        with kept.look() as rows:
            assert (found := rows.find_account(account_id)) is not None
            assert found.status == "valid"
        assert not kept._rows


def test_memory_has_an_end(client: Client, server: AcmeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MOST_ROWS", 3)
    orders = [client.order("a.lab.test") for _ in range(4)]
    assert len(server._memory._rows) == 3
    assert {client.post(one.headers["Location"]).status for one in orders} == {200}


def test_what_is_long_is_not_kept(
    client: Client, prove: Prove, server: AcmeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"n{number}.lab.test" for number in range(11)]
    urls = [client.order(*some).headers["Location"] for some in (names, names[:10])]
    assert [client.post(url).document["status"] for url in urls] == ["pending", "pending"]
    kept = {key for kind, key in server._memory._rows if kind is Order}
    assert kept == {urls[1].rpartition("/")[2]}
    monkeypatch.setattr(memory, "_MOST_BYTES", 100)
    order = client.order("a.lab.test")
    prove(client, order)
    done = client.finalize(order, make_csr("a.lab.test"))
    assert b"BEGIN CERTIFICATE" in client.post(done.document["certificate"]).body
    assert not [key for kind, key in server._memory._rows if kind is Issued]


def test_a_database_that_cannot_be_read_is_said_to_be_the_cause(
    client: Client, authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    order = client.order("a.lab.test").headers["Location"]
    client.server._memory._rows.clear()

    def fail() -> Any:
        raise sqlite3.OperationalError("unable to open database file")

    with monkeypatch.context() as patch:
        patch.setattr(authority.database, "_begin", fail)
        assert client.post(order).status == 503
    assert "unable to open" in caplog.text
    assert client.post(order).status == 200


def test_what_others_write_is_seen_while_something_is_still_being_read(
    client: Client, authority: Authority, elsewhere: Database
) -> None:
    """Over the connection that writes, which then cannot say that others have written; nor write itself."""
    with authority.database.write() as connection:
        for name in "ab":
            connection.execute(sa.text("INSERT INTO part (name, version) VALUES (:name, 1)"), {"name": name})
        driver: Any = connection.connection.driver_connection
        cursor = driver.execute("SELECT * FROM part")
        cursor.fetchone()
    assert client.post(client.kid).status == 200
    with elsewhere.write() as connection:
        connection.execute(_DEACTIVATE)
    assert client.post(client.kid).status == 403
    with pytest.raises(Busy), authority.database.write(wait=False):
        pass
    with authority.database.write(wait=False):
        pass
    del cursor


def test_the_connection_that_writes_is_kept_while_others_write_and_never_read_over(
    authority: Authority, elsewhere: Database
) -> None:
    writer: Any = authority.database._writer
    with authority.database.write(durable=False, wait=False):
        pass
    own = writer._connection
    with elsewhere.write(), pytest.raises(Busy), authority.database.write(durable=False, wait=False):
        pass
    assert writer._connection is own
    writer.close()
    while authority.database._idle:
        authority.database._idle.pop().invalidate()
    with authority.database.read() as connection:
        assert connection.execute(sa.text("PRAGMA busy_timeout")).scalar() == 10_000
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2


def begin_order(client: Client, **fields: Any) -> Reply | Later:
    """As a connection does, which must not wait."""
    url, payload = f"{BASE}/new-order", {"identifiers": [{"type": "dns", "value": "a.lab.test"}], **fields}
    body = json.dumps(write_jws(client.key, client.header(url), payload)).encode()
    return client.server.begin(Message("POST", "/new-order", BASE, body, TYPE))


def test_an_order_that_would_have_to_wait_for_a_writer_goes_on_elsewhere(
    client: Client, elsewhere: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the nonce it has used; whether the other one is of this process or not. There it does wait."""
    assert isinstance(done := begin_order(client), Reply)
    assert done.status == 201
    own, asked = client.server._authority.database, threading.Event()
    message, write = Message("POST", "/new-order", BASE), own.write

    def ask(**options: Any) -> Any:
        asked.set()
        return write(**options)

    for database in (elsewhere, own):
        with ThreadPoolExecutor(1) as pool:
            with database.write():
                begun = begin_order(client)
                assert isinstance(begun, Later)
                assert begun.work is None
                asked.clear()
                monkeypatch.setattr(own, "write", ask)
                later = pool.submit(client.server.end, message, begun)
                assert asked.wait(30)
            assert later.result(30).status == 201
            monkeypatch.undo()


def test_who_waits_gets_the_turn_and_who_does_not_is_told(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "ca.db"))
    waited = threading.Event()

    def wait() -> None:
        with database.write():
            waited.set()

    with ThreadPoolExecutor(1) as pool:
        with database.write():
            done = pool.submit(wait)
            with pytest.raises(Busy), database.write(wait=False):
                pass
            assert not waited.is_set()
        done.result(30)
    assert waited.is_set()
    database.close()


def test_a_file_that_is_none_any_more(tmp_path: Path) -> None:
    """Nothing is made up: who asks for the version, or writes, is told; also who does not wait."""
    database = Database(sqlite_url(tmp_path / "ca.db"))
    writer: Any = database._writer
    assert database.read_version() is not None
    writer._driver.close()
    writer._seen = None
    with pytest.raises(StoreError):
        database.read_version()
    with pytest.raises(StoreError), database.write(wait=False):
        pass
    with database.write(wait=False):
        pass
    database.close()


def test_what_another_part_wrote_just_before_the_server_writes_is_seen_too(
    client: Client, authority: Authority
) -> None:
    """Nobody has looked in between."""
    memory, account_id = Memory(authority.database), client.kid.rpartition("/")[2]
    with memory.look() as rows:
        assert rows.find_account(account_id) is not None
    with authority.database.write() as connection:
        connection.execute(_DEACTIVATE)
    with authority.database.write(told=memory.tell([])) as connection:
        connection.execute(sa.update(table).values(id=table.c.id))
    with memory.look() as rows:
        found = rows.find_account(account_id)
    assert found is not None
    assert found.status == "deactivated"
