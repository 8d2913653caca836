# SPDX-License-Identifier: Apache-2.0
"""Revoked, held, released: one row, its history, its listeners, in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from ottr.ca import certificates, issuers
from ottr.ca.authority import Authority
from ottr.ca.keyed import issue_with_key
from ottr.ca.model import Certificate, Reason, Role, Status, StatusChange
from ottr.ca.names import parse_names
from ottr.ca.opening import open_authority
from ottr.ca.renewal import find_due
from ottr.ca.schema import event
from ottr.errors import StatusConflict, UnknownCertificate
from tests.ca.conftest import PASSPHRASE, MovableClock
from tests.ca.requests import SERVER, build_name, build_request


@pytest.fixture
def heard() -> list[StatusChange]:
    return []


@pytest.fixture
def authority(folder: Path, clock: MovableClock, heard: list[StatusChange]) -> Iterator[Authority]:
    """With a listener."""
    listeners = (lambda connection, change: heard.append(change),)
    with open_authority(folder, PASSPHRASE, clock=clock, listeners=listeners) as opened:
        yield opened


@pytest.fixture
def row(authority: Authority) -> Certificate:
    return authority.issue(build_request("www.example.test"), SERVER)


def again(authority: Authority, row: Certificate) -> Certificate:
    found = authority.find(row.issuer_id, row.serial)
    assert found is not None
    return found


def listed(authority: Authority, row: Certificate) -> dict[str, Reason]:
    with authority.database.read() as connection:
        found = certificates.list_revoked(connection, row.issuer_id, authority.clock())
        return {one.serial: one.reason for one in found}


FINAL = [reason for reason in Reason if reason not in (Reason.CERTIFICATE_HOLD, Reason.REMOVE_FROM_CRL)]


@pytest.mark.parametrize("reason", FINAL, ids=lambda reason: reason.value)
def test_OT_50_every_reason_is_kept(authority: Authority, row: Certificate, reason: Reason) -> None:
    authority.revoke(row.issuer_id, row.serial, reason, "operator")
    found = again(authority, row)
    assert (found.status, found.reason, found.revoked_at) == (Status.REVOKED, reason, authority.clock())
    assert listed(authority, row) == {row.serial: reason}


def test_OT_50_hold_and_release(authority: Authority, row: Certificate) -> None:
    authority.hold(row.issuer_id, row.serial, "operator")
    assert again(authority, row).status is Status.HELD
    assert listed(authority, row) == {row.serial: Reason.CERTIFICATE_HOLD}
    authority.release(row.issuer_id, row.serial, "operator")
    found = again(authority, row)
    assert (found.status, found.reason, found.revoked_at) == (Status.VALID, None, None)
    assert listed(authority, row) == {}
    with authority.database.read() as connection:
        changes = certificates.list_changes(connection, row.issuer_id)
    assert [change.reason for change in changes] == [Reason.CERTIFICATE_HOLD, Reason.REMOVE_FROM_CRL]


def test_JL_04_CK_21_the_time_of_a_revocation_never_moves(
    authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    moment = clock.now
    authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    clock.move(hours=3)
    assert again(authority, row).revoked_at == moment
    with pytest.raises(StatusConflict, match="revoked already"):
        authority.revoke(row.issuer_id, row.serial, Reason.CESSATION_OF_OPERATION, "operator")
    assert again(authority, row).reason is Reason.SUPERSEDED
    authority.revoke(row.issuer_id, row.serial, Reason.KEY_COMPROMISE, "operator")  # which one may learn later
    assert (again(authority, row).reason, again(authority, row).revoked_at) == (Reason.KEY_COMPROMISE, moment)
    for reason in (Reason.KEY_COMPROMISE, Reason.CERTIFICATE_HOLD, Reason.SUPERSEDED):
        with pytest.raises(StatusConflict, match="revoked already"):
            authority.revoke(row.issuer_id, row.serial, reason, "operator")


def test_a_hold_that_becomes_a_revocation_keeps_its_time(
    authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    moment = clock.now
    authority.hold(row.issuer_id, row.serial, "operator")
    clock.move(hours=3)
    authority.revoke(row.issuer_id, row.serial, Reason.KEY_COMPROMISE, "operator")
    found = again(authority, row)
    assert (found.status, found.reason, found.revoked_at) == (Status.REVOKED, Reason.KEY_COMPROMISE, moment)


def test_what_does_not_fit_the_status_is_refused(authority: Authority, row: Certificate) -> None:
    with pytest.raises(StatusConflict, match="not on hold"):
        authority.release(row.issuer_id, row.serial, "operator")
    authority.hold(row.issuer_id, row.serial, "operator")
    with pytest.raises(StatusConflict, match="on hold already"):
        authority.hold(row.issuer_id, row.serial, "operator")
    authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    with pytest.raises(StatusConflict, match="revoked already"):
        authority.release(row.issuer_id, row.serial, "operator")
    with pytest.raises(UnknownCertificate, match="serial abc"):
        authority.revoke("intermediate-1", "abc", Reason.SUPERSEDED, "operator")


def test_a_status_that_somebody_else_changed_meanwhile_is_noticed(authority: Authority, row: Certificate) -> None:
    authority.hold(row.issuer_id, row.serial, "operator")
    with pytest.raises(StatusConflict, match="somebody else"), authority.database.write() as connection:
        authority.revoke_row(connection, row, Reason.SUPERSEDED, "operator")


def test_two_who_revoke_at_once_revoke_once(authority: Authority, row: Certificate) -> None:
    outcomes, start = list[str](), threading.Barrier(2)

    def revoke() -> None:
        start.wait(10)
        try:
            authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
            outcomes.append("done")
        except StatusConflict:
            outcomes.append("refused")

    threads = [threading.Thread(target=revoke) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == ["done", "refused"]
    with authority.database.read() as connection:
        assert len(certificates.list_changes(connection, row.issuer_id)) == 1


def test_CK_15_listeners_hear_in_the_transaction(
    authority: Authority, row: Certificate, heard: list[StatusChange]
) -> None:
    before = {one.id: one.status_version for one in authority.issuers()}
    authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "acme:1")
    assert [(change.issuer_id, change.serial, change.reason) for change in heard] == [
        (row.issuer_id, row.serial, Reason.SUPERSEDED)
    ]
    after = {one.id: one.status_version for one in authority.issuers()}
    assert after == {**before, row.issuer_id: before[row.issuer_id] + 1}
    with authority.database.read() as connection:
        last = connection.execute(event.select().order_by(event.c.id.desc()).limit(1)).one()
    assert (last.kind, last.actor, last.detail) == ("revoke", "acme:1", {"reason": "superseded"})


def test_a_listener_that_fails_undoes_the_revocation(folder: Path, clock: MovableClock) -> None:
    def fail(connection: sa.Connection, change: StatusChange) -> None:
        raise ZeroDivisionError

    with open_authority(folder, PASSPHRASE, clock=clock, listeners=(fail,)) as authority:
        row = authority.issue(build_request("www.example.test"), SERVER)
        with pytest.raises(ZeroDivisionError):
            authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
        assert again(authority, row).status is Status.VALID
        assert listed(authority, row) == {}


@pytest.mark.parametrize("reason", [Reason.CA_COMPROMISE, Reason.KEY_COMPROMISE], ids=lambda reason: reason.value)
def test_CK_18_a_compromised_intermediate_takes_all_it_has_signed_with_it(
    authority: Authority, clock: MovableClock, heard: list[StatusChange], reason: Reason
) -> None:
    valid, held, revoked, expired = (authority.issue(build_request("www.example.test"), SERVER) for _ in range(4))
    with authority.database.write() as connection:
        table = certificates.certificate
        past = clock.now - timedelta(days=1)
        connection.execute(table.update().where(table.c.id == expired.id).values(not_after=past))
    moment = clock.now
    authority.hold(held.issuer_id, held.serial, "operator")
    authority.revoke(revoked.issuer_id, revoked.serial, Reason.SUPERSEDED, "operator")
    signer = authority.load_ocsp_signer("intermediate-1")
    clock.move(hours=1)
    heard.clear()
    intermediate = authority.active_issuer()
    authority.revoke(intermediate.parent_id, intermediate.serial, reason, "operator")

    def state(row: Certificate) -> tuple[object, ...]:
        found = again(authority, row)
        return (found.status, found.reason, found.revoked_at)

    assert state(valid) == (Status.REVOKED, Reason.CA_COMPROMISE, clock.now)
    assert state(held) == (Status.REVOKED, Reason.CA_COMPROMISE, moment)
    assert state(revoked) == (Status.REVOKED, Reason.SUPERSEDED, moment)
    assert state(expired) == (Status.VALID, None, None)
    assert [(change.issuer_id, change.serial) for change in heard] == [
        ("root-1", intermediate.serial),
        ("intermediate-1", ""),
    ]
    with authority.database.read() as connection:
        changes = certificates.list_changes(connection, "intermediate-1", after=2)
        assert {change.serial for change in changes} == {valid.serial, held.serial}
        assert certificates.find_last_change(connection, "intermediate-1") == changes[-1].id
    # Somebody has to say so.
    assert authority.load_ocsp_signer("intermediate-1").certificate == signer.certificate


def test_CK_18_a_compromised_root_takes_everything(authority: Authority, row: Certificate) -> None:
    root = authority.active_issuer(Role.ROOT)
    authority.revoke(root.id, root.serial, Reason.CA_COMPROMISE, "operator")
    assert again(authority, row).reason is Reason.CA_COMPROMISE
    assert all(one.status is Status.REVOKED for one in authority.issuers())
    assert authority.trust_bundle() == ()


def test_an_issuer_that_only_stops_leaves_its_certificates_valid(authority: Authority, row: Certificate) -> None:
    intermediate = authority.active_issuer()
    authority.revoke(intermediate.parent_id, intermediate.serial, Reason.CESSATION_OF_OPERATION, "operator")
    assert again(authority, row).status is Status.VALID
    with pytest.raises(UnknownCertificate):
        authority.active_issuer()


def test_OT_51_what_is_revoked_is_not_renewed(authority: Authority, clock: MovableClock) -> None:
    terms = replace(SERVER, auto_renew=True)
    kept = issue_with_key(authority, parse_names(["a.test"]), build_name(""), terms)
    clock.move(days=80)
    assert [found.id for found in find_due(authority)] == [kept.id]
    authority.revoke(kept.issuer_id, kept.serial, Reason.SUPERSEDED, "operator")
    assert find_due(authority) == ()


def test_JL_05_CRL_numbers_only_grow(authority: Authority) -> None:
    with authority.database.write() as connection:
        numbers = [issuers.next_crl_number(connection, "intermediate-1") for _ in range(3)]
        assert numbers == [1, 2, 3]
        assert issuers.next_crl_number(connection, "root-1") == 1
    with suppress(ZeroDivisionError), authority.database.write() as connection:
        issuers.next_crl_number(connection, "intermediate-1")
        raise ZeroDivisionError
    with authority.database.write() as connection:
        assert issuers.next_crl_number(connection, "intermediate-1") == 4
        assert issuers.get_issuer(connection, "intermediate-1").crl_number == 4


def test_a_CRL_lists_what_had_not_expired_at_the_one_before(
    authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    with authority.database.read() as connection:
        for since, count in ((row.not_after, 1), (row.not_after + timedelta(seconds=1), 0)):
            assert len(list(certificates.list_revoked(connection, row.issuer_id, since))) == count


def test_the_list_for_a_CRL_is_answered_by_an_index_alone(authority: Authority) -> None:
    query = (
        "EXPLAIN QUERY PLAN SELECT serial, revoked_at, reason, not_after FROM certificate "
        "WHERE issuer_id = 'x' AND not_after >= 1 AND revoked_at IS NOT NULL"
    )
    with authority.database.read() as connection:
        plan = " ".join(str(line) for line in connection.execute(sa.text(query)))
    assert "COVERING INDEX certificate_revoked" in plan
