# SPDX-License-Identifier: Apache-2.0
"""What the CA puts into a certificate, and what it does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID, NameOID

from ottr.ca import issuance as issuance_module
from ottr.ca.authority import Authority, parse_row
from ottr.ca.certificates import insert_certificate, list_certificates
from ottr.ca.csr import Request, parse_csr
from ottr.ca.issuance import Issuance, Terms, select_names
from ottr.ca.keys import generate_key
from ottr.ca.model import KeyAlgorithm, Phase, Reason, Role, Status
from ottr.ca.names import ANY_NAME, NameRules, parse_names
from ottr.ca.rollover import retire_old, start_rollover
from ottr.ca.settings import parse_settings
from ottr.ca.signer import Signer, build_signer
from ottr.errors import (
    AuthorityError,
    KeyUnavailable,
    NameRefused,
    RequestRefused,
    SettingsError,
    StoreError,
    UnknownCertificate,
)
from tests.ca.conftest import MovableClock, run_openssl, write_pem
from tests.ca.requests import CLIENT, SERVER, build_csr, build_name, build_request, encode_csr


def issue(authority: Authority, request: Request, terms: Terms = SERVER) -> x509.Certificate:
    return parse_row(authority.issue(request, terms))


def read(certificate: x509.Certificate, kind: type[Any]) -> Any:
    return certificate.extensions.get_extension_for_class(kind)


def has(certificate: x509.Certificate, kind: type[Any]) -> bool:
    return any(isinstance(extension.value, kind) for extension in certificate.extensions)


ALGORITHMS = pytest.mark.parametrize("algorithm", list(KeyAlgorithm), ids=lambda kind: kind.value)


def test_OT_01_the_chain_of_a_leaf_verifies(authority: Authority, tmp_path: Path) -> None:
    leaf = issue(authority, build_request("www.example.test"))
    root = write_pem(tmp_path / "root.pem", *authority.trust_bundle())
    intermediate = write_pem(tmp_path / "int.pem", *authority.chains("intermediate-1")[0])
    verify = ("verify", "-x509_strict", "-CAfile", root, "-untrusted", intermediate)
    assert "OK" in run_openssl(*verify, write_pem(tmp_path / "leaf.pem", leaf))


def test_OT_02_how_long_each_kind_lives(authority: Authority) -> None:
    start_rollover(authority)
    root, intermediate = authority.active_issuer(Role.ROOT), authority.active_issuer()
    cross = authority.chains(intermediate.id)[0][-1]
    certificates = (
        root.certificate,
        intermediate.certificate,
        cross,
        issue(authority, build_request(common_name="Sub CA"), Terms("sub_ca", ANY_NAME, "operator")),
        authority.load_ocsp_signer(intermediate.id).certificate,
        issue(authority, build_request("www.example.test")),
        issue(authority, build_request(common_name="alice"), CLIENT),
    )
    days = [(one.not_valid_after_utc - one.not_valid_before_utc).days for one in certificates]
    assert days == [3650, 1825, 3650, 1825, 14, 90, 365]
    assert (cross.subject, cross.issuer != cross.subject) == (root.certificate.subject, True)
    assert read(cross, x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=1)


@ALGORITHMS
def test_OT_18_every_kind_of_key_is_certified(authority: Authority, algorithm: KeyAlgorithm) -> None:
    request = build_request("www.example.test", algorithm=algorithm)
    assert issue(authority, request).public_key() == request.public_key


def test_OT_18_a_life_can_be_shorter_than_the_profiles_and_never_longer(
    authority: Authority, clock: MovableClock
) -> None:
    for asked, got in ((3600.0, 3600.0), (10 * 365 * 86400.0, 90 * 86400.0)):
        leaf = issue(authority, build_request("www.example.test"), replace(SERVER, lifetime_s=asked))
        assert leaf.not_valid_after_utc == clock.now + timedelta(seconds=got)


def test_OT_18_subject_goes_before_common_name_of_names(authority: Authority) -> None:
    request = replace(build_request("www.example.test", "api.example.test"), subject=build_name("api.example.test"))
    assert issue(authority, request).subject == build_name("api.example.test")


def test_OT_19_an_unknown_profile_is_refused(authority: Authority) -> None:
    with pytest.raises(SettingsError, match="no profile 'nope'"):
        issue(authority, build_request("www.example.test"), replace(SERVER, profile="nope"))


def test_OT_20_a_leaf_of_the_profile_server(authority: Authority) -> None:
    leaf = issue(authority, build_request("www.example.test", "192.0.2.1", algorithm=KeyAlgorithm.RSA2048))
    basic, usage = read(leaf, x509.BasicConstraints), read(leaf, x509.KeyUsage)
    assert basic.critical
    assert basic.value == x509.BasicConstraints(ca=False, path_length=None)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_encipherment
    assert list(read(leaf, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert [str(name.value) for name in read(leaf, x509.SubjectAlternativeName).value] == [
        "www.example.test",
        "192.0.2.1",
    ]
    issuer = authority.active_issuer()
    assert read(leaf, x509.AuthorityKeyIdentifier).value.key_identifier.hex() == issuer.key_identifier


def list_bits(certificate: x509.Certificate) -> set[str]:
    """What its key may do."""
    usage = read(certificate, x509.KeyUsage).value
    bits = {name for name in BITS if getattr(usage, name)}
    return bits | ({"encipher_only", "decipher_only"} if usage.key_agreement else set())


BITS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


def test_OT_20_OT_22_no_key_may_do_more_than_it_needs(authority: Authority) -> None:
    root, intermediate = authority.active_issuer(Role.ROOT).certificate, authority.active_issuer().certificate
    assert list_bits(root) == {"key_cert_sign", "crl_sign"}
    assert list_bits(intermediate) == {"key_cert_sign", "crl_sign", "digital_signature"}
    for terms, enciphers in ((SERVER, {"key_encipherment"}), (CLIENT, set[str]())):
        leaf = issue(authority, build_request("www.example.test", algorithm=KeyAlgorithm.RSA2048), terms)
        assert list_bits(leaf) == {"digital_signature"} | enciphers
        assert list_bits(issue(authority, build_request("www.example.test"), terms)) == {"digital_signature"}
    assert list_bits(authority.load_ocsp_signer("intermediate-1").certificate) == {"digital_signature"}


def test_OT_21_IO_20_a_client_gets_clientAuth_alone(authority: Authority) -> None:
    leaf = issue(authority, build_request("alice@example.test", common_name="alice"), CLIENT)
    assert list(read(leaf, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert leaf.subject == build_name("alice")


def test_OT_22_JL_06_root_and_intermediate(authority: Authority) -> None:
    root, intermediate = authority.active_issuer(authority.issuers()[0].role), authority.active_issuer()
    for issuer, path_length in ((root, None), (intermediate, 0)):
        certificate = issuer.certificate
        basic, usage = read(certificate, x509.BasicConstraints), read(certificate, x509.KeyUsage)
        assert basic.critical
        assert basic.value == x509.BasicConstraints(ca=True, path_length=path_length)
        assert usage.critical
        assert usage.value.key_cert_sign
        assert usage.value.crl_sign
        assert usage.value.digital_signature == (issuer is intermediate)
        assert has(certificate, x509.SubjectKeyIdentifier)
        assert has(certificate, x509.AuthorityKeyIdentifier)


def test_OT_23_the_issuers_key_decides_the_signature(authority: Authority) -> None:
    leaf = issue(authority, build_request("www.example.test", algorithm=KeyAlgorithm.RSA3072))
    assert leaf.signature_algorithm_oid == x509.SignatureAlgorithmOID.ECDSA_WITH_SHA256


def test_OT_24_no_empty_SAN_no_leaf_without_SKI_no_encipherment_on_EC(authority: Authority) -> None:
    leaf = issue(authority, build_request(common_name="alice"), CLIENT)
    assert not has(leaf, x509.SubjectAlternativeName)
    assert has(leaf, x509.SubjectKeyIdentifier)
    assert not read(leaf, x509.KeyUsage).value.key_encipherment
    with pytest.raises(RequestRefused, match="needs a name"):
        issue(authority, build_request())


def test_OT_25_serials_are_long_random_and_used_once(authority: Authority) -> None:
    serials = {issue(authority, build_request("www.example.test")).serial_number for _ in range(20)}
    assert len(serials) == 20
    assert all(serial.bit_length() > 100 for serial in serials)
    row = authority.issue(build_request("www.example.test"), SERVER)
    with pytest.raises(StoreError), authority.database.write() as connection:
        insert_certificate(connection, parse_row(row), _entry(authority))


def _entry(authority: Authority) -> Any:
    return issuance_module.Entry(authority.active_issuer().id, "server", "operator", authority.clock())


def test_OT_16_CA_TRUE_in_a_CSR_yields_none_of_it(authority: Authority) -> None:
    bits = {
        "digital_signature": False,
        "content_commitment": False,
        "key_encipherment": False,
        "data_encipherment": False,
        "key_agreement": False,
        "encipher_only": False,
        "decipher_only": False,
    }
    wanted = (
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (x509.KeyUsage(key_cert_sign=True, crl_sign=True, **bits), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False),
    )
    request = parse_csr(encode_csr(build_csr("www.example.test", extensions=wanted)))
    leaf = issue(authority, request)
    assert request.ignored == ("basicConstraints", "keyUsage", "extendedKeyUsage", "1.2.3.4")
    assert read(leaf, x509.BasicConstraints).value == x509.BasicConstraints(ca=False, path_length=None)
    assert not read(leaf, x509.KeyUsage).value.key_cert_sign
    assert list(read(leaf, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert "1.2.3.4" not in {extension.oid.dotted_string for extension in leaf.extensions}


def test_OT_17_every_serial_that_is_signed_is_recorded(authority: Authority) -> None:
    row = authority.issue(build_request("www.example.test"), SERVER)
    found = authority.find(row.issuer_id, format(parse_row(row).serial_number, "x"))
    assert found == row
    assert (row.status, row.auto_renew) == (Status.VALID, False)
    assert authority.find(row.issuer_id, "abc") is None


def test_OT_53_JL_01_addresses_are_those_of_the_issuer(authority: Authority, tmp_path: Path) -> None:
    leaf = issue(authority, build_request("www.example.test"))
    access = [
        (one.access_method, one.access_location.value) for one in read(leaf, x509.AuthorityInformationAccess).value
    ]
    assert access == [
        (AuthorityInformationAccessOID.OCSP, "http://pki.example.test/ocsp"),
        (AuthorityInformationAccessOID.CA_ISSUERS, "http://pki.example.test/ca/intermediate-1.der"),
    ]
    point = read(leaf, x509.CRLDistributionPoints).value[0]
    assert point.full_name[0].value == "http://pki.example.test/crl/intermediate-1.crl"
    said = run_openssl("x509", "-ocsp_uri", "-noout", "-in", write_pem(tmp_path / "leaf.pem", leaf))
    assert said.strip() == "http://pki.example.test/ocsp"


def test_a_certificate_of_its_own_issuer_has_no_addresses(authority: Authority) -> None:
    root = authority.active_issuer(Role.ROOT).certificate
    assert not has(root, x509.AuthorityInformationAccess)
    assert not has(root, x509.CRLDistributionPoints)
    assert has(authority.active_issuer().certificate, x509.CRLDistributionPoints)


def test_without_base_url_there_are_no_addresses(folder: Path, authority: Authority) -> None:
    silent = Issuance(parse_settings("", folder), authority.keyring)
    with authority.database.read() as connection:
        prepared = silent.prepare(connection, build_request("www.example.test"), SERVER, authority.clock())
    assert not has(prepared.linted, x509.AuthorityInformationAccess)
    assert not has(prepared.linted, x509.CRLDistributionPoints)


def test_short_lived_certificates_can_say_that_there_is_no_revocation(folder: Path, authority: Authority) -> None:
    text = "base_url: http://pki.test\nprofiles: {short: {like: server, lifetime: 7d, revocable: false}}"
    short = Issuance(parse_settings(text, folder), authority.keyring)
    with authority.database.write() as connection:
        terms = replace(SERVER, profile="short")
        row = short.sign(
            connection, short.prepare(connection, build_request("www.example.test"), terms, authority.clock())
        )
    leaf = parse_row(row)
    said = leaf.extensions.get_extension_for_oid(x509.ObjectIdentifier("2.5.29.56"))
    assert (said.value.public_bytes(), said.critical) == (b"\x05\x00", False)  # RFC 9608 section 3
    assert not has(leaf, x509.CRLDistributionPoints)


def test_a_profile_of_ones_own_for_server_and_client(folder: Path, authority: Authority) -> None:
    settings = parse_settings("profiles: {node: {like: server, usages: [server_auth, client_auth]}}", folder)
    with authority.database.read() as connection:
        prepared = Issuance(settings, authority.keyring).prepare(
            connection, build_request("www.example.test"), replace(SERVER, profile="node"), authority.clock()
        )
    assert {usage.dotted_string for usage in read(prepared.linted, x509.ExtendedKeyUsage).value} == {
        "1.3.6.1.5.5.7.3.1",
        "1.3.6.1.5.5.7.3.2",
    }


def test_a_long_name_leaves_the_subject_empty_and_the_names_critical(authority: Authority) -> None:
    name = f"{'a' * 60}.{'b' * 20}.example.test"
    leaf = issue(authority, build_request(name))
    assert leaf.subject == x509.Name([])
    assert read(leaf, x509.SubjectAlternativeName).critical


def test_a_servers_common_name_counts_as_a_name(authority: Authority) -> None:
    request = replace(build_request("api.example.test"), subject=build_name("WWW.example.test"))
    assert select_names(request, authority.settings.profile("server")).dns == ("api.example.test", "www.example.test")
    assert select_names(request, authority.settings.profile("client")).dns == ("api.example.test",)
    with pytest.raises(NameRefused, match=r"www\.example\.test"):
        issue(authority, request, replace(SERVER, rules=NameRules(dns=("api.example.test",))))


def test_a_servers_common_name_that_is_no_host_is_dropped(authority: Authority) -> None:
    request = replace(build_request("www.example.test"), subject=build_name("My web server"))
    assert issue(authority, request).subject == build_name("www.example.test")


def test_the_longest_common_name_there_is(authority: Authority) -> None:
    name = f"{'a' * 51}.example.test"
    assert len(name) == 64
    assert issue(authority, build_request(name)).subject == build_name(name)
    assert issue(authority, build_request(common_name="a" * 64), CLIENT).subject == build_name("a" * 64)


@pytest.mark.filterwarnings("ignore:Attribute's length")
def test_a_clients_name_is_never_cut_short(authority: Authority) -> None:
    long = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "\u00e4" * 40, _validate=False)])
    with pytest.raises(RequestRefused, match="longer than 64"):
        issue(authority, replace(build_request(), subject=long), CLIENT)


def test_attributes_of_a_subject_need_a_rule(authority: Authority) -> None:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Admins"),
            x509.NameAttribute(NameOID.TITLE, "King"),
            x509.NameAttribute(NameOID.COMMON_NAME, "alice"),
        ]
    )
    request = replace(build_request(), subject=subject)
    plain = replace(CLIENT, rules=NameRules(common_names=("al*",)))
    assert issue(authority, request, plain).subject == build_name("alice")
    whole = replace(CLIENT, rules=ANY_NAME)
    assert issue(authority, request, whole).subject.rfc4514_string() == "CN=alice,O=Admins"
    with pytest.raises(NameRefused, match="'alice'"):
        issue(authority, request, replace(CLIENT, rules=NameRules()))


def test_names_no_rule_allows_are_refused(authority: Authority) -> None:
    terms = replace(SERVER, rules=NameRules(dns=("*.example.test",)))
    issue(authority, build_request("www.example.test"), terms)
    with pytest.raises(NameRefused, match=r"example\.org"):
        issue(authority, build_request("www.example.test", "example.org"), terms)


def test_a_server_has_no_mail_address(authority: Authority) -> None:
    with pytest.raises(RequestRefused, match="no names of type email"):
        issue(authority, build_request("www.example.test", "alice@example.test"))


@pytest.mark.parametrize("text", ["admin\0.example.test", "a\nb", "a\u202eb", "a\x7f"])
def test_a_subject_that_cannot_be_printed_is_refused(authority: Authority, text: str) -> None:
    request = Request(generate_key(KeyAlgorithm.EC256).public_key(), subject=build_name(text))
    with pytest.raises(RequestRefused, match=r"^the subject has characters that cannot be printed"):
        issue(authority, request, CLIENT)
    subject = x509.Name.from_rfc4514_string("CN=alice,O=Example")
    unit = x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, text)
    with pytest.raises(RequestRefused, match="cannot be printed"):
        issue(authority, replace(request, subject=x509.Name([unit, *subject])), CLIENT)


def test_a_CSR_of_another_version_is_refused() -> None:
    der = encode_csr(build_csr(common_name="a.test"))
    assert der.count(b"\x02\x01\x00") == 1
    with pytest.raises(RequestRefused, match="cannot be read"):
        parse_csr(der.replace(b"\x02\x01\x00", b"\x02\x01\x07"))


@pytest.mark.parametrize("lifetime_s", [0.0, -60.0, 59.0])
def test_a_life_that_is_none_is_refused(authority: Authority, lifetime_s: float) -> None:
    with pytest.raises(RequestRefused, match="at least 60 seconds"):
        issue(authority, build_request("www.example.test"), replace(SERVER, lifetime_s=lifetime_s))


def test_the_shortest_life_there_is(authority: Authority, clock: MovableClock) -> None:
    shortest = issue(authority, build_request("www.example.test"), replace(SERVER, lifetime_s=60.0))
    assert shortest.not_valid_after_utc == clock.now + timedelta(seconds=60)
    clock.now = authority.active_issuer().not_after - timedelta(seconds=60)
    assert issue(authority, build_request("www.example.test")).not_valid_after_utc == clock.now + timedelta(seconds=60)


@pytest.mark.parametrize("general_name", [b"\xa3\x00", b"\xa5\x00"], ids=["x400Address", "ediPartyName"])
def test_a_name_of_a_kind_nobody_has_is_refused(general_name: bytes) -> None:
    san = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x02" + general_name)
    with pytest.raises(NameRefused, match="a kind that is not signed"):
        parse_csr(encode_csr(build_csr(common_name="a.test", extensions=[(san, False)])))


@pytest.mark.parametrize("profile", ["root", "cross", "ocsp"])
def test_internal_profiles_cannot_be_asked_for(authority: Authority, profile: str) -> None:
    with pytest.raises(RequestRefused, match="nobody can ask"):
        issue(authority, build_request("www.example.test"), replace(SERVER, profile=profile))


def test_OT_12_JL_06_a_sub_CA_is_signed_by_the_root_with_its_own_constraints(authority: Authority) -> None:
    constraints = x509.NameConstraints([x509.DNSName("example.test")], None)
    request = build_request(common_name="Sub CA")
    leaf = issue(authority, request, Terms("sub_ca", ANY_NAME, "operator", constraints=constraints))
    assert leaf.issuer == authority.active_issuer(authority.issuers()[0].role).certificate.subject
    assert read(leaf, x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=0)
    assert read(leaf, x509.NameConstraints).critical
    with pytest.raises(RequestRefused, match="may not have CAs below"):
        issue(authority, request, Terms("sub_ca", ANY_NAME, "operator", issuer=authority.active_issuer()))


def test_nobody_but_the_operator_makes_CAs(authority: Authority) -> None:
    with pytest.raises(RequestRefused, match="only the operator"):
        issue(authority, build_request(common_name="Sub CA"), Terms("sub_ca", ANY_NAME, "acme:1"))


def test_constraints_are_not_for_leaves(authority: Authority) -> None:
    terms = replace(SERVER, constraints=x509.NameConstraints([x509.DNSName("example.test")], None))
    assert not has(issue(authority, build_request("www.example.test"), terms), x509.NameConstraints)


def test_a_prepared_certificate_is_signed_once(authority: Authority) -> None:
    prepared = authority.prepare(build_request("www.example.test"), SERVER)
    assert prepared.token not in repr(prepared)  # what it is good for is not for a log
    with authority.database.write() as connection:
        authority.sign(connection, prepared)
    with pytest.raises(AuthorityError, match="one signature"), authority.database.write() as connection:
        authority.sign(connection, prepared)


def test_a_prepared_certificate_is_signed_once_by_two_threads(authority: Authority) -> None:
    prepared = authority.prepare(build_request("www.example.test"), SERVER)
    outcomes, start = list[str](), threading.Barrier(2)

    def sign() -> None:
        start.wait(10)
        try:
            with authority.database.write() as connection:
                authority.sign(connection, prepared)
            outcomes.append("signed")
        except AuthorityError:
            outcomes.append("refused")

    threads = [threading.Thread(target=sign) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == ["refused", "signed"]


def test_what_was_discarded_is_not_signed(authority: Authority) -> None:
    prepared = authority.prepare(build_request("www.example.test"), SERVER)
    authority.issuance.discard(prepared)
    with pytest.raises(AuthorityError, match="one signature"), authority.database.write() as connection:
        authority.sign(connection, prepared)


def test_the_oldest_prepared_are_forgotten(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuance_module, "_MOST_PENDING", 1)
    first = authority.prepare(build_request("www.example.test"), SERVER)
    second = authority.prepare(build_request("www.example.test"), SERVER)
    with authority.database.write() as connection:
        authority.sign(connection, second)
    with pytest.raises(AuthorityError, match="one signature"), authority.database.write() as connection:
        authority.sign(connection, first)


def test_nothing_is_recorded_when_the_callers_transaction_fails(authority: Authority) -> None:
    prepared = authority.prepare(build_request("www.example.test"), SERVER)
    with suppress(ZeroDivisionError), authority.database.write() as connection:
        row = authority.sign(connection, prepared)
        raise ZeroDivisionError
    assert authority.find(row.issuer_id, row.serial) is None


def test_an_issuer_revoked_after_prepare_does_not_sign(authority: Authority) -> None:
    prepared = authority.prepare(build_request("www.example.test"), SERVER)
    intermediate = authority.active_issuer()
    authority.revoke(intermediate.parent_id, intermediate.serial, Reason.CA_COMPROMISE, "operator")
    with pytest.raises(RequestRefused, match="revoked"), authority.database.write() as connection:
        authority.sign(connection, prepared)


def test_an_issuer_retired_after_prepare_does_not_sign(authority: Authority) -> None:
    prepared = authority.prepare(build_request("www.example.test"), SERVER)
    start_rollover(authority)
    retire_old(authority)
    with pytest.raises(RequestRefused, match=Phase.RETIRED.value), authority.database.write() as connection:
        authority.sign(connection, prepared)


def test_a_key_that_others_know_is_not_certified_again(authority: Authority) -> None:
    request = build_request("www.example.test")
    row = authority.issue(request, SERVER)
    authority.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    again = authority.issue(request, SERVER)
    authority.revoke(again.issuer_id, again.serial, Reason.KEY_COMPROMISE, "operator")
    with pytest.raises(RequestRefused, match="known to others"):
        authority.issue(replace(request, names=parse_names(["other.example.test"])), SERVER)


def test_the_key_of_the_issuer_is_not_certified_as_a_leaf(authority: Authority) -> None:
    request = replace(build_request("www.example.test"), public_key=authority.load_signer("intermediate-1").public_key)
    with pytest.raises(RequestRefused, match="key of its issuer"):
        issue(authority, request)


def test_a_leaf_ends_no_later_than_its_issuer(authority: Authority, clock: MovableClock) -> None:
    issuer = authority.active_issuer()
    clock.now = issuer.not_after - timedelta(days=10)
    assert issue(authority, build_request("www.example.test")).not_valid_after_utc == issuer.not_after
    clock.now = issuer.not_after - timedelta(seconds=30)
    with pytest.raises(RequestRefused, match="too soon"):
        issue(authority, build_request("www.example.test"))
    clock.now = issuer.not_after
    with pytest.raises(UnknownCertificate, match="no intermediate that is valid"):
        issue(authority, build_request("www.example.test"))


def test_a_certificate_begins_a_little_before_it_is_issued(authority: Authority, clock: MovableClock) -> None:
    clock.move(days=1)
    leaf = issue(authority, build_request("www.example.test"))
    assert leaf.not_valid_before_utc == clock.now - timedelta(minutes=5)


def test_a_certificate_does_not_begin_before_its_issuer(authority: Authority, clock: MovableClock) -> None:
    issuer = authority.active_issuer()
    clock.now = issuer.not_before + timedelta(minutes=2)
    assert issue(authority, build_request("www.example.test")).not_valid_before_utc == issuer.not_before


def test_the_beginning_can_be_asked_for_within_bounds(authority: Authority, clock: MovableClock) -> None:
    later = clock.now + timedelta(days=3)
    leaf = issue(authority, build_request("www.example.test"), replace(SERVER, not_before=later, lifetime_s=3600))
    assert leaf.not_valid_before_utc == later - timedelta(minutes=5)
    assert leaf.not_valid_after_utc == later + timedelta(hours=1)
    for last in (clock.now - timedelta(minutes=5), clock.now + timedelta(days=30)):
        issue(authority, build_request("www.example.test"), replace(SERVER, not_before=last))
    second = timedelta(seconds=1)
    for wrong in (clock.now - timedelta(minutes=5) - second, clock.now + timedelta(days=30) + second):
        with pytest.raises(RequestRefused, match="within 30 days"):
            issue(authority, build_request("www.example.test"), replace(SERVER, not_before=wrong))


def test_what_cannot_be_encoded_is_refused(authority: Authority) -> None:
    prepared = authority.prepare(build_request("www.example.test"), SERVER)
    content = _content_of(authority, prepared.linted)
    with pytest.raises(RequestRefused, match="cannot be encoded"):
        authority.issuance.check(replace(content, serial=2**200), prepared.issuer, None, prepared.entry)


def _content_of(authority: Authority, linted: x509.Certificate) -> Any:
    return issuance_module.Content(
        profile=authority.settings.profile("server"),
        public_key=linted.public_key(),  # type: ignore[arg-type]
        subject=linted.subject,
        names=parse_names(["www.example.test"]),
        issuer=linted.issuer,
        issuer_key_identifier=b"x" * 20,
        serial=linted.serial_number,
        not_before=linted.not_valid_before_utc,
        not_after=linted.not_valid_after_utc,
    )


class Betraying:
    """A keyring whose key is exchanged between preparing and signing, as a faulty token might do."""

    def __init__(self, real: Any, change: Callable[[Signer], Signer]) -> None:
        self._real, self._change, self.armed = real, change, False

    def create(self, key_id: str, algorithm: KeyAlgorithm) -> Signer:
        raise NotImplementedError

    def add(self, key_id: str, key: Any) -> Signer:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def load(self, key_id: str) -> Signer:
        signer: Signer = self._real.load(key_id)
        return self._change(signer) if self.armed else signer


def _sign_betrayed(authority: Authority, change: Callable[[Signer], Signer]) -> None:
    keyring = Betraying(authority.keyring, change)
    betrayed = Issuance(authority.settings, keyring)
    with authority.database.write() as connection:
        prepared = betrayed.prepare(connection, build_request("www.example.test"), SERVER, authority.clock())
        keyring.armed = True
        betrayed.sign(connection, prepared)


def test_a_wrong_signature_is_noticed_and_nothing_recorded(authority: Authority) -> None:
    class Liar(ec.EllipticCurvePrivateKey):
        """Signs with another key than the one it shows."""

        def __init__(self, real: Any) -> None:
            self._real, self._other = real, ec.generate_private_key(ec.SECP256R1())

        def sign(self, data: Any, signature_algorithm: Any) -> bytes:
            return self._other.sign(data, signature_algorithm)

        def public_key(self) -> Any:
            return self._real.public_key()

        curve = property(lambda self: self._real.curve)
        key_size = property(lambda self: self._real.key_size)
        exchange = private_numbers = private_bytes = __copy__ = __deepcopy__ = None  # type: ignore[assignment]

    with pytest.raises(KeyUnavailable, match="wrong signature"):
        _sign_betrayed(authority, lambda signer: Signer(Liar(signer.key), signer.digest, signer.algorithm))


def test_what_is_signed_is_what_was_linted(authority: Authority) -> None:
    with pytest.raises(KeyUnavailable, match="another way than the certificate says"):
        _sign_betrayed(authority, lambda signer: Signer(signer.key, hashes.SHA384(), signer.algorithm))
    # A key of another kind, whose signature is good, but not of the kind that the certificate says.
    with pytest.raises(KeyUnavailable, match="another way than the certificate says"):
        _sign_betrayed(authority, lambda signer: build_signer(generate_key(KeyAlgorithm.RSA2048)))
    with authority.database.read() as connection:
        assert {row.profile for row in list_certificates(connection)} == {"root", "sub_ca"}


def test_the_linted_bytes_are_signed_whatever_is_shown_to_sign(authority: Authority) -> None:
    prepared, other = (authority.prepare(build_request(name), SERVER) for name in ("a.example.test", "b.example.test"))
    with authority.database.write() as connection:
        row = authority.sign(connection, replace(prepared, linted=other.linted))
    leaf = parse_row(row)
    assert (row.serial, row.sha256) == (format(leaf.serial_number, "x"), leaf.fingerprint(hashes.SHA256()).hex())
    assert leaf.tbs_certificate_bytes == prepared.linted.tbs_certificate_bytes
    assert leaf.signature != prepared.linted.signature
    leaf.verify_directly_issued_by(prepared.issuer.certificate)


def test_keys_the_CA_does_not_know_are_refused() -> None:
    key = ed448.Ed448PrivateKey.generate()
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)
    with pytest.raises(RequestRefused, match="Ed448"):
        parse_csr(csr.public_bytes(Encoding.PEM))


@pytest.mark.parametrize(
    "algorithm", [KeyAlgorithm.EC384, KeyAlgorithm.RSA2048, KeyAlgorithm.ED25519, KeyAlgorithm.EC521]
)
def test_issuers_of_other_kinds(authority: Authority, algorithm: KeyAlgorithm, tmp_path: Path) -> None:
    root, intermediate = start_rollover(authority, algorithm)
    row = authority.issue(build_request("www.example.test"), SERVER)
    assert row.issuer_id == intermediate.id
    roots = write_pem(tmp_path / "root.pem", root.certificate)
    chain = write_pem(tmp_path / "int.pem", intermediate.certificate)
    leaf = write_pem(tmp_path / "leaf.pem", parse_row(row))
    assert "OK" in run_openssl("verify", "-x509_strict", "-CAfile", roots, "-untrusted", chain, leaf)


def test_OT_35_the_audit_trail_says_who(authority: Authority) -> None:
    from ottr.ca.schema import event

    row = authority.issue(build_request("www.example.test"), replace(SERVER, requester="acme:7"))
    with authority.database.read() as connection:
        last = connection.execute(event.select().order_by(event.c.id.desc()).limit(1)).one()
    assert (last.kind, last.actor, last.serial) == ("issue", "acme:7", row.serial)


def test_generated_keys_are_of_their_kind() -> None:
    assert {type(generate_key(kind)).__name__ for kind in KeyAlgorithm} == {
        "ECPrivateKey",
        "RSAPrivateKey",
        "Ed25519PrivateKey",
    }


def test_that_an_OCSP_signer_is_not_asked_about_is_no_critical_extension(authority: Authority) -> None:
    """RFC 6960 section 4.2.2.2.1: who does not know it need not refuse the certificate."""
    certificate = authority.load_ocsp_signer("intermediate-1").certificate
    assert not read(certificate, x509.OCSPNoCheck).critical


def test_certificates_are_listed_in_the_order_of_their_issue_or_the_other_way(authority: Authority) -> None:
    issued = [authority.issue(build_request("www.example.test"), SERVER).id for _ in range(3)]
    with authority.database.read() as connection:
        assert [row.id for row in list_certificates(connection)][-3:] == issued
        assert [row.id for row in list_certificates(connection, newest_first=True)][:3] == issued[::-1]
