# SPDX-License-Identifier: Apache-2.0
"""What an OCSP client asks (RFC 6960 section 4.1)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType

from ottr.ca.der import (
    BOOLEAN,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    DerError,
    Element,
    read,
    read_serial,
    write,
)

MOST_CERTIFICATES = 128
"""In one request."""
MOST_BYTES = 16 * 1024
_LONGEST_NONCE = 128
_DER_NULL = b"\x05\x00"

_HASHES = MappingProxyType(
    {
        bytes.fromhex("2b0e03021a"): "sha1",
        bytes.fromhex("608648016503040204"): "sha224",
        bytes.fromhex("608648016503040201"): "sha256",
        bytes.fromhex("608648016503040202"): "sha384",
        bytes.fromhex("608648016503040203"): "sha512",
    }
)
HASHES = tuple(_HASHES.values())
"""Of CertIDs, as ``hashlib`` calls them."""
_OIDS = MappingProxyType({name: oid for oid, name in _HASHES.items()})
_NONCE = bytes.fromhex("2b0601050507300102")
_KNOWN = frozenset(bytes.fromhex(f"2b06010505073001{number:02x}") for number in (2, 4, 7, 8))
"""Nonce, and those that need no answer: acceptable responses, service locator, preferred algorithms."""


class Malformed(Exception):
    """The request is not one of RFC 6960; answered with malformedRequest."""


@dataclass(frozen=True, slots=True)
class CertId:
    """Which certificate: by hashes of its issuer's name and key, and its serial."""

    digest: str
    """Of ``hashlib``; empty: one we do not know."""
    name_hash: bytes
    key_hash: bytes
    serial: str
    """As the CA writes serials; empty for what no certificate of it can have."""
    raw: bytes
    """DER, to be echoed as it is."""


@dataclass(frozen=True, slots=True)
class OcspRequest:
    """All that counts of a request; who sends it, and its signature, do not."""

    cert_ids: tuple[CertId, ...]
    nonce: bytes | None
    """The value of the extension, DER."""


def parse_request(data: bytes) -> OcspRequest:
    """Read a request in DER. Raises Malformed, and nothing else."""
    try:
        return _read_request(read(data))
    except DerError as error:
        raise Malformed(str(error)) from error


def build_request(cert_id: bytes) -> bytes:
    """The shortest request for one CertID in DER: what clients send that want no nonce."""
    return write(SEQUENCE, write(SEQUENCE, write(SEQUENCE, write(SEQUENCE, cert_id))))


def build_cert_id(digest: str, issuer_name: bytes, issuer_key: bytes, serial: int) -> bytes:
    """A CertID in DER, of the DER of the issuer's name and the bits of its public key."""
    algorithm = write(SEQUENCE, write(OID, _OIDS[digest]), _DER_NULL)
    hashed = (write(OCTET_STRING, hashlib.new(digest, part).digest()) for part in (issuer_name, issuer_key))
    number = write(INTEGER, serial.to_bytes(serial.bit_length() // 8 + 1))
    return write(SEQUENCE, algorithm, *hashed, number)


def _read_request(whole: Element) -> OcspRequest:
    parts = _take(whole, SEQUENCE).children()
    if len(parts) not in (1, 2) or (len(parts) == 2 and parts[1].tag != 0xA0):
        raise Malformed("a request is what is asked and perhaps a signature")
    listed = _take(parts[0], SEQUENCE).children()
    asked = {one.tag: one for one in listed}
    if [one.tag for one in listed] != [tag for tag in _PLACES if tag in asked]:
        raise Malformed("parts that do not belong there")
    if 0xA0 in asked and asked[0xA0].content != b"\x02\x01\x00":
        raise Malformed("another version")
    if SEQUENCE not in asked:
        raise Malformed("nothing is asked")
    requests = asked[SEQUENCE].children()
    if not 1 <= len(requests) <= MOST_CERTIFICATES:
        raise Malformed(f"{len(requests)} certificates in one request")
    extensions = _read_extensions(asked[0xA2]) if 0xA2 in asked else {}
    return OcspRequest(tuple(_read_single(one) for one in requests), _read_nonce(extensions.get(_NONCE)))


_PLACES = (0xA0, 0xA1, SEQUENCE, 0xA2)
"""Version, requestor, list, extensions."""


def _read_single(one: Element) -> CertId:
    parts = _take(one, SEQUENCE).children()
    if len(parts) not in (1, 2) or (len(parts) == 2 and parts[1].tag != 0xA0):
        raise Malformed("a request for one certificate is its id and perhaps extensions")
    if len(parts) == 2:
        _read_extensions(parts[1])
    fields = _take(parts[0], SEQUENCE).children()
    if [field.tag for field in fields] != [SEQUENCE, OCTET_STRING, OCTET_STRING, INTEGER] or not fields[3].content:
        raise Malformed("not a CertID")
    algorithm = fields[0].children()
    if not algorithm or algorithm[0].tag != OID or len(algorithm) > 2:
        raise Malformed("not an algorithm")
    digest = _HASHES.get(algorithm[0].content, "")
    return CertId(digest, fields[1].content, fields[2].content, read_serial(fields[3].content), parts[0].raw)


def _read_extensions(holder: Element) -> dict[bytes, bytes]:
    """Values by the content of their OIDs. One that is critical and unknown is not passed over."""
    inner = holder.children()
    if len(inner) != 1 or not (listed := _take(inner[0], SEQUENCE).children()):
        raise Malformed("not extensions")
    found: dict[bytes, bytes] = {}
    for one in listed:
        parts = _take(one, SEQUENCE).children()
        tags = [part.tag for part in parts]
        if tags not in ([OID, OCTET_STRING], [OID, BOOLEAN, OCTET_STRING]) or parts[0].content in found:
            raise Malformed("not an extension, or one that is there twice")
        if tags[1] == BOOLEAN and parts[0].content not in _KNOWN:
            raise Malformed("a critical extension that is not known here")
        found[parts[0].content] = parts[-1].content
    return found


def _read_nonce(value: bytes | None) -> bytes | None:
    """RFC 9654 section 2.1: 1 to 128 octets in an OCTET STRING."""
    if value is None:
        return None
    inner = _take(read(value), OCTET_STRING)
    if not 1 <= len(inner.content) <= _LONGEST_NONCE:
        raise Malformed(f"a nonce of {len(inner.content)} octets")
    return value


def _take(one: Element, tag: int) -> Element:
    if one.tag != tag:
        raise Malformed(f"tag {one.tag:#x} where {tag:#x} belongs")
    return one
