# SPDX-License-Identifier: Apache-2.0
"""The CA's servers in ASGI: all but ACME, see ``direct``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import Receive, Send

from ottr.ca.acme.exchange import Reply

BODY_S = 10.0
THREADS = 32
"""That wait for the database and the disk."""
_WITHOUT_CONTENT = (204, 304)
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]


class BodyRefused(Exception):
    """A body that is too long or comes too slowly; the status says which."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def build_app(routes: Sequence[BaseRoute]) -> Starlette:
    """The application of some routes."""

    @asynccontextmanager
    async def live(app: Starlette) -> AsyncIterator[None]:
        del app
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield

    return Starlette(routes=routes, lifespan=live)


async def receive_body(receive: Receive, most: int, timeout_s: float = BODY_S) -> bytes:
    """The body, up to a size and within a time; a client that dawdles holds no thread. Raises BodyRefused."""
    parts, size, more = [], 0, True
    try:
        async with asyncio.timeout(timeout_s):
            while more:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise BodyRefused(400)
                part, more = event.get("body", b""), event.get("more_body", False)
                size += len(part)
                if size > most:
                    raise BodyRefused(413)
                parts.append(part)
    except TimeoutError as error:
        raise BodyRefused(408) from error
    return b"".join(parts)


async def read_body(request: Request, most: int) -> bytes:
    """The body of a Starlette request, as ``receive_body`` reads it. Raises BodyRefused."""
    return await receive_body(request.receive, most)


async def send_reply(send: Send, reply: Reply) -> None:
    """Send a reply; uvicorn itself leaves out the content after HEAD."""
    content = b"" if reply.status in _WITHOUT_CONTENT else reply.content
    fields = [*reply.headers.items(), *(("Link", link) for link in reply.links)]
    if content:
        fields.append(("Content-Type", reply.content_type))
    if reply.status not in _WITHOUT_CONTENT:
        fields.append(("Content-Length", str(len(content))))
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
