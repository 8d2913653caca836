# SPDX-License-Identifier: Apache-2.0
"""The responder: a request in, an answer out."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from ottr.ca import certificates
from ottr.ca.authority import Authority, OcspSigner, parse_row
from ottr.ca.csr import Request
from ottr.ca.der import INTEGER, OCTET_STRING, OID, SEQUENCE, DerError, read, write
from ottr.ca.issuance import Terms
from ottr.ca.keys import generate_key
from ottr.ca.model import Certificate, KeyAlgorithm, Reason, Role
from ottr.ca.names import ANY_NAME, parse_names
from ottr.ca.rollover import start_rollover
from ottr.ca.signer import build_signer
from ottr.ca.status.answer import AnswerWriter, Refusal, Validity, write_single
from ottr.ca.status.identities import read_hashable
from ottr.ca.status.request import Malformed, build_cert_id, parse_request
from ottr.ca.status.request import build_request as build_shortest
from ottr.ca.status.service import Status
from ottr.errors import KeyUnavailable, StoreError
from tests.ca.conftest import MovableClock, run_openssl, write_pem
from tests.ca.requests import SERVER, build_name
from tests.ca.requests import build_request as request_certificate
from tests.ca.status.asking import NONCE, SHA1, build_request, merge_requests, parse_answer, read_status
from tests.ca.status.conftest import OpenStatus


def ask(status: Status, row: Certificate, **options: object) -> bytes:
    return status.responder.answer(build_request(status.authority, row, **options)).der  # type: ignore[arg-type]


def test_OT_52_CK_07_an_answer_says_when_it_was_made_and_how_long_it_is_good(
    status: Status, row: Certificate, clock: MovableClock
) -> None:
    answer = parse_answer(ask(status, row, nonce=NONCE))
    assert answer.produced_at_utc == clock.now
    assert answer.this_update_utc == clock.now - timedelta(minutes=5)
    assert answer.next_update_utc == clock.now + timedelta(days=1)
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE


def test_OT_54_answers_are_signed_by_a_delegate_of_the_issuer_not_by_a_CA(
    status: Status, authority: Authority, row: Certificate
) -> None:
    root = authority.active_issuer(Role.ROOT)
    intermediate = next(one for one in authority.issuers() if one.id == row.issuer_id)
    for subject, issuer in ((row, intermediate), (authority.find("root-1", intermediate.serial), root)):
        assert subject is not None
        answer = parse_answer(ask(status, subject))
        (signer,) = answer.certificates
        signer.verify_directly_issued_by(issuer.certificate)
        usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        assert usage.critical
        assert list(usage.value) == [x509.ExtendedKeyUsageOID.OCSP_SIGNING]
        assert signer.extensions.get_extension_for_class(x509.OCSPNoCheck)
        assert answer.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(signer.public_key()).digest
        key = signer.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))


def test_the_delegate_renews_itself_and_answers_end_before_it_does(
    open_status: OpenStatus, row: Certificate, clock: MovableClock
) -> None:
    status = open_status(ocsp={"lifetime": "7d"})
    (first,) = parse_answer(ask(status, row)).certificates
    clock.move(days=6, hours=23)
    late = parse_answer(ask(status, row, nonce=NONCE))
    assert late.certificates == [first]
    assert late.next_update_utc is not None
    assert late.next_update_utc <= first.not_valid_after_utc
    clock.move(hours=2)
    (second,) = parse_answer(ask(status, row, nonce=NONCE)).certificates
    assert second.not_valid_after_utc > first.not_valid_after_utc


def test_OT_54_the_certificate_of_a_stranger_is_not_ours_to_answer_for(
    status: Status, authority: Authority, row: Certificate
) -> None:
    key = generate_key(KeyAlgorithm.EC256).public_key()
    builder = ocsp.OCSPRequestBuilder()
    name_hash, key_hash = b"\0" * 20, x509.SubjectKeyIdentifier.from_public_key(key).digest
    asked = builder.add_certificate_by_hash(name_hash, key_hash, int(row.serial, 16), SHA1).build()
    assert status.responder.answer(asked.public_bytes(Encoding.DER)).der == b"\x30\x03\x0a\x01\x06"
    # The name of ours with the key of another: issuers are told apart by their keys.
    issuer = authority.active_issuer().certificate
    raw = build_cert_id("sha1", issuer.subject.public_bytes(), b"another key", 1)
    assert status.responder.answer(build_shortest(raw)).der == Refusal.UNAUTHORIZED.value


def test_an_issuer_whose_key_is_elsewhere_is_not_ours_to_answer_for(
    status: Status, authority: Authority, row: Certificate
) -> None:
    request = build_request(authority, row)
    table = certificates.certificate.metadata.tables["issuer"]
    with authority.database.write() as connection:
        connection.execute(table.update().where(table.c.id == row.issuer_id).values(key_id=""))
    assert status.responder.answer(request).der == Refusal.UNAUTHORIZED.value


def test_an_issuer_that_is_over_is_not_ours_to_answer_for(
    status: Status, authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    request = build_request(authority, row)
    assert read_status(status.responder.answer(request).der) == "good"
    clock.move(days=6 * 365)
    assert status.responder.answer(request).der == Refusal.UNAUTHORIZED.value


def test_OT_54_CK_03_a_serial_that_was_never_used_is_unknown(status: Status, authority: Authority) -> None:
    for serial in (1, 2**158 + 1):
        answer = status.responder.answer(build_shortest(build_cert_id("sha256", *_hashable(authority), serial)))
        assert read_status(answer.der) == "unknown"
        assert parse_answer(answer.der).serial_number == serial
        assert answer.validity is None
    assert len(status.cache) == 0


def test_serials_that_no_certificate_can_have_are_unknown(status: Status, authority: Authority) -> None:
    cert_id = read(build_cert_id("sha1", *_hashable(authority), 1))
    for content in (b"\x00", b"\xff", b"\x80" + b"\1" * 30, b"\x01" * 40):
        asked = write(SEQUENCE, *(part.raw for part in cert_id.children()[:3]), write(INTEGER, content))
        answer = status.responder.answer(build_shortest(asked)).der
        # Two bytes of tag and length, and it is there as it was asked.
        assert asked in answer
        assert b"\x82\x00\x18\x0f" in answer


def test_OT_54_CK_21_the_time_of_a_revocation_is_the_stored_one(
    status: Status, authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    clock.move(days=3)
    moment = clock.now
    authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    for _ in range(3):
        clock.move(hours=5)
        answer = parse_answer(ask(status, row, nonce=NONCE))
        assert answer.revocation_time_utc == moment
        assert answer.revocation_reason is x509.ReasonFlags.superseded


def test_OT_54_CK_06_what_has_expired_is_not_revoked(
    status: Status, authority: Authority, row: Certificate, clock: MovableClock
) -> None:
    clock.move(days=100)
    assert read_status(ask(status, row)) == "good"


def test_CK_06_OT_50_hold_and_release(status: Status, authority: Authority, row: Certificate) -> None:
    authority.hold(row.issuer_id, row.serial, "operator")
    answer = parse_answer(ask(status, row))
    assert answer.revocation_reason is x509.ReasonFlags.certificate_hold
    authority.release(row.issuer_id, row.serial, "operator")
    assert read_status(ask(status, row)) == "good"


@pytest.mark.parametrize("name", ["sha1", "sha224", "sha256", "sha384", "sha512"])
def test_CK_12_CK_21_the_id_comes_back_in_the_hash_it_was_asked_in(status: Status, row: Certificate, name: str) -> None:
    digest = {"sha1": SHA1, "sha224": hashes.SHA224(), "sha256": hashes.SHA256(), "sha384": hashes.SHA384()}
    for _ in range(2):  # the second is from the cache
        answer = parse_answer(ask(status, row, digest=digest.get(name, hashes.SHA512())))
        assert answer.hash_algorithm.name == name
        assert answer.serial_number == int(row.serial, 16)


def test_an_unknown_hash_is_not_ours_to_answer_for(status: Status, authority: Authority) -> None:
    md5 = bytes.fromhex("2a864886f70d0205")
    cert_id = read(build_cert_id("sha1", *_hashable(authority), 1)).children()
    asked = write(SEQUENCE, write(SEQUENCE, write(OID, md5)), *(part.raw for part in cert_id[1:]))
    assert status.responder.answer(build_shortest(asked)).der == Refusal.UNAUTHORIZED.value


def test_several_certificates_in_one_request(status: Status, authority: Authority, row: Certificate) -> None:
    other = authority.issue(request_certificate("b.example.test"), SERVER)
    authority.revoke(other.issuer_id, other.serial, Reason.KEY_COMPROMISE, "operator")
    asked = [build_request(authority, one, digest=digest) for one in (row, other) for digest in (SHA1, hashes.SHA256())]
    answer = status.responder.answer(merge_requests(*asked))
    assert answer.validity is not None
    found = [
        (one.serial_number, one.hash_algorithm.name, one.certificate_status.name)
        for one in parse_answer(answer.der).responses
    ]
    serials = int(row.serial, 16), int(other.serial, 16)
    assert found == [
        (serials[0], "sha1", "GOOD"),
        (serials[0], "sha256", "GOOD"),
        (serials[1], "sha1", "REVOKED"),
        (serials[1], "sha256", "REVOKED"),
    ]


def test_openssl_reads_answers_about_several_certificates(
    status: Status, authority: Authority, row: Certificate, tmp_path: Path
) -> None:
    other = authority.issue(request_certificate("b.example.test"), SERVER)
    chain = write_pem(
        tmp_path / "chain.pem", authority.active_issuer().certificate, authority.active_issuer(Role.ROOT).certificate
    )
    issuer = write_pem(tmp_path / "issuer.pem", authority.active_issuer().certificate)
    files = [write_pem(tmp_path / f"{one.id}.pem", parse_row(one)) for one in (row, other)]
    asked = ("-issuer", issuer, "-cert", files[0], "-cert", files[1])
    run_openssl("ocsp", *asked, "-reqout", tmp_path / "request")
    answer = tmp_path / "answer"
    answer.write_bytes(status.responder.answer((tmp_path / "request").read_bytes()).der)
    said = run_openssl("ocsp", "-CAfile", chain, "-reqin", tmp_path / "request", "-respin", answer, *asked, "-no_nonce")
    assert "Response verify OK" in said
    assert [line.split(": ")[1] for line in said.splitlines() if ".pem: " in line] == ["good", "good"]


def test_CK_21_certificates_of_two_issuers_in_one_request_are_refused(
    status: Status, authority: Authority, row: Certificate
) -> None:
    """One signer cannot speak for both, and half an answer would be taken for a whole one."""
    intermediate = authority.find("root-1", authority.active_issuer().serial)
    assert intermediate is not None
    merged = merge_requests(build_request(authority, row), build_request(authority, intermediate))
    assert status.responder.answer(merged).der == Refusal.UNAUTHORIZED.value
    stranger = build_shortest(build_cert_id("sha1", b"a", b"b", 1))
    merged = merge_requests(build_request(authority, row), stranger)
    assert status.responder.answer(merged).der == Refusal.UNAUTHORIZED.value


def test_CK_20_at_most_128_certificates_in_one_request(
    status: Status, authority: Authority, row: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = build_request(authority, row)
    assert len(list(parse_answer(status.responder.answer(merge_requests(*[one] * 128)).der).responses)) == 128
    monkeypatch.setattr(authority.database, "read", None)  # refused before anything is looked up
    assert status.responder.answer(merge_requests(*[one] * 129)).der == Refusal.MALFORMED_REQUEST.value


def test_CK_18_a_compromised_issuer_takes_the_answers_with_it(
    status: Status, authority: Authority, row: Certificate
) -> None:
    assert read_status(ask(status, row)) == "good"
    intermediate = authority.active_issuer()
    authority.revoke(intermediate.parent_id, intermediate.serial, Reason.CA_COMPROMISE, "operator")
    answer = parse_answer(ask(status, row))
    assert answer.revocation_reason is x509.ReasonFlags.ca_compromise


def test_after_a_rollover_every_issuer_is_answered_for_by_its_own_delegate(
    status: Status, authority: Authority, row: Certificate
) -> None:
    old = parse_answer(ask(status, row)).certificates[0]
    start_rollover(authority)
    fresh = authority.issue(request_certificate("b.example.test"), SERVER)
    assert fresh.issuer_id != row.issuer_id
    new = parse_answer(ask(status, fresh)).certificates[0]
    new.verify_directly_issued_by(authority.active_issuer().certificate)
    assert parse_answer(ask(status, row, nonce=NONCE)).certificates == [old]


@pytest.mark.parametrize(
    ("policy", "nonce", "expected"),
    [
        ("optional", None, (b"", "good")),
        ("optional", NONCE, (NONCE, "good")),
        ("required", NONCE, (NONCE, "good")),
        ("required", None, (b"", "malformed")),
        ("ignore", NONCE, (b"", "good")),
    ],
)
def test_CK_11_CK_13_nonce_policies(
    open_status: OpenStatus, row: Certificate, policy: str, nonce: bytes | None, expected: tuple[bytes, str]
) -> None:
    der = ask(open_status(ocsp={"nonce": policy}), row, nonce=nonce)
    if expected[1] == "malformed":
        assert der == b"\x30\x03\x0a\x01\x01"
        return
    answer = parse_answer(der)
    assert b"".join(one.value.nonce for one in answer.extensions) == expected[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("length", [1, 16, 32, 128])
def test_nonces_of_every_length_that_is_allowed(status: Status, row: Certificate, length: int) -> None:
    answer = parse_answer(ask(status, row, nonce=b"x" * length))
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"x" * length


@pytest.mark.parametrize("length", [0, 129, 1000])
def test_nonces_of_other_lengths_are_malformed(status: Status, row: Certificate, length: int) -> None:
    assert ask(status, row, nonce=b"x" * length) == Refusal.MALFORMED_REQUEST.value


def test_CK_19_archive_cutoff(open_status: OpenStatus, authority: Authority, row: Certificate, tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(ask(open_status(ocsp={"archive_cutoff": "365d"}), row))
    chain = write_pem(tmp_path / "chain.pem", *(one.certificate for one in authority.issuers()))
    said = run_openssl("ocsp", "-respin", tmp_path / "answer", "-resp_text", "-CAfile", chain)
    assert "OCSP Archive Cutoff" in said
    year = authority.clock() - timedelta(days=365)
    assert f"{year:%b} {year.day:2d} {year:%H:%M:%S %Y} GMT" in said


def test_an_index_entry_without_a_certificate_is_answered_for(
    status: Status, authority: Authority, row: Certificate
) -> None:
    request = build_request(authority, row)
    table = certificates.certificate
    with authority.database.write() as connection:
        connection.execute(table.update().where(table.c.id == row.id).values(der=None, sha256=""))
    assert read_status(status.responder.answer(request).der) == "good"


def test_trouble_with_the_database_or_the_keys_is_answered_with_try_later(
    status: Status, authority: Authority, row: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = build_request(authority, row)

    def fail(issuer_id: str) -> OcspSigner:
        raise KeyUnavailable("no")

    monkeypatch.setattr(authority, "load_ocsp_signer", fail)
    answer = status.responder.answer(request)
    assert (answer.der, answer.validity) == (Refusal.TRY_LATER.value, None)


def test_only_P256_signs(authority: Authority) -> None:
    signer = authority.load_ocsp_signer("intermediate-1")
    other = OcspSigner(build_signer(generate_key(KeyAlgorithm.ED25519)), signer.certificate, signer.renew_at)
    with pytest.raises(KeyUnavailable, match="P-256"):
        AnswerWriter(other)


def _verify(authority: Authority, row: Certificate, answer: bytes, folder: Path) -> tuple[int, str]:
    chain = write_pem(folder / "chain.pem", *(one.certificate for one in authority.issuers()))
    issuer = write_pem(folder / "issuer.pem", authority.active_issuer().certificate)
    leaf = write_pem(folder / "leaf.pem", parse_row(row))
    (folder / "answer").write_bytes(answer)
    command = ["openssl", "ocsp", "-CAfile", chain, "-respin", folder / "answer", "-issuer", issuer, "-cert", leaf]
    done = subprocess.run([*map(str, command), "-no_nonce"], capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stdout + done.stderr


def test_JL_07_what_openssl_says_of_bad_answers(
    status: Status, authority: Authority, row: Certificate, clock: MovableClock, tmp_path: Path
) -> None:
    """The pitfalls that the checks over all other answers have to see: "good" is printed whatever happens."""
    good = ask(status, row)
    assert _verify(authority, row, good, tmp_path)[0] == 0
    # A signer without the purpose.
    key = generate_key(KeyAlgorithm.EC256)
    wrong = authority.issue(Request(key.public_key(), parse_names(["a.test"]), build_name("")), SERVER)
    signer = OcspSigner(build_signer(key), parse_row(wrong), clock.now)
    validity = Validity(clock.now, clock.now, clock.now + timedelta(hours=1))
    single = write_single(_cert_id(authority, row), row, validity)
    code, said = _verify(authority, row, AnswerWriter(signer).write([single], validity), tmp_path)
    assert code == 1
    assert "missing ocspsigning usage" in said
    assert "leaf.pem: good" in said
    # The signer left out.
    code, said = _verify(authority, row, _leave_out_signer(good), tmp_path)
    assert code == 1
    assert "signer certificate not found" in said
    # Over: and yet the exit status is 0.
    past = Validity(*(clock.now - timedelta(days=days) for days in (3, 3, 2)))
    writer = AnswerWriter(authority.load_ocsp_signer(row.issuer_id))
    code, said = _verify(
        authority, row, writer.write([write_single(_cert_id(authority, row), row, past)], past), tmp_path
    )
    assert code == 0
    assert "WARNING: Status times invalid" in said
    assert "Response verify OK" in said


def test_a_delegate_is_issued_for_nothing_else(authority: Authority) -> None:
    with pytest.raises(Exception, match="nobody can ask"):
        authority.issue(request_certificate(common_name="x"), Terms("ocsp", ANY_NAME, "operator"))


MALFORMED = {
    "nothing": b"",
    "no DER": b"hello",
    "cut off": b"\x30\x50\x30",
    "another tag": b"\x31\x00",
    "an empty sequence": b"\x30\x00",
    "an empty list": write(SEQUENCE, write(SEQUENCE, write(SEQUENCE))),
    "no list": write(SEQUENCE, write(SEQUENCE, write(0xA0, b"\x02\x01\x00"))),
    "something behind it": b"\x30\x00\x00",
    "an indefinite length": b"\x30\x80\x00\x00",
    "a length in too many bytes": b"\x30\x81\x03\x30\x01\x00",
    "a length of five bytes": b"\x30\x85\x00\x00\x00\x00\x01\x00",
    "a length that begins with zero": b"\x30\x82\x00\x81" + b"\x00" * 129,
    "a length that is cut off": b"\x30\x82\x01",
    "a tag of two bytes": b"\x3f\x81\x01\x00",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_CK_20_what_is_no_request_is_malformed(status: Status, data: bytes) -> None:
    answer = status.responder.answer(data)
    assert (answer.der, answer.validity) == (Refusal.MALFORMED_REQUEST.value, None)


def _wrap(*parts: bytes, single: bytes | None = None, signature: bytes = b"") -> bytes:
    """A request around one that is good but for what the case changes."""
    cert_id = build_cert_id("sha1", b"a", b"b", 1)
    listed = write(SEQUENCE, write(SEQUENCE, cert_id) if single is None else single)
    before = [part for part in parts if part[0] in (0xA0, 0xA1)]
    after = [part for part in parts if part[0] not in (0xA0, 0xA1)]
    return write(SEQUENCE, write(SEQUENCE, *before, listed, *after), signature)


def _extension(oid: str, *parts: bytes) -> bytes:
    return write(SEQUENCE, write(SEQUENCE, write(OID, bytes.fromhex(oid)), *parts))


NONCE_OID, OTHER_OID = "2b0601050507300102", "2b0601050507300163"
VALUE = write(OCTET_STRING, write(OCTET_STRING, b"x" * 16))
CRITICAL = b"\x01\x01\xff"
CERT_ID = build_cert_id("sha1", b"a", b"b", 1)
FIELDS = [part.raw for part in read(CERT_ID).children()]

STRANGE = {
    "version 2": _wrap(write(0xA0, b"\x02\x01\x01")),
    "two versions": _wrap(write(0xA0, b"\x02\x01\x00"), write(0xA0, b"\x02\x01\x00")),
    "parts in another order": _wrap(write(0xA1, b""), write(0xA0, b"\x02\x01\x00")),
    "an unknown part": _wrap(write(0xA3, b"")),
    "a third part": _wrap(signature=write(0xA0, b"") + write(0xA1, b"")),
    "another signature": _wrap(signature=write(0xA1, b"")),
    "a single that is none": _wrap(single=write(OID, b"")),
    "a single with other extensions": _wrap(single=write(SEQUENCE, CERT_ID, write(0xA1, b""))),
    "a single of three parts": _wrap(single=write(SEQUENCE, CERT_ID, write(0xA0, b""), write(0xA0, b""))),
    "a single with a critical extension": _wrap(
        single=write(SEQUENCE, CERT_ID, write(0xA0, _extension(OTHER_OID, CRITICAL, VALUE)))
    ),
    "an id without serial": _wrap(single=write(SEQUENCE, write(SEQUENCE, *FIELDS[:3]))),
    "an empty serial": _wrap(single=write(SEQUENCE, write(SEQUENCE, *FIELDS[:3], write(INTEGER)))),
    "no algorithm": _wrap(single=write(SEQUENCE, write(SEQUENCE, write(SEQUENCE), *FIELDS[1:]))),
    "an algorithm that is no OID": _wrap(
        single=write(SEQUENCE, write(SEQUENCE, write(SEQUENCE, b"\x05\x00"), *FIELDS[1:]))
    ),
    "an algorithm of three parts": _wrap(
        single=write(SEQUENCE, write(SEQUENCE, write(SEQUENCE, read(FIELDS[0]).content, b"\x05\x00"), *FIELDS[1:]))
    ),
    "no extensions": _wrap(write(0xA2, b"")),
    "an empty list of extensions": _wrap(write(0xA2, write(SEQUENCE))),
    "an extension of one part": _wrap(write(0xA2, _extension(NONCE_OID))),
    "an extension twice": _wrap(write(0xA2, write(SEQUENCE, *[read(_extension(NONCE_OID, VALUE)).content] * 2))),
    "a critical extension": _wrap(write(0xA2, _extension(OTHER_OID, CRITICAL, VALUE))),
    "a nonce that is no octet string": _wrap(write(0xA2, _extension(NONCE_OID, write(OCTET_STRING, b"\x02\x01\x05")))),
    "a nonce that is no DER": _wrap(write(0xA2, _extension(NONCE_OID, write(OCTET_STRING, b"raw nonce")))),
}


@pytest.mark.parametrize("data", STRANGE.values(), ids=STRANGE.keys())
def test_what_is_not_quite_a_request_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_request(data)


HARMLESS = {
    "the default version": _wrap(write(0xA0, b"\x02\x01\x00")),
    "a requestor": _wrap(write(0xA1, write(0x82, b"me"))),
    "a signature": _wrap(signature=write(0xA0, write(SEQUENCE))),
    "an unknown extension": _wrap(write(0xA2, _extension(OTHER_OID, VALUE))),
    "a critical nonce": _wrap(write(0xA2, _extension(NONCE_OID, CRITICAL, VALUE))),
    "a service locator": _wrap(single=write(SEQUENCE, CERT_ID, write(0xA0, _extension("2b0601050507300107", VALUE)))),
}


@pytest.mark.parametrize("data", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_does_not_matter_is_passed_over(data: bytes) -> None:
    assert [one.raw for one in parse_request(data).cert_ids] == [CERT_ID]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_malformed(data: bytes) -> None:
    try:
        parse_request(data)
    except Malformed:
        return


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_request_with_any_byte_changed_is_a_request_or_malformed(place: int, value: int) -> None:
    data = bytearray(_wrap(write(0xA2, _extension(NONCE_OID, VALUE))))
    data[place % len(data)] = value
    try:
        parse_request(bytes(data))
    except Malformed:
        return


@given(st.binary(max_size=300))
def test_what_is_written_is_read_back(content: bytes) -> None:
    assert read(write(OCTET_STRING, content)).content == content
    with pytest.raises(DerError):
        read(write(OCTET_STRING, content) + b"\0")


def test_the_status_needs_its_database(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = authority.database.open_commit_counter()
    assert counter is not None
    counter.close()
    with pytest.raises(StoreError, match="closed"):
        counter.read()


def _hashable(authority: Authority) -> tuple[bytes, bytes]:
    found = read_hashable(authority.active_issuer())
    return found.name, found.key


def _cert_id(authority: Authority, row: Certificate) -> bytes:
    return parse_request(build_request(authority, row)).cert_ids[0].raw


def _leave_out_signer(answer: bytes) -> bytes:
    status, holder = read(answer).children()
    kind, basic = holder.children()[0].children()
    parts = read(basic.content).children()[:3]
    inner = write(OCTET_STRING, write(SEQUENCE, *(part.raw for part in parts)))
    return write(SEQUENCE, status.raw, write(0xA0, write(SEQUENCE, kind.raw, inner)))
