# SPDX-License-Identifier: Apache-2.0
"""The table of EST, beside those of the CA's core."""

from __future__ import annotations

import sqlalchemy as sa

from ottr.ca.schema import UtcSeconds

VERSION = 1

metadata = sa.MetaData()

user = sa.Table(
    "est_user",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("password_sha256", sa.String(64), nullable=False),
    sa.Column("rules", sa.JSON, nullable=False),  # names its certificates may have
    sa.Column("profiles", sa.JSON, nullable=False),
    sa.Column("uses_left", sa.Integer),  # null: as many as it likes
    sa.Column("expires", UtcSeconds, nullable=False),
    sa.Column("created_at", UtcSeconds, nullable=False),
)
