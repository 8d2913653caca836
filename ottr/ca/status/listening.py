# SPDX-License-Identifier: Apache-2.0
"""Connections of the CA's servers that try the short way first."""

from __future__ import annotations

import asyncio

from ottr.ca.status.fast import FastPath
from ottr.ca.status.service import Status


def add_fast_path(base: type[asyncio.Protocol], status: Status) -> type[asyncio.Protocol]:
    """The protocol of connections whose first requests may be answered from memory; the first that is not ends that.

    ``base`` is one that ``ottr.ca.connections`` has built.
    """
    if not status.responder.settings.enabled or not status.watch.is_instant:
        return base
    fast = FastPath(status.responder, status.authority.clock)

    class FastProtocol(base):  # type: ignore[valid-type, misc]
        _is_fast = True

        def data_received(self, data: bytes) -> None:
            if self._is_fast and not self.flow.write_paused:
                answer = fast.answer(data, self.server_state.default_headers[0][1])
                if answer is not None:
                    self.transport.write(answer)
                    self.await_next()
                    return
            self._is_fast = False
            super().data_received(data)

    return FastProtocol
