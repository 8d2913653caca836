# SPDX-License-Identifier: Apache-2.0
"""A new generation beside the old; who renews first, and into what."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from ottr.ca import issuers
from ottr.ca.authority import Authority, parse_row
from ottr.ca.keyed import issue_with_key, take_key
from ottr.ca.model import Certificate, KeyAlgorithm, Phase, Reason, Role, Status
from ottr.ca.names import parse_names
from ottr.ca.opening import open_authority
from ottr.ca.renewal import find_due, is_due, renew_certificate, renew_due, renew_issuers
from ottr.ca.rollover import activate_rollover, prepare_rollover, retire_old, start_rollover
from ottr.ca.schema import certificate, event, held_key
from ottr.errors import RequestRefused, StoreError, UnknownCertificate
from tests.ca.conftest import PASSPHRASE, MovableClock, run_openssl, write_pem
from tests.ca.requests import CLIENT, SERVER, build_name, build_request

KEPT = replace(SERVER, auto_renew=True)


def keep(authority: Authority, *names: str, exposed: bool = False) -> Certificate:
    return issue_with_key(authority, parse_names(names), build_name(""), KEPT, exposed=exposed)


def phases(authority: Authority) -> dict[str, str]:
    return {one.id: one.phase.value for one in authority.issuers()}


def verify(
    tmp_path: Path, leaf: x509.Certificate, chain: tuple[x509.Certificate, ...], *roots: x509.Certificate
) -> bool:
    try:
        said = run_openssl(
            "verify",
            "-x509_strict",
            "-CAfile",
            write_pem(tmp_path / "roots.pem", *roots),
            "-untrusted",
            write_pem(tmp_path / "chain.pem", *chain),
            write_pem(tmp_path / "leaf.pem", leaf),
        )
    except AssertionError:
        return False
    return "OK" in said


def test_the_phases_of_a_rollover(authority: Authority) -> None:
    old = authority.issue(build_request("www.example.test"), SERVER)
    prepare_rollover(authority)
    assert phases(authority) == {
        "root-2": "prepared",
        "intermediate-2": "prepared",
        "root-1": "active",
        "intermediate-1": "active",
    }
    assert len(authority.trust_bundle()) == 2
    assert authority.active_issuer().id == "intermediate-1"
    assert activate_rollover(authority) == ("root-1", "intermediate-1")
    assert authority.active_issuer().id == "intermediate-2"
    assert authority.active_issuer(Role.ROOT).id == "root-2"
    assert len(authority.trust_bundle()) == 2
    assert retire_old(authority) == ("root-1", "intermediate-1")
    assert authority.trust_bundle() == (authority.active_issuer(Role.ROOT).certificate,)
    found = authority.find(old.issuer_id, old.serial)
    assert found is not None
    assert found.status is Status.VALID


def test_steps_out_of_order_are_refused(authority: Authority) -> None:
    with pytest.raises(RequestRefused, match="no generation is prepared"):
        activate_rollover(authority)
    prepare_rollover(authority)
    with pytest.raises(RequestRefused, match="prepared already"):
        prepare_rollover(authority)
    assert retire_old(authority) == ()


def test_IO_14_old_and_new_verify_during_the_overlap_and_the_old_no_longer_after(
    authority: Authority, tmp_path: Path
) -> None:
    old_root = authority.active_issuer(Role.ROOT).certificate
    old_leaf = parse_row(authority.issue(build_request("www.example.test"), SERVER))
    start_rollover(authority)
    new_root = authority.active_issuer(Role.ROOT).certificate
    new_leaf = parse_row(authority.issue(build_request("www.example.test"), SERVER))
    old_chain, new_chain = (authority.chains(f"intermediate-{number}")[0] for number in (1, 2))
    both = authority.trust_bundle()
    assert verify(tmp_path, old_leaf, old_chain, *both)
    assert verify(tmp_path, new_leaf, new_chain, *both)
    # Who has only the old root follows the cross-signed certificate, who has only the new one does not need it.
    assert verify(tmp_path, new_leaf, new_chain, old_root)
    assert verify(tmp_path, new_leaf, new_chain, new_root)
    assert not verify(tmp_path, old_leaf, old_chain, new_root)
    usual, alternate = authority.chains("intermediate-2")
    assert usual[:-1] == alternate
    assert not verify(tmp_path, new_leaf, alternate, old_root)
    retire_old(authority)
    assert authority.chains("intermediate-2") == (alternate,)


def test_IO_03_the_newest_valid_issuer_signs(authority: Authority, clock: MovableClock) -> None:
    start_rollover(authority)
    newest = authority.active_issuer()
    assert newest.id == "intermediate-2"
    authority.revoke(newest.parent_id, newest.serial, Reason.CESSATION_OF_OPERATION, "operator")
    assert authority.issue(build_request("www.example.test"), SERVER).issuer_id == "intermediate-1"


def test_IO_03_an_expired_newest_issuer_is_not_chosen(authority: Authority, clock: MovableClock) -> None:
    start_rollover(authority)
    newest = authority.active_issuer()
    with authority.database.write() as connection:
        past = clock.now - timedelta(seconds=1)
        connection.execute(certificate.update().where(certificate.c.serial == newest.serial).values(not_after=past))
    assert authority.active_issuer().id == "intermediate-1"


def test_an_issuer_below_a_revoked_root_does_not_sign(authority: Authority) -> None:
    start_rollover(authority)
    root = authority.active_issuer(Role.ROOT)
    authority.revoke(root.id, root.serial, Reason.CESSATION_OF_OPERATION, "operator")
    assert authority.active_issuer().id == "intermediate-1"


def test_a_revoked_root_vouches_for_nobody(authority: Authority) -> None:
    root = authority.active_issuer(Role.ROOT)
    authority.revoke(root.id, root.serial, Reason.CA_COMPROMISE, "operator")
    start_rollover(authority)
    assert len(authority.chains("intermediate-2")) == 1
    assert authority.trust_bundle() == (authority.active_issuer(Role.ROOT).certificate,)


def test_a_rollover_to_another_kind_of_key(authority: Authority) -> None:
    root, intermediate = start_rollover(authority, KeyAlgorithm.EC384)
    for one in (root, intermediate):
        assert authority.keyring.load(one.key_id).algorithm is KeyAlgorithm.EC384


def test_OT_14_unknown_issuers(authority: Authority) -> None:
    with pytest.raises(UnknownCertificate, match="no issuer 'root-9'"):
        authority.load_signer("root-9")
    with authority.database.write() as connection:
        issuers.set_phase(connection, "intermediate-1", Phase.RETIRED)
    with pytest.raises(UnknownCertificate, match="no intermediate"):
        authority.active_issuer()


@pytest.mark.parametrize(
    ("passed", "due"), [(0.0, False), (0.6, False), (0.7, True), (0.81, True), (1.0, True), (1.5, True)]
)
def test_OT_40_due_after_a_share_of_the_lifetime(authority: Authority, passed: float, due: bool) -> None:
    start = authority.clock()
    end = start + timedelta(days=90)
    assert is_due(start, end, 2 / 3, start + timedelta(days=90 * passed)) is due


def test_OT_40_only_what_is_marked_valid_and_not_replaced(authority: Authority, clock: MovableClock) -> None:
    kept, held = keep(authority, "a.test"), keep(authority, "b.test")
    authority.issue(build_request("c.test"), SERVER)
    authority.hold(held.issuer_id, held.serial, "operator")
    assert find_due(authority) == ()
    clock.move(days=61)
    assert [row.id for row in find_due(authority)] == [kept.id]
    renew_due(authority)
    assert find_due(authority) == ()


def test_OT_41_issuers_go_first_so_that_leaves_get_the_new_one(authority: Authority, clock: MovableClock) -> None:
    clock.move(days=5 * 365 * 0.6)
    kept = keep(authority, "a.test")
    clock.move(days=5 * 365 * 0.1)
    run = renew_due(authority)
    assert run.issuers == ("intermediate-2",)
    assert phases(authority)["intermediate-1"] == "retiring"
    assert authority.active_issuer().parent_id == "root-1"
    assert [(done.old.id, done.new.issuer_id) for done in run.renewed] == [(kept.id, "intermediate-2")]
    assert renew_issuers(authority) == ()


@pytest.mark.parametrize("made", [("intermediate-2",), ("root-2", "intermediate-3")])
def test_of_two_who_renew_issuers_at_once_one_does(
    authority: Authority,
    folder: Path,
    clock: MovableClock,
    monkeypatch: pytest.MonkeyPatch,
    made: tuple[str, ...],
) -> None:
    """Both have seen that they are due; the other one is the first to write."""
    write, others = authority.database.write, list[tuple[str, ...]]()

    def write_second() -> AbstractContextManager[sa.Connection]:
        with open_authority(folder, PASSPHRASE, clock=clock) as other:
            others.append(renew_issuers(other))
        return write()

    clock.move(days=365 * 3.5)
    if "root-2" in made:
        renew_issuers(authority)
        clock.move(days=365 * 3.5)
    before = len(authority.issuers())
    with monkeypatch.context() as patch:
        patch.setattr(authority.database, "write", write_second)
        assert renew_issuers(authority) == ()
    assert others == [made]
    assert len(authority.issuers()) == before + len(made)


def test_OT_41_a_root_that_is_due_brings_a_whole_new_generation(authority: Authority, clock: MovableClock) -> None:
    clock.move(days=5 * 365 * 0.9)
    assert renew_issuers(authority) == ("intermediate-2",)
    clock.move(days=5 * 365 * 0.5)
    assert renew_issuers(authority) == ("root-2", "intermediate-3")
    assert authority.active_issuer().parent_id == "root-2"
    assert phases(authority)["root-1"] == "retiring"


def test_OT_45_IO_10_new_serial_new_key_same_names_later_end(authority: Authority, clock: MovableClock) -> None:
    names = parse_names(["a.test", "*.b.test", "192.0.2.1"])
    old = issue_with_key(authority, names, build_name("a.test"), KEPT, algorithm=KeyAlgorithm.EC384, exposed=True)
    clock.move(days=61)
    (done,) = renew_due(authority).renewed
    before, after = parse_row(old), parse_row(done.new)
    assert after.serial_number != before.serial_number
    assert after.public_key() != before.public_key()
    assert type(after.public_key()) is type(before.public_key())
    assert after.public_key().curve.name == "secp384r1"  # type: ignore[union-attr]
    assert after.subject == before.subject
    assert after.not_valid_after_utc > before.not_valid_after_utc
    for kind in (x509.SubjectAlternativeName, x509.ExtendedKeyUsage, x509.AuthorityInformationAccess, x509.KeyUsage):
        old_value, new_value = (one.extensions.get_extension_for_class(kind).value for one in (before, after))
        assert old_value == new_value
    assert take_key(authority, done.new, "operator").public_key() == after.public_key()
    with authority.database.read() as connection:
        exposed = dict(connection.execute(held_key.select().with_only_columns(held_key.c.id, held_key.c.exposed)).all())
    assert exposed[done.new.key_id]


def test_OT_42_the_old_one_stays_valid_knows_its_successor_and_is_not_renewed_again(
    authority: Authority, clock: MovableClock
) -> None:
    old = keep(authority, "a.test")
    clock.move(days=61)
    (done,) = renew_due(authority).renewed
    found = authority.find(old.issuer_id, old.serial)
    assert found is not None
    assert (found.status, found.replaced_by, found.auto_renew) == (Status.VALID, done.new.id, False)
    assert done.new.auto_renew
    with pytest.raises(RequestRefused, match="replaced already"):
        renew_certificate(authority, found)
    with pytest.raises(RequestRefused, match="somebody else"):
        renew_certificate(authority, old)


def test_OT_44_one_can_be_renewed_by_hand_before_it_is_due(authority: Authority, clock: MovableClock) -> None:
    old = keep(authority, "a.test")
    clock.move(days=1)
    assert renew_certificate(authority, old).new.not_after > old.not_after


def test_OT_46_what_has_expired_is_renewed_and_said_to_have_been(authority: Authority, clock: MovableClock) -> None:
    keep(authority, "a.test")
    clock.move(days=91)
    (done,) = renew_due(authority).renewed
    assert done.was_expired


def test_what_cannot_be_renewed_stops_nobody_else(authority: Authority, clock: MovableClock) -> None:
    broken, fine = keep(authority, "a.test"), keep(authority, "b.test")
    with authority.database.write() as connection:
        change = certificate.update().where(certificate.c.id == broken.id)
        connection.execute(change.values(profile="gone"))
    clock.move(days=61)
    run = renew_due(authority)
    assert [(failed.old.id, "gone" in failed.problem) for failed in run.failed] == [(broken.id, True)]
    assert [done.old.id for done in run.renewed] == [fine.id]


def test_keys_the_CA_does_not_hold_are_not_renewed(authority: Authority) -> None:
    row = authority.issue(build_request("a.test"), SERVER)
    with pytest.raises(RequestRefused, match="does not hold the key"):
        renew_certificate(authority, row)
    with pytest.raises(RequestRefused, match="does not hold the key"):
        take_key(authority, row, "operator")


def test_a_renewal_that_gains_nothing_is_refused(authority: Authority, clock: MovableClock) -> None:
    clock.now = authority.active_issuer().not_after - timedelta(days=10)
    row = keep(authority, "a.test")
    clock.move(days=1)
    with pytest.raises(RequestRefused, match="end no later"):
        renew_certificate(authority, row)


@pytest.mark.parametrize("lifetime_s", [None, 20 * 86400.0])
def test_a_successor_lives_as_long_as_was_asked_for_and_not_for_all_its_profile_allows(
    authority: Authority, clock: MovableClock, lifetime_s: float | None
) -> None:
    short = replace(KEPT, lifetime_s=30 * 86400.0)
    row = issue_with_key(authority, parse_names(["a.test"]), build_name(""), short)
    new = renew_certificate(authority, row, lifetime_s).new
    assert new.not_after == clock() + timedelta(seconds=lifetime_s or 30 * 86400)


def test_what_an_ending_issuer_has_cut_short_gets_its_whole_life_from_the_next_one(
    authority: Authority, clock: MovableClock
) -> None:
    clock.now = authority.active_issuer().not_after - timedelta(days=10)
    row = keep(authority, "a.test")
    renew_issuers(authority)
    assert renew_certificate(authority, row).new.not_after == clock() + timedelta(days=90)


def test_OT_35_a_key_given_out_is_in_the_audit_trail(authority: Authority) -> None:
    row = keep(authority, "a.test")
    key = take_key(authority, row, "somebody")
    assert key.public_key() == parse_row(row).public_key()
    with authority.database.read() as connection:
        last = connection.execute(event.select().order_by(event.c.id.desc()).limit(1)).one()
    assert (last.kind, last.actor, last.serial) == ("export key", "somebody", row.serial)


def test_JL_02_CK_17_the_signer_of_OCSP_answers(authority: Authority, clock: MovableClock) -> None:
    found = authority.load_ocsp_signer("intermediate-1", common_name="ocsp.example.test")
    leaf = found.certificate
    assert leaf.issuer == authority.active_issuer().certificate.subject
    assert leaf.subject == build_name("ocsp.example.test")
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    purpose = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert purpose.critical
    assert [one.dotted_string for one in purpose.value] == ["1.3.6.1.5.5.7.3.9"]
    assert not leaf.extensions.get_extension_for_class(x509.OCSPNoCheck).critical  # RFC 6960 section 4.2.2.2.1
    assert leaf.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert leaf.not_valid_after_utc <= clock.now + timedelta(days=30)
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints)
    (access,) = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert access.access_method == AuthorityInformationAccessOID.CA_ISSUERS
    assert found.signer.public_key == leaf.public_key()


def test_the_signer_of_OCSP_answers_is_shared_and_made_anew_at_half_its_life(
    authority: Authority, clock: MovableClock
) -> None:
    first = authority.load_ocsp_signer("intermediate-1")
    assert authority.load_ocsp_signer("intermediate-1").certificate == first.certificate
    assert authority.load_ocsp_signer("root-1").certificate != first.certificate
    clock.now = first.renew_at
    second = authority.load_ocsp_signer("intermediate-1")
    assert second.certificate != first.certificate
    assert first.certificate.not_valid_after_utc > clock.now


def test_the_signer_another_process_made_first_is_taken(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    first = authority.load_ocsp_signer("intermediate-1")
    answers = iter([None, first])
    monkeypatch.setattr(Authority, "_find_ocsp_signer", lambda self, connection, issuer_id: next(answers))
    assert authority.load_ocsp_signer("intermediate-1") is first


def test_a_retired_issuer_still_answers(authority: Authority) -> None:
    start_rollover(authority)
    retire_old(authority)
    assert authority.load_ocsp_signer("intermediate-1").certificate
    assert authority.load_signer("intermediate-1").sign(b"crl")


def test_OT_14_serials_are_found_without_their_issuer(authority: Authority) -> None:
    row = authority.issue(build_request(common_name="alice"), CLIENT)
    assert authority.find_serial(row.serial) == row
    with pytest.raises(UnknownCertificate, match="serial 12"):
        authority.find_serial("12")
    with authority.database.write() as connection:
        values = {"issuer_id": "root-1", "serial": row.serial}
        copied = dict(connection.execute(certificate.select().where(certificate.c.id == row.id)).one()._mapping)
        connection.execute(certificate.insert(), {**copied, **values, "id": 9999})
    with pytest.raises(StoreError, match="2 issuers"):
        authority.find_serial(row.serial)
    assert authority.find_serial(row.serial, "root-1").issuer_id == "root-1"
