# SPDX-License-Identifier: Apache-2.0
"""EST over HTTP, and beside it what a client asks before it renews: does my certificate count, and is it due?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ottr.ca.authority import Authority
from ottr.ca.est.server import MOST_BYTES, Ask, EstServer
from ottr.ca.est.settings import read_est_settings
from ottr.ca.peers import read_peer
from ottr.ca.web import METHODS, BodyRefused, read_body

PREFIX = "/.well-known/est/"
CLIENT_PATH = "/ca/client"


def open_est_routes(authority: Authority, pool: Executor, enrolled: Callable[[], None]) -> Sequence[BaseRoute]:
    """The routes of EST as ca.yaml has it: none while it is off. Raises SettingsError, KeyUnavailable."""
    settings = read_est_settings(authority.settings)
    return build_est_routes(EstServer(authority, settings, enrolled), pool) if settings.enabled else ()


def build_est_routes(server: EstServer, pool: Executor) -> Sequence[BaseRoute]:
    """The routes of a server, which works in threads of the pool."""

    def route(path: str, handle: Callable[[Ask], Response], prefix: str) -> Route:
        async def answer(request: Request) -> Response:
            try:
                body = await read_body(request, MOST_BYTES)
            except BodyRefused as refused:
                return Response(status_code=refused.status, headers={"Connection": "close"})
            place = request.scope["path"].removeprefix(prefix)
            ask = Ask(request.method, place, read_peer(request.scope), request.headers, body)
            return await asyncio.get_running_loop().run_in_executor(pool, handle, ask)

        return Route(path, answer, methods=METHODS)

    return (
        route(PREFIX + "{path:path}", server.handle, PREFIX),
        route(CLIENT_PATH, server.describe_client, ""),
    )
