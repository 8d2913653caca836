# SPDX-License-Identifier: Apache-2.0
"""One message to a DNS server and the one that comes back, over UDP or TCP (RFC 1035 section 4.2).

dnspython's own way sets up an epoll instance for each wait, and asks before it waits: twice the calls into the kernel.
"""

from __future__ import annotations

import socket
import struct
import time

import dns.inet

from ottr.dns.servers import ServerAddress

_LARGEST = 65535
_LENGTH = struct.Struct("!H")


def exchange(query: bytes, server: ServerAddress, timeout_s: float, *, tcp: bool = False) -> bytes:
    """Send a message and return what comes back under its id. Raises OSError, TimeoutError too, and EOFError."""
    deadline = time.monotonic() + timeout_s
    with open_socket(server, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
        _limit(sock, deadline)
        # Connected, the kernel drops what others send, and tells when there is nobody.
        sock.connect(dns.inet.low_level_address_tuple((server.address, server.port)))
        return _over_tcp(sock, query, deadline) if tcp else _over_udp(sock, query, deadline)


def open_socket(server: ServerAddress, kind: socket.SocketKind) -> socket.socket:
    """Return a socket of the address' family. Raises OSError where this machine has none of it."""
    return socket.socket(socket.AF_INET6 if ":" in server.address else socket.AF_INET, kind)


def _over_udp(sock: socket.socket, query: bytes, deadline: float) -> bytes:
    sock.send(query)
    while True:
        answer = sock.recv(_LARGEST)
        if answer[:2] == query[:2]:
            return answer
        _limit(sock, deadline)


def _over_tcp(sock: socket.socket, query: bytes, deadline: float) -> bytes:
    _limit(sock, deadline)
    sock.sendall(_LENGTH.pack(len(query)) + query)
    data = b""
    while len(data) < _LENGTH.size or len(data) < _LENGTH.size + _LENGTH.unpack_from(data)[0]:
        _limit(sock, deadline)
        piece = sock.recv(_LENGTH.size + _LARGEST)
        if not piece:
            raise EOFError("the server closed the connection")
        data += piece
    return data[_LENGTH.size :]


def _limit(sock: socket.socket, deadline: float) -> None:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("no answer in time")
    sock.settimeout(left_s)
