# SPDX-License-Identifier: Apache-2.0
"""Renewal of what the CA holds the keys for: a new key and serial, the same names and subject; issuers first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from ottr.ca import held_keys, issuers
from ottr.ca.authority import Authority, parse_row
from ottr.ca.certificates import list_certificates, record_event
from ottr.ca.csr import Request
from ottr.ca.generation import Plan, make_intermediate
from ottr.ca.issuance import Terms
from ottr.ca.keys import generate_key, judge_key
from ottr.ca.model import AuditEvent, Certificate, Issuer, KeyAlgorithm, Phase, Role, Status
from ottr.ca.names import ANY_NAME
from ottr.ca.rollover import start_rollover
from ottr.ca.schema import certificate, held_key
from ottr.errors import OttrError, RequestRefused


@dataclass(frozen=True, slots=True)
class Renewed:
    """One certificate and its successor."""

    old: Certificate
    new: Certificate
    was_expired: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """One that could not be renewed; the others were."""

    old: Certificate
    problem: str


@dataclass(frozen=True, slots=True)
class RenewalRun:
    """What one run did."""

    issuers: tuple[str, ...]
    """New ones."""
    renewed: tuple[Renewed, ...]
    failed: tuple[Failed, ...]


def is_due(not_before: datetime, not_after: datetime, fraction: float, now: datetime) -> bool:
    """Whether a share of a lifetime is over. What has expired is due as well: better late, and it is reported."""
    return now >= not_before + timedelta(seconds=(not_after - not_before).total_seconds() * fraction)


def renew_due(authority: Authority) -> RenewalRun:
    """Renew every issuer and then every certificate that is due: leaves get the new issuer."""
    made = renew_issuers(authority)
    renewed, failed = list[Renewed](), list[Failed]()
    for row in find_due(authority):
        try:
            renewed.append(renew_certificate(authority, row))
        except OttrError as error:
            failed.append(Failed(row, str(error)))
    return RenewalRun(made, tuple(renewed), tuple(failed))


def find_due(authority: Authority) -> tuple[Certificate, ...]:
    """Certificates to renew: marked for it, valid, not replaced yet; those that end soonest first."""
    fraction, now, c = authority.settings.renew_fraction, authority.clock(), certificate.c
    where = (c.auto_renew, c.status == Status.VALID.value, c.replaced_by.is_(None))
    with authority.database.read() as connection:
        rows = [
            row for row in list_certificates(connection, *where) if is_due(row.not_before, row.not_after, fraction, now)
        ]
    return tuple(sorted(rows, key=lambda row: row.not_after))


def renew_issuers(authority: Authority) -> tuple[str, ...]:
    """Replace the active intermediate when it is due, and the root with it when that is; return the new ids."""
    fraction, now = authority.settings.renew_fraction, authority.clock()
    root, intermediate = authority.active_issuer(Role.ROOT), authority.active_issuer()
    if is_due(root.not_before, root.not_after, fraction, now):
        return tuple(one.id for one in start_rollover(authority, replacing=root))
    if not is_due(intermediate.not_before, intermediate.not_after, fraction, now):
        return ()
    with authority.database.write() as connection:
        if issuers.was_replaced(connection, intermediate, now):
            return ()
        plan = Plan(_read_algorithm(intermediate), Phase.ACTIVE)
        made = make_intermediate(authority, connection, plan, root)
        issuers.set_phase(connection, intermediate.id, Phase.RETIRING)
        record_event(connection, now, AuditEvent("renew", "ca", made.id, made.serial, {"replaces": intermediate.id}))
    return (made.id,)


def renew_certificate(authority: Authority, row: Certificate, lifetime_s: float | None = None) -> Renewed:
    """Issue a successor with a new key, which the CA holds. Raises RequestRefused: not ours to renew, or no gain.

    It lives for ``lifetime_s``, else for as long as the one before was meant to; never longer than its profile allows.
    """
    if not row.key_id:
        raise RequestRefused(f"the CA does not hold the key of {row.serial}", hint="its owner asks for a new one")
    if row.status is not Status.VALID or row.replaced_by is not None:
        raise RequestRefused(
            f"{row.serial} is {row.status.value}" + (" and replaced already" if row.replaced_by else "")
        )
    leaf, now = parse_row(row), authority.clock()
    lifetime_s = lifetime_s or _find_lifetime(authority, row)
    key = generate_key(judge_key(leaf.public_key()))
    request = Request(key.public_key(), row.names, leaf.subject)
    with authority.database.write() as connection:
        exposed = connection.execute(sa.select(held_key.c.exposed).where(held_key.c.id == row.key_id)).scalar_one()
        key_id = held_keys.insert_key(connection, key, authority.passphrase, now, exposed=exposed)
        terms = Terms(
            row.profile,
            ANY_NAME,
            row.requester,
            lifetime_s,
            key_id=key_id,
            auto_renew=row.auto_renew,
        )
        new = authority.sign(connection, authority.issuance.prepare(connection, request, terms, now))
        ends = issuers.get_issuer(connection, new.issuer_id).not_after
        if new.not_after <= row.not_after and new.not_after == ends:
            raise RequestRefused(f"a successor of {row.serial} would end no later", hint="`ottr ca rollover` first")
        _replace(connection, row, new)
        detail = {"replaces": row.serial}
        record_event(connection, now, AuditEvent("renew", row.requester, new.issuer_id, new.serial, detail))
    return Renewed(row, new, was_expired=row.not_after <= now)


def _find_lifetime(authority: Authority, row: Certificate) -> float | None:
    """Seconds for which a certificate was issued, without what it was dated back; None where its issuer ended it."""
    if any(one.id == row.issuer_id and one.not_after == row.not_after for one in authority.issuers()):
        return None
    return (row.not_after - row.not_before).total_seconds() - authority.settings.backdate_s


def _replace(connection: sa.Connection, row: Certificate, new: Certificate) -> None:
    c = certificate.c
    change = certificate.update().where(c.id == row.id, c.replaced_by.is_(None))
    if not connection.execute(change.values(replaced_by=new.id, auto_renew=False)).rowcount:
        raise RequestRefused(f"{row.serial} has just been renewed by somebody else")


def _read_algorithm(issuer: Issuer) -> KeyAlgorithm:
    return judge_key(issuer.certificate.public_key())
