# SPDX-License-Identifier: Apache-2.0
"""Answers in memory: signed once, dropped in every process when a status changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ottr.ca.authority import Authority, OcspSigner
from ottr.ca.model import Certificate, Reason
from ottr.ca.opening import open_authority
from ottr.ca.status import watch as watching
from ottr.ca.status.answer import Validity
from ottr.ca.status.cache import Cache, Entry
from ottr.ca.status.service import Status
from ottr.ca.status.watch import Heard, Watch
from ottr.errors import StoreError
from tests.ca.conftest import PASSPHRASE, MovableClock
from tests.ca.requests import SERVER
from tests.ca.requests import build_request as request_certificate
from tests.ca.status.asking import NONCE, build_request, parse_answer, read_status
from tests.ca.status.conftest import OpenStatus


@pytest.fixture
def workers(folder: Path, clock: MovableClock) -> Iterator[list[Status]]:
    """Two more that serve the same CA, as other processes would: with connections and caches of their own."""
    with ExitStack() as stack:
        others = [stack.enter_context(open_authority(folder, PASSPHRASE, clock=clock)) for _ in range(2)]
        yield [stack.enter_context(Status(one)) for one in others]


def ask(status: Status, row: Certificate) -> bytes:
    return status.responder.answer(build_request(status.authority, row)).der


def test_CK_04_CK_14_without_a_nonce_an_answer_is_signed_once(
    status: Status, row: Certificate, clock: MovableClock
) -> None:
    first = ask(status, row)
    clock.move(hours=11)
    assert ask(status, row) == first
    assert len(status.cache) == 1
    clock.move(hours=14)
    assert ask(status, row) != first


def test_CK_14_a_nonce_passes_the_cache_by(status: Status, row: Certificate) -> None:
    ask(status, row)
    request = build_request(status.authority, row, nonce=NONCE)
    first, second = (status.responder.answer(request) for _ in range(2))
    assert first.der != second.der  # signatures of P-256 are never the same twice
    assert first.validity is None
    assert len(status.cache) == 1


def test_CK_15_OT_54_a_revocation_is_in_the_next_answer_of_every_worker(
    status: Status, authority: Authority, row: Certificate, workers: list[Status], clock: MovableClock
) -> None:
    everybody = [status, *workers]
    request = build_request(authority, row)
    for reason, expected in (
        (Reason.CERTIFICATE_HOLD, "revoked"),
        (Reason.REMOVE_FROM_CRL, "good"),
        (Reason.SUPERSEDED, "revoked"),
    ):
        for one in everybody:  # everybody has the old answer
            ask(one, row)
            assert one.responder.recall(request) is not None
        clock.move(minutes=1)
        workers[0].authority.revoke(row.issuer_id, row.serial, reason, "operator")
        for one in everybody:
            assert one.responder.recall(request) is None
            assert read_status(ask(one, row)) == expected


def test_a_revocation_that_is_undone_drops_nothing(status: Status, authority: Authority, row: Certificate) -> None:
    first = ask(status, row)
    with suppress(ZeroDivisionError), authority.database.write() as connection:
        authority.revoke_row(connection, row, Reason.SUPERSEDED, "operator")
        raise ZeroDivisionError
    assert ask(status, row) == first


def test_only_what_has_changed_is_dropped(status: Status, authority: Authority, row: Certificate) -> None:
    other = authority.issue(request_certificate("b.example.test"), SERVER)
    kept, _ = ask(status, row), ask(status, other)
    authority.revoke(other.issuer_id, other.serial, Reason.SUPERSEDED, "operator")
    assert ask(status, row) == kept
    assert read_status(ask(status, other)) == "revoked"


def test_CK_18_a_compromised_issuer_empties_the_cache_of_every_worker(
    status: Status, authority: Authority, row: Certificate, workers: list[Status], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does when so many changes come at once that they are not told one by one."""
    for most in (1000, 0):
        monkeypatch.setattr(watching, "_MOST_NAMED", most)
        monkeypatch.setattr(watching, "_CHANGES", watching._CHANGES.limit(most + 1))
        for one in (status, *workers):
            ask(one, row)
        assert len(status.cache) == 1
        authority.hold(row.issuer_id, row.serial, "operator")
        for one in (status, *workers):
            assert read_status(ask(one, row)) == "revoked"
        authority.release(row.issuer_id, row.serial, "operator")
        assert read_status(ask(status, row)) == "good"
    intermediate = authority.active_issuer()
    authority.revoke(intermediate.parent_id, intermediate.serial, Reason.CA_COMPROMISE, "operator")
    for one in (status, *workers):
        assert read_status(ask(one, row)) == "revoked"


def test_CK_17_a_delegate_that_is_revoked_signs_no_more_and_what_it_signed_is_dropped(
    status: Status, authority: Authority, row: Certificate, workers: list[Status]
) -> None:
    (first,) = parse_answer(ask(status, row)).certificates
    assert parse_answer(ask(workers[0], row)).certificates == [first]
    authority.revoke(row.issuer_id, format(first.serial_number, "x"), Reason.KEY_COMPROMISE, "operator")
    for one in (status, *workers):
        (second,) = parse_answer(ask(one, row)).certificates
        assert second != first


def test_the_delegate_is_found_among_millions_by_an_index(authority: Authority, row: Certificate) -> None:
    authority.load_ocsp_signer(row.issuer_id)
    plans: list[str] = []
    with authority.database.read() as connection:
        engine = connection.engine

        def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: object) -> None:
            if "'ocsp'" in statement and not statement.startswith("EXPLAIN"):
                plan = connection.connection.driver_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plans.extend(str(line) for line in plan)

        sa.event.listen(engine, "before_cursor_execute", explain)
    authority.load_ocsp_signer(row.issuer_id)
    sa.event.remove(engine, "before_cursor_execute", explain)
    assert plans
    assert all("USING INDEX certificate_ocsp" in line for line in plans)


def test_a_delegate_that_is_revoked_while_it_is_loaded_is_not_kept(
    status: Status, authority: Authority, row: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = authority.load_ocsp_signer

    def load_and_revoke(issuer_id: str) -> OcspSigner:
        signer = load(issuer_id)
        serial = format(signer.certificate.serial_number, "x")
        authority.revoke(row.issuer_id, serial, Reason.KEY_COMPROMISE, "operator")
        status.watch.look()  # as other requests do
        return signer

    with monkeypatch.context() as patch:
        patch.setattr(authority, "load_ocsp_signer", load_and_revoke)
        (first,) = parse_answer(ask(status, row)).certificates
    (second,) = parse_answer(ask(status, row)).certificates
    assert second != first


def test_an_answer_that_a_revocation_overtakes_is_not_kept(
    status: Status, authority: Authority, row: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status was read before the revocation, and it is signed after it."""
    request, load = build_request(authority, row), authority.load_ocsp_signer

    def revoke_and_load(issuer_id: str) -> object:
        authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
        status.watch.look()  # as other requests do
        return load(issuer_id)

    with monkeypatch.context() as patch:
        patch.setattr(authority, "load_ocsp_signer", revoke_and_load)
        assert read_status(status.responder.answer(request).der) == "good"
    assert len(status.cache) == 0
    assert read_status(status.responder.answer(request).der) == "revoked"


def test_what_was_asked_for_is_signed_anew_at_half_its_life(
    status: Status, authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    other = authority.issue(request_certificate("b.example.test"), SERVER)
    first, _ = ask(status, row), ask(status, other)
    ask(status, row)  # from the cache
    clock.move(hours=11)
    status.tend()
    assert ask(status, row) == first
    clock.move(hours=2)
    status.tend()
    assert len(status.cache) == 1
    entry = status.responder.recall(build_request(authority, row))
    assert entry is not None
    assert entry.validity.produced_at == clock.now


def test_a_full_cache_forgets_the_oldest(open_status: OpenStatus, authority: Authority, row: Certificate) -> None:
    status = open_status(ocsp={"cached": 2})
    rows = [row, *(authority.issue(request_certificate(f"{name}.example.test"), SERVER) for name in "ab")]
    for one in rows:
        ask(status, one)
    found = [status.responder.recall(build_request(authority, one)) is not None for one in rows]
    assert found == [False, True, True]


def test_a_cache_of_no_size_keeps_nothing(open_status: OpenStatus, row: Certificate) -> None:
    status = open_status(ocsp={"cached": 0})
    ask(status, row)
    assert len(status.cache) == 0


def test_an_entry_is_dropped_under_all_its_hashes(clock: MovableClock) -> None:
    cache, validity = Cache(10), Validity(clock.now, clock.now, clock.now)
    for key in (b"a", b"b"):
        cache.store(key, Entry(b"", validity, "i", "1", b"", clock.now), 0)
    cache.drop(Heard("i", frozenset({"2"})))
    assert len(cache) == 2
    cache.drop(Heard("i", frozenset({"1"})))
    assert len(cache) == 0


def test_the_watch_tells_what_others_have_committed(authority: Authority, row: Certificate) -> None:
    heard: list[Heard] = []
    watch = Watch(authority.database, heard.append)
    heard.clear()
    authority.issue(request_certificate("b.example.test"), SERVER)
    watch.look()
    assert heard == []
    authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    watch.look()
    watch.look()
    assert heard == [Heard(row.issuer_id, frozenset({row.serial}))]
    watch.close()


def test_a_database_without_a_counter_is_asked_each_time(
    authority: Authority, row: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority.database, "open_commit_counter", lambda: None)
    heard: list[Heard] = []
    watch = Watch(authority.database, heard.append)
    assert not watch.is_instant
    heard.clear()
    authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    watch.look()
    assert heard == [Heard(row.issuer_id, frozenset({row.serial}))]
    watch.close()


def test_ids_of_changes_are_given_out_under_the_lock_of_the_issuer(authority: Authority, row: Certificate) -> None:
    """Else a later id could be seen before an earlier one, and the earlier one never."""
    statements: list[str] = []
    with authority.database.write() as connection:
        sa.event.listen(connection, "before_cursor_execute", lambda *args: statements.append(args[2]))
        authority.revoke_row(connection, row, Reason.SUPERSEDED, "operator")
    locked = next(place for place, one in enumerate(statements) if one.startswith("UPDATE issuer"))
    inserted = next(place for place, one in enumerate(statements) if one.startswith("INSERT INTO status_change"))
    assert locked < inserted


def test_what_is_due_is_done_in_the_background(
    status: Status, authority: Authority, row: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = threading.Event()
    monkeypatch.setattr("ottr.ca.status.service._LOOK_S", 0.01)
    tend = status.tend

    def tell() -> None:
        tend()
        made.set()

    monkeypatch.setattr(status, "tend", tell)
    status.keep()
    assert made.wait(20)
    before = status.crls.get(row.issuer_id).number
    authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    for _ in range(2):  # one round may have begun before
        made.clear()
        assert made.wait(20)
    with authority.database.read() as connection:
        assert (
            connection.execute(sa.text("SELECT max(number) FROM crl WHERE issuer_id = 'intermediate-1'")).scalar()
            == before + 1
        )


def test_trouble_in_the_background_is_said_once_and_tried_again(
    status: Status, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rounds, done = iter([StoreError("no room"), StoreError("no room"), None, StoreError("no room")]), threading.Event()
    monkeypatch.setattr("ottr.ca.status.service._LOOK_S", 0.01)

    def fail() -> None:
        found = next(rounds, done)
        if found is done:
            done.set()
        elif found is not None:
            raise found

    monkeypatch.setattr(status, "tend", fail)
    status.keep()
    assert done.wait(20)
    status.close()
    assert [record.getMessage() for record in caplog.records] == [
        "CRLs and OCSP answers cannot be made now: no room"
    ] * 2


def test_answers_are_not_used_beyond_their_end(
    status: Status, authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    request = build_request(authority, row)
    ask(status, row)
    clock.move(days=1)
    assert status.responder.recall(request) is None
    clock.now -= timedelta(seconds=1)
    assert status.responder.recall(request) is not None
