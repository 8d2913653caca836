# SPDX-License-Identifier: Apache-2.0
"""Public keys for whoever verifies tokens: those of held keys that are marked exposed, as a JWK set (RFC 7517).

A key stays while one of its certificates is valid, and for a while after that or after its successor came, for the
tokens it signed last. A key of which a certificate is revoked or on hold leaves at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ottr.ca.authority import Authority
from ottr.ca.jose import build_jwk
from ottr.ca.model import Status
from ottr.ca.schema import certificate, held_key
from ottr.ca.settings import CaSettings
from ottr.errors import AuthorityError

_LOG = logging.getLogger(__name__)
PATH = "/.well-known/jwks.json"
_TYPE = "application/jwk-set+json"
_successor = certificate.alias()
_EXPOSED = (
    sa.select(
        held_key.c.id,
        held_key.c.public_key_der,
        certificate.c.status,
        certificate.c.not_after,
        _successor.c.issued_at.label("replaced_at"),
    )
    .select_from(held_key)
    .join(certificate, (certificate.c.key_id == held_key.c.id) & (certificate.c.key_id != sa.literal_column("''")))
    .outerjoin(_successor, _successor.c.id == certificate.c.replaced_by)
    .where(held_key.c.exposed)
    .order_by(held_key.c.created_at.desc(), held_key.c.id)
)


@dataclass(frozen=True, slots=True)
class JwksSettings:
    """The section ``jwks`` of ca.yaml."""

    grace_s: float = 7 * 86400.0
    """How long a key stays after its certificate was replaced or has expired: no shorter than its tokens live."""
    max_age_s: float = 300.0
    """How long others may keep the set: a revoked key is gone from it here at once, there after so long."""


def read_jwks_settings(settings: CaSettings) -> JwksSettings:
    """Read the section. Raises SettingsError naming file and key."""
    fields, usual = settings.section("jwks"), JwksSettings()
    jwks = JwksSettings(fields.span("grace", usual.grace_s), fields.span("max_age", usual.max_age_s))
    fields.finish()
    return jwks


def list_exposed(authority: Authority, grace_s: float) -> Iterator[dict[str, str]]:
    """The JWKs to show, the newest first: public members, ``kid`` (the id of the held key), ``use``.

    ``alg`` only where the key leaves no choice: RSA keys sign with several.
    """
    since = authority.clock() - timedelta(seconds=grace_s)
    with authority.database.read() as connection:
        rows = connection.execute(_EXPOSED).all()
    for key_id, group in groupby(rows, key=lambda row: str(row.id)):
        certificates = list(group)
        if _is_shown(certificates, since):
            jwk = build_jwk(load_der_public_key(certificates[0].public_key_der))  # type: ignore[arg-type]  # judged once
            chosen = {} if jwk.members["kty"] == "RSA" else {"alg": jwk.algorithm}
            yield {"kid": key_id, "use": "sig", **chosen, **jwk.members}


def build_jwks_route(authority: Authority, pool: Executor) -> Route:
    """``GET /.well-known/jwks.json``. Raises SettingsError."""
    settings = read_jwks_settings(authority.settings)

    def build(known: str) -> Response:
        try:
            keys = list(list_exposed(authority, settings.grace_s))
        except AuthorityError as error:
            _LOG.error("%s: %s", PATH, error)
            return PlainTextResponse("the CA cannot read its keys now; try again later\n", 503)
        content = json.dumps({"keys": keys}, separators=(",", ":")).encode()
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": f"public, max-age={int(settings.max_age_s)}"}
        if tag in (one.strip().removeprefix("W/") for one in known.split(",")):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=_TYPE)

    async def answer(request: Request) -> Response:
        known = request.headers.get("if-none-match", "")
        return await asyncio.get_running_loop().run_in_executor(pool, build, known)

    return Route(PATH, answer)


def _is_shown(rows: list[Any], since: datetime) -> bool:
    """Whether the tokens of a key, given its certificates, are still to be believed."""
    if any(row.status != Status.VALID.value for row in rows):
        return False
    return any(min(row.not_after, row.replaced_at or row.not_after) > since for row in rows)
