# SPDX-License-Identifier: Apache-2.0
"""Requests in their plainest form, told from their bytes without a parser.

Only what is beyond doubt counts: one whole request in one piece, with headers that change nothing, each of them once.
Everything else is for the server's HTTP parser.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_FIELD = re.compile(rb"([A-Za-z-]{1,40}): ?([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
_HARMLESS = frozenset((b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"via"))
_LENGTH = re.compile(rb"[1-9][0-9]{0,4}")
MOST_HEADS, LONGEST_HEAD = 4096, 1024
"""That are known, and bytes of one of them."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the headers of a request say that has a body."""

    host: str
    length: int
    """Of the body, in bytes."""


class Posts:
    """Reads POST requests below a path, with bodies of one type. For one thread at a time."""

    def __init__(self, prefix: str, content_type: str) -> None:
        self._line = re.compile(rb"POST %b(/[A-Za-z0-9_/-]{1,200}) HTTP/1\.1" % re.escape(prefix.encode()))
        kind = content_type.encode()
        self._judge = lru_cache(MOST_HEADS)(lambda fields: _read_head(fields.split(b"\r\n"), kind))
        """Clients send the same headers again and again."""

    def read(self, data: bytes) -> tuple[str, Head, bytes] | None:
        """The path below the prefix, the headers and the body; None: it is not of that form."""
        head, _, body = data.partition(b"\r\n\r\n")
        line, _, fields = head.partition(b"\r\n")
        found = self._line.fullmatch(line)
        judged = self._judge(fields) if found is not None and len(fields) <= LONGEST_HEAD else None
        if found is None or judged is None or len(body) != judged.length:
            return None
        return found[1].decode(), judged, body


def _read_head(lines: Sequence[bytes], content_type: bytes) -> Head | None:
    values = read_fields(lines, content_type)
    if values is None or b"host" not in values or b"content-type" not in values:
        return None
    length = read_length(values)
    return Head(values[b"host"].decode(), length) if length else None


def read_fields(lines: Sequence[bytes], content_type: bytes) -> dict[bytes, bytes] | None:
    """Headers by their names in lower case.

    None when there is one that is unusual, says something that would have to be heeded, or is there twice.
    """
    single, values = {b"content-type": content_type, b"connection": b"keep-alive"}, dict[bytes, bytes]()
    for line in lines:
        field = _FIELD.fullmatch(line)
        name = field[1].lower() if field else b""
        if field is None or name in values:
            return None
        if name not in _HARMLESS and name != b"content-length" and single.get(name) != field[2].lower():
            return None
        values[name] = field[2]
    return values


def read_length(values: dict[bytes, bytes]) -> int:
    """Of the body, as the headers say; 0 when they do not, or not plainly."""
    length = values.get(b"content-length", b"")
    return int(length) if _LENGTH.fullmatch(length) else 0
