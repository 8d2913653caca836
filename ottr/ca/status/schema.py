# SPDX-License-Identifier: Apache-2.0
"""The table of CRLs."""

from __future__ import annotations

import sqlalchemy as sa

from ottr.ca.schema import UtcSeconds

VERSION = 1

metadata = sa.MetaData()

crl = sa.Table(
    "crl",
    metadata,
    sa.Column("issuer_id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(8), primary_key=True),  # complete, delta: the newest of each
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("base_number", sa.BigInteger, nullable=False),  # of a delta; else 0
    sa.Column("made_at", UtcSeconds, nullable=False),
    sa.Column("next_update", UtcSeconds, nullable=False),
    sa.Column("status_version", sa.BigInteger, nullable=False),  # of the issuer when its rows were read
    sa.Column("last_change", sa.BigInteger, nullable=False),  # id of the last change that is in it
    sa.Column("der", sa.LargeBinary, nullable=False),
)
