# SPDX-License-Identifier: Apache-2.0
"""Changes of status: one row, one entry in the history, one version, one transaction.

Whoever caches answers subscribes: a listener is called with the connection of the transaction that changes the
status, so what it drops is dropped for every process at the moment the change is committed, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

import sqlalchemy as sa

from ottr.ca.certificates import record_event
from ottr.ca.issuers import seize_issuer
from ottr.ca.model import AuditEvent, Certificate, Reason, Status, StatusChange
from ottr.ca.profiles import OCSP
from ottr.ca.schema import UtcSeconds, certificate, issuer, status_change
from ottr.errors import StatusConflict

_COMPROMISE = frozenset({Reason.CA_COMPROMISE, Reason.KEY_COMPROMISE})


class Listener(Protocol):
    """Hears of every change of status, inside its transaction."""

    def __call__(self, connection: sa.Connection, change: StatusChange) -> None:
        """A certificate changed; with an empty serial, any number of those of the issuer."""


class Revocation:
    """Revokes, holds and releases."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self._listeners = tuple(listeners)

    def change(
        self, connection: sa.Connection, row: Certificate, reason: Reason, now: datetime, actor: str
    ) -> Certificate:
        """Revoke for a reason; CERTIFICATE_HOLD holds, REMOVE_FROM_CRL releases from hold.

        The time of a hold stays the time of the revocation that follows. When the certificate of an issuer is revoked
        because its key is known to others, so is all it has signed. What was revoked for less can still be said to be
        compromised. Raises StatusConflict.
        """
        now = now.replace(microsecond=0)
        after = _decide(row, reason, now)
        where = (certificate.c.id == row.id) & (certificate.c.status == row.status.value)
        values = {
            "status": after.status.value,
            "revoked_at": after.revoked_at,
            "reason": after.reason.value if after.reason else None,
        }
        if not connection.execute(certificate.update().where(where).values(**values)).rowcount:
            raise StatusConflict(f"the status of {row.serial} has just been changed by somebody else")
        self._tell(connection, row.issuer_id, row.serial, reason, now)
        kind = {Reason.CERTIFICATE_HOLD: "hold", Reason.REMOVE_FROM_CRL: "release"}.get(reason, "revoke")
        record_event(connection, now, AuditEvent(kind, actor, row.issuer_id, row.serial, {"reason": reason.value}))
        if row.subject_issuer_id and reason in _COMPROMISE:
            self._cascade(connection, row.subject_issuer_id, now, actor)
        return after

    def _tell(self, connection: sa.Connection, issuer_id: str, serial: str, reason: Reason, now: datetime) -> None:
        values = {"issuer_id": issuer_id, "serial": serial, "at": now, "reason": reason.value}
        _grow_version(connection, issuer_id)  # first: it locks the issuer, so that ids are committed in their order
        inserted = connection.execute(status_change.insert().returning(status_change.c.id), values).scalar_one()
        self._notify(connection, StatusChange(inserted, issuer_id, serial, now, reason))

    def _notify(self, connection: sa.Connection, change: StatusChange) -> None:
        for listener in self._listeners:
            listener(connection, change)

    def _cascade(self, connection: sa.Connection, issuer_id: str, now: datetime, actor: str) -> None:
        """All an issuer has signed, and below; the signers of OCSP answers stay, for somebody must say so."""
        seize_issuer(connection, issuer_id)  # what is being signed now is signed before, and goes with the rest
        c = certificate.c
        where = (
            (c.issuer_id == issuer_id) & (c.status != Status.REVOKED.value) & (c.not_after >= now) & (c.profile != OCSP)
        )
        reason = Reason.CA_COMPROMISE
        below = (
            connection.execute(sa.select(c.subject_issuer_id).where(where, c.subject_issuer_id != "")).scalars().all()
        )
        selected = sa.select(c.issuer_id, c.serial, sa.literal(now, UtcSeconds()), sa.literal(reason.value))
        names = ["issuer_id", "serial", "at", "reason"]
        count = connection.execute(status_change.insert().from_select(names, selected.where(where))).rowcount
        changed = {
            "status": Status.REVOKED.value,
            "revoked_at": sa.func.coalesce(c.revoked_at, sa.literal(now, UtcSeconds())),
            "reason": reason.value,
        }
        connection.execute(certificate.update().where(where).values(changed))
        _grow_version(connection, issuer_id)
        record_event(connection, now, AuditEvent("cascade", actor, issuer_id, detail={"certificates": str(count)}))
        self._notify(connection, StatusChange(0, issuer_id, "", now, reason))
        for child in sorted(set(below)):
            self._cascade(connection, child, now, actor)


def _decide(row: Certificate, reason: Reason, now: datetime) -> Certificate:
    if row.status is Status.REVOKED and reason is Reason.KEY_COMPROMISE and row.reason not in _COMPROMISE:
        return replace(row, reason=reason)  # its time stays
    if row.status is Status.REVOKED:
        raise StatusConflict(f"{row.serial} is revoked already, since {row.revoked_at:%Y-%m-%dT%H:%M:%SZ}")
    held = row.status is Status.HELD
    if reason is Reason.REMOVE_FROM_CRL:
        if not held:
            raise StatusConflict(f"{row.serial} is not on hold, so it cannot be released")
        return replace(row, status=Status.VALID, revoked_at=None, reason=None)
    if reason is Reason.CERTIFICATE_HOLD:
        if held:
            raise StatusConflict(f"{row.serial} is on hold already, since {row.revoked_at:%Y-%m-%dT%H:%M:%SZ}")
        return replace(row, status=Status.HELD, revoked_at=now, reason=reason)
    return replace(row, status=Status.REVOKED, revoked_at=row.revoked_at or now, reason=reason)


def _grow_version(connection: sa.Connection, issuer_id: str) -> None:
    change = issuer.update().where(issuer.c.id == issuer_id)
    connection.execute(change.values(status_version=issuer.c.status_version + 1))
