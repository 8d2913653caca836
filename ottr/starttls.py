# SPDX-License-Identifier: Apache-2.0
"""The few lines each protocol speaks in the clear before TLS starts."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Mapping

from ottr.model import EndpointProtocol

_MAX_LINE = 4096
_MAX_LINES = 100
_ENDLESS = "the server talks without end"
_LDAP_START_TLS = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
_POSTGRES_SSL_REQUEST = struct.pack("!II", 8, 80877103)


class StartTlsRefused(OSError):
    """The endpoint speaks the protocol but does not start TLS."""


def start(sock: socket.socket, protocol: EndpointProtocol) -> None:
    """Bring a fresh connection to the point where the TLS handshake begins. Raises OSError."""
    _DIALOGUES[protocol](sock)


def _nothing(sock: socket.socket) -> None:
    del sock


def _smtp(sock: socket.socket) -> None:
    """RFC 3207."""
    _expect_reply(sock, "220")
    _ask(sock, "EHLO ottr.invalid", "250")
    _ask(sock, "STARTTLS", "220")


def _lmtp(sock: socket.socket) -> None:
    """RFC 2033 with RFC 3207."""
    _expect_reply(sock, "220")
    _ask(sock, "LHLO ottr.invalid", "250")
    _ask(sock, "STARTTLS", "220")


def _ftp(sock: socket.socket) -> None:
    """RFC 4217."""
    _expect_reply(sock, "220")
    _ask(sock, "AUTH TLS", "234")


def _imap(sock: socket.socket) -> None:
    """RFC 9051 section 6.2.1."""
    _expect_line(sock, "* OK")
    sock.sendall(b"a1 STARTTLS\r\n")
    _expect_line(sock, "a1 OK")


def _pop3(sock: socket.socket) -> None:
    """RFC 2595 section 4."""
    _expect_line(sock, "+OK")
    sock.sendall(b"STLS\r\n")
    _expect_line(sock, "+OK")


def _ldap(sock: socket.socket) -> None:
    """RFC 4511 section 4.14: an extended request whose response says resultCode success (0)."""
    sock.sendall(_LDAP_START_TLS)
    if b"\x0a\x01\x00" not in _read_message(sock):
        raise StartTlsRefused("the LDAP server refused StartTLS")


def _postgres(sock: socket.socket) -> None:
    """The SSLRequest message of the PostgreSQL protocol, answered by one byte."""
    sock.sendall(_POSTGRES_SSL_REQUEST)
    if sock.recv(1) != b"S":
        raise StartTlsRefused("the PostgreSQL server does not offer TLS")


_DIALOGUES: Mapping[EndpointProtocol, Callable[[socket.socket], None]] = {
    EndpointProtocol.TLS: _nothing,
    EndpointProtocol.SMTP: _smtp,
    EndpointProtocol.LMTP: _lmtp,
    EndpointProtocol.IMAP: _imap,
    EndpointProtocol.POP3: _pop3,
    EndpointProtocol.FTP: _ftp,
    EndpointProtocol.LDAP: _ldap,
    EndpointProtocol.POSTGRES: _postgres,
}


def _ask(sock: socket.socket, command: str, code: str) -> None:
    sock.sendall(command.encode() + b"\r\n")
    _expect_reply(sock, code)


def _expect_reply(sock: socket.socket, code: str) -> None:
    """Read one reply of RFC 5321 section 4.2.1 or RFC 959 section 4.2.

    One that begins with ``250-`` ends with a line that begins with ``250`` and no dash; FTP servers put any text
    in between.
    """
    lines = _read_lines(sock)
    first = line = next(lines)
    while first[3:4] == "-" and (line[:3] != first[:3] or line[3:4] == "-"):
        line = next(lines)
    if not line.startswith(code):
        raise StartTlsRefused(f"expected {code}, the server said {line[:80]!r}")


def _expect_line(sock: socket.socket, start_of_line: str) -> None:
    """Read lines until a tagged one, skipping IMAP's untagged ones."""
    lines = _read_lines(sock)
    line = next(lines)
    while line.startswith("* ") and not start_of_line.startswith("*"):
        line = next(lines)
    if not line.startswith(start_of_line):
        raise StartTlsRefused(f"expected {start_of_line}, the server said {line[:80]!r}")


def _read_lines(sock: socket.socket) -> Iterator[str]:
    for _ in range(_MAX_LINES):
        yield _read_line(sock)
    raise StartTlsRefused(_ENDLESS)


def _read_message(sock: socket.socket) -> bytes:
    """One BER message (X.690 section 8.1): a tag, a length in one or more octets, and so many octets."""
    length = _read(sock, 2)[1]
    if length & 0x80:
        length = int.from_bytes(_read(sock, length & 0x7F))
    if length > _MAX_LINE:
        raise StartTlsRefused(_ENDLESS)
    return _read(sock, length)


def _read(sock: socket.socket, length: int) -> bytes:
    octets = b""
    while len(octets) < length:
        piece = sock.recv(length - len(octets))
        if not piece:
            raise StartTlsRefused("the server closed the connection before TLS started")
        octets += piece
    return octets


def _read_line(sock: socket.socket) -> str:
    """Byte by byte, so that nothing of the TLS handshake is taken away."""
    line = b""
    while not line.endswith(b"\n"):
        line += _read(sock, 1)
        if len(line) > _MAX_LINE:
            raise StartTlsRefused(_ENDLESS)
    return line.decode("ascii", "replace").rstrip("\r\n")
