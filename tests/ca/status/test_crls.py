# SPDX-License-Identifier: Apache-2.0
"""CRLs, complete and delta: what is in them, when they are made, and what OpenSSL makes of them."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca import certificates
from ottr.ca.authority import Authority, parse_row
from ottr.ca.model import Certificate, KeyAlgorithm, Reason, Role
from ottr.ca.opening import open_authority
from ottr.ca.rollover import start_rollover
from ottr.ca.status.crl import CrlContent, Listed, build_crl
from ottr.ca.status.crls import Kind, StoredCrl
from ottr.ca.status.service import Status
from ottr.errors import UnknownCertificate
from tests.ca.conftest import PASSPHRASE, MovableClock, run_openssl, write_pem
from tests.ca.linting import lint_crl
from tests.ca.requests import SERVER, build_request
from tests.ca.status.conftest import OpenStatus

ISSUER = "intermediate-1"
DELTAS = {"deltas": True}


def revoke(authority: Authority, row: Certificate, reason: Reason = Reason.SUPERSEDED) -> None:
    authority.revoke(row.issuer_id, row.serial, reason, "operator")


def parse(stored: StoredCrl) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(stored.der)


def entries(stored: StoredCrl) -> dict[str, str]:
    """Reasons by serial; an entry that says none has an empty one."""
    return {
        format(one.serial_number, "x"): "".join(extension.value.reason.name for extension in one.extensions)
        for one in parse(stored)
    }


def test_IO_13_a_CRL_has_its_issuers_name_key_identifier_and_number(status: Status, authority: Authority) -> None:
    for issuer in authority.issuers():
        parsed = parse(status.crls.get(issuer.id))
        certificate = issuer.certificate
        assert parsed.issuer == certificate.subject
        assert parsed.is_signature_valid(certificate.public_key())  # type: ignore[arg-type]
        identifier = parsed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert identifier == bytes.fromhex(issuer.key_identifier)
        assert parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 1


def test_JL_05_a_CRL_is_good_for_a_while_and_made_anew_at_half_of_it(
    open_status: OpenStatus, clock: MovableClock
) -> None:
    status = open_status(crl={"lifetime": "30d"})
    first = status.crls.get(ISSUER)
    assert parse(first).next_update_utc == clock.now + timedelta(days=30)
    assert parse(first).last_update_utc == clock.now - timedelta(minutes=5)
    clock.move(days=14)
    assert status.crls.get(ISSUER) == first
    clock.move(days=2)
    second = status.crls.get(ISSUER)
    assert (second.number, second.made_at) == (2, clock.now)


def test_IO_13_the_date_of_an_entry_is_that_of_the_revocation(
    status: Status, authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    moment = clock.now
    revoke(authority, row)
    clock.move(days=20)
    (entry,) = parse(status.crls.get(ISSUER))
    assert entry.revocation_date_utc == moment


def test_OT_50_unspecified_is_said_by_saying_nothing(status: Status, authority: Authority, row: Certificate) -> None:
    revoke(authority, row, Reason.UNSPECIFIED)
    assert entries(status.crls.get(ISSUER)) == {row.serial: ""}


def test_a_revocation_makes_a_new_CRL(status: Status, authority: Authority, row: Certificate) -> None:
    first = status.crls.get(ISSUER)
    assert entries(first) == {}
    assert status.crls.get("root-1").number == 1
    revoke(authority, row)
    second = status.crls.get(ISSUER)
    assert (second.number, entries(second)) == (2, {row.serial: "superseded"})
    assert status.crls.get("root-1").number == 1


def test_CK_18_a_compromise_is_in_the_CRL_of_the_issuer_and_of_its_parent(
    status: Status, authority: Authority, row: Certificate
) -> None:
    intermediate = authority.active_issuer()
    authority.revoke("root-1", intermediate.serial, Reason.CA_COMPROMISE, "operator")
    assert entries(status.crls.get(ISSUER)) == {row.serial: "ca_compromise"}
    assert entries(status.crls.get("root-1")) == {intermediate.serial: "ca_compromise"}


def test_what_expires_is_on_one_more_CRL(
    open_status: OpenStatus, authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    status = open_status(crl={"lifetime": "30d"})
    revoke(authority, row)
    clock.move(days=89)
    assert entries(status.crls.renew(ISSUER)) == {row.serial: "superseded"}
    clock.move(days=2)
    assert entries(status.crls.renew(ISSUER)) == {row.serial: "superseded"}
    clock.move(seconds=1)
    assert entries(status.crls.renew(ISSUER)) == {}


def test_what_expires_is_on_one_more_CRL_also_of_a_process_that_made_none_before(
    status: Status, folder: Path, authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    revoke(authority, row)
    clock.now = row.not_after - timedelta(seconds=30)
    status.crls.renew(ISSUER)
    clock.move(hours=1)
    with open_authority(folder, PASSPHRASE, clock=clock) as other, Status(other) as fresh:
        assert entries(fresh.crls.renew(ISSUER)) == {row.serial: "superseded"}
        assert entries(fresh.crls.renew(ISSUER)) == {}


def test_numbers_never_go_back_whoever_makes_the_CRLs(
    status: Status, folder: Path, authority: Authority, clock: MovableClock
) -> None:
    with ExitStack() as stack:
        other = stack.enter_context(Status(stack.enter_context(open_authority(folder, PASSPHRASE, clock=clock))))
        numbers = [one.crls.renew(ISSUER).number for one in (status, other, status, other)]
        assert numbers == [1, 2, 3, 4]
        assert status.crls.get(ISSUER).number == 4
        assert other.crls.get(ISSUER).number == 4
    with authority.database.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM crl")).scalar_one() == 1


def test_a_CRL_that_another_process_overtakes_is_not_given_out(
    status: Status, folder: Path, authority: Authority, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        other = stack.enter_context(Status(stack.enter_context(open_authority(folder, PASSPHRASE, clock=clock))))
        load = authority.load_signer

        def overtake(issuer_id: str) -> object:
            other.crls.renew(ISSUER)
            return load(issuer_id)

        for call in (status.crls.get, status.crls.renew):
            monkeypatch.setattr(authority, "load_signer", overtake)
            found = call(ISSUER)
            monkeypatch.undo()
            assert found.number == other.crls.get(ISSUER).number
            assert found.number % 2 == 0
            clock.move(days=5)


def test_a_process_that_dies_while_it_signs_leaves_a_gap(
    status: Status, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    status.crls.get(ISSUER)
    with monkeypatch.context() as patch:
        patch.setattr(authority, "load_signer", None)
        with pytest.raises(TypeError):
            status.crls.renew(ISSUER)
    assert status.crls.get(ISSUER).number == 1
    assert status.crls.renew(ISSUER).number == 3


def test_issuers_that_have_no_CRL(status: Status, authority: Authority, clock: MovableClock) -> None:
    with pytest.raises(UnknownCertificate, match="'no-such-1' has no CRL"):
        status.crls.get("no-such-1")
    assert len(status.crls.list_issuers()) == 2
    clock.move(days=6 * 365)
    with pytest.raises(UnknownCertificate, match="its life is over"):
        status.crls.get(ISSUER)
    assert [one.id for one in status.crls.list_issuers()] == ["root-1"]


def test_retired_issuers_go_on(status: Status, authority: Authority, row: Certificate) -> None:
    start_rollover(authority, KeyAlgorithm.EC384)
    revoke(authority, row)
    assert entries(status.crls.get(ISSUER)) == {row.serial: "superseded"}
    for issuer in authority.issuers():
        parsed = parse(status.crls.get(issuer.id))
        assert parsed.is_signature_valid(issuer.certificate.public_key())  # type: ignore[arg-type]
        assert lint_crl(status.crls.get(issuer.id).der) == ()


@pytest.mark.parametrize("kind", [KeyAlgorithm.RSA2048, KeyAlgorithm.ED25519], ids=lambda kind: kind.value)
def test_issuers_of_other_kinds_of_keys(status: Status, authority: Authority, kind: KeyAlgorithm) -> None:
    start_rollover(authority, kind)
    issuer = authority.active_issuer()
    row = authority.issue(build_request("www.example.test"), SERVER)
    revoke(authority, row)
    stored = status.crls.get(issuer.id)
    assert parse(stored).is_signature_valid(issuer.certificate.public_key())  # type: ignore[arg-type]
    assert entries(stored) == {row.serial: "superseded"}


def test_the_issuing_point_is_the_address_in_the_certificates(
    open_status: OpenStatus, authority: Authority, row: Certificate
) -> None:
    status = open_status(crl={"urls": ["http://old.example.test/{issuer}.crl"]})
    extension = parse(status.crls.get(ISSUER)).extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert extension.critical
    assert extension.value.full_name is not None
    names = [one.value for one in extension.value.full_name]
    (point,) = parse_row(row).extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name is not None
    assert names == [point.full_name[0].value, f"http://old.example.test/{ISSUER}.crl"]
    with pytest.raises(x509.ExtensionNotFound):
        parse(status.crls.get("root-1")).extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    without = open_status(crl={"issuing_point": False})
    with pytest.raises(x509.ExtensionNotFound):
        parse(without.crls.renew(ISSUER)).extensions.get_extension_for_class(x509.IssuingDistributionPoint)


def test_a_complete_CRL_never_says_removeFromCRL(authority: Authority, clock: MovableClock) -> None:
    issuer = authority.active_issuer()
    listed = [Listed("a", clock.now, Reason.REMOVE_FROM_CRL), Listed("b", clock.now, Reason.SUPERSEDED)]
    content = CrlContent(1, clock.now, clock.now + timedelta(days=1), listed)
    parsed = x509.load_der_x509_crl(build_crl(content, issuer, authority.load_signer(issuer.id)))
    assert [one.serial_number for one in parsed] == [0xB]


def test_a_delta_says_what_has_changed_since_the_complete_CRL(
    open_status: OpenStatus, authority: Authority, clock: MovableClock
) -> None:
    status = open_status(crl=DELTAS)
    old, held, fresh, both = (authority.issue(build_request(f"{name}.test"), SERVER) for name in "abcd")
    revoke(authority, old)
    authority.hold(held.issuer_id, held.serial, "operator")
    base = status.crls.get(ISSUER)
    clock.move(minutes=10)
    assert entries(status.crls.get(ISSUER, Kind.DELTA)) == {}
    revoke(authority, fresh, Reason.KEY_COMPROMISE)
    authority.release(held.issuer_id, held.serial, "operator")
    authority.hold(both.issuer_id, both.serial, "operator")
    moment = clock.now
    clock.move(minutes=10)
    revoke(authority, both, Reason.KEY_COMPROMISE)
    delta = status.crls.get(ISSUER, Kind.DELTA)
    assert entries(delta) == {
        fresh.serial: "key_compromise",
        held.serial: "remove_from_crl",
        both.serial: "key_compromise",
    }
    dates = {format(one.serial_number, "x"): one.revocation_date_utc for one in parse(delta)}
    assert dates[both.serial] == moment  # of the hold that it began with
    extensions = parse(delta).extensions
    indicator = extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert (indicator.critical, indicator.value.crl_number) == (True, base.number)
    assert extensions.get_extension_for_class(x509.CRLNumber).value.crl_number > base.number
    assert lint_crl(delta.der) == ()
    assert status.crls.get(ISSUER) == base
    assert entries(base) == {old.serial: "superseded", held.serial: "certificate_hold"}
    point = parse(base).extensions.get_extension_for_class(x509.FreshestCRL).value[0]
    assert point.full_name is not None
    assert point.full_name[0].value == "http://pki.example.test/crl/intermediate-1-delta.crl"


def test_with_deltas_a_complete_CRL_is_made_after_a_while_and_the_next_delta_adds_to_it(
    open_status: OpenStatus, authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    status = open_status(crl={**DELTAS, "complete_every": "1h"})
    status.tend()
    revoke(authority, row)
    status.tend()
    assert entries(status.crls.get(ISSUER)) == {}
    assert entries(status.crls.get(ISSUER, Kind.DELTA)) == {row.serial: "superseded"}
    clock.move(hours=1)
    status.tend()
    base, delta = status.crls.get(ISSUER), status.crls.get(ISSUER, Kind.DELTA)
    assert entries(base) == {row.serial: "superseded"}
    assert entries(delta) == {}
    assert (delta.base_number, delta.number) == (base.number, base.number + 1)
    clock.move(hours=13)
    assert status.crls.get(ISSUER, Kind.DELTA).number == delta.number + 1
    assert status.crls.renew(ISSUER, Kind.DELTA).number == delta.number + 2


def test_openssl_takes_complete_and_delta_together(
    open_status: OpenStatus, authority: Authority, row: Certificate, tmp_path: Path
) -> None:
    status = open_status(crl=DELTAS)
    authority.hold(row.issuer_id, row.serial, "operator")
    base = status.crls.get(ISSUER)
    root = write_pem(tmp_path / "root.pem", authority.active_issuer(Role.ROOT).certificate)
    chain = write_pem(tmp_path / "chain.pem", authority.active_issuer().certificate)
    leaf = write_pem(tmp_path / "leaf.pem", parse_row(row))
    checks = ["-crl_check", "-extended_crl", "-use_deltas", "-CAfile", root, "-untrusted", chain]

    def verify(*stored: StoredCrl) -> str:
        files: list[str | Path] = []
        for one in stored:
            file = tmp_path / f"{one.number}.pem"
            file.write_bytes(parse(one).public_bytes(Encoding.PEM))
            files += ["-CRLfile", file]
        command = ["openssl", "verify", *map(str, checks), *map(str, files), str(leaf)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        return done.stdout + done.stderr

    assert "certificate revoked" in verify(base)
    authority.release(row.issuer_id, row.serial, "operator")
    assert verify(base, status.crls.get(ISSUER, Kind.DELTA)).endswith("leaf.pem: OK\n")
    revoke(authority, row)
    assert "certificate revoked" in verify(base, status.crls.get(ISSUER, Kind.DELTA))


def test_an_index_that_was_imported_is_listed(status: Status, authority: Authority, clock: MovableClock) -> None:
    row = authority.issue(build_request("www.example.test"), SERVER)
    table = certificates.certificate
    values = {"status": "revoked", "revoked_at": clock.now, "reason": "remove_from_crl", "der": None}
    with authority.database.write() as connection:
        connection.execute(table.update().where(table.c.id == row.id).values(**values))
    assert entries(status.crls.get(ISSUER)) == {}


def test_openssl_reads_the_text(status: Status, tmp_path: Path) -> None:
    (tmp_path / "crl").write_bytes(status.crls.get(ISSUER).der)
    said = run_openssl("crl", "-inform", "DER", "-in", tmp_path / "crl", "-noout", "-text")
    assert "No Revoked Certificates" in said
