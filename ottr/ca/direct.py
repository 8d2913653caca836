# SPDX-License-Identifier: Apache-2.0
"""ACME requests on their way from a connection to the server and back, without ASGI.

ASGI would cost as much as the work itself: for each request a task, events, and an answer in two writes, each a record
of TLS and a system call. Here a request is handed over by the callback that has read its end, and answered in one. In
the form that most clients use it is told from its bytes, and does not go through uvicorn's parser either.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from asyncio.events import TimerHandle
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any, TypeVar

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ottr.ca.acme.exchange import JOSE_TYPE, MOST_BYTES, Later, Message, Reply
from ottr.ca.acme.server import AcmeServer
from ottr.ca.acme.validation.glance import find_loop
from ottr.ca.connections import PatientProtocol
from ottr.ca.plain import Head, Posts
from ottr.ca.wire import Response, build_message, write_reply

_LOG = logging.getLogger(__name__)
_MOST_WORKING = 1000
_RETRY_AFTER_S = "5"
_DIED = Reply(500, headers={"Connection": "close"})

Answer = TypeVar("Answer", Reply, Reply | Later)


class AcmeProtocol(PatientProtocol):
    """One connection, which hands requests below a path to the ACME server; see ``add_acme``."""

    acme: AcmeServer
    pool: Executor
    prefix: str
    posts: Posts
    working: set[AcmeProtocol]
    """Of the whole server: those whose request is in the pool, clients that have gone included."""
    _asked: RequestResponseCycle | None = None
    """The request whose body is awaited, or that is being answered."""
    _held: RequestResponseCycle | None = None
    """The same, if it is not begun because the client does not read the answers before it."""
    _nobody = asyncio.Event()
    """Who would wait for a body that is there."""
    _timer_of_client: TimerHandle | None = None
    """The client has so long to send the rest, or to read."""

    def data_received(self, data: bytes) -> None:
        """A part of a request, or more than one."""
        found = self.posts.read(data) if self._is_idle() else None
        if found is None:
            super().data_received(data)
            self._await_body()
        else:
            self._hear_plainly(*found)

    def on_response_complete(self) -> None:
        """What came before this answer is next."""
        super().on_response_complete()
        self._await_body()

    def connection_lost(self, exc: Exception | None) -> None:
        """It waits no more."""
        self._stop_waiting()
        self._asked = self._held = None
        super().connection_lost(exc)

    def on_body(self, body: bytes) -> None:
        """More of a body, up to a limit."""
        super().on_body(body)
        if self._asked is not None and self._asked is self.cycle and len(self.cycle.body) > MOST_BYTES:
            self._refuse(self._asked, 413)

    def on_message_complete(self) -> None:
        """A request is whole; in its turn, for others may have come with it."""
        super().on_message_complete()
        if self._asked is not None and self._asked is self.cycle:
            self._stop_waiting()
            self.loop.call_soon(self._hear, self._asked)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        held, self._held = self._held, None
        if held is not None:
            self._stop_waiting()
            self.loop.call_soon(self._hear, held)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not cycle.scope["raw_path"].startswith(f"{self.prefix}/".encode()):
            super()._start_asgi_task(cycle, app)
            return
        self._asked = cycle
        if not cycle.more_body:  # it came while another one was answered
            self.loop.call_soon(self._hear, cycle)

    def _is_idle(self) -> bool:
        """Whether all is answered, the parser has no part of a request, and the client reads what it is given."""
        return self._whole and not self._has_headers() and not self.flow.write_paused

    def _hear_plainly(self, path: str, head: Head, body: bytes) -> None:
        """A request is whole, and the parser has not seen it: what comes behind it is queued by that all the same."""
        self._unset_keepalive_if_required()
        self._stop_timer()
        self.crowd.remove(self)
        base, address = f"{self.scheme}://{head.host}{self.prefix}", self.client[0] if self.client else ""
        message = Message("POST", path, base, body, JOSE_TYPE, address=address)
        cycle = self.cycle = self._asked = self._build_cycle(path)
        self._begin(message, cycle)
        if self._asked is cycle:
            self._end_idle()

    def _build_cycle(self, path: str) -> RequestResponseCycle:
        cycle = RequestResponseCycle(
            scope={"method": "POST", "path": path},  # type: ignore[typeddict-item]  # for who logs it
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=self._nobody,
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        cycle.more_body = False
        return cycle

    def _await_body(self) -> None:
        """Wait for the rest of a request, but not without end."""
        if self._asked is None or not self._asked.more_body or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._timer_of_client is None:
            self._timer_of_client = self.loop.call_later(self.crowd.patience.body_s, self._refuse, self._asked, 408)
            if self._asked.waiting_for_100_continue:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _stop_waiting(self) -> None:
        if self._timer_of_client is not None:
            self._timer_of_client.cancel()
            self._timer_of_client = None

    def _refuse(self, cycle: RequestResponseCycle, status: int) -> None:
        self._answer(_write(Reply(status, headers={"Connection": "close"}), cycle))

    def _hear(self, cycle: RequestResponseCycle) -> None:
        """The request is whole."""
        if self.flow.write_paused:
            self._held = cycle
            self._timer_of_client = self.loop.call_later(self.crowd.patience.body_s, self.transport.abort)
            return
        self._begin(build_message(cycle.scope, self.prefix, bytes(cycle.body)), cycle)

    def _begin(self, message: Message, cycle: RequestResponseCycle) -> None:
        if self.acme.is_quick(message):
            self._take(message, cycle, _attempt(message, lambda: self.acme.begin(message)))
        else:
            self._submit(message, cycle, lambda: self.acme.handle(message))

    def _take(self, message: Message, cycle: RequestResponseCycle, begun: Reply | Later) -> None:
        if isinstance(begun, Reply):
            self._answer(_write(begun, cycle))
        elif begun.work is None:
            self._submit(message, cycle, lambda: self.acme.end(message, begun))
        else:
            self._put_off(message, cycle, begun, begun.work)

    def _submit(self, message: Message, cycle: RequestResponseCycle, answer: Callable[[], Reply]) -> None:
        if len(self.working) >= _MOST_WORKING:
            self._answer(_write(Reply(503, headers={"Connection": "close", "Retry-After": _RETRY_AFTER_S}), cycle))
        else:
            self.working.add(self)
            self.pool.submit(self._work, message, cycle, answer)

    def _put_off(self, message: Message, cycle: RequestResponseCycle, later: Later, work: Future[None]) -> None:
        def finish() -> None:
            timer.cancel()
            if self._asked is not cycle or self in self.working or self.transport.is_closing():
                return
            if work.done():
                self._take(message, cycle, _attempt(message, lambda: self.acme.resume(message, later)))
            else:  # that it takes long is written down
                self._submit(message, cycle, lambda: self.acme.end(message, later))

        def tell(_: object) -> None:
            waiting = held()
            if waiting is None:
                return
            if find_loop() is loop:
                waiting()
                return
            with suppress(RuntimeError):  # the server has stopped meanwhile
                loop.call_soon_threadsafe(waiting)

        loop, held = self.loop, weakref.ref(finish)  # by the timer: the work keeps for ever whom it has told
        timer = loop.call_later(later.most_s, finish)
        work.add_done_callback(tell)

    def _work(self, message: Message, cycle: RequestResponseCycle, answer: Callable[[], Reply]) -> None:
        """In a thread of the pool. What nobody waits for any more is not begun."""
        response = None
        if not self.transport.is_closing():
            response = _write(_attempt(message, answer), cycle)
        self.loop.call_soon_threadsafe(self._end_work, response)

    def _end_work(self, response: Response | None) -> None:
        self.working.discard(self)
        if response is not None:
            self._answer(response)

    def _answer(self, response: Response) -> None:
        cycle, self._asked = self._asked, None
        self._stop_waiting()
        if cycle is None or self.transport.is_closing():
            return
        cycle.response_started = cycle.response_complete = True
        self.transport.write(response.raw)
        if not (response.keep and cycle.keep_alive):
            self.transport.close()
            self._timer_of_client = self.loop.call_later(self.crowd.patience.body_s, self.transport.abort)
        elif not self.pipeline and not self._begun:
            self.flow.resume_reading()
            self.await_next()
            return
        self.on_response_complete()


def add_acme(
    base: type[PatientProtocol], server: AcmeServer, pool: Executor, prefix: str = "/acme"
) -> type[AcmeProtocol]:
    """The protocol of connections that bring requests below a path to the ACME server; all others go to ``base``.

    The server works in threads of the pool unless that takes longer than the work.
    """
    posts = Posts(prefix, JOSE_TYPE)
    shared = {"acme": server, "pool": pool, "prefix": prefix, "posts": posts, "working": set()}
    return type("AcmeServersProtocol", (AcmeProtocol, base), shared)


def _attempt(message: Message, answer: Callable[[], Answer]) -> Answer | Reply:
    """Answer, also when there is a mistake in the server: it is ours to find, and no reason to hang up."""
    try:
        return answer()
    except Exception:
        _LOG.exception("%s %s died", message.method, message.path)
        return _DIED


def _write(reply: Reply, cycle: RequestResponseCycle) -> Response:
    try:
        return _encode(reply, cycle)
    except Exception:
        _LOG.exception("the answer to %s %s cannot be written", cycle.scope["method"], cycle.scope["path"])
        return _encode(_DIED, cycle)


def _encode(reply: Reply, cycle: RequestResponseCycle) -> Response:
    keep = cycle.keep_alive and "Connection" not in reply.headers
    head_only = cycle.scope["method"] == "HEAD"
    return Response(write_reply(reply, cycle.default_headers, head_only=head_only, keep=keep), keep)
