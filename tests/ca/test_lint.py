# SPDX-License-Identifier: Apache-2.0
"""The linter sees what is wrong in the encoding, whoever made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.authority import Authority
from ottr.ca.lint import find_faults, lint
from ottr.ca.model import KeyAlgorithm
from ottr.ca.names import Constraints, parse_names
from ottr.ca.profiles import BUILT_IN, Profile
from ottr.ca.template import NO_REV_AVAIL, Content, Pointers, build_certificate
from ottr.errors import RequestRefused
from tests.ca.requests import build_name

KEY = ec.generate_private_key(ec.SECP256R1())
LEAF_KEY = ec.generate_private_key(ec.SECP256R1())
SERVER = BUILT_IN["server"]


@pytest.fixture
def issuer(authority: Authority) -> x509.Certificate:
    return authority.active_issuer().certificate


@pytest.fixture
def content(issuer: x509.Certificate, authority: Authority) -> Content:
    """What is in order."""
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    return Content(
        profile=SERVER,
        public_key=LEAF_KEY.public_key(),
        subject=build_name("www.example.test"),
        names=parse_names(["www.example.test"]),
        issuer=issuer.subject,
        issuer_key_identifier=identifier,
        serial=x509.random_serial_number(),
        not_before=authority.clock(),
        not_after=authority.clock() + timedelta(days=1),
        pointers=Pointers("http://a.test/i", "http://a.test/c", "http://a.test/o"),
    )


def faults(content: Content, issuer: x509.Certificate | None, profile: Profile = SERVER) -> tuple[str, ...]:
    return tuple(find_faults(build_certificate(content).sign(KEY, hashes.SHA256()), profile, issuer))


def test_what_is_in_order_passes(content: Content, issuer: x509.Certificate) -> None:
    assert faults(content, issuer) == ()
    lint(build_certificate(content).sign(KEY, hashes.SHA256()), SERVER, issuer)


def test_every_fault_is_named_at_once(content: Content, issuer: x509.Certificate) -> None:
    wrong = replace(content, serial=7, names=parse_names([]), subject=build_name("www.example.test"))
    with pytest.raises(RequestRefused, match=r"random.*; .*needs a name"):
        lint(build_certificate(wrong).sign(KEY, hashes.SHA256()), SERVER, issuer)


def test_the_bounds_themselves_are_in_order(content: Content, issuer: x509.Certificate) -> None:
    for serial in (2**63, 2**159 - 1):
        assert faults(replace(content, serial=serial), issuer) == ()
    assert faults(replace(content, not_after=issuer.not_valid_after_utc), issuer) == ()
    silent = _silent(content, days=8)  # seven, and one for the backdating
    assert faults(silent, issuer, silent.profile) == ()


def test_a_serial_of_more_than_159_bits(content: Content, issuer: x509.Certificate) -> None:
    """As another program may write it: the library does not."""
    longest = build_certificate(replace(content, serial=2**159 - 1)).sign(KEY, hashes.SHA256())
    der = longest.public_bytes(Encoding.DER)
    der = der.replace(b"\x02\x14" + (2**159 - 1).to_bytes(20), b"\x02\x15" + (2**159).to_bytes(21), 1)
    for start in (0, 4):  # certificate and what is signed of it: two bytes of tag and form, two of length
        length = int.from_bytes(der[start + 2 : start + 4]) + 1
        der = der[: start + 2] + length.to_bytes(2) + der[start + 4 :]
    leaf = x509.load_der_x509_certificate(der)
    assert leaf.serial_number == 2**159
    assert [one for one in find_faults(leaf, SERVER, issuer) if "too short or too long" in one]


CASES: list[tuple[str, Callable[[Content], Content]]] = [
    ("too short or too long", lambda content: replace(content, serial=2**63 - 1)),
    ("ends before it begins", lambda content: replace(content, not_after=content.not_before)),
    ("for nobody", lambda content: replace(content, subject=x509.Name([]), names=parse_names([]))),
    ("needs a name", lambda content: replace(content, names=parse_names([]))),
    ("names of type uri", lambda content: replace(content, names=parse_names(["http://a.test/", "www.example.test"]))),
    ("common name is not one of", lambda content: replace(content, subject=build_name("other.example.test"))),
    ("cannot be printed", lambda content: replace(content, subject=build_name("www.example.test\0"))),
    ("basic constraints", lambda content: replace(content, profile=replace(SERVER, is_ca=True))),
    ("key usage is not", lambda content: replace(content, profile=replace(SERVER, is_ca=True))),
    ("purposes are not", lambda content: replace(content, profile=replace(SERVER, usages=()))),
    ("nocheck is for", lambda content: replace(content, profile=replace(SERVER, nocheck=True))),
    ("plain http", lambda content: replace(content, pointers=Pointers("https://a.test/i"))),
    ("lives too long to have no", lambda content: _silent(content, days=8, seconds=1)),
    ("lives longer than its issuer", lambda content: replace(content, not_after=content.not_after.replace(year=2070))),
    ("authority key identifier", lambda content: replace(content, issuer_key_identifier=b"x" * 20)),
    ("issuer's name", lambda content: replace(content, issuer=build_name("Somebody"))),
]


def _silent(content: Content, days: int, seconds: int = 0) -> Content:
    profile = replace(SERVER, points_to_status=False)
    return replace(content, profile=profile, not_after=content.not_before + timedelta(days=days, seconds=seconds))


@pytest.mark.parametrize(("fault", "spoil"), CASES, ids=[fault for fault, _ in CASES])
def test_a_fault_is_found(
    content: Content, issuer: x509.Certificate, fault: str, spoil: Callable[[Content], Content]
) -> None:
    assert [found for found in faults(spoil(content), issuer) if fault in found]


def test_a_short_life_without_revocation_passes(content: Content, issuer: x509.Certificate) -> None:
    silent = _silent(content, days=7)
    assert faults(silent, issuer, replace(SERVER, points_to_status=False)) == ()


def test_a_profile_certifies_its_own_kinds_of_keys(content: Content, issuer: x509.Certificate) -> None:
    rsa_only = replace(SERVER, keys=frozenset({KeyAlgorithm.RSA4096}))
    assert "profile server does not certify keys of type ec256" in faults(content, issuer, rsa_only)


def test_it_has_the_key_of_its_issuer(content: Content, issuer: x509.Certificate) -> None:
    own = replace(content, public_key=issuer.public_key())  # type: ignore[arg-type]
    assert "it has the key of its issuer" in faults(own, issuer)


def test_an_issuer_that_is_none(content: Content) -> None:
    leaf = build_certificate(content).sign(KEY, hashes.SHA256())
    below = replace(content, issuer=leaf.subject)
    assert "its issuer is not a CA" in faults(below, leaf)
    assert "its issuer is not a CA" in faults(below, _bare(leaf, content))


def test_a_CA_below_one_that_may_have_none(content: Content, issuer: x509.Certificate) -> None:
    sub_ca = BUILT_IN["sub_ca"]
    found = faults(replace(content, profile=sub_ca, names=parse_names([])), issuer, sub_ca)
    assert found == ("its issuer may not have CAs below it",)


def test_names_outside_of_the_issuers_constraints(content: Content, issuer: x509.Certificate) -> None:
    constraints = Constraints(permitted_dns=("example.org",), excluded_ip=("10.0.0.0/8",)).build()
    assert constraints is not None
    narrow = _rebuild(issuer, content, constraints)
    names = parse_names(["www.example.test", "a.example.org", "10.1.2.3", "192.0.2.1"])
    found = [fault for fault in faults(replace(content, names=names), narrow) if "constraints" in fault]
    assert found == [f"{name} is outside of the issuer's name constraints" for name in ("www.example.test", "10.1.2.3")]


def test_an_encoding_without_what_belongs_there(content: Content, issuer: x509.Certificate) -> None:
    leaf = build_certificate(content).sign(KEY, hashes.SHA256())
    found = tuple(find_faults(_bare(leaf, content), SERVER, issuer))
    for fault in ("basic constraints", "key usage", "purposes", "key identifier is not", "authority key identifier"):
        assert [one for one in found if fault in one], fault


def test_what_only_RSA_keys_do_and_what_only_CAs_carry(content: Content, issuer: x509.Certificate) -> None:
    bits = dict.fromkeys(("content_commitment", "data_encipherment", "key_agreement", "encipher_only"), False)
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=True, key_cert_sign=False, crl_sign=False, decipher_only=False, **bits
    )
    leaf = (
        _start(content)
        .add_extension(usage, critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName("a.test")], None), critical=True)
        .sign(KEY, hashes.SHA256())
    )
    found = tuple(find_faults(leaf, SERVER, issuer))
    assert "only RSA keys encipher" in found
    assert "it carries an extension of CAs" in found


def test_a_CA_says_how_it_is_revoked(content: Content) -> None:
    leaf = _start(content).add_extension(x509.UnrecognizedExtension(NO_REV_AVAIL, b"\x05\x00"), critical=False)
    found = tuple(find_faults(leaf.sign(KEY, hashes.SHA256()), BUILT_IN["sub_ca"], None))
    assert "it lives too long to have no way of revocation" in found


def _start(content: Content) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(content.subject)
        .issuer_name(content.issuer)
        .public_key(content.public_key)
        .serial_number(content.serial)
        .not_valid_before(content.not_before)
        .not_valid_after(content.not_after)
    )


def _bare(leaf: x509.Certificate, content: Content) -> x509.Certificate:
    """The same without a single extension."""
    return _start(replace(content, subject=leaf.subject)).sign(KEY, hashes.SHA256())


def _rebuild(issuer: x509.Certificate, content: Content, constraints: Any) -> x509.Certificate:
    """The issuer with name constraints."""
    builder = _start(replace(content, subject=issuer.subject, not_after=issuer.not_valid_after_utc))
    for extension in issuer.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.add_extension(constraints, critical=True).sign(KEY, hashes.SHA256())
