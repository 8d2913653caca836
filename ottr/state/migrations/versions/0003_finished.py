# SPDX-License-Identifier: Apache-2.0
"""History is pruned by the time a rotation has ended."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.create_index("rotation_finished", "rotation", ["finished_at"])


def downgrade() -> None:
    """Take it away."""
    op.drop_index("rotation_finished", "rotation")
