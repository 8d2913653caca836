# SPDX-License-Identifier: Apache-2.0
"""The little of DER (X.690) that OCSP and signing need: strict reading that keeps bytes as they are, and writing.

OCSP requests are echoed byte for byte, and answers have several parts that ``cryptography`` neither reads nor builds:
more than one certificate, extensions of one answer, names of requestors. A certificate that has been linted is signed
as it is, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

SEQUENCE, OCTET_STRING, OID, INTEGER, ENUMERATED, BIT_STRING, BOOLEAN = 0x30, 0x04, 0x06, 0x02, 0x0A, 0x03, 0x01
GENERALIZED_TIME = 0x18
_LONGEST = 4
"""Bytes of a length."""


class DerError(ValueError):
    """Not DER, or not what was expected there."""


@dataclass(frozen=True, slots=True)
class Element:
    """One tag, length and value."""

    tag: int
    content: bytes
    raw: bytes
    """All of it, as it was."""

    def children(self) -> list[Element]:
        """The elements within. Raises DerError."""
        found, at = [], 0
        while at < len(self.content):
            one = _read_at(self.content, at)
            found.append(one)
            at += len(one.raw)
        return found


def read(data: bytes) -> Element:
    """Read one element and nothing after it. Raises DerError."""
    one = _read_at(data, 0)
    if len(one.raw) != len(data):
        raise DerError("something follows")
    return one


def _read_at(data: bytes, start: int) -> Element:
    if start + 2 > len(data):
        raise DerError("cut off")
    tag, length, at = data[start], data[start + 1], start + 2
    if tag & 0x1F == 0x1F:
        raise DerError("a tag of several bytes")
    if length >= 0x80:
        count = length - 0x80
        digits = data[at : at + count]
        if not 1 <= count <= _LONGEST or len(digits) != count or digits[0] == 0:
            raise DerError("a length that is not DER")
        length, at = int.from_bytes(digits), at + count
        if length < 0x80:
            raise DerError("a length that is not DER")
    if at + length > len(data):
        raise DerError("cut off")
    return Element(tag, data[at : at + length], data[start : at + length])


def write(tag: int, *parts: bytes) -> bytes:
    """One element of the parts."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    digits = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 + len(digits))) + digits + content


def write_time(moment: datetime) -> bytes:
    """GeneralizedTime of an aware UTC moment, in whole seconds (RFC 5280 section 4.1.2.5.2)."""
    return write(GENERALIZED_TIME, f"{moment:%Y%m%d%H%M%SZ}".encode())


def read_serial(content: bytes) -> str:
    """The content of an INTEGER as the CA writes serials; empty for what no certificate of it can have."""
    number = int.from_bytes(content, signed=True)
    return format(number, "x") if number > 0 and len(content) <= 21 else ""
