# SPDX-License-Identifier: Apache-2.0
"""The pages in ASGI."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from ottr.ca.acme.exchange import Reply
from ottr.ca.status.pages import Asked, StatusPages
from ottr.ca.status.request import MOST_BYTES
from ottr.ca.web import BODY_S, BodyRefused, receive_body, send_reply

STATUS_THREADS = 8
"""That look into the database and sign; ACME's own cannot take them all."""
_WANTED = frozenset({b"content-type", b"if-none-match"})


class StatusApp:
    """An application of these pages alone, which work in threads of the pool."""

    def __init__(self, pages: StatusPages, pool: Executor, body_s: float = BODY_S) -> None:
        self._pages = pages
        self._pool = pool
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            body = await receive_body(receive, MOST_BYTES, self._body_s)
        except BodyRefused as refused:
            await send_reply(send, Reply(refused.status, headers={"Connection": "close"}))
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in _WANTED
        }
        asked = Asked(scope["method"], scope["raw_path"], headers, body)
        reply = await asyncio.get_running_loop().run_in_executor(self._pool, self._pages.handle, asked)
        await send_reply(send, reply)


def build_status_routes(app: StatusApp) -> list[BaseRoute]:
    """The same as routes beside others."""
    return [Route("/ocsp", app), *(Mount(prefix, app=app) for prefix in ("/ocsp", "/crl", "/ca"))]
