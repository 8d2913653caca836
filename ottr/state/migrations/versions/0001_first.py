# SPDX-License-Identifier: Apache-2.0
"""First tables."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

from ottr.state.schema import UtcText

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply."""
    installation = op.create_table(
        "installation",
        sa.Column("id", sa.String(8), primary_key=True),
    )
    op.bulk_insert(installation, [{"id": "".join(secrets.choice("0123456789abcdefghjkmnpqrstvwxyz") for _ in "1234")}])
    op.create_table(
        "rotation",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("label", sa.String(31), nullable=False, unique=True),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("driver", sa.String(40), nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("dns_names", sa.JSON, nullable=False),
        sa.Column("key_type", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("order_url", sa.Text, nullable=False),
        sa.Column("cleaned", sa.Boolean, nullable=False),
        sa.Column("started_at", UtcText, nullable=False),
        sa.Column("finished_at", UtcText),
    )
    op.create_index("rotation_device", "rotation", ["device", "state"])
    op.create_table(
        "step",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("rotation_id", sa.String(16), sa.ForeignKey("rotation.id"), nullable=False),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("at", UtcText, nullable=False),
        sa.Column("value", sa.JSON),
        sa.Column("error_kind", sa.String(40)),
        sa.Column("error_message", sa.Text),
        sa.Column("error_hint", sa.Text),
    )
    op.create_index("step_rotation", "step", ["rotation_id"])
    op.create_table(
        "txt_record",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("rotation_id", sa.String(16), sa.ForeignKey("rotation.id"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("presented_at", UtcText, nullable=False),
        sa.Column("removed_at", UtcText),
    )
    op.create_index("txt_record_rotation", "txt_record", ["rotation_id"])
    op.create_table(
        "certificate",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("rotation_id", sa.String(16), sa.ForeignKey("rotation.id")),
        sa.Column("ca", sa.Text, nullable=False),
        sa.Column("leaf_pem", sa.Text, nullable=False),
        sa.Column("chain_pem", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("serial", sa.String(64), nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("dns_names", sa.JSON, nullable=False),
        sa.Column("key_type", sa.String(16), nullable=False),
        sa.Column("not_before", UtcText, nullable=False),
        sa.Column("not_after", UtcText, nullable=False),
        sa.Column("issued_at", UtcText),
        sa.Column("installed_at", UtcText),
        sa.Column("bound_at", UtcText),
        sa.Column("served_at", UtcText),
        sa.Column("superseded_at", UtcText),
        sa.Column("revoked_at", UtcText),
    )
    op.create_index("certificate_device", "certificate", ["device"])
    op.create_index("certificate_rotation", "certificate", ["rotation_id"])
    op.create_table(
        "schedule",
        sa.Column("device", sa.Text, primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failure_kind", sa.String(40), nullable=False),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("quarantined_at", UtcText),
        sa.Column("not_before", UtcText),
        sa.Column("renewal_sha256", sa.String(64)),
        sa.Column("renewal_start", UtcText),
        sa.Column("renewal_end", UtcText),
        sa.Column("renewal_at", UtcText),
        sa.Column("renewal_check_at", UtcText),
    )
    op.create_table(
        "observation",
        sa.Column("device", sa.Text, primary_key=True),
        sa.Column("endpoint", sa.Text, primary_key=True),
        sa.Column("at", UtcText, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
    )
    op.create_table(
        "lease",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("process_started", sa.String(24), nullable=False),
        sa.Column("host_name", sa.Text, nullable=False),
        sa.Column("taken_at", UtcText, nullable=False),
        sa.Column("expires_at", UtcText, nullable=False),
    )
