# SPDX-License-Identifier: Apache-2.0
"""OCSP answers as bytes (RFC 6960 section 4.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.authority import OcspSigner
from ottr.ca.der import (
    BIT_STRING,
    ENUMERATED,
    OCTET_STRING,
    OID,
    SEQUENCE,
    read,
    write,
    write_time,
)
from ottr.ca.keys import encode_public_key
from ottr.ca.model import Certificate, KeyAlgorithm, Reason
from ottr.errors import KeyUnavailable

_BASIC = write(OID, bytes.fromhex("2b0601050507300101"))
_NONCE = write(OID, bytes.fromhex("2b0601050507300102"))
_ARCHIVE_CUTOFF = write(OID, bytes.fromhex("2b0601050507300106"))
_ECDSA_WITH_SHA256 = write(SEQUENCE, write(OID, bytes.fromhex("2a8648ce3d040302")))
_GOOD, _UNKNOWN = b"\x80\x00", b"\x82\x00"


class Refusal(Enum):
    """Answers without a signature: status, as bytes."""

    MALFORMED_REQUEST = b"\x30\x03\x0a\x01\x01"
    INTERNAL_ERROR = b"\x30\x03\x0a\x01\x02"
    TRY_LATER = b"\x30\x03\x0a\x01\x03"
    UNAUTHORIZED = b"\x30\x03\x0a\x01\x06"


@dataclass(frozen=True, slots=True)
class Validity:
    """When an answer was made, since when it is true, and until when it may be used."""

    produced_at: datetime
    this_update: datetime
    next_update: datetime


class AnswerWriter:
    """Writes answers of one delegated signer."""

    def __init__(self, signer: OcspSigner) -> None:
        if signer.signer.algorithm is not KeyAlgorithm.EC256:
            raise KeyUnavailable(f"OCSP answers are signed with P-256, not with {signer.signer.algorithm.value}")
        self.signer = signer
        key = read_key_bits(encode_public_key(signer.signer.public_key))
        # SHA-1 by RFC 6960 section 4.2.1: a name for the key, not a protection.
        self._responder = write(0xA2, write(OCTET_STRING, hashlib.sha1(key, usedforsecurity=False).digest()))
        self._certificates = write(0xA0, write(SEQUENCE, signer.certificate.public_bytes(Encoding.DER)))

    def write(self, singles: Sequence[bytes], validity: Validity, nonce: bytes | None = None) -> bytes:
        """A signed answer, DER. ``nonce``: the value of the extension, as it was asked."""
        extensions = b"" if nonce is None else write(0xA1, _write_extensions(_NONCE, nonce))
        produced = write_time(validity.produced_at)
        signed = write(SEQUENCE, self._responder, produced, write(SEQUENCE, *singles), extensions)
        signature = write(BIT_STRING, b"\x00", self.signer.signer.sign(signed))
        basic = write(SEQUENCE, signed, _ECDSA_WITH_SHA256, signature, self._certificates)
        return write(
            SEQUENCE,
            write(ENUMERATED, b"\x00"),
            write(0xA0, write(SEQUENCE, _BASIC, write(OCTET_STRING, basic))),
        )


def write_single(
    cert_id: bytes, row: Certificate | None, validity: Validity, archive_cutoff: datetime | None = None
) -> bytes:
    """What is said of one certificate; None: this issuer never used the serial."""
    return write(
        SEQUENCE,
        cert_id,
        _write_status(row),
        write_time(validity.this_update),
        write(0xA0, write_time(validity.next_update)),
        b"" if archive_cutoff is None else write(0xA1, _write_extensions(_ARCHIVE_CUTOFF, write_time(archive_cutoff))),
    )


def _write_status(row: Certificate | None) -> bytes:
    if row is None:
        return _UNKNOWN
    if row.revoked_at is None:
        return _GOOD
    # "Unspecified" is encoded as absent (RFC 5280 section 5.3.1).
    said = row.reason not in (None, Reason.UNSPECIFIED)
    reason = write(0xA0, write(ENUMERATED, bytes((row.reason.code,)))) if said and row.reason else b""
    return write(0xA1, write_time(row.revoked_at), reason)


def _write_extensions(oid: bytes, value: bytes) -> bytes:
    return write(SEQUENCE, write(SEQUENCE, oid, write(OCTET_STRING, value)))


def read_key_bits(public_key_der: bytes) -> bytes:
    """The bits of the key in a SubjectPublicKeyInfo, which CertIDs and responder ids hash."""
    return read(public_key_der).children()[1].content[1:]
