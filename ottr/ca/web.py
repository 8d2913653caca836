# SPDX-License-Identifier: Apache-2.0
"""The CA's servers in HTTP: an ASGI application, and a process that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from ottr.ca.acme.exchange import MOST_BYTES, Message, Reply
from ottr.ca.acme.server import AcmeServer

_BODY_TIMEOUT_S = 10.0
_THREADS = 32
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]


class BodyRefused(Exception):
    """A body that is too long or comes too slowly; the status says which."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def build_app(routes: Sequence[BaseRoute], closers: Sequence[Callable[[], None]] = ()) -> Starlette:
    """The application of some routes; ``closers`` are called when it ends."""

    @asynccontextmanager
    async def live(app: Starlette) -> AsyncIterator[None]:
        del app
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        yield
        for close in closers:
            await anyio.to_thread.run_sync(close)

    return Starlette(routes=routes, lifespan=live)


def build_acme_route(server: AcmeServer, prefix: str = "/acme") -> BaseRoute:
    """The route of the ACME server."""

    async def answer(request: Request) -> Response:
        try:
            body = await read_body(request, MOST_BYTES)
        except BodyRefused as refused:
            return Response(status_code=refused.status, headers={"Connection": "close"})
        message = Message(
            method=request.method,
            path=request.url.path[len(prefix) :],
            base=f"{request.url.scheme}://{request.url.netloc}{prefix}",
            body=body,
            content_type=request.headers.get("content-type", ""),
            query=request.url.query,
            address=request.client.host if request.client else "",
        )
        return write_reply(await anyio.to_thread.run_sync(server.handle, message), request.method)

    return Mount(prefix, routes=[Route("/{path:path}", answer, methods=METHODS)])


async def read_body(request: Request, most: int) -> bytes:
    """The body, up to a size and within a time; a client that dawdles holds no thread. Raises BodyRefused."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise BodyRefused(413)
                parts.append(part)
    except TimeoutError as error:
        raise BodyRefused(408) from error
    except ClientDisconnect as error:
        raise BodyRefused(400) from error
    return b"".join(parts)


def write_reply(reply: Reply, method: str) -> Response:
    """A reply as Starlette has it."""
    content = b"" if method == "HEAD" or reply.status == 204 else reply.content
    response = Response(content, reply.status, dict(reply.headers))
    if content:
        response.headers["Content-Type"] = reply.content_type
    for link in reply.links:
        response.headers.append("Link", link)
    return response
