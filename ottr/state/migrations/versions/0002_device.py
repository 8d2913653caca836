# SPDX-License-Identifier: Apache-2.0
"""The inventory of those whose devices are in no files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "device",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("group_names", sa.JSON, nullable=False),
        sa.Column("variables", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("device")
