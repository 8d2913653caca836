# SPDX-License-Identifier: Apache-2.0
"""The newest CRLs of each issuer: kept in the database, made anew when a status changes and in good time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import sqlalchemy as sa

from ottr.ca import issuers
from ottr.ca.authority import Authority
from ottr.ca.certificates import find_last_change, list_revoked
from ottr.ca.model import Issuer, Reason, Role
from ottr.ca.schema import certificate, status_change
from ottr.ca.status import schema
from ottr.ca.status.crl import CrlContent, Listed, build_crl
from ottr.ca.status.settings import CrlSettings
from ottr.errors import UnknownCertificate


class Kind(Enum):
    """Of CRLs."""

    COMPLETE = "complete"
    DELTA = "delta"
    """What has changed since the complete one."""


@dataclass(frozen=True, slots=True)
class StoredCrl:
    """A signed CRL."""

    issuer_id: str
    kind: Kind
    number: int
    base_number: int
    """Of a delta: the number of the complete one; else 0."""
    made_at: datetime
    next_update: datetime
    status_version: int
    last_change: int
    der: bytes


class CrlIssuer:
    """Gives out CRLs that are up to date. Safe for threads; several processes may share a database."""

    def __init__(self, authority: Authority, settings: CrlSettings) -> None:
        self._authority = authority
        self.settings = settings
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, Kind], StoredCrl] = {}
        authority.database.ensure("status", schema.VERSION, schema.metadata)

    def get(self, issuer_id: str, kind: Kind = Kind.COMPLETE) -> StoredCrl:
        """The newest CRL; made now when a status has changed since, or half of its life is over.

        Raises UnknownCertificate for issuers that have none, StoreError, KeyUnavailable.
        """
        issuer = self._find_issuer(issuer_id)
        base = self.get(issuer_id) if kind is Kind.DELTA else None
        newest = self._load(issuer, kind, base)
        if newest is not None:
            return newest
        with self._lock:
            newest = self._load(issuer, kind, base) or self._make(issuer, kind, base)
        return newest or self.get(issuer_id, kind)

    def renew(self, issuer_id: str, kind: Kind = Kind.COMPLETE) -> StoredCrl:
        """Make a CRL now, even when there is a good one."""
        issuer = self._find_issuer(issuer_id)
        base = self.get(issuer_id) if kind is Kind.DELTA else None
        with self._lock:
            self._load(issuer, kind, base)  # the one before: what has expired since is on one more
            made = self._make(issuer, kind, base)
        return made or self.get(issuer_id, kind)

    def list_issuers(self) -> tuple[Issuer, ...]:
        """Those that make CRLs: their key is here, and they are not over."""
        now = self._authority.clock()
        return tuple(one for one in self._authority.issuers() if one.key_id and one.not_after > now)

    def find_delta_url(self, issuer_id: str) -> str:
        """Where the delta CRL is; empty without ``base_url``."""
        return self._authority.settings.crl_url(issuer_id).replace(".crl", "-delta.crl")

    def _load(self, issuer: Issuer, kind: Kind, base: StoredCrl | None) -> StoredCrl | None:
        """The one in the database, which this process or another has made, if it is still good."""
        key, table = (issuer.id, kind), schema.crl
        where = (table.c.issuer_id == issuer.id) & (table.c.kind == kind.value)
        with self._authority.database.read() as connection:
            version = issuers.get_issuer(connection, issuer.id).status_version
            number = connection.execute(sa.select(table.c.number).where(where)).scalar()
            newest = self._kept.get(key)
            if number is not None and (newest is None or newest.number != number):
                newest = self._kept[key] = _build(connection.execute(table.select().where(where)).one())
        return newest if newest is not None and self._is_good(newest, base, version) else None

    def _is_good(self, newest: StoredCrl, base: StoredCrl | None, version: int) -> bool:
        now = self._authority.clock()
        if base is not None and base.number != newest.base_number:
            return False
        if now >= newest.made_at + (newest.next_update - newest.made_at) / 2:
            return False
        waits_s = self.settings.complete_every_s if self.settings.deltas and base is None else 0.0
        return newest.status_version == version or now < newest.made_at + timedelta(seconds=waits_s)

    def _make(self, issuer: Issuer, kind: Kind, base: StoredCrl | None) -> StoredCrl | None:
        """None: another process has made a newer one meanwhile."""
        with self._authority.database.write() as connection:
            # In a transaction of its own: signing takes long, and nobody should have to wait for it. A number whose
            # CRL is never stored is missing, and none comes twice.
            number = issuers.next_crl_number(connection, issuer.id)
        now = self._authority.clock()
        with self._authority.database.read() as connection:
            # Before the rows: what changes in between makes this CRL an old one at once, and not a false one.
            version = issuers.get_issuer(connection, issuer.id).status_version
            last_change = find_last_change(connection, issuer.id)
            content = self._build_content(connection, issuer, number, now, base)
            der = build_crl(content, issuer, self._authority.load_signer(issuer.id))
        base_number = 0 if base is None else base.number
        return self._store(
            StoredCrl(issuer.id, kind, number, base_number, now, content.next_update, version, last_change, der)
        )

    def _build_content(
        self, connection: sa.Connection, issuer: Issuer, number: int, now: datetime, base: StoredCrl | None
    ) -> CrlContent:
        urls = self._list_urls(issuer)
        # Backdated as certificates are: a server whose clock is behind would refuse every client.
        this_update = now - timedelta(seconds=self._authority.settings.backdate_s)
        if base is not None:
            until = now + timedelta(seconds=self.settings.delta_lifetime_s)
            entries = _list_delta(connection, issuer.id, base.last_change)
            return CrlContent(number, this_update, until, entries, base.number, urls)
        before = self._kept.get((issuer.id, Kind.COMPLETE))
        return CrlContent(
            number,
            this_update,
            now + timedelta(seconds=self.settings.lifetime_s),
            _list_complete(connection, issuer.id, now if before is None else before.made_at),
            issuing_point=urls,
            delta_url=self.find_delta_url(issuer.id) if self.settings.deltas else "",
        )

    def _store(self, made: StoredCrl) -> StoredCrl | None:
        table = schema.crl
        where = (table.c.issuer_id == made.issuer_id) & (table.c.kind == made.kind.value)
        with self._authority.database.write() as connection:
            issuers.seize_issuer(connection, made.issuer_id)
            number = connection.execute(sa.select(table.c.number).where(where)).scalar() or 0
            if number > made.number:
                return None
            connection.execute(table.delete().where(where))
            connection.execute(table.insert(), {**asdict(made), "kind": made.kind.value})
        self._kept[(made.issuer_id, made.kind)] = made
        return made

    def _find_issuer(self, issuer_id: str) -> Issuer:
        for one in self.list_issuers():
            if one.id == issuer_id:
                return one
        raise UnknownCertificate(
            f"{issuer_id!r} has no CRL: no such issuer, no key of it here, or its life is over",
            hint="`ottr ca list --issuers` shows them",
        )

    def _list_urls(self, issuer: Issuer) -> tuple[str, ...]:
        """None for roots: OpenSSL, and so nginx, asks the CRL of a root about the root, which carries no address."""
        url = self._authority.settings.crl_url(issuer.id)
        if not self.settings.issuing_point or not url or issuer.role is Role.ROOT:
            return ()
        return (url, *(other.replace("{issuer}", issuer.id) for other in self.settings.urls))


def _list_complete(connection: sa.Connection, issuer_id: str, since: datetime) -> Iterator[Listed]:
    return (Listed(one.serial, one.revoked_at, one.reason) for one in list_revoked(connection, issuer_id, since))


def _list_delta(connection: sa.Connection, issuer_id: str, after: int) -> Iterator[Listed]:
    """What has changed since, as it is now; what is no longer revoked was released from a hold."""
    c, changed = certificate.c, status_change.c
    query = (
        sa.select(c.serial, c.revoked_at, c.reason, sa.func.max(changed.at).label("at"))
        .join(status_change, (changed.issuer_id == c.issuer_id) & (changed.serial == c.serial))
        .where(changed.issuer_id == issuer_id, changed.id > after)
        .group_by(c.serial, c.revoked_at, c.reason)
        .order_by(c.serial)
    )
    for row in connection.execute(query):
        if row.revoked_at is None:
            yield Listed(row.serial, row.at, Reason.REMOVE_FROM_CRL)
        else:
            yield Listed(row.serial, row.revoked_at, Reason(row.reason))


def _build(row: sa.Row[Any]) -> StoredCrl:
    return StoredCrl(**{**row._mapping, "kind": Kind(row.kind)})
