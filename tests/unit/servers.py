# SPDX-License-Identifier: Apache-2.0
"""Small servers on loopback that speak just enough, each in a thread of its own."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.unit.authority import Issued

Dialogue = Callable[[socket.socket], bool]
"""Speaks until TLS should start; tells whether it should."""


@contextmanager
def serve(serve_one: Callable[[socket.socket], None], address: str = "127.0.0.1") -> Iterator[int]:
    """Listen, hand every connection over, and give the port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:
        thread = threading.Thread(target=_accept, args=(listener, serve_one))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
            thread.join()


def _accept(listener: socket.socket, serve_one: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.settimeout(10)
        with connection, suppress(OSError):  # clients may go away at any point
            serve_one(connection)


def context_of(issued: Issued, folder: Path, chain: str | None = None) -> ssl.SSLContext:
    """What a TLS server needs to serve a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued.write(folder, chain))
    return context


def talk_tls(context: Callable[[], ssl.SSLContext], dialogue: Dialogue = lambda sock: True):
    """Speak the dialogue, then TLS with the context of that moment, until the client ends."""

    def serve_one(connection: socket.socket) -> None:
        if dialogue(connection):
            with context().wrap_socket(connection, server_side=True) as tls:
                tls.recv(1)

    return serve_one


def by_lines(greeting: str, *exchange: tuple[str, str]) -> Dialogue:
    """A dialogue of lines: what is expected of the client, and the answer; a wrong line ends it."""

    def dialogue(sock: socket.socket) -> bool:
        sock.sendall(greeting.encode())
        for expected, answer in exchange:
            if read_until(sock, b"\n") != expected.encode() + b"\r\n":
                return False
            sock.sendall(answer.encode())
        return True

    return dialogue


def by_octets(expected: bytes, answer: bytes) -> Dialogue:
    """A dialogue of one message and its answer, which comes octet by octet."""

    def dialogue(sock: socket.socket) -> bool:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        got = b""
        while len(got) < len(expected):
            piece = sock.recv(len(expected) - len(got))
            if not piece:
                return False
            got += piece
        if got != expected:
            return False
        for octet in answer:
            sock.sendall(bytes([octet]))
        return True

    return dialogue


def read_until(sock: socket.socket, end: bytes) -> bytes:
    got = b""
    while not got.endswith(end):
        piece = sock.recv(1)
        if not piece:
            return got
        got += piece
    return got
