# SPDX-License-Identifier: Apache-2.0
"""ACME's requests and answers in HTTP/1.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ottr.ca.acme.exchange import Message, Reply

_WITHOUT_CONTENT = (204, 304)
_WANTED = (b"host", b"content-type")


@dataclass(frozen=True, slots=True)
class Response:
    """The bytes of an answer, and whether the connection stays open after it."""

    raw: bytes
    keep: bool


def build_message(scope: Any, prefix: str, body: bytes) -> Message:
    """A request below the prefix, as the server takes it."""
    headers = {name: value for name, value in scope["headers"] if name in _WANTED}
    host, client = headers.get(b"host", b"").decode("latin-1"), scope["client"]
    return Message(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1")[len(prefix) :],
        base=f"{scope['scheme']}://{host}{prefix}",
        body=body,
        content_type=headers.get(b"content-type", b"").decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        address=client[0] if client else "",
    )


def write_reply(reply: Reply, default_headers: Any, *, head_only: bool, keep: bool) -> bytes:
    """The whole of an HTTP/1.1 response."""
    content = b"" if reply.status in _WITHOUT_CONTENT else reply.content
    lines = [f"{name.lower()}: {value}\r\n" for name, value in reply.headers.items()]
    lines += [f"link: {link}\r\n" for link in reply.links]
    if content:
        lines.append(f"content-type: {reply.content_type}\r\n")
    if reply.status not in _WITHOUT_CONTENT:
        lines.append(f"content-length: {len(content)}\r\n")
    if not keep and "Connection" not in reply.headers:
        lines.append("connection: close\r\n")
    given = b"".join(b"%b: %b\r\n" % pair for pair in default_headers)
    head = "".join(lines).encode("latin-1")
    return b"".join((STATUS_LINE[reply.status], given, head, b"\r\n", b"" if head_only else content))
