# SPDX-License-Identifier: Apache-2.0
"""Connections that are not waited for without end: uvicorn's own has no bound on the time and size of headers."""

from __future__ import annotations

import asyncio
from asyncio.events import TimerHandle
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


@dataclass(frozen=True, slots=True)
class Patience:
    """How long, and with how much, a client may keep the server waiting for a whole request."""

    headers_s: float = 10.0
    """For the handshake of TLS; then from the connection, or the first byte of a further request, to the end of its
    headers."""
    body_s: float = 10.0
    header_bytes: int = 32 * 1024
    waiting: int = 500
    """Connections without a whole request; one more, and the one that waits longest is closed."""
    connections: int = 2000
    """Of one listener, those in their handshake too: with TLS each has 300 KiB before a byte has come."""


DEFAULT_PATIENCE = Patience()


class Crowd:
    """The connections of a server that wait for the rest of a request, in the order of their waiting."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._waiting: dict[PatientProtocol, None] = {}

    def add(self, one: PatientProtocol) -> None:
        """It waits; where too many do, the first of them waits no longer."""
        self._waiting.setdefault(one)
        if len(self._waiting) > self.patience.waiting:
            first = next(iter(self._waiting))
            self.remove(first)
            first.transport.abort()

    def remove(self, one: PatientProtocol) -> None:
        """It has its request, or is gone."""
        self._waiting.pop(one, None)


class IdleTimer:
    """Closes a connection that was silent for a time; one timer for many requests."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, timeout_s: float) -> None:
        self._loop = loop
        self._transport = transport
        self._timeout_s = timeout_s
        self._heard_at = loop.time()
        self._timer = loop.call_later(timeout_s, self._look)

    def reset(self) -> None:
        """Something was heard."""
        self._heard_at = self._loop.time()

    def stop(self) -> None:
        """Somebody else looks after the connection."""
        self._timer.cancel()

    def _look(self) -> None:
        left_s = self._heard_at + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._transport.close()


class PatientProtocol(HttpToolsProtocol):
    """One connection. ``crowd`` is that of its server, see ``build_protocol``."""

    crowd: Crowd
    _timer: TimerHandle | None = None
    _received = 0
    _begun = False
    """The headers of a request are on their way."""
    _whole = True
    """What the parser was given ends with the end of a request, which may be later than the answer to it."""
    _idle: IdleTimer | None = None
    """Of a client whose last request was answered without the parser."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It may be silent for as long as patience lasts."""
        super().connection_made(transport)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        """Count what comes before the end of the headers."""
        self._end_idle()
        if not self._has_headers():
            self._await_headers()
            self._received += len(data)
        super().data_received(data)
        if self._has_headers():
            self._stop_timer()
            if not self.cycle.more_body:
                self.crowd.remove(self)
        elif self._received > self.crowd.patience.header_bytes:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """The first bytes of a request."""
        super().on_message_begin()
        self._begun = True
        self._whole = False

    def on_headers_complete(self) -> None:
        """The request is known."""
        self._begun = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The last bytes of a request."""
        super().on_message_complete()
        self._whole = True

    def on_response_complete(self) -> None:
        """Of those that wait for a further request it is the last now."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        self.crowd.remove(self)
        self.crowd.add(self)
        if self._begun:  # it came with the request before
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """It waits no more."""
        super().connection_lost(exc)
        self.cycle = None  # type: ignore[assignment]  # cycles know the protocol: only the collector would end both
        self.pipeline.clear()
        self._end_idle()
        self._stop_timer()
        self.crowd.remove(self)

    def await_next(self) -> None:
        """A request was answered without the parser: of those that wait for a further one it is the last now."""
        self._stop_timer()
        if self._idle is None:
            self._idle = IdleTimer(self.loop, self.transport, self.timeout_keep_alive)
        self._idle.reset()
        self.crowd.remove(self)
        self.crowd.add(self)

    def _end_idle(self) -> None:
        if self._idle is not None:
            self._idle.stop()
            self._idle = None

    def _has_headers(self) -> bool:
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _await_headers(self) -> None:
        if self._timer is None:
            self.crowd.add(self)
            self._timer = self.loop.call_later(self.crowd.patience.headers_s, self.transport.abort)

    def _stop_timer(self) -> None:
        self._received = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def build_protocol(patience: Patience) -> type[PatientProtocol]:
    """The protocol for the connections of one server."""
    return type("ServersProtocol", (PatientProtocol,), {"crowd": Crowd(patience)})
