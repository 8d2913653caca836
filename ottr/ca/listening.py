# SPDX-License-Identifier: Apache-2.0
"""Where the CA's server listens: with TLS, and without it beside that."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette

from ottr.ca.connections import Patience
from ottr.errors import AuthorityError

_LOG = logging.getLogger(__name__)
_BREAK_S = 1.0
_HINT = "if it is files, `ulimit -n` or systemd's LimitNOFILE lets the server have more of them"
_KEEP_ALIVE_S = 75
_SHUTDOWN_S = 20


@dataclass(frozen=True, slots=True)
class Door:
    """What is served at a socket."""

    config: uvicorn.Config
    listener: socket.socket


class Server(uvicorn.Server):
    """Listens at several doors; tells when, and at which port the first of them is."""

    def __init__(self, doors: Sequence[Door], patience: Patience, started: Callable[[int], None]) -> None:
        super().__init__(doors[0].config)
        self._doors = doors
        self._patience = patience
        self._tell = started

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Ours alone: uvicorn is given no sockets."""
        del sockets
        await super().startup([])
        self.servers += [Listener(self, door, self._patience) for door in self._doors]  # type: ignore[misc]
        self._tell(int(self.servers[0].sockets[0].getsockname()[1]))


def open_door(
    application: Starlette, place: tuple[str, int], key: str, protocol: type[asyncio.Protocol], stack: ExitStack
) -> Door:
    """Take an address for an application; the stack gives it back. Raises AuthorityError."""
    return Door(_configure(application, place, protocol), stack.enter_context(open_listener(place, key)))


def open_listener(place: tuple[str, int], key: str) -> socket.socket:
    """Take the address before anything is started; ``key`` is where ca.yaml has it. Raises AuthorityError."""
    try:
        family = socket.getaddrinfo(*place, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server(place, family=family)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted ones inherit it
    except OSError as error:
        raise AuthorityError(
            f"nothing can listen at {place[0]} port {place[1]}: {error.strerror}",
            hint=f"`{key}` in ca.yaml: another program may have the port; one below 1024 needs CAP_NET_BIND_SERVICE",
        ) from error
    return listener


class Listener:
    """Accepts the connections of a door; uvicorn takes it for a server of asyncio's.

    The loops' own knows no limit of number before the end of the handshake, and uvloop's accepts nobody any more once
    accepting has failed.
    """

    def __init__(self, server: uvicorn.Server, door: Door, patience: Patience) -> None:
        self.sockets = (door.listener,)
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._config = door.config
        self._patience = patience
        self._open: set[asyncio.Protocol] = set()
        """Those in their handshake, too."""
        self._protocol = _tell_of_end(door.config.http_protocol_class, self._open.discard)
        self._beginning: set[asyncio.Task[None]] = set()
        self._break: asyncio.TimerHandle | None = None
        door.listener.setblocking(False)
        door.listener.listen(door.config.backlog)
        self._go_on()

    def close(self) -> None:
        """Nobody may connect any more."""
        if self._break is not None:
            self._break.cancel()
        self._loop.remove_reader(self.sockets[0])
        self.sockets[0].close()
        for task in self._beginning:  # what begins now would be served, and waited for
            task.cancel()

    async def wait_closed(self) -> None:
        """For uvicorn, which itself waits for the connections that are open."""

    def _go_on(self) -> None:
        self._loop.add_reader(self.sockets[0], self._accept)

    def _accept(self) -> None:
        """Take one; the loop calls again for each further one that waits."""
        try:
            connection, _ = self.sockets[0].accept()
        except (BlockingIOError, ConnectionAbortedError):  # it has gone again
            return
        except OSError as error:  # no more open files, say: it waits, and the loop would call again and again
            _LOG.error("nobody can connect for the next %s s: %s; %s", _BREAK_S, error.strerror, _HINT)
            self._loop.remove_reader(self.sockets[0])
            self._break = self._loop.call_later(_BREAK_S, self._go_on)
            return
        if len(self._open) >= self._patience.connections:
            connection.close()
            return
        connection.setblocking(False)
        state = self._server.server_state
        made = self._protocol(config=self._config, server_state=state, app_state=self._server.lifespan.state)  # type: ignore[call-arg]
        self._open.add(made)
        task = self._loop.create_task(self._begin(made, connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin(self, made: asyncio.Protocol, connection: socket.socket) -> None:
        timeout_s = None if self._config.ssl is None else self._patience.headers_s
        try:
            await self._loop.connect_accepted_socket(
                lambda: made,
                connection,
                ssl=self._config.ssl,
                ssl_handshake_timeout=timeout_s,
                ssl_shutdown_timeout=timeout_s,
            )
        except OSError:  # no handshake, or none in time
            pass
        finally:
            if made not in self._server.server_state.connections:
                self._open.discard(made)


def _tell_of_end(protocol: type[asyncio.Protocol], tell: Callable[[asyncio.Protocol], None]) -> type[asyncio.Protocol]:
    """Uvicorn's protocol, which also tells of itself when its connection has ended."""

    class EndingProtocol(protocol):  # type: ignore[misc,valid-type]
        def connection_lost(self, exc: Exception | None) -> None:
            tell(self)
            super().connection_lost(exc)

    return EndingProtocol


def _configure(application: Starlette, place: tuple[str, int], protocol: type[asyncio.Protocol]) -> uvicorn.Config:
    config = uvicorn.Config(
        application,
        host=place[0],
        port=place[1],
        loop="auto",  # uvloop, or asyncio's own where there is none (PyPy, say)
        http=protocol,
        ws="none",
        interface="asgi3",
        proxy_headers=False,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        lifespan="on",
    )
    config.load()
    return config
