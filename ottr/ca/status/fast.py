# SPDX-License-Identifier: Apache-2.0
"""The short way of an OCSP request to an answer in memory: one look at its bytes, no parsing, no thread.

Only what is beyond doubt goes this way: one whole request in one piece, in the shortest form, with headers that change
nothing. Everything else goes to the server's HTTP parser and the pages, and so does the rest of its connection.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ottr.ca.authority import Clock
from ottr.ca.plain import LONGEST_HEAD, MOST_HEADS, read_fields, read_length
from ottr.ca.status.cache import Entry
from ottr.ca.status.caching import build_age_header, build_answer_headers
from ottr.ca.status.responder import Responder
from ottr.ca.status.transport import ANSWER_TYPE, OCSP_PATH, REQUEST_TYPE, decode_path
from ottr.errors import StoreError

_REQUEST_LINE = re.compile(
    rb"(?:POST " + OCSP_PATH + rb"|GET " + OCSP_PATH + rb"/([A-Za-z0-9+/=%_-]{1,512})) HTTP/1\.1"
)

Head = int | bytes | None
"""The length of the body, the request of a path, or None: not for us."""


class FastPath:
    """Answers from memory. For one thread at a time."""

    def __init__(self, responder: Responder, clock: Clock) -> None:
        self._responder = responder
        self._clock = clock

    def answer(self, data: bytes, date: bytes) -> bytes | None:
        """A whole HTTP response to what was received; None: it is not for us. ``date``: the value of that header."""
        head, _, body = data.partition(b"\r\n\r\n")
        judged = judge_head(head) if len(head) <= LONGEST_HEAD else None
        if judged is None:
            return None
        if isinstance(judged, bytes):
            request = judged if not body and len(head) + 4 == len(data) else b""
        else:
            request = body if len(body) == judged else b""
        try:
            entry = self._responder.recall(request) if request else None
        except StoreError:  # the pages say it better
            return None
        return None if entry is None else self._write(entry, date)

    def _write(self, entry: Entry, date: bytes) -> bytes:
        if not entry.wire:
            entry.wire = _write_tail(entry)
        left_s = int((entry.validity.next_update - self._clock()).total_seconds())
        age = build_age_header(left_s).encode()
        return b"HTTP/1.1 200 OK\r\ndate: %b\r\ncache-control: %b\r\n%b" % (date, age, entry.wire)


@lru_cache(MOST_HEADS)
def judge_head(head: bytes) -> Head:
    """Read a request's line and headers, without the empty line at their end. Clients send the same again and again."""
    line, *fields = head.split(b"\r\n")
    asked = _REQUEST_LINE.fullmatch(line)
    values = read_fields(fields, REQUEST_TYPE.encode())
    if asked is None or values is None or b"host" not in values:
        return None
    if asked[1] is not None:
        return None if {b"content-length", b"content-type"} & values.keys() else decode_path(asked[1]) or None
    return read_length(values) or None if b"content-type" in values else None


def _write_tail(entry: Entry) -> bytes:
    headers = build_answer_headers(entry.der, entry.validity.this_update, entry.validity.next_update)
    headers |= {"Content-Type": ANSWER_TYPE, "Content-Length": str(len(entry.der))}
    return b"".join(f"{name.lower()}: {value}\r\n".encode() for name, value in headers.items()) + b"\r\n" + entry.der
