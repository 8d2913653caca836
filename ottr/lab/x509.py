# SPDX-License-Identifier: Apache-2.0
"""Throw-away certificates for the lab's own servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_LIFETIME = timedelta(days=30)
_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def write_self_signed(certificate: Path, key: Path, dns_name: str, *, lifetime: timedelta = _LIFETIME) -> None:
    """Write a self-signed server certificate and its key (0600) for one name, both PEM."""
    private = generate_private_key(SECP256R1())
    name = _name(dns_name)
    issued = _builder(name, name, private, lifetime).add_extension(_names(dns_name), critical=False)
    write_key(key, private)
    certificate.write_text(_pem(issued.sign(private, SHA256())))


def write_server_certificate(folder: Path, address: str) -> Path:
    """Write ``server.pem`` and ``server.key`` for an IP address, and return the path of the root that signed it."""
    root_key, server_key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    root_name = _name("Ottr lab transport root")
    root = (
        _builder(root_name, root_name, root_key, _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNS_CERTIFICATES, critical=True)  # Python 3.13 verifies strictly (RFC 5280 section 4.2.1.9)
        .sign(root_key, SHA256())
    )
    server = (
        _builder(_name(address), root_name, server_key, _LIFETIME)
        .add_extension(_names(address), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, SHA256())
    )
    write_key(folder / "server.key", server_key)
    (folder / "server.pem").write_text(_pem(server))
    bundle = folder / "server-root.pem"
    bundle.write_text(_pem(root))
    return bundle


def write_key(path: Path, key: EllipticCurvePrivateKey) -> None:
    """Write a private key as PKCS#8 PEM with mode 0600."""
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - timedelta(hours=1)
    return x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), start, start + lifetime
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _names(name: str) -> x509.SubjectAlternativeName:
    try:
        return x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))])
    except ValueError:
        return x509.SubjectAlternativeName([x509.DNSName(name)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
