# SPDX-License-Identifier: Apache-2.0
"""ACME requests on their way from a connection to the server and back, without ASGI.

ASGI would cost as much as the work itself: for each request a task, events, and an answer in two writes, each a record
of TLS and a system call. Here a request is handed over by the callback that has read its end, and answered in one.
"""

from __future__ import annotations

import logging
from asyncio.events import TimerHandle
from concurrent.futures import Executor
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from ottr.ca.acme.exchange import MOST_BYTES, Message, Reply
from ottr.ca.acme.server import AcmeServer
from ottr.ca.connections import PatientProtocol

_LOG = logging.getLogger(__name__)
_WITHOUT_CONTENT = (204, 304)
_WANTED = (b"host", b"content-type")


class AcmeProtocol(PatientProtocol):
    """One connection, which hands requests below a path to the ACME server; see ``add_acme``."""

    acme: AcmeServer
    pool: Executor
    prefix: str
    _asked: RequestResponseCycle | None = None
    """The request whose body is awaited, or that is being answered."""
    _body_timer: TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """A part of a request, or more than one."""
        super().data_received(data)
        self._await_body()

    def on_response_complete(self) -> None:
        """What came before this answer is next."""
        super().on_response_complete()
        self._await_body()

    def connection_lost(self, exc: Exception | None) -> None:
        """It waits no more."""
        self._end_body()
        super().connection_lost(exc)

    def on_body(self, body: bytes) -> None:
        """More of a body, up to a limit."""
        super().on_body(body)
        if self._asked is not None and self._asked is self.cycle and len(self.cycle.body) > MOST_BYTES:
            self._refuse(413)

    def on_message_complete(self) -> None:
        """A request is whole."""
        super().on_message_complete()
        if self._asked is not None and self._asked is self.cycle:
            self._hear(self._asked)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if app is not self.app or not cycle.scope["raw_path"].startswith(f"{self.prefix}/".encode()):
            super()._start_asgi_task(cycle, app)
            return
        self._asked = cycle
        if not cycle.more_body:  # it came while another one was answered
            self.loop.call_soon(self._hear, cycle)

    def _await_body(self) -> None:
        """Wait for the rest of a request, but not without end."""
        if self._asked is None or not self._asked.more_body or self._body_timer is not None:
            return
        self.flow.resume_reading()
        self._body_timer = self.loop.call_later(self.crowd.patience.body_s, self._refuse, 408)
        if self._asked.waiting_for_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _end_body(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _refuse(self, status: int) -> None:
        self._answer(Reply(status, headers={"Connection": "close"}))

    def _hear(self, cycle: RequestResponseCycle) -> None:
        """The request is whole."""
        self._end_body()
        message = build_message(cycle.scope, self.prefix, bytes(cycle.body))
        if self.acme.is_quick(message):
            self._answer(_handle(self.acme, message))
        else:
            self.pool.submit(self._work, message)

    def _work(self, message: Message) -> None:
        """In a thread of the pool."""
        self.loop.call_soon_threadsafe(self._answer, _handle(self.acme, message))

    def _answer(self, reply: Reply) -> None:
        cycle, self._asked = self._asked, None
        self._end_body()
        if cycle is None or cycle.disconnected:
            return
        keep = cycle.keep_alive and "Connection" not in reply.headers
        cycle.response_started = cycle.response_complete = True
        head_only = cycle.scope["method"] == "HEAD"
        self.transport.write(write_reply(reply, cycle.default_headers, head_only=head_only, keep=keep))
        if not keep:
            self.transport.close()
        self.on_response_complete()


def add_acme(
    base: type[PatientProtocol], server: AcmeServer, pool: Executor, prefix: str = "/acme"
) -> type[AcmeProtocol]:
    """The protocol of connections that bring requests below a path to the ACME server; all others go to ``base``.

    The server works in threads of the pool unless that takes longer than the work.
    """
    return type("AcmeServersProtocol", (AcmeProtocol, base), {"acme": server, "pool": pool, "prefix": prefix})


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


def _handle(server: AcmeServer, message: Message) -> Reply:
    """Answer, also when there is a mistake in the server: it is ours to find, and no reason to hang up."""
    try:
        return server.handle(message)
    except Exception:
        _LOG.exception("%s %s died", message.method, message.path)
        return Reply(500, headers={"Connection": "close"})
