# SPDX-License-Identifier: Apache-2.0
"""Certificates and requests as plain values; the only user of ``cryptography.x509`` on this side.

Serial numbers are lower-case hex, fingerprints SHA-256 over the DER in lower-case hex, names RFC 4514,
times aware UTC, dNSNames lower case in the order of the SAN (RFC 5280 section 4.2.1.6).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ottr.model import KeyType

_END = "-----END CERTIFICATE-----"
_CURVES = {"secp256r1": KeyType.EC256, "secp384r1": KeyType.EC384}
_MODULI = {2048: KeyType.RSA2048, 3072: KeyType.RSA3072, 4096: KeyType.RSA4096}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the tool asks of an X.509 certificate."""

    der: bytes
    sha256: str
    serial: str
    subject: str
    issuer: str
    dns_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    spki_der: bytes
    key_type: KeyType | None
    """None: a key that Ottr does not make."""
    authority_key_id: bytes | None

    @property
    def self_signed(self) -> bool:
        """Whether subject and issuer are one name: nobody vouches for it."""
        return self.subject == self.issuer


@dataclass(frozen=True, slots=True)
class Request:
    """What the tool asks of a certification request (RFC 2986)."""

    der: bytes
    dns_names: tuple[str, ...]
    spki_der: bytes
    key_type: KeyType | None


@lru_cache(maxsize=512)
def parse_certificate(pem: str) -> Certificate:
    """Parse the first certificate of a PEM text. Raises ValueError."""
    with _as_value_error():
        der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
    return parse_certificate_der(der)  # what is issued is met again in a handshake


@lru_cache(maxsize=512)
def parse_certificate_der(der: bytes) -> Certificate:
    """Parse a DER certificate. Raises ValueError."""
    with _as_value_error():
        return _describe(x509.load_der_x509_certificate(der))


def find_certificate(pem: str) -> Certificate | None:
    """Parse what a device had before us; None: nothing, or nothing that can be read."""
    try:
        return parse_certificate(pem)
    except ValueError:
        return None


@lru_cache(maxsize=512)
def parse_request(pem: str) -> Request:
    """Parse a CSR and check its own signature. Raises ValueError."""
    with _as_value_error():
        csr = x509.load_pem_x509_csr(pem.encode())
        if not csr.is_signature_valid:
            raise ValueError("the signature of the certification request is not valid")
        key = csr.public_key()
        return Request(csr.public_bytes(Encoding.DER), _dns_names(csr.extensions), _spki(key), _key_type(key))


def split_pem(pem: str) -> tuple[str, ...]:
    """Cut a PEM text into its certificates, each with a final newline."""
    pieces = pem.split(_END)[:-1]
    return tuple(piece[piece.index("-----BEGIN CERTIFICATE-----") :] + _END + "\n" for piece in pieces)


def encode_pem(der: bytes) -> str:
    """Write a DER certificate as PEM."""
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


def is_chain(leaf_pem: str, chain_pem: str) -> bool:
    """Tell whether each certificate is signed by the next one (RFC 8555 section 9.1)."""
    certificates = [x509.load_pem_x509_certificate(pem.encode()) for pem in (leaf_pem, *split_pem(chain_pem))]
    try:
        for subject, issuer in itertools.pairwise(certificates):
            subject.verify_directly_issued_by(issuer)
    except Exception:  # cryptography raises ValueError, TypeError and InvalidSignature for one meaning: no
        return False
    return True


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Old appliances make certificates for which ``cryptography`` has errors of its own."""
    try:
        yield
    except (
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise ValueError(str(error)) from error


def _describe(certificate: x509.Certificate) -> Certificate:
    key = certificate.public_key()
    return Certificate(
        der=certificate.public_bytes(Encoding.DER),
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        serial=f"{certificate.serial_number:x}",
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        dns_names=_dns_names(certificate.extensions),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        spki_der=_spki(key),
        key_type=_key_type(key),
        authority_key_id=_authority_key_id(certificate.extensions),
    )


def _dns_names(extensions: x509.Extensions) -> tuple[str, ...]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))


def _authority_key_id(extensions: x509.Extensions) -> bytes | None:
    try:
        return extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None


def _spki(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key_type(key: CertificatePublicKeyTypes) -> KeyType | None:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name)
    if isinstance(key, rsa.RSAPublicKey):
        return _MODULI.get(key.key_size)
    return None
