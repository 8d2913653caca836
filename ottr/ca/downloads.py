# SPDX-License-Identifier: Apache-2.0
"""Issuers to download, as PEM."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from cryptography import x509
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from ottr.ca.authority import Authority
from ottr.ca.exporting import export_pem
from ottr.ca.trust import list_trusted
from ottr.errors import AuthorityError

_LOG = logging.getLogger(__name__)
_HEADERS = {"Content-Type": "application/x-pem-file", "Cache-Control": "public, max-age=300"}


def build_trust_routes(authority: Authority, pool: Executor) -> Sequence[BaseRoute]:
    """``GET /ca/bundle.pem``, the roots, and ``/ca/issuers.pem``, all trusted ones: in a rollover old and new."""

    def route(path: str, listed: Callable[[], Sequence[x509.Certificate]]) -> Route:
        def build() -> Response:
            try:
                return Response(export_pem(listed()), headers=_HEADERS)
            except AuthorityError as error:
                _LOG.error("%s: %s", path, error)
                return PlainTextResponse("the CA cannot read its issuers now; try again later\n", 503)

        async def answer(request: Request) -> Response:
            del request
            return await asyncio.get_running_loop().run_in_executor(pool, build)

        return Route(path, answer)

    return route("/ca/bundle.pem", authority.trust_bundle), route("/ca/issuers.pem", lambda: list_trusted(authority))
