# SPDX-License-Identifier: Apache-2.0
"""Where the CA's server listens: with TLS, and without it beside that."""

from __future__ import annotations

import asyncio
import socket
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette

from ottr.ca.connections import Patience
from ottr.errors import AuthorityError

_KEEP_ALIVE_S = 75
_SHUTDOWN_S = 20
_MOST_CONNECTIONS = 1000


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
        for door in self._doors:
            await listen(self, door.config, door.listener, self._patience)
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
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio overlooks sockets made like this
    except OSError as error:
        raise AuthorityError(
            f"nothing can listen at {place[0]} port {place[1]}: {error.strerror}",
            hint=f"`{key}` in ca.yaml: another program may have the port; one below 1024 needs CAP_NET_BIND_SERVICE",
        ) from error
    return listener


async def listen(server: uvicorn.Server, config: uvicorn.Config, listener: socket.socket, patience: Patience) -> None:
    """Let a server that has started accept connections, with TLS where ``config`` has it.

    Uvicorn's own way knows no limit before the end of the handshake: neither of time nor of number.
    """
    loop = asyncio.get_running_loop()
    open_ones: weakref.WeakSet[asyncio.Protocol] = weakref.WeakSet()

    def connect() -> asyncio.Protocol:
        if len(open_ones) >= patience.connections:
            raise ConnectionRefusedError("too many connections")  # the loop drops this one, and with it the socket
        made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=server.server_state, app_state=server.lifespan.state
        )
        open_ones.add(made)
        return made

    timeout_s = None if config.ssl is None else patience.headers_s
    server.servers.append(
        await loop.create_server(
            connect, sock=listener, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=timeout_s
        )
    )


def _configure(application: Starlette, place: tuple[str, int], protocol: type[asyncio.Protocol]) -> uvicorn.Config:
    config = uvicorn.Config(
        application,
        host=place[0],
        port=place[1],
        http=protocol,
        ws="none",
        interface="asgi3",
        proxy_headers=False,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        limit_concurrency=_MOST_CONNECTIONS,
        lifespan="on",
    )
    config.load()
    return config
