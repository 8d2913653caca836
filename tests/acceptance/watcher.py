# SPDX-License-Identifier: Apache-2.0
"""Handshakes with an endpoint again and again, in a process of its own; TLS itself proves that key and certificate fit.

``python -IS watcher.py ADDRESS PORT NAME PAUSE_S`` prints a line for each failure and for each other certificate than
the one before and, when its standard input ends, the number of handshakes.
"""

from __future__ import annotations

import hashlib
import select
import socket
import ssl
import subprocess
import sys
import time
from functools import cache

_SERVED = "served "


def fetch(address: str, port: int, name: str) -> bytes:
    """The DER that is served now."""
    with (
        socket.create_connection((address, port), 5) as plain,
        _build_context().wrap_socket(plain, server_hostname=name) as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


@cache
def _build_context() -> ssl.SSLContext:
    """Once for all handshakes. None goes on with the session of another one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Watcher:
    """The process, for the time of a block; then its findings."""

    def __init__(self, address: str, port: int, name: str, *, pause_s: float = 0.02) -> None:
        self._endpoint = (address, port, name)
        self._pause_s = pause_s
        self.handshakes = 0
        self.failures: list[str] = []
        self.served: list[str] = []
        """SHA-256 of every certificate, in the order they came."""

    def __enter__(self) -> Watcher:
        argv = [sys.executable, "-IS", __file__, *map(str, self._endpoint), str(self._pause_s)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *exception: object) -> None:
        output, _ = self._process.communicate(timeout=30)
        *lines, count = output.splitlines()
        self.served = [line.removeprefix(_SERVED) for line in lines if line.startswith(_SERVED)]
        self.failures = [line for line in lines if not line.startswith(_SERVED)]
        self.handshakes = int(count)

    def await_served(self, der: bytes) -> None:
        """A worker of nginx that is about to go may take one more connection with the former certificate."""
        deadline = time.monotonic() + 10
        while fetch(*self._endpoint) != der:
            assert time.monotonic() < deadline, "the host serves something else"


def main() -> None:
    address, port, name, pause_s = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    handshakes, last = 0, b""
    over: list[object] = []
    while not over:
        try:
            der = fetch(address, port, name)
            handshakes += 1
            if der != last:
                last = der
                print(f"{_SERVED}{hashlib.sha256(der).hexdigest()}", flush=True)
        except OSError as error:
            print(repr(error), flush=True)
        over = select.select([sys.stdin], [], [], pause_s)[0]
    print(handshakes, flush=True)


if __name__ == "__main__":
    main()
