# SPDX-License-Identifier: Apache-2.0
"""Rows of the database with a sealed secret, for another passphrase."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from ottr.ca import envelope
from ottr.ca.envelope import Passphrase


def rewrap_rows(
    connection: sa.Connection,
    id_column: sa.ColumnElement[str],
    envelope_column: sa.Column[str],
    name: Callable[[str], str],
    old: Passphrase,
    new: Passphrase,
) -> int:
    """Seal every secret of a table for another passphrase; return how many. Those that have it already stay.

    ``name`` gives the name that a row's envelope is bound to. Raises KeyUnavailable: ``old`` is not the passphrase.
    """
    found = connection.execute(sa.select(id_column, envelope_column)).all()
    rows = [(row_id, text) for row_id, text in found if not envelope.opens(text, name(row_id), new)]
    for row_id, text in rows:
        values = {envelope_column: envelope.rewrap(text, name(row_id), old, new)}
        connection.execute(sa.update(envelope_column.table).where(id_column == row_id).values(values))
    return len(rows)
