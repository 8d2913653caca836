# SPDX-License-Identifier: Apache-2.0
"""Authorizations and their challenges (RFC 8555 sections 7.5, 8)."""

from __future__ import annotations

import secrets
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ottr.ca.acme.accounts import check_rate
from ottr.ca.acme.disk import Disk
from ottr.ca.acme.exchange import Ask, Later, Reply
from ottr.ca.acme.looks import Looks
from ottr.ca.acme.memory import Memory
from ottr.ca.acme.problems import Problem, malformed, missing, unauthorized
from ottr.ca.acme.records import Authorization, Identifier, find_authorization, make_id, write_row
from ottr.ca.acme.schema import authorization as table
from ottr.ca.acme.settings import AcmeSettings
from ottr.ca.acme.status import OPEN, read_authorization_status
from ottr.ca.acme.validation import offer
from ottr.ca.authority import Authority
from ottr.errors import AuthorityError
from ottr.statement import insert

_PATIENCE_S = 0.3
"""How long the answer to a challenge waits for the look, which mostly takes less: the client then need not poll."""
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_BY_ID = table.c.id == sa.bindparam("key")
_REUSABLE = table.select().where(
    table.c.account_id == sa.bindparam("account"),
    table.c.kind == sa.bindparam("name_kind"),
    table.c.value == sa.bindparam("name"),
    table.c.wildcard == sa.bindparam("wild"),
    table.c.status == "valid",
    table.c.expires > sa.bindparam("until"),
)
_INSERT = insert(table)


class Authorizations:
    """The authorization and challenge endpoints. ``close`` ends the looks."""

    def __init__(self, authority: Authority, settings: AcmeSettings, memory: Memory, disk: Disk) -> None:
        self._authority = authority
        self._memory = memory
        self._settings = settings
        self._looks = Looks(authority, settings, memory, disk)

    def close(self) -> None:
        """Begin no more looks, and wait for those that run."""
        self._looks.close()

    def resume(self) -> None:
        """Look again where a process died while it looked."""
        with self._authority.database.read() as connection:
            rows = [Authorization(*row) for row in connection.execute(table.select().where(_IN_WORK))]
        for found in rows:
            for kind, challenge in found.challenges.items():
                if challenge["status"] == "processing":
                    self._looks.start(found, kind)

    def read(self, ask: Ask, authorization_id: str) -> Reply:
        """Read, or deactivate (section 7.5.2)."""
        found = self._get(ask, authorization_id)
        if ask.payload is not None:
            if ask.payload.get("status") != "deactivated":
                raise malformed("an authorization can be changed to deactivated only")
            found = self._change(found, OPEN, status="deactivated")
        return self._answer(ask, found)

    def read_challenge(self, ask: Ask, authorization_id: str, kind: str) -> Reply | Later:
        """Read, or have it looked at when the payload is ``{}`` (section 7.5.1)."""
        found = self._get(ask, authorization_id)
        if kind not in found.challenges:
            raise missing("challenge")
        if ask.payload is not None and found.status == "pending":
            if found.expires <= self._authority.clock():
                raise malformed("the authorization has expired")
            self._limit(found)
            work = self._looks.start(found, kind, "" if ask.waits else ask.owner.thumbprint)
            return Later(work, lambda: _answer_challenge(ask, self._see(found, kind, work), kind), _PATIENCE_S)
        return _answer_challenge(ask, found, kind)

    def find_or_insert(self, connection: sa.Connection, account_id: str, name: Identifier) -> Authorization:
        """For a new order: a valid one that counts for it, or a new one."""
        found = self._find_reusable(connection, account_id, name)
        return self._insert(connection, account_id, name) if found is None else found

    def _find_reusable(self, connection: sa.Connection, account_id: str, name: Identifier) -> Authorization | None:
        if not self._settings.reuse_authorizations:
            return None
        base, wildcard = _split(name)
        values = {"account": account_id, "name_kind": name.kind, "name": base, "wild": wildcard}
        until = self._authority.clock() + timedelta(seconds=self._settings.order_lifetime_s)
        row = connection.execute(_REUSABLE, {**values, "until": until}).first()
        return None if row is None else Authorization(*row)

    def _insert(self, connection: sa.Connection, account_id: str, name: Identifier) -> Authorization:
        base, wildcard = _split(name)
        kinds = offer(name.kind, wildcard=wildcard, settings=self._settings.validation)
        row = Authorization(
            id=make_id(),
            account_id=account_id,
            kind=name.kind,
            value=base,
            wildcard=wildcard,
            status="pending",
            token=secrets.token_urlsafe(32),
            challenges={kind: {"status": "pending"} for kind in kinds},
            expires=self._read_clock() + timedelta(seconds=self._settings.order_lifetime_s),
            failed_at=None,
        )
        _INSERT.change(connection, write_row(row))
        return row

    def _get(self, ask: Ask, authorization_id: str) -> Authorization:
        with ask.rows as rows:
            found = rows.find_authorization(authorization_id)
        if found is None:
            raise missing("authorization")
        if found.account_id != ask.owner.id:
            raise unauthorized("this authorization is another account's")
        return found

    def _limit(self, found: Authorization) -> None:
        rate = self._settings.limits.failures
        if rate is not None:
            where = (table.c.account_id == found.account_id) & (table.c.value == found.value)
            with self._authority.database.read() as connection:
                times = (where, table.c.failed_at)
                check_rate(connection, rate, self._authority, times, f"failed validations of {found.value}")

    def _see(self, found: Authorization, kind: str, work: Future[None]) -> Authorization:
        """What has come of a look by now."""
        if not work.done():
            challenges = {**found.challenges, kind: {"status": "processing"}}
            return self._change(found, ("pending",), status="processing", challenges=challenges)
        if isinstance(error := work.exception(), AuthorityError):
            raise Problem("serverInternal", "the look at the challenge died; ask again") from error
        with self._memory.look() as rows:
            return rows.find_authorization(found.id) or found

    def _change(self, found: Authorization, from_status: tuple[str, ...], **values: Any) -> Authorization:
        """Change it unless it has become something else meanwhile; return what it is now."""
        with self._authority.database.write() as connection:
            connection.execute(
                table.update().where(_BY_ID, table.c.status.in_(from_status)).values(**values), {"key": found.id}
            )
            return find_authorization(connection, found.id) or found

    def _read_clock(self) -> datetime:
        """As times are stored."""
        return self._authority.clock().replace(microsecond=0)

    def _answer(self, ask: Ask, found: Authorization) -> Reply:
        document: dict[str, Any] = {
            "identifier": found.identifier.document,
            "status": read_authorization_status(found, self._authority.clock()),
            "expires": found.expires.strftime(_TIME),
            "challenges": [_write_challenge(ask, found, kind) for kind in found.challenges],
        }
        if found.wildcard:
            document["wildcard"] = True
        wait = {"Retry-After": "1"} if found.status == "processing" else {}
        return Reply(200, document, wait)


_IN_WORK = table.c.status == "processing"


def _answer_challenge(ask: Ask, found: Authorization, kind: str) -> Reply:
    link = f'<{ask.url(f"/authz/{found.id}")}>;rel="up"'
    return Reply(200, _write_challenge(ask, found, kind), links=(link,))


def _write_challenge(ask: Ask, found: Authorization, kind: str) -> dict[str, Any]:
    url = ask.url(f"/chall/{found.id}/{kind}")
    return {"type": kind, "url": url, "token": found.token, **found.challenges[kind]}


def _split(name: Identifier) -> tuple[str, bool]:
    wildcard = name.kind == "dns" and name.value.startswith("*.")
    return (name.value[2:] if wildcard else name.value), wildcard
