# SPDX-License-Identifier: Apache-2.0
"""Bytes into Request and Response into bytes, HTTP/1.1 (RFC 9112) as far as a device's API needs it.

Not on ``http.server``: that reads headers as those of a mail, which takes as long as all the rest of an exchange, and
the tests have very many of them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import IO

from ottr.simulation.requests import Request, Response

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_MAXIMUM_LINE = 65536
_MAXIMUM_HEADERS = 100
_MAXIMUM_BODY = 32 * 1024 * 1024

Answer = Callable[[Request], Response]


class _Refused(Exception):
    """This is no request; the connection ends with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def converse(connection: socket.socket, answer: Answer) -> None:
    """Answer requests until either side has enough; what is cut off is no request, and nothing is done.

    Raises OSError, and what ``answer`` raises.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection.makefile("rb") as stream:
        try:
            while _exchange(connection, stream, answer):
                pass
        except _Refused as refused:
            connection.sendall(_write(Response(refused.status), "Connection: close\r\n"))


def _exchange(connection: socket.socket, stream: IO[bytes], answer: Answer) -> bool:
    """One request and its answer; False: it was the last one."""
    line = _read_line(stream)
    method, _, rest = line.partition(" ")
    target, _, version = rest.partition(" ")
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise _Refused(400)
    if method not in _METHODS:
        raise _Refused(501)
    headers = _read_headers(stream)
    length = "" if "transfer-encoding" in headers else headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length) > _MAXIMUM_BODY:
        raise _Refused(413 if length.isdigit() else 411)
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = stream.read(int(length))
    if len(body) < int(length):
        raise ConnectionAbortedError("cut off in its body")
    response = answer(Request(method, target, headers, body))
    connection.sendall(_write(response))
    wish = headers.get("connection", "").lower()
    return wish == "keep-alive" or (version == "HTTP/1.1" and wish != "close")


def _read_line(stream: IO[bytes]) -> str:
    line = stream.readline(_MAXIMUM_LINE + 1)
    if len(line) > _MAXIMUM_LINE:
        raise _Refused(414)
    if not line.endswith(b"\n"):
        raise ConnectionAbortedError("cut off")
    return line.decode("latin-1").rstrip("\r\n")


def _read_headers(stream: IO[bytes]) -> dict[str, str]:
    """Names in lower case; of several of one name the last."""
    headers: dict[str, str] = {}
    for _ in range(_MAXIMUM_HEADERS):
        line = _read_line(stream)
        if not line:
            return headers
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise _Refused(400)
        headers[name.lower()] = value.strip()
    raise _Refused(431)


def _write(response: Response, more: str = "") -> bytes:
    """Head and body in one piece: each write is a record of TLS of its own."""
    head = {
        "Server": "simulated",
        "Date": formatdate(usegmt=True),
        "Content-Length": str(len(response.body)),
        "Content-Type": response.content_type,
        **response.headers,
    }
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = ""
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"HTTP/1.1 {response.status} {phrase}\r\n{lines}{more}\r\n".encode("latin-1") + response.body
