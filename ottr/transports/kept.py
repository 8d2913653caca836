# SPDX-License-Identifier: Apache-2.0
"""Kept HTTPS connections to one server, by the standard library alone.

For the many small requests to a CA: urllib3 costs as much again as everything below it, and what it adds (proxies,
fingerprints, names that are not the URL's) is not needed there.
"""

from __future__ import annotations

import http.client
import select
import ssl
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any


class NoTurn(OSError):
    """All connections were busy for too long."""


class _Connection(http.client.HTTPSConnection):
    """Sends head and body together: one packet, which the other side reads at once."""

    _held: list[bytes] | None = None
    """What waits to be sent together; None: nothing waits, it is sent at once."""

    def request_at_once(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Send one request. Raises OSError and ``http.client.HTTPException``."""
        held: list[bytes] = []
        self._held = held
        try:
            self.request(method, target, body, dict(headers))
        finally:
            self._held = None
        super().send(b"".join(held))

    def send(self, data: Any) -> None:
        """Called by ``request`` for the head, and again for the body."""
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)


class KeptConnections:
    """At most ``size`` connections, the one used last first. For many threads."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, size: int, timeout_s: float) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._timeout_s = timeout_s
        self._turns = threading.BoundedSemaphore(size)
        self._idle: deque[_Connection] = deque()
        # Nobody has to close a client: what it kept goes with it.
        weakref.finalize(self, _close, self._idle)

    def request(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Send one request, once; return status, headers and body.

        Raises OSError and ``http.client.HTTPException``.
        """
        if not self._turns.acquire(timeout=self._timeout_s):
            raise NoTurn("no connection became free in time")
        try:
            return self._request(self._take(), method, target, body, headers)
        finally:
            self._turns.release()

    def close(self) -> None:
        """Close those that are idle."""
        _close(self._idle)

    def _request(
        self,
        connection: _Connection,
        method: str,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        try:
            connection.request_at_once(method, target, body, headers)
            response = connection.getresponse()
            data = response.read()
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None:  # closed by itself where the server wants that
            self._idle.append(connection)
        return response.status, response.headers.items(), data

    def _take(self) -> _Connection:
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._make()
        if _is_silent(connection):
            return connection
        connection.close()
        return self._make()

    def _make(self) -> _Connection:
        return _Connection(self._host, self._port, context=self._context, timeout=self._timeout_s)


def _close(idle: deque[_Connection]) -> None:
    while idle:
        idle.pop().close()


def _is_silent(connection: _Connection) -> bool:
    """Whether an idle connection is as it should be: what a server says unasked is that it goes."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)
