# SPDX-License-Identifier: Apache-2.0
"""Forgetting rotations that ended long ago: some ten kilobytes each, which no run looks at any more."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from ottr.state.database import Database
from ottr.state.schema import certificate, rotation, step, txt_record

_AT_ONCE = 500

_SERVED = sa.exists().where(
    (certificate.c.rotation_id == rotation.c.id)
    & certificate.c.served_at.is_not(None)
    & certificate.c.superseded_at.is_(None)
)
_PUBLISHED = sa.exists().where((txt_record.c.rotation_id == rotation.c.id) & txt_record.c.removed_at.is_(None))
# Cleaned: neither the live generation of a device nor the one that `rollback` would go back to.
_OVER = (
    sa.select(rotation.c.id)
    .where((rotation.c.state != "open") & rotation.c.cleaned & (rotation.c.finished_at < sa.bindparam("before")))
    .where(~_SERVED & ~_PUBLISHED)
    .limit(_AT_ONCE)
)


def prune(database: Database, before: datetime) -> int:
    """Remove rotations that ended before a moment, with steps and certificates; return how many.

    Those stay of which something is on a device, served, or published in a zone. Raises JournalError.
    """
    removed = 0
    while found := _prune_some(database, before):
        removed += found
    return removed


def _prune_some(database: Database, before: datetime) -> int:
    """In small transactions: others want to write meanwhile."""
    with database.write(durable=False) as connection:
        over = connection.execute(_OVER, {"before": before}).scalars().all()
        if over:
            for table in (step, txt_record, certificate):
                connection.execute(table.delete().where(table.c.rotation_id.in_(over)))
            connection.execute(rotation.delete().where(rotation.c.id.in_(over)))
    return len(over)
