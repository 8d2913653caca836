# SPDX-License-Identifier: Apache-2.0
"""Certificates and keys as files for others: PEM, DER, PKCS#12, Java truststore."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from ottr.ca.keys import PrivateKey

_PASSWORD_BYTES = 18


class Preset(Enum):
    """How a PKCS#12 file is encrypted."""

    MODERN = "modern"
    """AES-256, HMAC-SHA-256: OpenSSL 1.1, Windows Server 2019, Java 11, and newer."""
    STRONG = "strong"
    """The same with 600,000 rounds."""
    LEGACY = "legacy"
    """3DES, HMAC-SHA-1: old appliances, Windows Server 2016."""


def make_password() -> str:
    """A password for a file. PKCS#12 protects a password badly, so it is made, not chosen."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def export_pem(certificates: Sequence[x509.Certificate]) -> bytes:
    """Certificates, one after another."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def export_der(certificate: x509.Certificate) -> bytes:
    """One certificate."""
    return certificate.public_bytes(Encoding.DER)


def export_key(key: PrivateKey, password: bytes | None) -> bytes:
    """A key as PKCS#8 PEM; with a password encrypted."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def export_pkcs12(
    key: PrivateKey, chain: Sequence[x509.Certificate], password: bytes, preset: Preset, name: str
) -> bytes:
    """A key, its certificate and the chain above, under a friendly name."""
    return pkcs12.serialize_key_and_certificates(
        name.encode(), key, chain[0], list(chain[1:]) or None, _choose_encryption(preset, password)
    )


def export_java_truststore(certificates: Sequence[x509.Certificate], password: bytes) -> bytes:
    """Certificates that Java trusts, PKCS#12 with Java's attribute; aliases are the subjects."""
    entries = [pkcs12.PKCS12Certificate(one, one.subject.rfc4514_string().encode()) for one in certificates]
    return pkcs12.serialize_java_truststore(entries, _choose_encryption(Preset.MODERN, password))


def _choose_encryption(preset: Preset, password: bytes) -> KeySerializationEncryption:
    builder = PrivateFormat.PKCS12.encryption_builder()
    if preset is Preset.LEGACY:
        legacy = pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC
        return builder.key_cert_algorithm(legacy).hmac_hash(hashes.SHA1()).build(password)  # noqa: S303
    if preset is Preset.STRONG:
        builder = builder.kdf_rounds(600_000)
    modern = pkcs12.PBES.PBESv2SHA256AndAES256CBC
    return builder.key_cert_algorithm(modern).hmac_hash(hashes.SHA256()).build(password)
