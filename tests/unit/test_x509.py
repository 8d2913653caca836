# SPDX-License-Identifier: Apache-2.0
"""Certificates and requests as plain values, compared with what openssl says of them."""

from __future__ import annotations

import base64
import datetime as dt
import ssl
import subprocess

import pytest
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from ottr import x509
from ottr.model import KeyType
from tests.unit.authority import Authority, new_key

START = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def openssl(pem: str, *arguments: str) -> str:
    done = subprocess.run(
        ["openssl", "x509", "-noout", *arguments], input=pem, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority("Root, of all")


@pytest.fixture(scope="module")
def intermediate(root) -> Authority:
    return Authority("R1", root)


def request(key, names=("web1.example.com",), *, san: bool = True) -> str:
    builder = cx509.CertificateSigningRequestBuilder().subject_name(cx509.Name([]))
    if san:
        builder = builder.add_extension(cx509.SubjectAlternativeName([cx509.DNSName(name) for name in names]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def test_a_certificate_is_described_as_openssl_describes_it(intermediate):
    pem = intermediate.issue("WEB1.example.com", "www.example.com", "192.0.2.1", start=START, days=47).leaf_pem
    leaf = x509.parse_certificate(pem)
    assert leaf.sha256 == openssl(pem, "-fingerprint", "-sha256").partition("=")[2].replace(":", "").lower()
    assert leaf.serial == openssl(pem, "-serial").partition("=")[2].lstrip("0").lower()
    assert leaf.subject == openssl(pem, "-subject", "-nameopt", "RFC2253").partition("=")[2]
    assert leaf.issuer == openssl(pem, "-issuer", "-nameopt", "RFC2253").partition("=")[2] == "CN=R1"
    assert (leaf.not_before, leaf.not_after) == (START, START + dt.timedelta(days=47))
    assert leaf.dns_names == ("web1.example.com", "www.example.com")
    assert leaf.key_type is KeyType.EC256
    assert leaf.authority_key_id == cx509.SubjectKeyIdentifier.from_public_key(intermediate.key.public_key()).digest
    assert not leaf.self_signed


def test_der_and_pem_are_the_same_certificate(root):
    leaf = x509.parse_certificate(root.issue("web1.example.com").leaf_pem)
    assert x509.parse_certificate_der(leaf.der) == leaf
    assert x509.parse_certificate(x509.encode_pem(leaf.der)) == leaf


def test_names_are_rfc_4514_strings(root):
    assert x509.parse_certificate(root.pem).subject == r"CN=Root\, of all"


def test_a_root_is_self_signed_and_has_no_names_of_hosts(root):
    described = x509.parse_certificate(root.pem)
    assert described.self_signed
    assert described.dns_names == ()
    assert described.authority_key_id is None


KEYS = [
    (new_key(), KeyType.EC256),
    (ec.generate_private_key(ec.SECP384R1()), KeyType.EC384),
    (ec.generate_private_key(ec.SECP521R1()), None),
    (rsa.generate_private_key(65537, 2048), KeyType.RSA2048),
    (rsa.generate_private_key(65537, 1024), None),
    (ed25519.Ed25519PrivateKey.generate(), None),
]


@pytest.mark.parametrize(("key", "key_type"), KEYS, ids=lambda one: type(one).__name__)
def test_keys_are_told_apart(root, key, key_type):
    assert x509.parse_certificate(root.issue("web1.example.com", key=key).leaf_pem).key_type is key_type


def test_a_request_is_described_and_its_key_is_the_certificates(root):
    key = new_key()
    csr = x509.parse_request(request(key, ("WEB1.example.com", "www.example.com")))
    assert csr.dns_names == ("web1.example.com", "www.example.com")
    assert csr.key_type is KeyType.EC256
    assert csr.spki_der == x509.parse_certificate(root.issue("a.example.com", key=key).leaf_pem).spki_der
    assert cx509.load_der_x509_csr(csr.der).is_signature_valid


def test_a_request_without_names_has_none():
    assert x509.parse_request(request(new_key(), san=False)).dns_names == ()


def test_a_request_somebody_has_changed_is_refused():
    der = bytearray(x509.parse_request(request(new_key())).der)
    der[der.index(b"web1")] ^= 1
    body = base64.encodebytes(der).decode()
    with pytest.raises(ValueError, match="signature"):
        x509.parse_request(f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n")


@pytest.mark.parametrize(
    "text", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "é"]
)
def test_what_is_no_certificate_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        x509.parse_certificate(text)
    with pytest.raises(ValueError, match=r"."):
        x509.parse_certificate_der(text.encode())
    with pytest.raises(ValueError, match=r"."):
        x509.parse_request(text)


def self_made(*options: str) -> bytes:
    """DER of a certificate that openssl makes and signs by itself."""
    command = ["openssl", "req", "-x509", "-nodes", "-subj", "/CN=old", "-keyout", "/dev/null", "-outform", "DER"]
    return subprocess.run([*command, *options], capture_output=True, check=True).stdout


def _old_curve() -> bytes:
    return self_made("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:sect233r1")


def _unknown_algorithm() -> bytes:
    return self_made("-newkey", "rsa:1024").replace(
        bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a864886f70d010163")
    )


def _strange_version() -> bytes:
    return self_made("-newkey", "rsa:1024").replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"), 1)


def _same_extension_twice() -> bytes:
    return self_made("-newkey", "rsa:1024").replace(bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d23"))


def _strange_name() -> bytes:
    return self_made("-newkey", "rsa:1024", "-addext", "2.5.29.17=DER:30:02:a3:00")


@pytest.mark.parametrize(
    "make", [_old_curve, _unknown_algorithm, _strange_version, _same_extension_twice, _strange_name]
)
def test_what_old_appliances_make_is_a_value_error_and_nothing_else(make):
    der = make()
    with pytest.raises(ValueError, match=r"."):
        x509.parse_certificate_der(der)
    assert x509.find_certificate(ssl.DER_cert_to_PEM_cert(der)) is None


def test_a_certificate_is_found_where_there_is_one(root):
    pem = root.issue("a.example.com").leaf_pem
    assert x509.find_certificate(pem) == x509.parse_certificate(pem)
    assert x509.find_certificate("") is None


def test_a_text_is_cut_into_its_certificates(root, intermediate):
    leaf = intermediate.issue("a.example.com")
    assert x509.split_pem(leaf.fullchain_pem) == (leaf.leaf_pem, intermediate.pem)
    assert x509.split_pem("a comment\n" + leaf.leaf_pem.strip()) == (leaf.leaf_pem,)
    assert x509.split_pem("") == ()


def test_a_chain_is_one_when_each_is_signed_by_the_next(root, intermediate):
    leaf = intermediate.issue("a.example.com").leaf_pem
    assert x509.is_chain(leaf, intermediate.pem)
    assert x509.is_chain(leaf, intermediate.pem + root.pem)
    assert x509.is_chain(leaf, "")
    assert not x509.is_chain(leaf, root.pem)
    assert not x509.is_chain(leaf, root.pem + intermediate.pem)
    assert not x509.is_chain(leaf, Authority("R1").pem)
