# SPDX-License-Identifier: Apache-2.0
"""A new root and intermediate beside the old ones.

    prepare    the new generation is made and cross-signed; its root is in the trust bundle, it signs nothing
    activate   the new generation signs; the old one is retiring: trusted, answers for what it has signed
    retire     the old root leaves the trust bundle

``start`` is prepare and activate at once: who trusts only the old root follows the cross-signed certificate.
"""

from __future__ import annotations

import sqlalchemy as sa

from ottr.ca import issuers
from ottr.ca.authority import Authority
from ottr.ca.certificates import record_event
from ottr.ca.generation import Plan, cross_sign, make_generation
from ottr.ca.model import AuditEvent, Issuer, KeyAlgorithm, Phase, Role, Status
from ottr.errors import RequestRefused


def prepare_rollover(authority: Authority, algorithm: KeyAlgorithm | None = None) -> tuple[Issuer, Issuer]:
    """Make the next generation; return its root and intermediate. Raises RequestRefused: there is one."""
    with authority.database.write() as connection:
        return _prepare(authority, connection, algorithm)


def start_rollover(
    authority: Authority, algorithm: KeyAlgorithm | None = None, *, replacing: Issuer | None = None
) -> tuple[Issuer, ...]:
    """Make the next generation and let it sign at once; nothing when the root to replace has been replaced already."""
    with authority.database.write() as connection:
        if replacing is not None and issuers.was_replaced(connection, replacing, authority.clock()):
            return ()
        made = _prepare(authority, connection, algorithm)
        _activate(authority, connection)
        return made


def activate_rollover(authority: Authority) -> tuple[str, ...]:
    """Let the prepared generation sign; return the ids of those that retire. Raises RequestRefused without one."""
    with authority.database.write() as connection:
        return _activate(authority, connection)


def retire_old(authority: Authority) -> tuple[str, ...]:
    """Take retiring roots out of the trust bundle, and their intermediates out of use; return their ids."""
    with authority.database.write() as connection:
        return _move(authority, connection, Phase.RETIRING, Phase.RETIRED)


def _prepare(authority: Authority, connection: sa.Connection, algorithm: KeyAlgorithm | None) -> tuple[Issuer, Issuer]:
    before = issuers.list_issuers(connection)
    if any(one.phase is Phase.PREPARED for one in before):
        raise RequestRefused("a generation is prepared already", hint="`ottr ca rollover --activate` lets it sign")
    plan = Plan(algorithm or authority.settings.key_algorithm, Phase.PREPARED)
    root, intermediate = make_generation(authority, connection, plan)
    for old in before:
        if _can_vouch(authority, old):
            cross_sign(authority, connection, root, old)
    for one in (root, intermediate):
        record_event(connection, authority.clock(), AuditEvent("prepare", "operator", one.id, one.serial))
    return root, intermediate


def _can_vouch(authority: Authority, old: Issuer) -> bool:
    """A root of ours that is still trusted; of one whose key is known to others nobody wants a word."""
    trusted = old.phase in (Phase.ACTIVE, Phase.RETIRING) and old.status is Status.VALID
    return old.role is Role.ROOT and bool(old.key_id) and trusted and old.not_after > authority.clock()


def _activate(authority: Authority, connection: sa.Connection) -> tuple[str, ...]:
    if not any(one.phase is Phase.PREPARED for one in issuers.list_issuers(connection)):
        raise RequestRefused("no generation is prepared", hint="`ottr ca rollover` makes one")
    retiring = _move(authority, connection, Phase.ACTIVE, Phase.RETIRING)
    _move(authority, connection, Phase.PREPARED, Phase.ACTIVE)
    return retiring


def _move(authority: Authority, connection: sa.Connection, before: Phase, after: Phase) -> tuple[str, ...]:
    moved = [one for one in issuers.list_issuers(connection) if one.phase is before]
    for one in moved:
        issuers.set_phase(connection, one.id, after)
        record_event(connection, authority.clock(), AuditEvent(after.value, "operator", one.id, one.serial))
    return tuple(one.id for one in moved)
