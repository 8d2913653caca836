# SPDX-License-Identifier: Apache-2.0
"""Connections of the CA's servers that try the short way first."""

from __future__ import annotations

import asyncio

from ottr.ca.status.fast import FastPath
from ottr.ca.status.service import Status


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


def add_fast_path(base: type[asyncio.Protocol], status: Status) -> type[asyncio.Protocol]:
    """The protocol of connections whose first requests may be answered from memory; the first that is not ends that.

    ``base`` is one that ``ottr.ca.connections`` has built.
    """
    if not status.responder.settings.enabled or not status.watch.is_instant:
        return base
    fast = FastPath(status.responder, status.authority.clock)

    class FastProtocol(base):  # type: ignore[valid-type, misc]
        _is_fast = True
        _idle: IdleTimer | None = None

        def data_received(self, data: bytes) -> None:
            if self._is_fast and not self.flow.write_paused:
                answer = fast.answer(data, self.server_state.default_headers[0][1])
                if answer is not None:
                    self._go_on(answer)
                    return
            self._is_fast = False
            self._end_idle()
            super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_idle()
            super().connection_lost(exc)

        def _go_on(self, answer: bytes) -> None:
            self.transport.write(answer)
            if self._idle is None:
                self._stop_timer()  # of the base, for headers that do not come
                self._idle = IdleTimer(self.loop, self.transport, self.timeout_keep_alive)
            self._idle.reset()
            self.crowd.remove(self)  # of those that are silent, it is the last now
            self.crowd.add(self)

        def _end_idle(self) -> None:
            if self._idle is not None:
                self._idle.stop()
                self._idle = None

    return FastProtocol
