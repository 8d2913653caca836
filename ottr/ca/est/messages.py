# SPDX-License-Identifier: Apache-2.0
"""Bodies of EST: base64 of DER (RFC 7030 section 4, RFC 8951 section 3.1), and HTTP Basic."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID
from starlette.responses import Response

from ottr.ca.csr import Request, parse_csr
from ottr.ca.est.callers import EstProblem
from ottr.ca.model import KeyAlgorithm
from ottr.ca.profiles import Profile

CSR_TYPE = "application/pkcs10"
_CERTIFICATES_TYPE = "application/pkcs7-mime; smime-type=certs-only"
_ATTRIBUTES_TYPE = "application/csrattrs"
_SEQUENCE = b"\x30"
_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")
_EC_KEY, _RSA_KEY = x509.ObjectIdentifier("1.2.840.10045.2.1"), x509.ObjectIdentifier("1.2.840.113549.1.1.1")
_P256, _P384, _P521 = (x509.ObjectIdentifier(one) for one in ("1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"))
_WHITE = b" \t\r\n"
_RSA = (None, _RSA_KEY, SignatureAlgorithmOID.RSA_WITH_SHA256)
_KEYS: Mapping[KeyAlgorithm, tuple[x509.ObjectIdentifier | None, x509.ObjectIdentifier | None, x509.ObjectIdentifier]]
_KEYS = MappingProxyType(
    {
        KeyAlgorithm.EC256: (_P256, None, SignatureAlgorithmOID.ECDSA_WITH_SHA256),
        KeyAlgorithm.EC384: (_P384, None, SignatureAlgorithmOID.ECDSA_WITH_SHA384),
        KeyAlgorithm.EC521: (_P521, None, SignatureAlgorithmOID.ECDSA_WITH_SHA512),
        KeyAlgorithm.RSA2048: _RSA,
        KeyAlgorithm.RSA3072: _RSA,
        KeyAlgorithm.RSA4096: _RSA,
        KeyAlgorithm.ED25519: (None, None, SignatureAlgorithmOID.ED25519),
    }
)
"""Curve, kind of key where that says more, and what it signs with."""


@asn1.sequence
class _Attribute:
    """Attribute of RFC 7030 section 4.5.2, with values that are OIDs."""

    kind: x509.ObjectIdentifier
    values: asn1.SetOf[x509.ObjectIdentifier]


@asn1.sequence
class _Attributes:
    """CsrAttrs: a SEQUENCE OF attributes and OIDs, here with a place for each that is said."""

    extensions: _Attribute | None
    curve: _Attribute | None
    key: x509.ObjectIdentifier | None
    digest: x509.ObjectIdentifier


def write_certificates(certificates: Sequence[x509.Certificate]) -> Response:
    """A certs-only answer (section 4.1.3, 4.2.3)."""
    return _write(pkcs7.serialize_certificates(list(certificates), Encoding.DER), _CERTIFICATES_TYPE)


def write_attributes(profile: Profile) -> Response:
    """What a CSR of a profile should have (section 4.5.2): the usual kind of key, and names where they must be."""
    kind = next(kind for kind in KeyAlgorithm if kind in profile.keys)
    curve, key, digest = _KEYS[kind]
    san = asn1.SetOf([ExtensionOID.SUBJECT_ALTERNATIVE_NAME])
    attributes = _Attributes(
        extensions=_Attribute(kind=_EXTENSION_REQUEST, values=san) if profile.names_required else None,
        curve=_Attribute(kind=_EC_KEY, values=asn1.SetOf([curve])) if curve else None,
        key=key,
        digest=digest,
    )
    return _write(asn1.encode_der(attributes), _ATTRIBUTES_TYPE)


def read_csr(body: bytes) -> Request:
    """A CSR in base64, with line breaks or without; DER and PEM are taken too. Raises EstProblem, RequestRefused."""
    if body.startswith(_SEQUENCE) or b"-----BEGIN" in body:
        return parse_csr(body)
    try:
        return parse_csr(base64.b64decode(body.translate(None, _WHITE), validate=True))
    except binascii.Error as error:
        raise EstProblem(400, "the CSR is not in base64") from error


def read_basic(header: str) -> tuple[str, str] | None:
    """Name and password of HTTP Basic (RFC 7617); None for anything else."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (name, password) if colon else None


def _write(der: bytes, media_type: str) -> Response:
    headers = {"Content-Transfer-Encoding": "base64", "Cache-Control": "no-store"}
    return Response(base64.encodebytes(der), headers={**headers, "Content-Type": media_type})
