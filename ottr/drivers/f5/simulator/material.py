# SPDX-License-Identifier: Apache-2.0
"""Keys, certificates and CSRs: made, read, compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha1
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import AttributeOID, NameOID

from ottr.drivers.f5.simulator.answers import Refusal
from ottr.simulation.pair import PrivateKey, public_bytes

RSA_SIZES = (1024, 2048, 3072, 4096)
CURVES: Mapping[str, type[ec.EllipticCurve]] = {
    "prime256v1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
}
_CURVE_NAMES = {256: "prime256v1", 384: "secp384r1", 521: "secp521r1"}
SUBJECT = {
    "commonName": NameOID.COMMON_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "ou": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "city": NameOID.LOCALITY_NAME,
    "state": NameOID.STATE_OR_PROVINCE_NAME,
    "country": NameOID.COUNTRY_NAME,
    "emailAddress": NameOID.EMAIL_ADDRESS,
}
"""Parts of a subject as REST calls them."""
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


def make_key(kind: str, size: int, curve: str) -> PrivateKey:
    """Make an ``rsa-private`` or ``ec-private`` key. Raises Refusal."""
    if kind == "rsa-private":
        if size not in RSA_SIZES:
            raise Refusal(400, f"01070734:3: Configuration error: invalid key size ({size})")
        return rsa.generate_private_key(65537, size)
    if kind != "ec-private":
        raise Refusal(400, f'invalid property value "key-type":"{kind}"')
    if curve not in CURVES:
        raise Refusal(400, f'invalid property value "curve-name":"{curve}"')
    return ec.generate_private_key(CURVES[curve]())


def write_key(key: PrivateKey) -> str:
    """A key's PEM, as the device stores it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@lru_cache(256)
def read_key(content: bytes | str) -> PrivateKey | None:
    """The RSA or EC key in a PEM; None when there is none. The same object for the same text: RSA keys are slow."""
    try:
        key = load_pem_private_key(content.encode() if isinstance(content, str) else content, None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) else None


def read_chain(content: bytes | str) -> list[x509.Certificate]:
    """All certificates of a PEM; empty when one cannot be read."""
    return list(_read_chain(content.decode("latin-1") if isinstance(content, bytes) else content))


@lru_cache(256)
def _read_chain(text: str) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificate(match.encode()) for match in _CERTIFICATE.findall(text))
    except ValueError:
        return ()


def write_chain(chain: list[x509.Certificate]) -> str:
    """PEM of certificates in their order."""
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in chain)


def matches(key: PrivateKey, certificate: x509.Certificate) -> bool:
    """Whether a key belongs to a certificate."""
    return public_bytes(key) == public_bytes(certificate)


def make_csr(key: PrivateKey, body: Mapping[str, Any], *, email_and_uri: bool) -> str:
    """Sign a CSR for what a request says; SHA-256. Raises Refusal."""
    parts = [(oid, str(body[name])) for name, oid in SUBJECT.items() if body.get(name)]
    try:
        subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])
        builder = x509.CertificateSigningRequestBuilder(subject)
        if password := str(body.get("challengePassword", "")):
            builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, password.encode())
        if names := _alternative_names(str(body.get("subjectAlternativeName", "")), email_and_uri=email_and_uri):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()
    except ValueError as error:
        raise Refusal(400, f"01071900:3: Unable to create the certificate signing request: {error}") from error


def _alternative_names(text: str, *, email_and_uri: bool) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        kind, colon, value = piece.partition(":")
        if not colon or not value:
            raise Refusal(400, f"Invalid Subject Alternative Name: {piece}")
        if kind == "DNS":
            found.append(x509.DNSName(value))
        elif kind == "IP":
            found.append(x509.IPAddress(ip_address(value)))
        elif kind == "email" and email_and_uri:
            found.append(x509.RFC822Name(value))
        elif kind == "URI" and email_and_uri:
            found.append(x509.UniformResourceIdentifier(value))
        else:  # "IP Address", which tmsh lists, too
            raise Refusal(400, f"Invalid Subject Alternative Name: {piece}")
    return found


def checksum(content: str) -> str:
    """``SHA1:<size>:<hash>`` of a file object's content."""
    raw = content.encode()
    return f"SHA1:{len(raw)}:{sha1(raw).hexdigest()}"  # noqa: S324 the device's format


def describe_name(name: x509.Name) -> str:
    """``CN=a,OU=b`` as file objects show it."""
    return ",".join(f"{attribute.rfc4514_attribute_name}={attribute.value!s}" for attribute in reversed(list(name)))


def describe_serial(number: int, form: str) -> str:
    """A serial number; long ones as OpenSSL prints them, unless told otherwise."""
    if number < 1 << 63 or form == "decimal":
        return str(number)
    return number.to_bytes((number.bit_length() + 7) // 8, "big").hex(":")


def describe_public_key(certificate: x509.Certificate) -> tuple[str, int, str]:
    """Type (``rsa-public``), size and curve of a certificate's key."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "rsa-public", key.key_size, "none"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ec-public", key.key_size, curve_name(key)
    return "other-public", 0, "none"


def describe_private_key(key: PrivateKey) -> tuple[str, int, str]:
    """Type (``rsa-private``), size and curve of a key."""
    if isinstance(key, rsa.RSAPrivateKey):
        return "rsa-private", key.key_size, "none"
    return "ec-private", key.key_size, curve_name(key)


def curve_name(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> str:
    """OpenSSL's name of a key's curve."""
    return _CURVE_NAMES[key.key_size]
