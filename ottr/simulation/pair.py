# SPDX-License-Identifier: Apache-2.0
"""A certificate chain and its key, as a simulated device holds and serves them."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_LIFETIME = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Pair:
    """What a TLS server is given: leaf first, then its issuers; the key may belong to another certificate."""

    chain_pem: str
    key: PrivateKey

    @property
    def leaf(self) -> x509.Certificate:
        """The first certificate."""
        return x509.load_pem_x509_certificate(self.chain_pem.encode())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf's DER, lower-case hex."""
        return self.leaf.fingerprint(SHA256()).hex()


def public_bytes(owner: x509.Certificate | x509.CertificateSigningRequest | PrivateKey) -> bytes:
    """The DER of the SubjectPublicKeyInfo."""
    return owner.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def write_private_key(key: PrivateKey) -> str:
    """PKCS#8 in PEM, not encrypted: what must never be seen outside a device."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def make_self_signed(common_name: str, key: PrivateKey | None = None, *, ca: bool = False) -> Pair:
    """Make a self-signed certificate, as a device does at its first start; P-256 unless a key is given."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    start = datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), start, start + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(common_name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    return Pair(certificate.public_bytes(Encoding.PEM).decode(), key)


def build_context(pair: Pair, minimum: ssl.TLSVersion, maximum: ssl.TLSVersion, *others: Pair) -> ssl.SSLContext:
    """Build a server's TLS context; ``others`` are of other key types, and what the client can decides.

    Raises ssl.SSLError when key and certificate do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = minimum, maximum
    for each in (pair, *others):
        with tempfile.NamedTemporaryFile("w", prefix="ottr-simulation-") as both:  # which is nobody else's to read
            both.write(write_private_key(each.key) + each.chain_pem)
            both.flush()
            context.load_cert_chain(both.name)
    return context
